//! Backends: how nests become loops on a target, and loops its code.
//!
//! Knows nests and loops, but no operator.

pub mod beyond;
mod combine;
pub mod cpu;
pub mod cuda;
pub mod memory;
pub mod origin;
pub mod phases;
mod pieces;
mod values;

pub use origin::Origin;
pub use values::{Part, StateLayout, StatePlace};
