//! The software GPU: a library that exports the CUDA driver API and executes, on the CPU, the PTX that NVRTC makes.
pub mod config;
pub mod count;
pub mod decode;
pub mod driver;
pub mod exec;
pub mod ptx;
pub mod report;
pub mod sanitize;
