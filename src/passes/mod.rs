//! Passes over the graph. Each is a function with a name; the driver verifies the graph after each.
//!
//! Passes know operators, but neither loops nor targets.

mod arguments;
pub mod build;
pub mod clip;
pub mod config;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod fuse;
pub mod grad;
mod known;
pub mod optimize;
