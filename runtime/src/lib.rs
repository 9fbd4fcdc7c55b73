//! What a compiled program needs while it runs. Imports nothing of the compiler.

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
