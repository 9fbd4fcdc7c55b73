//! Runs compiled programs on NVIDIA GPUs: CUDA C through NVRTC, launched by the driver as one graph a step.
//!
//! Nothing of NVIDIA's is needed to build or to run on the processor: the driver and NVRTC are looked for when a
//! device is opened, and what is missing becomes a [`CudaError`] that says what to do. This module does not know
//! operators or graphs of them: a program is the text of kernels, launches and places.

mod choose;
mod compile;
mod device;
mod driver;
mod engine;
mod error;
mod libraries;
mod load;
mod modules;
mod nvrtc;
mod occupancy;
mod philox;
mod resources;
mod slow;
mod software;
mod step;

pub use choose::Version;
pub use compile::{Arch, Compiled, Image, compile};
pub use device::{Choice, Device, Found, devices};
pub use engine::Engine;
pub use error::CudaError;
pub use libraries::nvrtc;
pub use modules::{Kernel, Module};
pub use nvrtc::Nvrtc;
pub use occupancy::{Bound, Occupancy, Shape, occupancy};
pub use philox::PHILOX;
pub use resources::{Resources, resources};
pub use slow::{Compiling, on_slow_compilation, watched_compilation};
pub use software::{
    software_card, software_cards, software_configure, software_report, software_reset_counters,
};
pub use step::{PRELUDE, RING, scalars};

/// A compiled program: CUDA C and the launches of a step.
#[derive(Clone, Debug)]
pub struct Program {
    /// The names of a step's numbers in the kernels, at least one, in the order of a row.
    pub scalars: Vec<String>,
    /// CUDA C that kernels may call, without [`PRELUDE`].
    pub functions: String,
    /// The kernels, each once.
    pub modules: Vec<Module>,
    /// A step of training: an [`account`](PRELUDE) before the update, an `advance` in the last launch.
    pub train: Vec<Launch>,
    /// Loss and correctness alone, with the same two calls.
    pub eval: Vec<Launch>,
    /// Examples of a step.
    pub batch: usize,
    pub arena_bytes: usize,
    pub parameter_bytes: usize,
    pub partial_bytes: usize,
}

/// A kernel with its grid; both are one-dimensional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub kernel: String,
    pub blocks: u32,
    pub threads: u32,
    /// Each becomes one pointer.
    pub arguments: Vec<Place>,
}

/// Where an argument points. Regions are aligned to 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The examples of the data set: the training set in a step of training, the test set in one of evaluation.
    Inputs,
    /// Their classes or target values.
    Targets,
    /// Positions of an epoch's examples in the data set, u32.
    Order,
    /// The loss of each example of the batch, f32.
    Losses,
    /// 1 for each example of the batch whose class is right, f32.
    Correct,
    /// A `Result` for each of the last [`RING`] steps.
    Results,
    /// The `Step`, with the numbers of all steps behind it.
    Step,
    /// Bytes from the start of the memory of one step's values.
    Arena(usize),
    /// Bytes from the start of the parameters.
    Parameters(usize),
    /// Bytes from the start of the partial sums of gradients.
    Partials(usize),
}
