//! Backends: how nests become loops on a target, and loops its code.
//!
//! Knows nests and loops, but no operator.

pub mod cpu;
pub mod memory;
