//! lenetc compiles a text that describes a convolutional network into machine code, and trains it.
//!
//! ```text
//! .nn text ─lexer, parser─▶ tree ─build─▶ graph ─grad─▶ training graph
//!   ─fold, cse, dce, fuse─▶ nests ─schedule─▶ loops ─memory plan─▶ an emitter ─▶ machine code, or CUDA C
//! ```
//!
//! A program that trains and evaluates a model, as the command line does:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use lenetc::data::Search;
//! use lenetc::diag::Source;
//! use lenetc::driver;
//! use lenetc::train::{Options, Refused, Session, Setup, Silent};
//!
//! fn main() -> Result<(), Refused> {
//!     let text = "model Line { input(1); Linear(1) }
//!         train { data = inline { x = [[0], [1], [2], [3]] y = [[1], [3], [5], [7]] }
//!                 loss = MSELoss; optimizer = SGD(lr=0.1); batch_size = 4; epochs = 200 }";
//!     let source = Source { name: "line.nn".into(), text: text.into() };
//!     let model = driver::read(source, &[])?;
//!     let mut session = Session::open(model, Search::default(), &Setup::default())?;
//!     session.initialise()?;
//!     session.train(&Options::default(), &AtomicBool::new(false), &mut Silent)?;
//!     let (loss, _) = session.evaluate()?;
//!     assert!(loss < 1e-3, "{loss}");
//!     Ok(())
//! }
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
