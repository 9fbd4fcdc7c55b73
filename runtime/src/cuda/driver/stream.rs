//! A stream: work in order, copies between host and device, and how the host waits for it.

use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags_enum::{CU_EVENT_BLOCKING_SYNC, CU_EVENT_DISABLE_TIMING};
use cudarc::driver::sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING;
use cudarc::driver::sys::{CUevent_st, CUstream_st};

use super::memory::Plain;
use super::{Context, DriverError, Handle, Memory, done};

/// A stream that does not wait for the legacy one. Destroyed at the end.
pub(in crate::cuda) struct Stream {
    pub(super) context: Arc<Context>,
    pub(super) handle: Handle<CUstream_st>,
    /// What a sleeping thread waits for.
    event: Handle<CUevent_st>,
}

impl Stream {
    pub fn new(context: &Arc<Context>) -> Result<Arc<Self>, DriverError> {
        context.bind()?;
        let table = context.table;
        let mut stream = Self {
            context: context.clone(),
            handle: Handle::null(),
            event: Handle::null(),
        };
        let flags = CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the driver writes one handle.
        done(unsafe { (table.cuStreamCreate)(&mut stream.handle.0, flags) })?;
        let flags = CU_EVENT_BLOCKING_SYNC as u32 | CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the driver writes one handle.
        done(unsafe { (table.cuEventCreate)(&mut stream.event.0, flags) })?;
        Ok(Arc::new(stream))
    }

    /// Waits for all work so far, at once when it is done: a core is busy meanwhile.
    pub fn synchronize(&self) -> Result<(), DriverError> {
        self.context.bind()?;
        // SAFETY: the stream is open.
        done(unsafe { (self.context.table.cuStreamSynchronize)(self.handle.0) })
    }

    /// Waits for all work so far, asleep: the core is free, and waking up takes tens of microseconds.
    pub fn sleep(&self) -> Result<(), DriverError> {
        self.context.bind()?;
        let table = self.context.table;
        // SAFETY: stream and event are open, and of one context.
        done(unsafe { (table.cuEventRecord)(self.event.0, self.handle.0) })?;
        // SAFETY: as above.
        done(unsafe { (table.cuEventSynchronize)(self.event.0) })
    }

    /// Copies to the start of `memory`, and waits until that is done.
    ///
    /// Panics where there is more than fits.
    pub fn write<T: Plain>(&self, values: &[T], memory: &mut Memory) -> Result<(), DriverError> {
        let bytes = size_of_val(values);
        assert!(bytes <= memory.bytes, "what is copied fits");
        if bytes == 0 {
            return Ok(());
        }
        self.context.bind()?;
        let copy = self.context.table.cuMemcpyHtoDAsync_v2;
        let from = values.as_ptr().cast();
        // SAFETY: both sides have as many bytes, and the values stay where they are until the copy is done: a driver that
        // cannot wait for it has lost its context, and runs nothing more.
        done(unsafe { copy(memory.address, from, bytes, self.handle.0) })?;
        self.synchronize()
    }

    /// The first `len` values of `memory`, once all work so far is done.
    ///
    /// Panics where there are fewer.
    pub fn read<T: Plain>(&self, memory: &Memory, len: usize) -> Result<Vec<T>, DriverError> {
        // SAFETY: any bytes are a value.
        let mut values = vec![unsafe { std::mem::zeroed::<T>() }; len];
        let bytes = len * size_of::<T>();
        assert!(bytes <= memory.bytes, "what is copied is there");
        if bytes == 0 {
            return Ok(values);
        }
        self.context.bind()?;
        let copy = self.context.table.cuMemcpyDtoHAsync_v2;
        // SAFETY: both sides have as many bytes, and the values stay where they are until the copy is done.
        done(unsafe {
            copy(
                values.as_mut_ptr().cast(),
                memory.address,
                bytes,
                self.handle.0,
            )
        })?;
        if let Err(e) = self.synchronize() {
            // Whether the copy is over is not known, so it keeps its memory.
            std::mem::forget(values);
            return Err(e);
        }
        Ok(values)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.bind().is_err() {
            return;
        }
        let table = self.context.table;
        if !self.event.0.is_null() {
            // SAFETY: it was created once.
            let _ = unsafe { (table.cuEventDestroy_v2)(self.event.0) };
        }
        if !self.handle.0.is_null() {
            // SAFETY: it was created once; memory and graphs have held it until here.
            let _ = unsafe { (table.cuStreamDestroy_v2)(self.handle.0) };
        }
    }
}
