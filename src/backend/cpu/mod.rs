//! The CPU: a block of images at a time, one image in each lane of a vector.
//!
//! Activations lie as `[dims…][block]`, so every operator vectorises fully whatever its channel count.
//! Lanes beyond the valid images hold zeros where values of the whole batch are summed. Small batches go image by
//! image, with neighbours within the image in the lanes.

mod bandwidth;
mod choose;
pub mod clif;
pub mod code;
mod math;
mod order;
mod peak;
mod places;
mod pointer;
mod program;
mod schedule;
mod trial;
pub mod tune;
mod waves;
pub mod wide;

pub use bandwidth::bandwidth;
pub use choose::{Chosen, candidates, choose};
pub use code::Isa;
pub use peak::peak;
pub use program::{Modes, Plan, Step, plan};
pub use schedule::{Choice, Options, run as schedule};
