//! The dotted word of an instruction, taken apart. Whoever decodes an opcode takes the modifiers that it knows; one that is
//! left over is an error.

use crate::exec::float::{RM, RN, RP, RZ};
use crate::ptx::ast::Type;

pub struct Modifiers<'a> {
    words: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    /// The opcode and its modifiers.
    pub fn split(word: &'a str) -> (&'a str, Self) {
        let mut words = word.split('.');
        let opcode = words.next().unwrap_or("");
        (
            opcode,
            Self {
                words: words.collect(),
            },
        )
    }

    pub fn take(&mut self, name: &str) -> bool {
        match self.words.iter().position(|word| *word == name) {
            Some(index) => {
                self.words.remove(index);
                true
            }
            None => false,
        }
    }

    /// Takes the first of the names that is there, and says which.
    pub fn take_one_of(&mut self, names: &[&str]) -> Option<usize> {
        names.iter().position(|name| self.take(name))
    }

    /// Drops words that change speed only.
    pub fn ignore(&mut self, names: &[&str]) {
        self.words.retain(|word| !names.contains(word));
    }

    /// Takes the last word as a type.
    pub fn take_type(&mut self) -> Option<Type> {
        let kind = Type::parse(self.words.last()?)?;
        self.words.pop();
        Some(kind)
    }

    pub fn take_first(&mut self) -> Option<&'a str> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    pub fn take_rounding(&mut self) -> Option<u8> {
        self.take_one_of(&["rn", "rz", "rm", "rp"])
            .map(|index| [RN, RZ, RM, RP][index])
    }

    pub fn left(&self) -> Option<&'a str> {
        self.words.first().copied()
    }
}
