//! CUDA: grids of blocks of threads, tiles in shared memory, and their text in CUDA C.
//!
//! Does not know operators, nor how a program is compiled or launched.

pub mod schedule;
