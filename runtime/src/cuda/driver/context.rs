//! The primary context of a GPU: what owns memory, modules and streams. It is the process's, so its flags are left as
//! they are.

use std::sync::Arc;

use cudarc::driver::sys::CUctx_st;
use cudarc::driver::sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;

use super::{DriverError, Gpu, Handle, Table, done};

/// A retained primary context, released at the end.
pub(in crate::cuda) struct Context {
    pub(super) table: &'static Table,
    gpu: Gpu,
    handle: Handle<CUctx_st>,
    /// Whether memory can be allocated in the order of a stream.
    pub(super) has_pools: bool,
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cuda) struct MemoryInfo {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl Context {
    /// Retains the context of a GPU, and makes it the thread's own.
    pub fn new(gpu: Gpu) -> Result<Arc<Self>, DriverError> {
        let table = gpu.table;
        let has_pools = gpu.attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0;
        let mut handle = Handle::null();
        // SAFETY: the driver writes one handle.
        done(unsafe { (table.cuDevicePrimaryCtxRetain)(&mut handle.0, gpu.handle) })?;
        let context = Arc::new(Self {
            table,
            gpu,
            handle,
            has_pools,
        });
        context.bind()?;
        Ok(context)
    }

    /// Makes it the context of this thread, which what follows on it needs.
    pub(super) fn bind(&self) -> Result<(), DriverError> {
        // SAFETY: the handle is retained.
        done(unsafe { (self.table.cuCtxSetCurrent)(self.handle.0) })
    }

    /// What the device has and what is free of it.
    pub fn memory(&self) -> Result<MemoryInfo, DriverError> {
        self.bind()?;
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: the driver writes two numbers.
        done(unsafe { (self.table.cuMemGetInfo_v2)(&mut free, &mut total) })?;
        Ok(MemoryInfo {
            free_bytes: free as u64,
            total_bytes: total as u64,
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was retained once, and all that was made on it has held it until here.
        let _ = unsafe { (self.table.cuDevicePrimaryCtxRelease_v2)(self.gpu.handle) };
    }
}
