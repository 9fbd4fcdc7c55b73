//! The driver API: exported functions, and the state behind them. Handles are numbers that are looked up in tables, so one
//! that is wrong is an error and nothing worse. Knows kernels only as something to decode and to launch.

mod context;
mod control;
mod device;
pub mod errors;
mod event;
mod exports;
mod graph;
mod image;
mod launch;
mod machine;
mod memory;
mod module;
mod occupancy;
mod pinned;
mod pool;
mod queue;
mod run;
pub mod state;
mod stream;

pub use context::*;
pub use control::*;
pub use device::*;
pub use event::*;
pub use exports::symbol;
pub use graph::*;
pub use launch::*;
pub use machine::*;
pub use memory::*;
pub use module::*;
pub use occupancy::*;
pub use pinned::*;
pub use pool::*;
pub use stream::*;
