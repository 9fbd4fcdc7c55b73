//! lenetc compiles a text that describes a convolutional network into machine code, and trains it.
//!
//! ```text
//! .nn text ─lexer, parser─▶ tree ─build─▶ graph ─grad─▶ training graph
//!   ─fold, cse, dce, fuse─▶ nests ─schedule─▶ loops ─memory plan─▶ an emitter ─▶ machine code, or CUDA C
//! ```
//!
//! What a value means: a graph ([`ir`]) holds typed tensors with static shapes and one leading axis, the
//! batch, whose length is known when a step runs. An operator ([`ops`]) says what each element of its
//! results is by one formula, a [`nest::Nest`]; the interpreter evaluates that in f64, and every schedule
//! and emitter derives its code from the same formula.
//!
//! Imports run one way: `lines ← diag ← syntax ← ir ← nest ← ops ← data ← passes ← backend ← driver ← train ← main`.

#![warn(
    clippy::undocumented_unsafe_blocks,
    clippy::print_stdout,
    clippy::print_stderr
)]

// Tests within share the list of cases with those outside.
#[cfg(test)]
extern crate self as lenetc;

#[macro_use]
mod listed;

pub mod backend;
pub mod data;
pub mod diag;
pub mod driver;
pub mod ir;
pub mod lines;
pub mod nest;
pub mod ops;
pub mod passes;
pub mod syntax;
pub mod train;
