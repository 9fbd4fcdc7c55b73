//! Executes decoded kernels: lanes, warps, blocks, grids, and the memory that they see. Knows nothing of PTX's text, of
//! streams or of the driver's handles.

pub mod access;
pub mod atomic;
pub mod block;
pub mod collective;
pub mod convert;
pub mod dot;
pub mod fault;
pub mod float;
pub mod grid;
pub mod heap;
pub mod integer;
pub mod lanes;
pub mod misc;
pub mod probe;
pub mod program;
pub mod rng;
pub mod traffic;
pub mod warp;
