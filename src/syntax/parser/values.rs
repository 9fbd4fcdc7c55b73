//! Values: literals, names, calls, lists, records, and arithmetic on them.
//!
//! It does not know which names exist or what an operator computes.

use super::Parser;
use super::cursor::Open;
use super::habits::Habit;
use crate::diag::{Diagnostic, Span};
use crate::syntax::MAX_DEPTH;
use crate::syntax::ast::{Arg, BinaryOp, Ident, Value, ValueKind};
use crate::syntax::lexer::Token;

/// A value and the levels below it: a long sum is a deep tree, though it is read without recursion.
struct Tall {
    value: Value,
    height: usize,
}

impl Tall {
    fn new(kind: ValueKind, span: Span, height: usize) -> Self {
        let value = Value { kind, span };
        Tall { value, height }
    }
}

impl Parser<'_> {
    /// A value; nothing where the current token starts none, which is reported.
    pub(super) fn value(&mut self) -> Option<Value> {
        let tall = self.sum()?;
        self.tallest = self.tallest.max(tall.height);
        Some(tall.value)
    }

    /// Whatever `parts` reads, and one level more than the highest value in it.
    fn around<T>(&mut self, parts: impl FnOnce(&mut Self) -> T) -> (T, usize) {
        let outer = std::mem::replace(&mut self.tallest, 0);
        let all = parts(self);
        let inner = std::mem::replace(&mut self.tallest, outer);
        (all, inner + 1)
    }

    fn sum(&mut self) -> Option<Tall> {
        let mut left = self.product()?;
        while let Some(op) = self.operator(sum_operator) {
            let right = self.product()?;
            left = self.join(op, left, right);
        }
        Some(left)
    }

    fn product(&mut self) -> Option<Tall> {
        let mut left = self.signed()?;
        while let Some(op) = self.operator(product_operator) {
            let right = self.signed()?;
            left = self.join(op, left, right);
        }
        Some(left)
    }

    fn operator(&mut self, which: fn(Token) -> Option<BinaryOp>) -> Option<BinaryOp> {
        if !self.cursor.continues() {
            return None;
        }
        if self.cursor.at(Token::SlashSlash) && !self.floor_division() {
            return None;
        }
        let op = which(self.cursor.current.token)?;
        self.cursor.bump();
        Some(op)
    }

    /// Whether `//` stands for a division here, which is reported; skips it where it is a comment.
    fn floor_division(&mut self) -> bool {
        let divides = matches!(self.cursor.next.token, Token::Int | Token::LParen);
        if divides {
            let diag = Diagnostic::error("E0102", "`//` is not an operator")
                .at(self.cursor.current.span, "not an operator")
                .help("write `/`, which rounds down");
            self.cursor.report(diag);
        } else if self.cursor.in_brackets() {
            self.slash_comment();
        }
        divides
    }

    /// Joins two operands; past the deepest level it reports and keeps the left one only.
    fn join(&mut self, op: BinaryOp, left: Tall, right: Tall) -> Tall {
        let height = left.height.max(right.height) + 1;
        let span = left.value.span.to(right.value.span);
        if self.cursor.depth + height > MAX_DEPTH {
            // One message for the whole chain: each of its links would give the same.
            if !std::mem::replace(&mut self.chain_too_deep, true) {
                self.cursor.too_deep(right.value.span);
            }
            return left;
        }
        self.chain_too_deep = false;
        let kind = ValueKind::Binary {
            op,
            left: Box::new(left.value),
            right: Box::new(right.value),
        };
        Tall::new(kind, span, height)
    }

    fn signed(&mut self) -> Option<Tall> {
        if !self.cursor.follows(Token::Minus) {
            return self.primary();
        }
        if self.cursor.next_is(Token::Int) || self.cursor.next_is(Token::Float) {
            let minus = self.cursor.bump();
            return Some(self.number(Some(minus)));
        }
        let start = self.cursor.current.span;
        if !self.cursor.enter() {
            while self.cursor.follows(Token::Minus) {
                self.cursor.bump();
            }
            return self.primary();
        }
        self.cursor.bump();
        let inner = self.signed();
        self.cursor.depth -= 1;
        inner.map(|inner| negative(start, inner))
    }

    fn primary(&mut self) -> Option<Tall> {
        if !self.cursor.continues() {
            return self.no_value();
        }
        match self.cursor.current.token {
            Token::Int | Token::Float | Token::BadNumber => Some(self.number(None)),
            Token::Str => Some(self.string()),
            Token::Word => Some(self.named()),
            Token::LParen => self.tuple(),
            Token::LBracket => Some(self.list()),
            Token::SlashSlash if self.cursor.in_brackets() => {
                self.slash_comment();
                self.primary()
            }
            _ => self.no_value(),
        }
    }

    fn no_value(&mut self) -> Option<Tall> {
        let mut diag = self.cursor.expected("a value");
        match self.cursor.current.token {
            Token::Plus => diag = diag.help("a positive number has no sign"),
            Token::LBrace => diag = diag.help("a list stands in `[` `]`"),
            _ => {}
        }
        self.cursor.report(diag);
        None
    }

    /// A number; `minus` is the place of the sign before it.
    fn number(&mut self, minus: Option<Span>) -> Tall {
        let (token, span) = (self.cursor.current.token, self.cursor.current.span);
        let word = self.cursor.word();
        self.cursor.count_value(span);
        self.cursor.bump();
        let kind = match token {
            Token::Int => self.int(word, span, minus.is_some()),
            Token::Float => self.float(word, span, minus.is_some()),
            _ => self.bad_number(word, span),
        };
        Tall::new(kind, minus.map_or(span, |minus| minus.to(span)), 0)
    }

    fn int(&mut self, word: &str, span: Span, negative: bool) -> ValueKind {
        let size: Option<i128> = match word.len() {
            0..=30 => word.parse().ok(),
            _ => word.trim_start_matches('0').parse().ok(),
        };
        let signed = size.map(|size| if negative { -size } else { size });
        let fits = signed.and_then(|signed| i64::try_from(signed).ok());
        if fits.is_none() {
            let label = format!("integers go from {} to {}", i64::MIN, i64::MAX);
            let diag = Diagnostic::error("E0104", "the number is out of range").at(span, label);
            self.cursor.report(diag);
        }
        ValueKind::Int(fits.unwrap_or(0))
    }

    fn float(&mut self, word: &str, span: Span, negative: bool) -> ValueKind {
        let size = word.parse().unwrap_or(f64::INFINITY);
        if size.is_finite() {
            return ValueKind::Float(if negative { -size } else { size });
        }
        let label = format!("the largest float is {:e}", f64::MAX);
        let diag = Diagnostic::error("E0104", "the number is out of range").at(span, label);
        self.cursor.report(diag);
        ValueKind::Float(0.0)
    }

    fn bad_number(&mut self, word: &str, span: Span) -> ValueKind {
        let plain = word.replace('_', "");
        let mut diag = Diagnostic::error("E0102", "expected a number, found letters in it")
            .at(span, "neither a number nor a name");
        let digits = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
        if digits && plain.len() <= 30 {
            diag = diag.help(format!("write {plain}"));
        }
        self.cursor.report(diag);
        match plain.parse() {
            Ok(size) => ValueKind::Int(size),
            Err(_) => ValueKind::Int(0),
        }
    }

    fn string(&mut self) -> Tall {
        let span = self.cursor.current.span;
        let word = self.cursor.word();
        let quote = if word.starts_with('\'') { '\'' } else { '"' };
        let inner = word.strip_prefix(quote).unwrap_or(word);
        let inner = inner.strip_suffix(quote).unwrap_or(inner.trim_end());
        self.cursor.count_value(span);
        self.cursor.bump();
        if quote == '\'' && !self.entries && is_name(inner) {
            return self.quoted_name(inner, span);
        }
        Tall::new(ValueKind::Str(inner.into()), span, 0)
    }

    /// A word in single quotes, which was reported as such: an argument of a layer is a name where torch has a string.
    fn quoted_name(&mut self, name: &str, span: Span) -> Tall {
        let reported = |diag: &&mut Diagnostic| diag.span() == Some(span);
        if let Some(diag) = self.cursor.diags.iter_mut().find(reported) {
            diag.labels[0].text = "a name has no quotes".into();
            diag.help = vec![format!("write {name}")];
        }
        Tall::new(ValueKind::Name(name.into()), span, 0)
    }

    /// What starts with a name: the name itself, a call, or a record.
    fn named(&mut self) -> Tall {
        let mut name = self.path();
        self.cursor.count_value(name.span);
        if self.cursor.follows(Token::LParen) {
            let (call, height) = self.around(|parser| parser.call(name));
            let span = call.span;
            return Tall::new(ValueKind::Call(call), span, height);
        }
        if self.cursor.records && self.cursor.follows(Token::LBrace) {
            return self.record(name);
        }
        if let Some(plain) = python_literal(&name.name) {
            let message = format!("expected a value, found `{}`", name.name);
            let diag = Diagnostic::error("E0102", message)
                .at(name.span, "written in lower case")
                .help(format!("write `{plain}`"));
            self.cursor.habit(Habit::Literal, diag);
            name.name = plain.into();
        }
        Tall::new(ValueKind::Name(name.name), name.span, 0)
    }

    fn record(&mut self, name: Ident) -> Tall {
        let start = name.span;
        let (entries, height) = self.around(|parser| parser.record_entries());
        let span = start.to(self.cursor.previous);
        Tall::new(ValueKind::Record { name, entries }, span, height)
    }

    fn list(&mut self) -> Tall {
        let start = self.cursor.current.span;
        let (values, height) = self.values();
        let span = start.to(self.cursor.previous);
        self.cursor.count_value(span);
        Tall::new(ValueKind::List(values), span, height + 1)
    }

    fn tuple(&mut self) -> Option<Tall> {
        let start = self.cursor.current.span;
        let empty = self.cursor.next.token == Token::RParen;
        let (mut values, height) = self.values();
        let span = start.to(self.cursor.previous);
        self.cursor.count_value(span);
        if empty {
            let diag = Diagnostic::error("E0102", "expected a value in the parentheses")
                .at(span, "expected a value");
            self.cursor.report(diag);
        }
        if values.len() > 1 {
            return Some(Tall::new(ValueKind::Tuple(values), span, height + 1));
        }
        let value = values.pop()?;
        Some(Tall::new(value.kind, span, height))
    }

    /// The values between brackets, and the height of the highest.
    fn values(&mut self) -> (Vec<Value>, usize) {
        let mut highest = 0;
        let values = self.elements(false, |parser| {
            let tall = parser.sum()?;
            highest = highest.max(tall.height);
            Some(tall.value)
        });
        (values, highest)
    }

    /// `( … )` of a call, reported where a positional argument stands behind a named one.
    pub(super) fn args(&mut self) -> Vec<Arg> {
        let mut named: Option<Span> = None;
        self.elements(true, |parser| {
            let arg = parser.arg()?;
            match (&arg.name, named) {
                (Some(name), _) => named = Some(name.span),
                (None, Some(before)) => parser.positional(arg.span, before),
                _ => {}
            }
            Some(arg)
        })
    }

    fn positional(&mut self, place: Span, named: Span) {
        let diag = Diagnostic::error("E0109", "a positional argument stands behind a named one")
            .at(place, "has no name")
            .also(named, "has one")
            .help("put it first, or give it its name");
        self.cursor.report(diag);
    }

    fn arg(&mut self) -> Option<Arg> {
        let start = self.cursor.current.span;
        let separated = [Token::Equals, Token::Colon]
            .iter()
            .any(|&mark| self.cursor.next_is(mark));
        let mut name = None;
        if self.cursor.at(Token::Word) && separated {
            name = Some(self.ident());
            if self.cursor.at(Token::Colon) {
                let diag = self.cursor.expected("`=`");
                self.cursor
                    .report(diag.help("arguments are given as name=value"));
            }
            self.cursor.bump();
        }
        let value = self.value()?;
        // A grouped value ends with its parenthesis, which its span includes.
        let span = start.to(value.span);
        Some(Arg { name, value, span })
    }

    /// Elements between delimiters and the commas between them; line ends are blank.
    pub(super) fn elements<T>(
        &mut self,
        named: bool,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        let Some(open) = self.cursor.enter_group() else {
            return all;
        };
        let records = std::mem::replace(&mut self.cursor.records, true);
        while !self.ends_group(open) {
            match element(self) {
                Some(element) => all.push(element),
                None => self.cursor.skip_element(),
            }
            if !self.comma(open, named) {
                break;
            }
        }
        self.cursor.records = records;
        self.cursor.leave_group(open);
        all
    }

    fn ends_group(&self, open: Open) -> bool {
        let token = self.cursor.current.token;
        Some(token) == open.token.closer()
            || matches!(token, Token::End | Token::RBrace | Token::Semicolon)
            || token.is_closer()
            || self.cursor.at_item()
    }

    /// Takes the comma behind an element; false where the group ends.
    fn comma(&mut self, open: Open, named: bool) -> bool {
        if self.cursor.at(Token::SlashSlash) {
            self.slash_comment();
        }
        if self.cursor.at(Token::Comma) {
            self.cursor.bump();
            return true;
        }
        if self.ends_group(open) || self.forgotten(named) {
            return false;
        }
        let closer = if open.token == Token::LParen {
            ')'
        } else {
            ']'
        };
        let diag = self.cursor.expected(&format!("`,` or `{closer}`"));
        self.cursor.report(self.explain(diag));
        if !starts_value(self.cursor.current.token) {
            self.cursor.skip_element();
            return self.comma(open, named);
        }
        true
    }

    /// Whether the line looks like the next statement, so that the group before it was never closed.
    fn forgotten(&self, named: bool) -> bool {
        // In `train`, the next line's `key = value` looks like an argument.
        let argument = named && !self.entries && self.cursor.next_is(Token::Equals);
        let statement = self.cursor.at(Token::Word) && !argument;
        self.cursor.current.first && statement || self.cursor.at(Token::LBrace)
    }

    /// Reports `//` where a comment must be meant, and skips the line.
    pub(super) fn slash_comment(&mut self) {
        let place = self.cursor.current.span;
        let diag = Diagnostic::error("E0102", "`//` starts no comment")
            .at(place, "not a comment")
            .help("comments start with `#`");
        self.cursor.report(diag);
        self.cursor.skip_line();
    }
}

fn negative(start: Span, inner: Tall) -> Tall {
    let span = start.to(inner.value.span);
    let kind = ValueKind::Negative(Box::new(inner.value));
    Tall::new(kind, span, inner.height + 1)
}

fn sum_operator(token: Token) -> Option<BinaryOp> {
    match token {
        Token::Plus => Some(BinaryOp::Add),
        Token::Minus => Some(BinaryOp::Subtract),
        _ => None,
    }
}

fn product_operator(token: Token) -> Option<BinaryOp> {
    match token {
        Token::Star => Some(BinaryOp::Multiply),
        Token::Slash | Token::SlashSlash => Some(BinaryOp::Divide),
        Token::Percent => Some(BinaryOp::Remainder),
        _ => None,
    }
}

fn starts_value(token: Token) -> bool {
    use Token::{BadNumber, Float, Int, LBracket, LParen, Minus, Str, Word};
    matches!(
        token,
        BadNumber | Float | Int | LBracket | LParen | Minus | Str | Word
    )
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn python_literal(name: &str) -> Option<&'static str> {
    match name {
        "True" => Some("true"),
        "False" => Some("false"),
        _ => None,
    }
}
