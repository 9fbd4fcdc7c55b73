//! What one output element is ([`Nest`]), how it is computed ([`loops::Kernel`]), and an interpreter of both.
//!
//! An operator writes its formula once, as a nest; every schedule and every emitter reads that, and
//! [`interp`] evaluates it in f64, slowly and obviously, as the oracle they are all compared with.
//!
//! This module does not know operators, only index arithmetic and reductions.

pub mod affine;
mod formula;
mod functions;
mod fuse;
pub mod interp;
pub mod loops;
pub mod random;
mod substitute;
mod terms;
mod text;
mod verify;

pub use affine::{Affine, Symbol};
pub use formula::*;
pub use functions::Written;
pub use fuse::{append, drop_unused, inline, operands, prune, written_out};
pub use substitute::substitute;
pub use terms::Macs;
pub use text::text;
pub use verify::verify;
