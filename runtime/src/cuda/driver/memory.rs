//! Memory of a device, in bytes, and which types of the host have the same bytes there.

use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;

use super::{DriverError, Stream, done};

/// A type that host and device read alike.
///
/// # Safety
/// It has no padding and no pointers, and any bytes are a value of it.
pub(in crate::cuda) unsafe trait Plain: Copy {}

// SAFETY: numbers have no padding, and any bytes are one.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// Memory that is used on one stream, and freed behind the work that is on it.
pub(in crate::cuda) struct Memory {
    stream: Arc<Stream>,
    pub(super) address: CUdeviceptr,
    pub(super) bytes: usize,
}

impl Memory {
    /// Reserves at least `bytes`, not cleared. The driver refuses an allocation of nothing, so there is always some.
    pub fn new(stream: &Arc<Stream>, bytes: usize) -> Result<Self, DriverError> {
        let context = &stream.context;
        context.bind()?;
        let bytes = bytes.max(1);
        let mut address = 0;
        // SAFETY: the stream is open, and the driver writes one address.
        done(unsafe {
            match context.has_pools {
                true => (context.table.cuMemAllocAsync)(&mut address, bytes, stream.handle.0),
                false => (context.table.cuMemAlloc_v2)(&mut address, bytes),
            }
        })?;
        Ok(Self {
            stream: stream.clone(),
            address,
            bytes,
        })
    }

    /// Reserves at least `bytes` of zeros.
    pub fn zeros(stream: &Arc<Stream>, bytes: usize) -> Result<Self, DriverError> {
        let memory = Self::new(stream, bytes)?;
        let set = stream.context.table.cuMemsetD8Async;
        // SAFETY: the memory is the stream's, and has as many bytes.
        done(unsafe { set(memory.address, 0, memory.bytes, stream.handle.0) })?;
        Ok(memory)
    }

    /// Where it starts, for kernels of its stream.
    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let context = &self.stream.context;
        if context.bind().is_err() {
            return;
        }
        let table = context.table;
        // SAFETY: it was reserved once, in the same way. What still uses it is before it on the stream, or has been
        // waited for.
        let _ = unsafe {
            match context.has_pools {
                true => (table.cuMemFreeAsync)(self.address, self.stream.handle.0),
                false => {
                    let _ = (table.cuStreamSynchronize)(self.stream.handle.0);
                    (table.cuMemFree_v2)(self.address)
                }
            }
        };
    }
}
