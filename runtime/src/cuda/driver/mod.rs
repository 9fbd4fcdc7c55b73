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

/// On the software GPU.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::software;
    use std::sync::Arc;

    fn stream() -> Arc<Stream> {
        let table = software::table().expect("it has every function");
        let table = Box::leak(Box::new(table));
        table.init().expect("it starts");
        let gpu = Gpu::get(table, 0).expect("it has one");
        Stream::new(&Context::new(gpu).expect("a context")).expect("a stream")
    }

    #[test]
    fn what_is_written_is_read() {
        let stream = stream();
        let mut memory = Memory::zeros(&stream, 16).expect("reserved");
        stream
            .write(&[7u32, u32::MAX], &mut memory)
            .expect("copied");
        let values = stream.read::<u32>(&memory, 3);
        assert_eq!(values, Ok(vec![7, u32::MAX, 0]));
        assert_eq!(stream.read::<f32>(&memory, 0), Ok(vec![]));
        assert_eq!(stream.sleep(), Ok(()));
    }

    #[test]
    #[should_panic(expected = "what is copied fits")]
    fn no_more_is_written_than_fits() {
        let stream = stream();
        let mut memory = Memory::new(&stream, 3).expect("reserved");
        let _ = stream.write(&[0u32], &mut memory);
    }

    #[test]
    #[should_panic(expected = "what is copied is there")]
    fn no_more_is_read_than_is_there() {
        let stream = stream();
        let memory = Memory::new(&stream, 7).expect("reserved");
        let _ = stream.read::<u32>(&memory, 2);
    }

    #[test]
    fn a_recording_ends_whatever_comes_of_it() {
        let stream = stream();
        let record = |r| Graph::record(&stream, || r, |e| e.0);
        assert_eq!(record(Err(77)).err(), Some(77));
        // A stream that is being recorded could not be waited for.
        assert_eq!(stream.synchronize(), Ok(()));
        let nothing = record(Ok(())).expect("a graph");
        // SAFETY: it has no kernels.
        assert_eq!(unsafe { nothing.launch() }, Ok(()));
        assert_eq!(stream.synchronize(), Ok(()));
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let table = Box::leak(Box::new(software::table().expect("it has every function")));
        table.init().expect("it starts");
        assert_eq!(Gpu::count(table), Ok(1));
        assert_eq!(Gpu::get(table, 1).err(), Some(DriverError(101)));
        assert_eq!(Gpu::get(table, u32::MAX).err(), Some(DriverError(101)));
    }
}
