//! A text as tokens, comments and line ends included.
//!
//! It does not know which words are special, what may follow what, or how an unknown character is reported.

use crate::diag::Span;
use logos::Logos;

/// The kinds of tokens; blanks other than line ends are left out.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r]+")]
pub enum Token {
    /// A line end and the blank lines behind it.
    #[regex(r"\n[ \t\r\n]*")]
    Newline,
    /// From `#` to the end of the line.
    #[regex(r"#[^\n]*", allow_greedy = true)]
    Comment,
    /// A name or a special word.
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    /// Digits.
    #[regex(r"[0-9]+")]
    Int,
    /// Digits with a point between or before them, an exponent, or both.
    #[regex(r"[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?", priority = 20)]
    #[regex(r"[0-9]+[eE][+-]?[0-9]+", priority = 20)]
    Float,
    /// A number that runs into letters, such as `0x10` or `1_000`.
    #[regex(r"([0-9]+|[0-9]*\.[0-9]+)[A-Za-z_][A-Za-z0-9_]*", priority = 10)]
    BadNumber,
    /// A string, both quotes included.
    #[regex(r#""[^"\n]*""#)]
    Str,
    /// A string without its second quote, up to the end of the line.
    #[regex(r#""[^"\n]*"#)]
    OpenStr,
    /// A string in single quotes, which the language does not have, or what follows one of them.
    #[regex(r"'[^'\n]*'?")]
    SingleStr,
    /// `{`
    #[token("{")]
    LBrace,
    /// `}`
    #[token("}")]
    RBrace,
    /// `(`
    #[token("(")]
    LParen,
    /// `)`
    #[token(")")]
    RParen,
    /// `[`
    #[token("[")]
    LBracket,
    /// `]`
    #[token("]")]
    RBracket,
    /// `,`
    #[token(",")]
    Comma,
    /// `;`
    #[token(";")]
    Semicolon,
    /// `:`
    #[token(":")]
    Colon,
    /// `=`
    #[token("=")]
    Equals,
    /// `.`, which the language does not have.
    #[token(".")]
    Dot,
    /// `..`
    #[token("..")]
    DotDot,
    /// `+`
    #[token("+")]
    Plus,
    /// `-`
    #[token("-")]
    Minus,
    /// `*`
    #[token("*")]
    Star,
    /// `/`
    #[token("/")]
    Slash,
    /// `//`, which the language does not have.
    #[token("//")]
    SlashSlash,
    /// `%`
    #[token("%")]
    Percent,
    /// Characters that start no token, as many as stand together.
    Unknown,
    /// The end of the text; the parser's only, the lexer stops instead.
    End,
}

impl Token {
    /// The token that closes what this one opens.
    pub fn closer(self) -> Option<Token> {
        match self {
            Token::LBrace => Some(Token::RBrace),
            Token::LParen => Some(Token::RParen),
            Token::LBracket => Some(Token::RBracket),
            _ => None,
        }
    }

    /// Whether it closes something.
    pub fn is_closer(self) -> bool {
        matches!(self, Token::RBrace | Token::RParen | Token::RBracket)
    }
}

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexeme {
    /// Its kind.
    pub token: Token,
    /// Its place in the whole text.
    pub span: Span,
}

/// Reads tokens from some place of a text on.
pub struct Lexer<'a> {
    inner: logos::Lexer<'a, Token>,
    base: usize,
}

impl<'a> Lexer<'a> {
    /// Reads `text` from its start, behind a byte order mark.
    pub fn new(text: &'a str) -> Self {
        let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self::at(text, mark)
    }

    /// Reads `text` from byte `base` on, which must be a character's first.
    pub fn at(text: &'a str, base: usize) -> Self {
        let inner = Token::lexer(text.get(base..).unwrap_or(""));
        Lexer { inner, base }
    }

    fn take_unknown(&mut self) {
        let rest = self.inner.remainder();
        let known = rest.find(|c: char| c.is_ascii_graphic() || " \t\r\n".contains(c));
        let known = known.unwrap_or(rest.len());
        self.inner.bump(known);
    }
}

impl Iterator for Lexer<'_> {
    type Item = Lexeme;

    fn next(&mut self) -> Option<Lexeme> {
        let token = self.inner.next()?.unwrap_or(Token::Unknown);
        if token == Token::Unknown {
            self.take_unknown();
        }
        let at = self.inner.span();
        let span = Span::new(self.base + at.start, self.base + at.end);
        Some(Lexeme { token, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Token, &str)> {
        let all = Lexer::new(text);
        all.map(|l| (l.token, l.span.slice(text))).collect()
    }

    #[test]
    fn a_layer_is_words_and_marks() {
        use Token::*;
        let expected = vec![
            (Word, "c_1"),
            (Colon, ":"),
            (Word, "Conv2d"),
            (LParen, "("),
            (Int, "6"),
            (Comma, ","),
            (Word, "k"),
            (Equals, "="),
            (Minus, "-"),
            (Float, "5e-1"),
            (RParen, ")"),
            (Semicolon, ";"),
            (Comment, "# é"),
            (Newline, "\n \r\n"),
            (Str, "\"a b\""),
        ];
        assert_eq!(
            tokens("c_1: Conv2d(6,\tk=-5e-1);# é\n \r\n\"a b\""),
            expected
        );
    }

    #[test]
    fn ranges_are_no_floats() {
        use Token::*;
        assert_eq!(tokens("0..4"), [(Int, "0"), (DotDot, ".."), (Int, "4")]);
        assert_eq!(
            tokens("1.5..2.5"),
            [(Float, "1.5"), (DotDot, ".."), (Float, "2.5")]
        );
        assert_eq!(tokens("0...5"), [(Int, "0"), (DotDot, ".."), (Float, ".5")]);
        assert_eq!(tokens("5."), [(Int, "5"), (Dot, ".")]);
    }

    #[test]
    fn numbers_take_their_letters() {
        use Token::*;
        for good in ["1.5", ".5", "1e5", "1E+5", "1.5e-3", ".5e0"] {
            assert_eq!(tokens(good), [(Float, good)]);
        }
        for bad in ["0x10", "1_000", "3px", "1e", "1.5e", "1e5x", "1.5f", ".5f"] {
            assert_eq!(tokens(bad), [(BadNumber, bad)]);
        }
    }

    #[test]
    fn strings_end_with_their_line() {
        use Token::*;
        assert_eq!(
            tokens("\"a\nb"),
            [(OpenStr, "\"a"), (Newline, "\n"), (Word, "b")]
        );
        assert_eq!(tokens("'a' 'b"), [(SingleStr, "'a'"), (SingleStr, "'b")]);
        assert_eq!(tokens("\""), [(OpenStr, "\"")]);
    }

    #[test]
    fn unknown_characters_stand_together() {
        use Token::*;
        assert_eq!(
            tokens("a ±×é b"),
            [(Word, "a"), (Unknown, "±×é"), (Word, "b")]
        );
        assert_eq!(tokens("\0\0x"), [(Unknown, "\0\0"), (Word, "x")]);
        assert_eq!(tokens("@$"), [(Unknown, "@"), (Unknown, "$")]);
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_start_only() {
        use Token::*;
        assert_eq!(tokens("\u{feff}a"), [(Word, "a")]);
        assert_eq!(tokens("a\u{feff}"), [(Word, "a"), (Unknown, "\u{feff}")]);
        assert_eq!(
            Lexer::new("\u{feff}a").next().unwrap().span,
            Span::new(3, 4)
        );
    }

    #[test]
    fn it_starts_anywhere() {
        let lexeme = Lexer::at("a // b\nc", 6).nth(1).unwrap();
        assert_eq!((lexeme.token, lexeme.span), (Token::Word, Span::new(7, 8)));
        assert_eq!(Lexer::at("a", 9).next(), None);
    }
}
