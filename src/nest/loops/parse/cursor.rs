//! Where reading stands in the tokens of a loops text, and what it says of them. Knows no kernel.

use super::lexer::{Kind as Part, Token};
use super::{NUMBERS, ParseError, Result};

/// The tokens, and which is next.
pub(super) struct Tokens {
    pub list: Vec<Token>,
    pub at: usize,
}

impl Tokens {
    pub fn peek(&self) -> &Part {
        self.ahead(0)
    }

    pub fn ahead(&self, n: usize) -> &Part {
        let last = self.list.len() - 1;
        &self.list[(self.at + n).min(last)].kind
    }

    /// An error of what was just passed.
    pub fn wrong<T>(&self, message: impl Into<String>) -> Result<T> {
        self.wrong_at(self.at.saturating_sub(1), message)
    }

    /// An error of what is next.
    pub fn wrong_next<T>(&self, message: impl Into<String>) -> Result<T> {
        self.wrong_at(self.at, message)
    }

    pub fn wrong_at<T>(&self, at: usize, message: impl Into<String>) -> Result<T> {
        let last = self.list.len() - 1;
        Err(ParseError {
            line: self.list[at.min(last)].line,
            message: message.into(),
        })
    }

    /// Whether the sign is next; passes it.
    pub fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Part::Sign(s) if *s == sign);
        self.at += usize::from(found);
        found
    }

    /// Whether the word is next; passes it.
    pub fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Part::Word(w) if w == word);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, what: &str) -> Result<()> {
        if self.sign(what) || self.word(what) {
            return Ok(());
        }
        self.wrong_next(format!("`{what}` is missing before {}", shown(self.peek())))
    }

    pub fn name(&mut self) -> Result<String> {
        match self.peek().clone() {
            Part::Word(name) => {
                self.at += 1;
                Ok(name)
            }
            other => self.wrong_next(format!("a name is missing before {}", shown(&other))),
        }
    }

    /// A whole number without a sign.
    pub fn integer(&mut self) -> Result<i64> {
        let Part::Number(text) = self.peek() else {
            return self.wrong_next(format!("a number is missing before {}", shown(self.peek())));
        };
        match text.parse::<u64>() {
            Ok(n) if n < NUMBERS => {
                self.at += 1;
                Ok(n as i64)
            }
            _ => self.wrong_next(format!("{text} is not a whole number below {NUMBERS}")),
        }
    }

    /// A whole number from `least` on.
    pub fn count(&mut self, least: i64) -> Result<u32> {
        let n = self.integer()?;
        match u32::try_from(n) {
            Ok(count) if n >= least => Ok(count),
            _ => self.wrong(format!("{n} is not a number from {least} to {}", u32::MAX)),
        }
    }

    pub fn signed(&mut self) -> Result<i64> {
        let sign = if self.sign("-") { -1 } else { 1 };
        Ok(sign * self.integer()?)
    }
}

/// A token as a message shows it.
pub(super) fn shown(part: &Part) -> String {
    match part {
        Part::Word(w) => format!("`{w}`"),
        Part::Number(n) => format!("`{n}`"),
        Part::Nan(_) => "a NaN".into(),
        Part::Named(n) => format!("`%{n}`"),
        Part::Note(_) => "a comment".into(),
        Part::Sign(s) => format!("`{s}`"),
        Part::End => "the end of the text".into(),
    }
}
