//! Tokens to tree: items, bodies, layers and entries, in one pass that goes on behind an error.
//!
//! It does not know which layers, keys or parameters exist. Recursion is at most [`super::MAX_DEPTH`] levels deep, and
//! every loop takes a token or ends.

mod cursor;
#[cfg(test)]
mod errors;
mod habits;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
mod values;

use super::ast::{
    BlockDef, Body, Branches, Call, Entry, File, Ident, Item, Layer, LayerKind, ModelDef, Param,
    Repeat, TrainDef, Value, ValueKind,
};
use super::lexer::Token;
use super::{MAX_BYTES, too_large};
use crate::diag::{Diagnostic, Source, Span};
use cursor::Cursor;
use habits::Habit;

/// The tree of `source`, and what is wrong with the text in order of its places.
///
/// It never fails: what makes no sense is left out of the tree, so the tree of a text with errors is good for further
/// messages only.
pub fn parse(source: &Source) -> (File, Vec<Diagnostic>) {
    if source.text.len() > MAX_BYTES {
        let diag = too_large(source.text.len());
        return (File { items: Vec::new() }, vec![diag]);
    }
    let mut parser = Parser {
        cursor: Cursor::new(&source.text),
        tallest: 0,
        chain_too_deep: false,
        entries: false,
    };
    let file = parser.file();
    let mut diags = parser.cursor.finish();
    diags.sort_by_key(|diag| diag.span().map(|span| span.start));
    (file, diags)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// Height of the highest value so far in the innermost call or record.
    tallest: usize,
    /// Whether the current chain of operators was reported as too deep.
    chain_too_deep: bool,
    /// Whether the innermost braces hold entries rather than layers.
    entries: bool,
}

impl Parser<'_> {
    fn file(&mut self) -> File {
        let mut items = Vec::new();
        let (mut model, mut train) = (None, None);
        while !self.cursor.at(Token::End) {
            let place = self.cursor.current.span;
            self.cursor.count_layer(place);
            let Some(item) = self.item() else {
                continue;
            };
            match item {
                Item::Block(_) => {}
                Item::Model(_) => self.once("models", &mut model, place),
                Item::Train(_) => self.once("`train` blocks", &mut train, place),
            }
            items.push(item);
        }
        if model.is_none() && self.cursor.diags.is_empty() {
            self.no_model();
        }
        File { items }
    }

    fn once(&mut self, what: &str, first: &mut Option<Span>, place: Span) {
        let Some(first) = *first else {
            *first = Some(place);
            return;
        };
        let diag = Diagnostic::error("E0108", format!("the file has two {what}"))
            .at(place, "the second")
            .also(first, "the first");
        self.cursor.report(diag);
    }

    fn no_model(&mut self) {
        let end = self.cursor.text.trim_end().len();
        let diag = Diagnostic::error("E0108", "the file has no model")
            .at(Span::new(end, end), "expected `model NAME { … }`");
        self.cursor.report(diag);
    }

    fn item(&mut self) -> Option<Item> {
        let word = self.cursor.word();
        let next = self.cursor.next.token;
        let known = match next {
            _ if !self.cursor.at(Token::Word) => None,
            Token::Word => nearest(word, &["model", "block"]),
            Token::LBrace => nearest(word, &["train", "model", "block"]),
            _ => ["model", "block", "train"].into_iter().find(|w| *w == word),
        };
        let Some(known) = known else {
            return self.no_item();
        };
        if known != word {
            let diag = self.cursor.expected_here("`model`, `block` or `train`");
            self.cursor
                .report(diag.help(format!("did you mean `{known}`?")));
        }
        let start = self.cursor.bump();
        Some(match known {
            "model" => Item::Model(self.model(start)),
            "block" => Item::Block(self.block(start)),
            _ => Item::Train(self.train(start)),
        })
    }

    fn no_item(&mut self) -> Option<Item> {
        let mut diag = self.cursor.expected_here("`model`, `block` or `train`");
        diag = match self.cursor.current.token {
            Token::RBrace => diag.help("there is one `}` more than there are `{`"),
            Token::SlashSlash => diag.help("comments start with `#`"),
            Token::Word => diag.help("layers stand inside `model NAME { … }`"),
            _ => diag,
        };
        self.cursor.report(diag);
        match self.cursor.at(Token::SlashSlash) {
            true => self.cursor.skip_line(),
            false => self.cursor.skip_to_item(),
        }
        None
    }

    fn model(&mut self, start: Span) -> ModelDef {
        let name = self.item_name("a name for the model");
        if self.cursor.follows(Token::LParen) {
            let diag = self.cursor.expected("`{`");
            self.cursor
                .report(diag.help("only a `block` has parameters"));
            self.cursor.skip_group();
        }
        let body = self.body();
        let span = start.to(body.span);
        ModelDef { name, body, span }
    }

    fn block(&mut self, start: Span) -> BlockDef {
        let name = self.item_name("a name for the block");
        let params = match self.cursor.follows(Token::LParen) {
            true => self.elements(true, Self::param),
            false => Vec::new(),
        };
        let body = self.body();
        let span = start.to(body.span);
        BlockDef {
            name,
            params,
            body,
            span,
        }
    }

    fn param(&mut self) -> Option<Param> {
        if !self.cursor.at(Token::Word) {
            let diag = self.cursor.expected("a parameter");
            self.cursor.report(diag);
            return None;
        }
        let name = self.ident();
        self.cursor.count_value(name.span);
        let mut default = None;
        if self.cursor.at(Token::Equals) {
            self.cursor.bump();
            default = Some(self.value()?);
        }
        Some(Param { name, default })
    }

    fn train(&mut self, start: Span) -> TrainDef {
        let mut entries = Vec::new();
        if let Some(open) = self.body_start() {
            entries = self.entries(true);
            self.cursor.leave_group(open);
        }
        TrainDef {
            entries,
            span: start,
        }
    }

    /// `key = value` up to the closing brace, each in a line of its own where `lines` says so.
    fn entries(&mut self, lines: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        let outer = std::mem::replace(&mut self.entries, true);
        while !self.ends_body() {
            match self.entry() {
                Some(entry) => entries.push(entry),
                None => self.cursor.skip_statement(),
            }
            if lines {
                self.statement_end("entry");
            }
        }
        self.entries = outer;
        entries
    }

    fn entry(&mut self) -> Option<Entry> {
        if !self.cursor.at(Token::Word) {
            self.no_statement("an entry `key = value`");
            return None;
        }
        let name = self.ident();
        self.cursor.count_value(name.span);
        if !self.cursor.follows(Token::Equals) {
            let diag = self.cursor.expected("`=`");
            self.cursor
                .report(diag.help("an entry is written key = value"));
            if !self.cursor.follows(Token::Colon) {
                return None;
            }
        }
        self.cursor.bump();
        let value = self.value()?;
        let span = name.span.to(value.span);
        Some(Entry { name, value, span })
    }

    fn record_entries(&mut self) -> Vec<Entry> {
        let Some(open) = self.cursor.enter_group() else {
            return Vec::new();
        };
        let entries = self.entries(false);
        self.cursor.leave_group(open);
        entries
    }

    fn body(&mut self) -> Body {
        let start = self.cursor.current.span;
        let Some(open) = self.body_start() else {
            let span = self.cursor.previous.after();
            let layers = Vec::new();
            return Body { layers, span };
        };
        let layers = self.layers();
        let end = self.cursor.leave_group(open);
        let span = start.to(end);
        Body { layers, span }
    }

    /// Takes the brace of a body; nothing where there is none, or where it is too deep.
    fn body_start(&mut self) -> Option<cursor::Open> {
        if !self.cursor.follows(Token::LBrace) {
            let mut diag = self.cursor.expected("`{`");
            if self.cursor.at(Token::LBrace) {
                diag = diag.help("the brace stands at the end of the line before");
            }
            self.cursor.report(diag);
        }
        if !self.cursor.at(Token::LBrace) {
            self.cursor.skip_statement();
        }
        // A header that has lost its brace often still has its closing one: read on as if it were there.
        match self.cursor.at(Token::LBrace) {
            true => self.cursor.enter_group(),
            false => self.cursor.assume_brace(),
        }
    }

    fn layers(&mut self) -> Vec<Layer> {
        let mut layers = Vec::new();
        while !self.ends_body() {
            self.cursor.count_layer(self.cursor.current.span);
            match self.layer() {
                Some(layer) => layers.push(layer),
                None => self.cursor.skip_statement(),
            }
            self.statement_end("layer");
        }
        layers
    }

    /// Skips what may stand between statements; whether the body ends here.
    fn ends_body(&mut self) -> bool {
        while self.cursor.at(Token::Semicolon) {
            self.cursor.bump();
        }
        matches!(self.cursor.current.token, Token::RBrace | Token::End) || self.cursor.at_item()
    }

    /// Reports a statement that does not start with a name, and takes its first token.
    fn no_statement(&mut self, what: &str) {
        if self.cursor.at(Token::SlashSlash) {
            return self.slash_comment();
        }
        let mut diag = self.cursor.expected_here(what);
        match self.cursor.current.token {
            Token::LBrace => {
                diag = diag.help("a brace opens behind a name, in the same line");
                self.cursor.report(diag);
                return self.cursor.skip_group();
            }
            Token::RParen | Token::RBracket => diag = diag.help("it closes nothing"),
            _ => {}
        }
        self.cursor.report(diag);
        self.cursor.bump();
    }

    /// Expects the end of a statement, and skips what stands before it.
    fn statement_end(&mut self, what: &str) {
        if self.at_statement_end() {
            return;
        }
        if self.cursor.at(Token::SlashSlash) {
            return self.slash_comment();
        }
        let diag = self
            .cursor
            .expected(&format!("a new line or `;` behind the {what}"));
        if !self.cursor.at(Token::Comma) {
            let diag = self.explain(diag);
            self.cursor.report(diag);
            return self.cursor.skip_statement();
        }
        let ends_line = self.cursor.next.first || self.cursor.next.token == Token::RBrace;
        let help = match ends_line {
            true => "a new line is enough, without a comma",
            false => "in one line, `;` stands between them",
        };
        self.cursor.habit(Habit::Comma, diag.help(help));
        self.cursor.bump();
        if !ends_line && !self.cursor.at(Token::Word) {
            self.cursor.skip_statement();
        }
    }

    fn at_statement_end(&self) -> bool {
        let token = self.cursor.current.token;
        self.cursor.current.first || matches!(token, Token::Semicolon | Token::RBrace | Token::End)
    }

    /// Adds what the current token was probably meant for.
    fn explain(&self, diag: Diagnostic) -> Diagnostic {
        let before = self.cursor.previous.slice(self.cursor.text);
        let digits = before.bytes().all(|byte| byte.is_ascii_digit());
        match self.cursor.current.token {
            Token::Dot if digits => diag.help(format!("write {before}.0")),
            Token::Star if self.cursor.next.token == Token::Star => {
                diag.help("there is no power; write the product")
            }
            Token::LParen => diag.help("a layer is called once, with all its arguments"),
            Token::Colon => diag.help("arguments are given as name=value"),
            _ => diag,
        }
    }

    fn layer(&mut self) -> Option<Layer> {
        if !self.cursor.at(Token::Word) {
            self.no_statement("a layer");
            return None;
        }
        let mut name = self.path();
        let start = name.span;
        let mut label = None;
        if self.cursor.follows(Token::Colon) || self.cursor.follows(Token::Equals) {
            if self.cursor.at(Token::Equals) {
                let diag = self.cursor.expected("a new line or `:`");
                let help = format!("a label is written `{}: …`", name.name);
                self.cursor.habit(Habit::Assignment, diag.help(help));
            }
            self.cursor.bump();
            if !self.cursor.follows(Token::Word) {
                let diag = self.cursor.expected("a layer");
                self.cursor.report(diag);
                return None;
            }
            label = Some(std::mem::replace(&mut name, self.path()));
        }
        let kind = match name.name == "repeat" {
            true => LayerKind::Repeat(self.repeat()?),
            false => self.call_or_branches(name),
        };
        let span = start.to(self.cursor.previous);
        Some(Layer { label, kind, span })
    }

    fn call_or_branches(&mut self, name: Ident) -> LayerKind {
        let call = self.call(name);
        if !self.cursor.follows(Token::LBrace) {
            return LayerKind::Call(call);
        }
        LayerKind::Branches(Branches {
            name: call.name,
            args: call.args,
            branches: self.branches(),
        })
    }

    /// What is called `name`, with arguments if there are parentheses.
    fn call(&mut self, name: Ident) -> Call {
        let args = match self.cursor.follows(Token::LParen) {
            true => self.args(),
            false => Vec::new(),
        };
        let span = name.span.to(self.cursor.previous);
        Call { name, args, span }
    }

    fn branches(&mut self) -> Vec<Body> {
        let mut branches = Vec::new();
        let Some(open) = self.cursor.enter_group() else {
            return branches;
        };
        loop {
            match self.cursor.current.token {
                Token::RBrace | Token::End => break,
                _ if self.cursor.at_item() => break,
                Token::LBrace => {
                    self.cursor.count_layer(self.cursor.current.span);
                    branches.push(self.branch());
                }
                Token::Comma | Token::Semicolon => {
                    let diag = self.cursor.expected_here("a branch `{ … }`");
                    self.cursor
                        .report(diag.help("nothing stands between branches"));
                    self.cursor.bump();
                }
                _ => branches.push(self.bare_branch()),
            }
        }
        self.cursor.leave_group(open);
        branches
    }

    fn branch(&mut self) -> Body {
        let start = self.cursor.current.span;
        let mut layers = Vec::new();
        if let Some(open) = self.cursor.enter_group() {
            layers = self.layers();
            self.cursor.leave_group(open);
        }
        let span = start.to(self.cursor.previous);
        Body { layers, span }
    }

    /// Layers where a branch should be, as in `Conv2d(6) { Sigmoid }`.
    fn bare_branch(&mut self) -> Body {
        let start = self.cursor.current.span;
        let diag = self.cursor.expected_here("a branch `{ … }`");
        let help =
            "layers that take branches are written NAME { { … } { … } }, others without braces";
        self.cursor.report(diag.help(help));
        let layers = self.layers();
        let span = start.to(self.cursor.previous);
        Body { layers, span }
    }

    fn repeat(&mut self) -> Option<Repeat> {
        let records = std::mem::replace(&mut self.cursor.records, false);
        let header = self.repeat_header();
        self.cursor.records = records;
        if header.is_none() && !self.cursor.skip_to_brace() {
            return None;
        }
        let body = self.body();
        let (variable, from, to) = header?;
        Some(Repeat {
            variable,
            from,
            to,
            body,
        })
    }

    /// `n` or `i in a..b`.
    fn repeat_header(&mut self) -> Option<(Option<Ident>, Value, Value)> {
        let next = self.cursor.next.span.slice(self.cursor.text);
        let ranges = self.cursor.follows(Token::Word) && next == "in";
        let variable = ranges.then(|| self.ident());
        if ranges {
            self.cursor.bump();
        }
        let from = self.value()?;
        if self.cursor.follows(Token::DotDot) {
            if !ranges {
                let diag = self.cursor.expected("`{`");
                self.cursor
                    .report(diag.help("a range has a name: repeat i in 0..4 { … }"));
            }
            self.cursor.bump();
            let to = self.value()?;
            return Some((variable, from, to));
        }
        if ranges {
            let diag = self.cursor.expected("`..`");
            self.cursor
                .report(diag.help("a range is written 0..4, without its last number"));
        }
        let span = Span {
            end: from.span.start,
            ..from.span
        };
        let kind = ValueKind::Int(0);
        Some((variable, Value { kind, span }, from))
    }

    fn item_name(&mut self, what: &str) -> Ident {
        if self.cursor.follows(Token::Word) {
            return self.ident();
        }
        let diag = self.cursor.expected(what);
        self.cursor.report(diag);
        Ident {
            name: String::new(),
            span: self.cursor.previous.after(),
        }
    }

    /// Takes the current word.
    fn ident(&mut self) -> Ident {
        let name = self.cursor.word().into();
        let span = self.cursor.bump();
        Ident { name, span }
    }

    /// Takes a word; of words with dots between them, which it reports, the last one.
    fn path(&mut self) -> Ident {
        let mut ident = self.ident();
        if !self.cursor.follows(Token::Dot) || !self.cursor.next_is(Token::Word) {
            return ident;
        }
        let dot = self.cursor.current.span;
        let start = ident.span;
        while self.cursor.follows(Token::Dot) && self.cursor.next_is(Token::Word) {
            self.cursor.bump();
            ident = self.ident();
        }
        let diag = Diagnostic::error("E0102", "names have no dots")
            .at(start.to(dot), "to be left out")
            .help(format!("write `{}`", ident.name));
        self.cursor.habit(Habit::Prefix, diag);
        ident
    }
}

/// The word itself, or the only one of `words` that is a slip or two away from it.
fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    let exact = words.iter().find(|known| **known == word);
    let near = || words.iter().find(|known| slips(word, known) <= 2);
    exact.or_else(near).copied()
}

/// How many letters of `known` are not at their place in `word`, counted from both ends.
fn slips(word: &str, known: &str) -> usize {
    let same = |(a, b): &(u8, u8)| a.eq_ignore_ascii_case(b);
    let front = word.bytes().zip(known.bytes()).take_while(same).count();
    let rest = word.len().min(known.len()) - front;
    let ends = word.bytes().rev().zip(known.bytes().rev());
    let back = ends.take_while(same).take(rest).count();
    word.len().max(known.len()) - front - back
}
