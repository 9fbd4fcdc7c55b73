//! The text of PTX and its syntax tree. Knows nothing of what an instruction does: an opcode is a word with dots here.

pub mod ast;
mod instruction;
mod lexer;
mod parser;

pub use parser::parse;

/// A text that is not PTX, or PTX that this library does not execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PtxError {
    /// Counting from one.
    pub line: u32,
    pub reason: String,
}

impl PtxError {
    pub fn new(line: u32, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}
