//! A kernel with memory of its own, run alone to be timed.
//!
//! Does not know what the kernel computes, nor what a time is compared with.

use std::time::Instant;

use lenetc_runtime::exec::Uniforms;
use lenetc_runtime::memory::Region;

use super::code::{Code, CodeError, Wide};
use crate::nest::loops::Kernel;

/// A compiled kernel and its buffers, zero at first.
pub struct Trial {
    code: Code,
    buffers: Vec<Region>,
    uniforms: Uniforms,
}

impl Trial {
    /// Gives a kernel the memory that it states; `code` is its code, unless Cranelift is to compile it. It runs for
    /// as many valid images as `valid` says.
    pub fn new(k: &Kernel, code: Wide, valid: u32) -> Result<Self, CodeError> {
        let bytes = |b: &crate::nest::loops::Buffer| (b.len * b.dtype.size_bytes()) as usize;
        Ok(Self {
            code: Code::link(std::slice::from_ref(k), &[code])?,
            buffers: k.buffers.iter().map(|b| Region::zeroed(bytes(b))).collect(),
            uniforms: Uniforms {
                valid: valid as f32,
                learning_rate: 0.0,
                inverse_batch: 1.0 / valid as f32,
            },
        })
    }

    /// Runs it once; seconds.
    pub fn run(&mut self) -> f64 {
        let pointers: Vec<*mut u8> = self.buffers.iter().map(Region::start).collect();
        let start = Instant::now();
        // SAFETY: every buffer has the length that the kernel states, and nothing else uses them meanwhile.
        unsafe { self.code.call(0, &pointers, &self.uniforms, 0) };
        start.elapsed().as_secs_f64()
    }

    /// The fastest of so many runs, in seconds.
    pub fn fastest(&mut self, runs: usize) -> f64 {
        (0..runs).map(|_| self.run()).fold(f64::INFINITY, f64::min)
    }
}
