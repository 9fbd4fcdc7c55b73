//! Memory in the order of streams: allocated at once, freed when the stream gets there. Pools have attributes and no other
//! effect: all share the device's memory.

use super::errors::{INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED, Result};
use super::queue::Work;
use super::state::{Gate, Handle, State, enter, put};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};

/// Handle of the default pool.
const DEFAULT_POOL: Handle = 0x800;

impl State {
    fn pool(&mut self, pool: Handle) -> Result<&mut BTreeMap<u32, u64>> {
        if pool == DEFAULT_POOL {
            return Ok(self.pools.entry(pool).or_default());
        }
        self.pools.get_mut(&pool).ok_or(INVALID_HANDLE)
    }

    fn allocate_in_stream(&mut self, len: usize, stream: Handle) -> Result<u64> {
        let stream = self.stream(stream)?;
        if self.streams[&stream].capture.is_some() {
            return self.fail(NOT_SUPPORTED, "allocations in a graph");
        }
        self.allocate(len)
    }
}

/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(address: *mut u64, len: usize, stream: Handle) -> u32 {
    enter("cuMemAllocAsync", Gate::Context, |state| {
        if address.is_null() {
            return Err(INVALID_VALUE);
        }
        let start = state.allocate_in_stream(len, stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, start) }
    })
}

/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocFromPoolAsync(
    address: *mut u64,
    len: usize,
    pool: Handle,
    stream: Handle,
) -> u32 {
    enter("cuMemAllocFromPoolAsync", Gate::Context, |state| {
        state.pool(pool)?;
        if address.is_null() {
            return Err(INVALID_VALUE);
        }
        let start = state.allocate_in_stream(len, stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, start) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: u64, stream: Handle) -> u32 {
    enter("cuMemFreeAsync", Gate::Context, |state| {
        if state
            .heap
            .find(address)
            .is_none_or(|span| span.start != address)
        {
            return Err(INVALID_VALUE);
        }
        let stream = state.stream(stream)?;
        if state.streams[&stream].capture.is_some() {
            return state.fail(NOT_SUPPORTED, "a free in a graph");
        }
        state.queue(stream, Work::Free(address))
    })
}

fn default_pool(symbol: &str, pool: *mut Handle, device: c_int) -> u32 {
    enter(symbol, Gate::Initialized, |state| {
        state.device(device)?;
        // SAFETY: the caller's promise.
        unsafe { put(pool, DEFAULT_POOL) }
    })
}

/// # Safety
/// `pool` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int) -> u32 {
    default_pool("cuDeviceGetDefaultMemPool", pool, device)
}

/// # Safety
/// `pool` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(pool: *mut Handle, device: c_int) -> u32 {
    default_pool("cuDeviceGetMemPool", pool, device)
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceSetMemPool(device: c_int, pool: Handle) -> u32 {
    enter("cuDeviceSetMemPool", Gate::Initialized, |state| {
        state.device(device)?;
        state.pool(pool).map(|_| ())
    })
}

/// # Safety
/// `pool` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolCreate(pool: *mut Handle, _properties: *const c_void) -> u32 {
    enter("cuMemPoolCreate", Gate::Initialized, |state| {
        let handle = state.fresh_handle();
        state.pools.insert(handle, BTreeMap::new());
        // SAFETY: the caller's promise.
        unsafe { put(pool, handle) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolDestroy(pool: Handle) -> u32 {
    enter("cuMemPoolDestroy", Gate::Initialized, |state| {
        if pool == DEFAULT_POOL {
            return Err(INVALID_VALUE);
        }
        state.pools.remove(&pool).map(|_| ()).ok_or(INVALID_HANDLE)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolTrimTo(pool: Handle, _keep: usize) -> u32 {
    enter("cuMemPoolTrimTo", Gate::Initialized, |state| {
        state.pool(pool).map(|_| ())
    })
}

/// Whether an attribute of pools is a 64-bit number; the others are 32-bit flags.
fn is_wide(attribute: u32) -> Result<bool> {
    match attribute {
        1..=3 => Ok(false),
        4..=8 => Ok(true),
        _ => Err(INVALID_VALUE),
    }
}

/// # Safety
/// `value` may be written as the attribute's type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(
    pool: Handle,
    attribute: c_uint,
    value: *mut c_void,
) -> u32 {
    enter("cuMemPoolGetAttribute", Gate::Initialized, |state| {
        let wide = is_wide(attribute)?;
        let used = state.heap.used_bytes;
        let found = match attribute {
            5..=8 => used,
            _ => state
                .pool(pool)?
                .get(&attribute)
                .copied()
                .unwrap_or(u64::from(!wide)),
        };
        // SAFETY: the caller's promise.
        unsafe {
            if wide {
                put(value.cast(), found)
            } else {
                put(value.cast(), found as u32)
            }
        }
    })
}

/// # Safety
/// `value` may be read as the attribute's type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolSetAttribute(
    pool: Handle,
    attribute: c_uint,
    value: *const c_void,
) -> u32 {
    enter("cuMemPoolSetAttribute", Gate::Initialized, |state| {
        if value.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let found = unsafe {
            if is_wide(attribute)? {
                value.cast::<u64>().read_unaligned()
            } else {
                u64::from(value.cast::<u32>().read_unaligned())
            }
        };
        state.pool(pool)?.insert(attribute, found);
        Ok(())
    })
}
