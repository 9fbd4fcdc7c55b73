//! What a compiled program needs while it runs. Imports nothing of the compiler.

#![warn(
    clippy::undocumented_unsafe_blocks,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod cache;
pub mod code;
pub mod cuda;
pub mod data;
pub mod exec;
pub mod files;
mod foreign;
mod half;
pub mod init;
pub mod memory;
pub mod rng;
pub mod weights;
mod words;
