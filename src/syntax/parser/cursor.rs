//! The tokens ahead, the delimiters that are open, and the messages so far; how to skip what makes no sense.
//!
//! It knows what starts an item, which is where any skipping ends, and nothing else of the grammar.

use super::habits::{Habit, Seen};
use crate::diag::{Diagnostic, Span};
use crate::syntax::lexer::{Lexeme, Lexer, Token};
use crate::syntax::{MAX_DEPTH, MAX_DIAGNOSTICS, MAX_LAYERS, MAX_VALUES};

/// A token ahead; comments are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub token: Token,
    pub span: Span,
    /// Whether no token stands before it on its line.
    pub first: bool,
}

/// An opening delimiter that waits for its closing one.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub token: Token,
    pub span: Span,
}

/// A place in the token sequence, two tokens known ahead.
pub(super) struct Cursor<'a> {
    pub text: &'a str,
    lexer: Lexer<'a>,
    pub current: Ahead,
    pub next: Ahead,
    /// Place of the token last taken.
    pub previous: Span,
    pub open: Vec<Open>,
    pub depth: usize,
    /// Whether `name {` in a value is a record; it is the start of a body behind `repeat n`.
    pub records: bool,
    pub diags: Vec<Diagnostic>,
    /// Where the last message points: a second one about the same place says nothing new.
    last_error: Option<u32>,
    pub stopped: bool,
    pub habits: Vec<Seen>,
    quiet: bool,
    layers: usize,
    values: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        let nowhere = Ahead {
            token: Token::End,
            span: Span::ZERO,
            first: true,
        };
        let mut cursor = Cursor {
            text,
            lexer: Lexer::new(text),
            current: nowhere,
            next: nowhere,
            previous: Span::ZERO,
            open: Vec::new(),
            depth: 0,
            records: true,
            diags: Vec::new(),
            last_error: None,
            stopped: false,
            habits: Vec::new(),
            quiet: false,
            layers: 0,
            values: 0,
        };
        cursor.refill(true);
        cursor
    }

    fn refill(&mut self, first: bool) {
        self.current = self.fetch(first);
        self.next = self.fetch(false);
    }

    /// Takes the current token.
    pub fn bump(&mut self) -> Span {
        if self.current.token != Token::End {
            self.previous = self.current.span;
            self.current = self.next;
            self.next = self.fetch(false);
        }
        self.previous
    }

    fn fetch(&mut self, mut first: bool) -> Ahead {
        while let Some(lexeme) = self.lexer.next() {
            if lexeme.token == Token::Newline {
                first = true;
            } else if lexeme.token != Token::Comment
                && let Some(token) = self.lexical(lexeme)
            {
                let span = lexeme.span;
                return Ahead { token, span, first };
            }
            if self.stopped {
                break;
            }
        }
        self.end()
    }

    fn end(&self) -> Ahead {
        let end = self.text.len();
        Ahead {
            token: Token::End,
            span: Span::new(end, end),
            first: true,
        }
    }

    /// The token that the parser is to see, errors of the lexeme reported.
    fn lexical(&mut self, lexeme: Lexeme) -> Option<Token> {
        let token = match lexeme.token {
            Token::Unknown => stand_in(lexeme.span.slice(self.text)),
            Token::OpenStr | Token::SingleStr => Some(Token::Str),
            token => return Some(token),
        };
        if !self.quiet {
            let diag = lexical_error(lexeme, self.text);
            match is_single_quoted(lexeme, self.text) {
                true => self.habit(Habit::Quotes, diag),
                false => self.report(diag),
            }
        }
        if self.stopped { None } else { token }
    }

    /// The text of the current token.
    pub fn word(&self) -> &'a str {
        self.current.span.slice(self.text)
    }

    pub fn at(&self, token: Token) -> bool {
        self.current.token == token
    }

    /// Whether the innermost open delimiter makes line ends blank.
    pub fn in_brackets(&self) -> bool {
        let innermost = self.open.last();
        innermost.is_some_and(|open| open.token != Token::LBrace)
    }

    /// Whether the current token still belongs to the statement of the one before.
    pub fn continues(&self) -> bool {
        !self.current.first || self.in_brackets()
    }

    /// Whether the current token is this one and continues the statement.
    pub fn follows(&self, token: Token) -> bool {
        self.at(token) && self.continues()
    }

    /// Whether the token behind the current one is this one and in the same statement.
    pub fn next_is(&self, token: Token) -> bool {
        self.next.token == token && (!self.next.first || self.in_brackets())
    }

    /// Whether an item starts here, seen from inside another one.
    pub fn at_item(&self) -> bool {
        let next = self.next.token;
        let named = |word| word == "model" || word == "block";
        self.current.first
            && self.at(Token::Word)
            && !self.next.first
            && match next {
                Token::Word => named(self.word()),
                Token::LBrace => self.word() == "train",
                _ => false,
            }
    }

    /// Adds a message, unless the last one points at the same place.
    pub fn report(&mut self, diag: Diagnostic) {
        let place = diag.span();
        if self.stopped || place.is_some_and(|place| self.was_told(place)) {
            return;
        }
        self.last_error = place.map(|place| place.start);
        self.diags.push(diag);
        if self.diags.len() >= MAX_DIAGNOSTICS {
            self.stop();
        }
    }

    /// Whether the last message points at this place, or nothing more is to be said.
    pub fn was_told(&self, place: Span) -> bool {
        self.stopped || self.last_error == Some(place.start)
    }

    /// Takes note of a place about which nothing more is to be said.
    pub fn tell(&mut self, place: Span) {
        self.last_error = Some(place.start);
    }

    /// Reads no further, as if the text ended here.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.current = self.end();
        self.next = self.end();
    }

    /// A message that the statement was expected to go on with something else.
    pub fn expected(&self, what: &str) -> Diagnostic {
        match self.continues() || self.at(Token::End) {
            true => self.expected_here(what),
            false => expected(what, "the end of the line", self.previous.after()),
        }
    }

    /// A message that something else was expected than the current token, wherever the line ends.
    pub fn expected_here(&self, what: &str) -> Diagnostic {
        match self.at(Token::End) {
            true => expected(what, "the end of the file", self.previous.after()),
            false => expected(what, &quoted(self.word()), self.current.span),
        }
    }

    /// Counts a layer, branch or item; stops at too many.
    pub fn count_layer(&mut self, place: Span) {
        self.layers += 1;
        if self.layers > MAX_LAYERS {
            self.too_many(place, "layers", MAX_LAYERS);
        }
    }

    /// Counts a value, parameter or entry; stops at too many.
    pub fn count_value(&mut self, place: Span) {
        self.values += 1;
        if self.values > MAX_VALUES {
            self.too_many(place, "values", MAX_VALUES);
        }
    }

    fn too_many(&mut self, place: Span, what: &str, most: usize) {
        let diag = Diagnostic::error("E0110", format!("too many {what}"))
            .at(place, format!("a file holds at most {most}"))
            .help("`repeat` writes layers once, and `npz(\"file.npz\")` reads data from a file");
        self.report(diag);
        self.stop();
    }

    /// Goes one level down; at the deepest it reports instead, and the caller skips.
    pub fn enter(&mut self) -> bool {
        let fits = self.depth < MAX_DEPTH;
        match fits {
            true => self.depth += 1,
            false => self.too_deep(self.current.span),
        }
        fits
    }

    pub fn too_deep(&mut self, place: Span) {
        let message = format!("nesting is deeper than {MAX_DEPTH}");
        let diag = Diagnostic::error("E0105", message)
            .at(place, "one level too deep")
            .help("a `block` gives a name to what is nested");
        self.report(diag);
    }

    /// Takes an opening delimiter and goes one level down; where that is too deep, skips to its closing one.
    pub fn enter_group(&mut self) -> Option<Open> {
        let (token, span) = (self.current.token, self.current.span);
        if !self.enter() {
            self.skip_group();
            return None;
        }
        self.bump();
        let open = Open { token, span };
        self.open.push(open);
        Some(open)
    }

    /// Goes one level down as behind the brace of an item, which is reported as missing, unless no body can follow.
    pub fn assume_brace(&mut self) -> Option<Open> {
        let ends = self.at(Token::End) || self.at(Token::RBrace) || self.at_item();
        if ends || !self.open.is_empty() || !self.enter() {
            return None;
        }
        let token = Token::LBrace;
        let span = self.previous.after();
        let open = Open { token, span };
        self.open.push(open);
        Some(open)
    }

    /// Takes the delimiter that closes `open` and goes one level up; reports it where it is missing.
    pub fn leave_group(&mut self, open: Open) -> Span {
        self.open.pop();
        self.depth -= 1;
        let closer = open.token.closer();
        if Some(self.current.token) == closer {
            return self.bump();
        }
        let other = self.current.token.is_closer() && !self.closes_outer();
        let place = match other {
            true => self.current.span,
            false => self.previous.after(),
        };
        let diag = unclosed(open, place, self.text, other);
        self.report(diag);
        if other {
            self.bump();
        }
        self.previous
    }

    /// Whether the current token closes one of the delimiters that are still open.
    pub fn closes_outer(&self) -> bool {
        let closes = |open: &Open| open.token.closer() == Some(self.current.token);
        self.open.iter().any(closes)
    }

    /// Skips from an opening delimiter to behind the one that closes it, or to where it must have been forgotten.
    pub fn skip_group(&mut self) {
        let mut levels = 0_usize;
        while !self.at(Token::End) && !self.at_item() {
            let token = self.current.token;
            levels += usize::from(token.closer().is_some());
            levels -= usize::from(token.is_closer());
            self.bump();
            if levels == 0 {
                break;
            }
        }
    }

    /// Skips to the end of the statement: a new line, `;` or the `}` around it.
    pub fn skip_statement(&mut self) {
        loop {
            match self.current.token {
                Token::End | Token::Semicolon | Token::RBrace => return,
                _ if self.current.first => return,
                token if token.closer().is_some() => self.skip_group(),
                _ => drop(self.bump()),
            }
        }
    }

    /// Skips to a brace in the same line; whether there is one.
    pub fn skip_to_brace(&mut self) -> bool {
        while !self.at(Token::LBrace) {
            match self.current.token {
                Token::End | Token::Semicolon | Token::RBrace => return false,
                _ if self.current.first => return false,
                _ => drop(self.bump()),
            }
        }
        true
    }

    /// Skips to the comma or closing delimiter behind an element that makes no sense.
    pub fn skip_element(&mut self) {
        loop {
            match self.current.token {
                Token::End | Token::Comma | Token::Semicolon => return,
                token if token.is_closer() => return,
                _ if self.at_item() => return,
                token if token.closer().is_some() => self.skip_group(),
                _ => drop(self.bump()),
            }
        }
    }

    /// Skips the current token and on to what starts an item, without a word about what stands before it.
    pub fn skip_to_item(&mut self) {
        self.take_back();
        self.quiet = true;
        self.bump();
        while !self.at(Token::End) && !self.at_item() {
            self.bump();
        }
        self.quiet = false;
    }

    /// Takes back what was said about the text behind the current token.
    fn take_back(&mut self) {
        let read = self.current.span.end;
        self.diags
            .retain(|d| d.span().is_none_or(|s| s.start < read));
    }

    /// Skips the rest of the line, and takes back what was said about it.
    pub fn skip_line(&mut self) {
        let from = self.current.span.start as usize;
        let rest = self.text.get(from..).unwrap_or("");
        let end = from + rest.find('\n').unwrap_or(rest.len());
        self.take_back();
        self.lexer = Lexer::at(self.text, end);
        self.refill(false);
    }
}

fn expected(what: &str, found: &str, place: Span) -> Diagnostic {
    Diagnostic::error("E0102", format!("expected {what}, found {found}"))
        .at(place, format!("expected {what}"))
}

/// A token's text in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 30;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
        None => format!("`{text}`"),
    }
}

fn unclosed(open: Open, place: Span, text: &str, other: bool) -> Diagnostic {
    let opener = open.span.slice(text);
    let closer = match open.token {
        Token::LParen => ")",
        Token::LBracket => "]",
        _ => "}",
    };
    let label = match other {
        true => format!("expected `{closer}` instead"),
        false => format!("expected `{closer}` here"),
    };
    Diagnostic::error("E0103", format!("`{opener}` is never closed"))
        .at(place, label)
        .also(open.span, "opened here")
        .help(format!("add the missing `{closer}`"))
}

/// What an unknown character was meant to be, for the characters that word processors put in.
fn stand_in(unknown: &str) -> Option<Token> {
    match unknown {
        "−" | "–" | "—" => Some(Token::Minus),
        "×" | "·" => Some(Token::Star),
        "÷" => Some(Token::Slash),
        "，" => Some(Token::Comma),
        "：" => Some(Token::Colon),
        "；" => Some(Token::Semicolon),
        "＝" => Some(Token::Equals),
        "（" => Some(Token::LParen),
        "）" => Some(Token::RParen),
        _ => None,
    }
}

fn is_single_quoted(lexeme: Lexeme, text: &str) -> bool {
    let inner = lexeme.span.slice(text).strip_prefix('\'');
    lexeme.token == Token::SingleStr && inner.is_some_and(|inner| inner.ends_with('\''))
}

fn lexical_error(lexeme: Lexeme, text: &str) -> Diagnostic {
    let Lexeme { token, span } = lexeme;
    match token {
        Token::OpenStr => Diagnostic::error("E0106", "the string has no end")
            .at(
                Span::new(span.start as usize, span.start as usize + 1),
                "opened here",
            )
            .help("add `\"` before the end of the line"),
        Token::SingleStr => Diagnostic::error("E0101", "unknown character `'`")
            .at(span, "strings stand in double quotes")
            .help(format!("write \"{}\"", span.slice(text).trim_matches('\''))),
        _ => unknown_error(span, text),
    }
}

fn unknown_error(span: Span, text: &str) -> Diagnostic {
    let unknown = span.slice(text);
    let code = unknown.chars().next().map_or(0, |c| c as u32);
    let shown = quoted(&unknown.escape_debug().to_string());
    let diag = Diagnostic::error("E0101", format!("unknown character {shown}"))
        .at(span, format!("U+{code:04X} means nothing here"));
    let help = match unknown {
        "“" | "”" | "‘" | "’" | "'" => "strings stand in plain double quotes: \"…\"",
        "−" | "–" | "—" => "write `-`",
        "×" | "·" => "write `*`",
        "÷" => "write `/`",
        "\u{a0}" => "this is a no-break space; write a plain one",
        "\u{feff}" | "\u{200b}" => "this character is invisible; delete it",
        "\\" => "a line goes on inside `(` `)` without a backslash",
        "@" | "$" | "!" | "?" | "&" | "|" | "<" | ">" | "^" | "~" | "`" => return diag,
        _ => "names are made of the letters a to z and A to Z, digits and `_`",
    };
    diag.help(help)
}
