//! Kernels with memory of their own, run alone to be timed.
//!
//! Does not know what the kernels compute, nor what a time is compared with.

use std::time::Instant;

use lenetc_runtime::exec::Uniforms;
use lenetc_runtime::memory::Region;

use super::code::{Code, CodeError, Wide};
use crate::ir::{DType, Scalars};
use crate::nest::loops::{Buffer, Kernel};

/// Compiled kernels that take the same buffers, and those buffers.
pub struct Trial {
    code: Code,
    buffers: Vec<Region>,
    uniforms: Uniforms,
}

impl Trial {
    /// Gives kernels the memory that the first states; `code` is their code, for those that are not Cranelift's. They
    /// run for as many valid images as `valid` says. Numbers are between -1 and 1, integers zero.
    ///
    /// Panics where the others state other buffers.
    pub fn new(kernels: &[Kernel], code: &[Wide], valid: u32) -> Result<Self, CodeError> {
        let first = &kernels[0].buffers;
        assert!(
            kernels.iter().all(|k| &k.buffers == first),
            "{} has schedules with other buffers",
            kernels[0].name
        );
        Ok(Self {
            code: Code::link(
                &kernels.iter().collect::<Vec<_>>(),
                &code.iter().collect::<Vec<_>>(),
            )?,
            buffers: first.iter().map(region).collect(),
            uniforms: Uniforms::new(valid as f32, &Scalars::new(valid as usize, 0.0).floats()),
        })
    }

    /// Runs a kernel once; seconds.
    pub fn run(&mut self, kernel: usize) -> f64 {
        let pointers: Vec<*mut u8> = self.buffers.iter().map(Region::start).collect();
        let start = Instant::now();
        // SAFETY: every buffer has the length that the kernels state, and nothing else uses them meanwhile.
        unsafe { self.code.call(kernel, &pointers, &self.uniforms) };
        start.elapsed().as_secs_f64()
    }

    /// The fastest of so many runs, in seconds.
    pub fn fastest(&mut self, kernel: usize, runs: usize) -> f64 {
        let times = (0..runs).map(|_| self.run(kernel));
        times.fold(f64::INFINITY, f64::min)
    }
}

/// Memory of a buffer.
fn region(b: &Buffer) -> Region {
    let mut region = Region::zeroed((b.len * b.dtype.size_bytes()) as usize);
    if b.dtype == DType::F32 {
        let numbers = region.floats_mut(0, b.len as usize);
        for (k, x) in numbers.iter_mut().enumerate() {
            *x = (k * 7919 % 1009) as f32 / 504.5 - 1.0;
        }
    }
    region
}
