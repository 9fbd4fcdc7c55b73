//! The canonical layout, made from the tokens of a text, so that comments stay where they are.
//!
//! - four columns for each body; in parentheses and brackets a new line begins below what stands behind the
//!   opening one, or four columns in where nothing does;
//! - a body that was on one line stays on one line, any other has its braces at the ends of lines and on lines of
//!   their own; line breaks between layers and between rows of data stay;
//! - one blank between items of the file, at most one elsewhere, none at the ends of a body;
//! - `name=value` in parentheses, `name = value` elsewhere, blanks around operators and behind commas;
//! - a comment behind a layer stays as far from it as it was, two columns at least.
//!
//! A text with errors has no layout. The tree of a text and that of its layout differ in places only.

use super::lexer::{Lexeme, Lexer, Token};
use crate::diag::{Diagnostic, Severity, Source};

/// Columns of one level.
const STEP: usize = 4;

/// The text in the canonical layout.
///
/// # Errors
/// The diagnostics of a text that cannot be read.
pub fn format(source: &Source) -> Result<String, Vec<Diagnostic>> {
    let (_, diagnostics) = super::parse(source);
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let tokens: Vec<Lexeme> = Lexer::new(&source.text).collect();
    let mut f = Formatter {
        text: &source.text,
        broken: broken_braces(&tokens),
        open: vec![],
        out: String::new(),
        line: String::new(),
        before: None,
        blank: false,
    };
    for (k, t) in tokens.iter().enumerate() {
        f.token(&tokens, k, *t);
    }
    f.end_line();
    Ok(f.out)
}

/// For each opening brace, whether its body takes several lines.
fn broken_braces(tokens: &[Lexeme]) -> Vec<bool> {
    let mut broken = vec![false; tokens.len()];
    let mut open = Vec::new();
    // Line ends before each token.
    let mut lines = 0;
    for (k, t) in tokens.iter().enumerate() {
        match t.token {
            Token::Newline => lines += 1,
            Token::LBrace => open.push((k, lines)),
            Token::RBrace => {
                if let Some((at, from)) = open.pop() {
                    broken[at] = lines > from;
                }
            }
            _ => {}
        }
    }
    broken
}

/// An opening delimiter whose closing one is to come.
#[derive(Clone, Copy)]
struct Open {
    token: Token,
    /// Where lines begin inside of it, and where the closing one does on a line of its own.
    columns: (usize, usize),
    broken: bool,
}

struct Formatter<'a> {
    text: &'a str,
    broken: Vec<bool>,
    open: Vec<Open>,
    out: String,
    line: String,
    /// The token before on this line.
    before: Option<Lexeme>,
    /// Whether a blank line was asked for before the next line.
    blank: bool,
}

impl Formatter<'_> {
    fn token(&mut self, tokens: &[Lexeme], k: usize, t: Lexeme) {
        let next = tokens.get(k + 1).map(|n| n.token);
        match t.token {
            Token::Newline => self.newline(t, tokens.get(k.wrapping_sub(1)).map(|p| p.token), next),
            Token::Comment => self.comment(t),
            Token::Semicolon if self.before.is_none() => {}
            Token::Semicolon
                if matches!(
                    next,
                    None | Some(Token::Newline | Token::Comment | Token::RBrace | Token::Semicolon)
                ) => {}
            Token::RBrace => self.close_brace(t, next),
            token => {
                self.word(t, t.span.slice(self.text));
                if token.closer().is_some() {
                    self.push(token, k, next);
                } else if token.is_closer() {
                    self.open.pop();
                }
            }
        }
    }

    fn column(&self) -> usize {
        self.open.last().map_or(0, |o| o.columns.0)
    }

    fn in_parentheses(&self) -> bool {
        self.open.last().is_some_and(|o| o.token != Token::LBrace)
    }

    fn push(&mut self, token: Token, k: usize, next: Option<Token>) {
        let indent = self.line.chars().take_while(|c| *c == ' ').count();
        let hanging =
            token == Token::LBrace || matches!(next, Some(Token::Newline | Token::Comment));
        let columns = if hanging {
            (indent + STEP, indent)
        } else {
            let width = self.line.chars().count();
            (width, width)
        };
        let broken = self.broken[k];
        self.open.push(Open {
            token,
            columns,
            broken,
        });
        let kept = matches!(next, Some(Token::Newline | Token::Comment));
        if token == Token::LBrace && broken && !kept {
            self.end_line();
        }
    }

    fn close_brace(&mut self, t: Lexeme, next: Option<Token>) {
        let open = self.open.last().copied();
        if open.is_some_and(|o| o.broken) && self.before.is_some() {
            self.end_line();
        }
        self.blank = false;
        self.word(t, "}");
        self.open.pop();
        if self.open.is_empty() && !matches!(next, Some(Token::Comment)) {
            self.end_line();
            self.blank = true;
        }
    }

    /// Writes a token behind the one before it, or at the start of a line.
    fn word(&mut self, t: Lexeme, text: &str) {
        match self.before {
            None => {
                let own = self.open.last().filter(|_| t.token.is_closer());
                let column = own.map_or(self.column(), |o| o.columns.1);
                self.begin_line(column);
            }
            Some(before) => {
                if self.spaced(before, t) {
                    self.line.push(' ');
                }
            }
        }
        self.line.push_str(text);
        self.before = Some(Lexeme {
            token: if self.is_sign(t) {
                Token::LParen
            } else {
                t.token
            },
            span: t.span,
        });
    }

    /// A minus that no operand precedes. It clings to what follows, as an opening parenthesis does.
    fn is_sign(&self, t: Lexeme) -> bool {
        t.token == Token::Minus && !self.before.is_some_and(|b| self.is_operand(b))
    }

    fn is_operand(&self, t: Lexeme) -> bool {
        match t.token {
            Token::Word => !matches!(t.span.slice(self.text), "repeat" | "in"),
            Token::Int | Token::Float | Token::Str | Token::RParen | Token::RBracket => true,
            _ => false,
        }
    }

    fn spaced(&self, before: Lexeme, t: Lexeme) -> bool {
        use Token::*;
        match (before.token, t.token) {
            (LParen | LBracket, _) | (_, RParen | RBracket | Comma | Semicolon | Colon) => false,
            (DotDot, _) | (_, DotDot) => false,
            (Word, LParen) => !self.is_operand(before),
            (Equals, _) | (_, Equals) => !self.in_parentheses(),
            _ => true,
        }
    }

    fn begin_line(&mut self, column: usize) {
        if self.blank && !self.out.is_empty() {
            self.out.push('\n');
        }
        self.blank = false;
        self.line = " ".repeat(column);
    }

    fn end_line(&mut self) {
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.out.push_str(line);
            self.out.push('\n');
        }
        self.line.clear();
        self.before = None;
    }

    fn newline(&mut self, t: Lexeme, before: Option<Token>, next: Option<Token>) {
        self.end_line();
        let blank = t.span.slice(self.text).matches('\n').count() > 1;
        let edge = matches!(before, Some(Token::LBrace)) || matches!(next, Some(Token::RBrace));
        if blank && !edge && !self.in_parentheses() {
            self.blank = true;
        }
    }

    fn comment(&mut self, t: Lexeme) {
        let text = t.span.slice(self.text).trim_end();
        if self.before.is_some() {
            let gap = self.text[..t.span.start as usize]
                .bytes()
                .rev()
                .take_while(|b| *b == b' ')
                .count();
            self.line.push_str(&" ".repeat(gap.max(2)));
        } else {
            self.begin_line(self.column());
        }
        self.line.push_str(text);
        self.before = Some(t);
        if self.open.is_empty() && self.line.trim_start() != text {
            self.blank = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formatted(text: &str) -> String {
        let source = Source {
            name: "test".into(),
            text: text.into(),
        };
        format(&source).unwrap_or_else(|d| panic!("{text}\n{d:?}"))
    }

    /// The tokens that carry meaning.
    fn meaning(text: &str) -> Vec<String> {
        Lexer::new(text)
            .filter(|l| !matches!(l.token, Token::Newline | Token::Semicolon))
            .map(|l| l.span.slice(text).trim_end().to_string())
            .collect()
    }

    const LENET: &str = include_str!("../../models/lenet.nn");
    const EDGE: &str = include_str!("../../models/edge.nn");
    const BRANCHES: &str = include_str!("../../models/branches.nn");

    #[test]
    fn shipped_models_are_in_the_layout() {
        for text in [LENET, EDGE, BRANCHES] {
            assert_eq!(formatted(text), text);
        }
    }

    #[test]
    fn a_crowded_text_is_laid_out() {
        let crowded = "block B( n,k =3 ){Linear( n*2-1 );;ReLU;}\n# the model\nmodel M{input(8)# eight\n\n\n\
                       a :Linear(n = -3 , bias=true );repeat  i in 0 .. 4{\nReLU }\n\nAdd{{Tanh}{ Identity}}\n\n}\n\
                       train{lr=1;x=[[1,\n2],[ -3,4 ]]\n\n}";
        let expected = "\
block B(n, k=3) { Linear(n * 2 - 1); ReLU }

# the model
model M {
    input(8)  # eight

    a: Linear(n=-3, bias=true); repeat i in 0..4 {
        ReLU
    }

    Add { { Tanh } { Identity } }
}

train {
    lr = 1; x = [[1,
                  2], [-3, 4]]
}
";
        assert_eq!(formatted(crowded), expected);
        assert_eq!(formatted(expected), expected);
    }

    proptest! {
        #[test]
        fn spacing_does_not_matter(seed in 0u64..u64::MAX, which in 0usize..3) {
            let text = [LENET, EDGE, BRANCHES][which];
            let mut state = seed | 1;
            let mut crowded = String::new();
            for l in Lexer::new(text) {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                match (l.token, state >> 62) {
                    (Token::Newline, 0) => crowded.push_str("\r\n\n  \n"),
                    (Token::Newline, _) => crowded.push('\n'),
                    (_, n) => {
                        let blanks = if n == 0 { "   \t" } else { " " };
                        crowded.push_str(blanks);
                        crowded.push_str(l.span.slice(text));
                    }
                }
            }
            let once = formatted(&crowded);
            prop_assert_eq!(&formatted(&once), &once);
            prop_assert_eq!(meaning(&once), meaning(text));
        }
    }
}
