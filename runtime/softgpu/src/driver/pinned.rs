//! Pinned host memory. Copies from and to it happen when their stream gets to them, not earlier.

use super::errors::{INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY, Result};
use super::state::{Gate, State, enter, put};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_uint, c_void};

const ALIGN: usize = 4096;

impl State {
    pub fn is_pinned(&self, address: usize, len: usize) -> bool {
        let below = self.pinned.range(..=address).next_back();
        below.is_some_and(|(start, (size, _))| address + len <= start + size)
    }

    /// Reports and finishes work that still needs a block of host memory.
    fn finish_host_use(&mut self, address: usize, len: usize) -> Result {
        let found = self.streams.iter().find_map(|(handle, stream)| {
            let item = stream
                .items
                .iter()
                .find(|item| item.work.touches_host(address, len))?;
            Some((*handle, item.work.describe()))
        });
        let Some((stream, work)) = found else {
            return Ok(());
        };
        self.drain_all()?;
        if self.config.sanitize.stream {
            let detail = format!(
                "pinned memory freed while {work} in stream {stream:#x} has still to use it"
            );
            self.note(address as u64, detail);
        }
        Ok(())
    }

    fn free_pinned(&mut self, address: usize) -> Result {
        let Some(&(len, Some(layout))) = self.pinned.get(&address) else {
            return Err(INVALID_VALUE);
        };
        let result = self.finish_host_use(address, len);
        self.pinned.remove(&address);
        // SAFETY: allocated with this layout; no queued work uses it any more: it was done, or dropped with an error.
        unsafe { dealloc(address as *mut u8, layout) };
        result
    }
}

fn host_alloc(symbol: &str, target: *mut *mut c_void, len: usize) -> u32 {
    enter(symbol, Gate::Context, |state| {
        state.unsafe_call()?;
        if len == 0 || target.is_null() {
            return Err(INVALID_VALUE);
        }
        let layout = Layout::from_size_align(len, ALIGN).map_err(|_| OUT_OF_MEMORY)?;
        // SAFETY: the size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            return Err(OUT_OF_MEMORY);
        }
        state.pinned.insert(block as usize, (len, Some(layout)));
        // SAFETY: the caller's promise.
        unsafe { put(target, block.cast()) }
    })
}

/// # Safety
/// `target` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(
    target: *mut *mut c_void,
    len: usize,
    _flags: c_uint,
) -> u32 {
    host_alloc("cuMemHostAlloc", target, len)
}

/// # Safety
/// `target` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(target: *mut *mut c_void, len: usize) -> u32 {
    host_alloc("cuMemAllocHost_v2", target, len)
}

/// # Safety
/// The program does not use the memory any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(address: usize) -> u32 {
    // A lost context frees too: the memory is the host's.
    enter("cuMemFreeHost", Gate::Initialized, |state| {
        state.free_pinned(address)
    })
}

/// # Safety
/// The memory stays valid until it is unregistered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostRegister_v2(address: usize, len: usize, _flags: c_uint) -> u32 {
    enter("cuMemHostRegister_v2", Gate::Context, |state| {
        if address == 0 || len == 0 {
            return Err(INVALID_VALUE);
        }
        state.pinned.insert(address, (len, None));
        Ok(())
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostUnregister(address: usize) -> u32 {
    enter("cuMemHostUnregister", Gate::Context, |state| {
        match state.pinned.get(&address) {
            Some(&(len, None)) => {
                state.finish_host_use(address, len)?;
                state.pinned.remove(&address);
                Ok(())
            }
            _ => Err(INVALID_VALUE),
        }
    })
}

/// Kernels do not reach host memory.
///
/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(
    _device: *mut u64,
    _host: *mut c_void,
    _flags: c_uint,
) -> u32 {
    enter("cuMemHostGetDevicePointer_v2", Gate::Context, |_| {
        Err(NOT_SUPPORTED)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocManaged(_address: *mut u64, _len: usize, _flags: c_uint) -> u32 {
    enter("cuMemAllocManaged", Gate::Context, |_| Err(NOT_SUPPORTED))
}
