//! CUDA: grids of blocks of threads, tiles in shared memory, and their text in CUDA C.
//!
//! Does not know operators, nor how a program is compiled or launched.

mod chains;
mod launches;
mod planner;
mod print;
mod program;
pub mod ptx;
mod schedule;
mod segments;

pub use print::functions;
pub use program::{Extra, Plan, Printed, Rounds, TooLarge, Unit, plan, single};
pub use schedule::Options;
