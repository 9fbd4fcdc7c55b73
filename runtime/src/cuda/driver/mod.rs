//! The CUDA driver: its functions as a [`Table`] of one library, and what they make, each freed when it is dropped.
//!
//! Types, constants and signatures are those of cudarc's `sys` layer. Its safe layer is not used: it looks the library
//! up by name, where a toolkit's stub can stand before the driver, panics where a symbol is missing, and reads result
//! codes as a closed enum, though a later driver has codes that no enum of today has. Here a code is a number. Does not
//! know where libraries lie, what codes mean, or what kernels compute.
//!
//! A failed call is a [`DriverError`]; what fails while something is dropped is passed by, since the next call reports
//! the same.

mod context;
mod gpu;
mod graph;
mod memory;
mod module;
mod stream;
mod table;

pub(super) use context::Context;
pub(super) use gpu::Gpu;
pub(super) use graph::Graph;
pub(super) use memory::{Memory, Plain};
pub(super) use module::{Function, Module, translation_log};
pub(super) use stream::Stream;
pub(super) use table::{Table, version};

/// The code of a call that failed: a `CUresult` as a number, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DriverError(pub u32);

/// What the driver gives for something that it has made.
#[derive(Clone, Copy)]
struct Handle<T>(*mut T);

// SAFETY: a handle is read by the driver alone, whose functions any thread may call with any handle once the context is
// its own, which each call here sees to.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    /// Of nothing.
    const fn null() -> Self {
        Self(std::ptr::null_mut())
    }
}

/// A call's result by its code.
pub(super) fn done(code: u32) -> Result<(), DriverError> {
    match code {
        0 => Ok(()),
        code => Err(DriverError(code)),
    }
}
