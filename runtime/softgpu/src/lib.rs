//! The software GPU: a library that exports the CUDA driver API and executes, on the CPU, the PTX that NVRTC makes.
//!
//! Programs that use CUDA through the driver API run on it unchanged, on machines without a GPU: so the code that a GPU
//! user runs is the code that the tests run. On top of that it finds faults that a GPU hides, counts what kernels do, and
//! fails on request.
//!
//! ```text
//!   program ── cu… functions ──> driver   contexts, memory, modules, streams, events, graphs; work waits in queues
//!                                  │  module load               │  synchronisation
//!                                  v                            v
//!                    ptx (text -> syntax tree)        exec::grid   blocks over the machine's cores
//!                                  │                  exec::block  warps take turns, barriers
//!                                  v                  exec::warp   32 lanes, lowest program counter first
//!                    decode (syntax tree -> Program,  exec::lanes  a handler works on rows of 32 lanes, compiled
//!                     each instruction with its                    for AVX-512, AVX2 and neither
//!                     handler and register offsets)   exec::probe  watches: sanitize finds, count counts, time estimates
//! ```
//!
//! # Use
//!
//! A program that it is built into takes the driver's functions from [`symbol`] in the place of a library's, and calls
//! [`configure`], [`report_json`], [`reset_counters`] and [`source`].
//!
//! Any other loads `liblenetc_softgpu.so` by its path before it looks for `libcuda.so`: the library's SONAME is that name,
//! so the loader then takes it for the driver. Its file is called otherwise, so it never stands in for a driver by
//! accident. The same calls are `lenetc_softgpu_configure`, `lenetc_softgpu_report`, whose text `lenetc_softgpu_free` frees,
//! `lenetc_softgpu_reset_counters` and `lenetc_softgpu_source`.
//!
//! Settings come from the environment variable `LENETC_SOFTGPU`, read at the first call, and from `configure`; `config` lists
//! them. The report gives findings, counters and the last error as JSON, which `report` describes.
//!
//! Machine code cannot be executed. A program hands the PTX of the same source over before it loads a CUBIN, by
//! `source`; the CUBIN is then checked as a driver checks one, and against its PTX, which runs.
//!
//! # Unlike a GPU
//!
//! Work happens at synchronisations and not before, so a missing one shows. Addresses are never used twice, and fresh
//! memory is full of NaNs. Approximations such as `ex2.approx` are nearly exact. Calls of device functions, textures,
//! tensor cores, cooperative launches, clusters, managed memory and allocations inside graphs are refused. `cp.async`
//! copies at once, so a missing wait does not show. Kernels do not reach host memory. All devices share one memory.

#![warn(
    clippy::undocumented_unsafe_blocks,
    clippy::print_stdout,
    clippy::print_stderr
)]

pub mod card;
pub mod config;
pub mod count;
pub mod cubin;
pub mod decode;
pub mod driver;
pub mod exec;
pub mod ptx;
pub mod report;
pub mod sanitize;
pub mod time;

pub use driver::lenetc_softgpu_reset_counters as reset_counters;
pub use driver::{configure, report_json, source, symbol};
