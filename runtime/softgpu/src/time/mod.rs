//! How long a launch would take on the card that is meant: a model, fed by the probe while it counts.
//!
//! ```text
//!   cost    what an assembler makes of a PTX instruction: issues by pipe, and steps in a row
//!   plan    a kernel's code with its costs, registers numbered, loads that become one, ends of straight code
//!   unroll  loops that an assembler writes out
//!   ready   of each warp when registers are ready; barriers join a block's warps: a block's span in cycles
//!   cache   which sectors the L1 and the L2 have: what goes to L2, and what goes to memory
//!   model   what the probe calls, for one launch
//!   launch  blocks on multiprocessors: the span of those in a row, or what a pipe, the L2 or memory delivers
//!   rates   the figures, by capability and by card
//! ```
//!
//! Within straight code a warp does what its operands allow, at one issue a cycle, since assemblers move loads up;
//! straight pieces follow each other in order. Does not know the machine code, the lanes' values, the power that a
//! card may take, or how long a host takes to start a launch.

pub mod cache;
pub mod cost;
pub mod launch;
pub mod model;
pub mod plan;
pub mod rates;
pub mod ready;
pub mod unroll;
