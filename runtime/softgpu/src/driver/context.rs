//! Contexts: primary ones and others, which is current on a thread, and their limits. All contexts share one memory.

use super::errors::{INVALID_CONTEXT, INVALID_VALUE, Result, UNSUPPORTED_LIMIT};
use super::state::{Context, Gate, Handle, State, current, enter, put, put_if, set_current};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};

impl State {
    fn add_context(&mut self, device: c_int, is_primary: bool, flags: u32) -> Handle {
        let handle = self.fresh_handle();
        let limits = BTreeMap::from([(0, 1024), (1, 1 << 20), (2, 8 << 20)]);
        self.contexts.insert(
            handle,
            Context {
                device,
                is_primary,
                flags,
                limits,
            },
        );
        handle
    }

    fn current_context(&mut self) -> Result<&mut Context> {
        self.contexts.get_mut(&current()).ok_or(INVALID_CONTEXT)
    }

    /// The last context is gone: so is everything in it, and its error.
    fn drop_context(&mut self, handle: Handle) {
        self.contexts.remove(&handle);
        if self.contexts.is_empty() {
            let (findings, counters) = (
                std::mem::take(&mut self.findings),
                std::mem::take(&mut self.counters),
            );
            let last_error = std::mem::take(&mut self.last_error);
            self.reset();
            self.initialized = true;
            (self.findings, self.counters, self.last_error) = (findings, counters, last_error);
        }
    }
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) -> u32 {
    enter("cuDevicePrimaryCtxRetain", Gate::Initialized, |state| {
        state.device(device)?;
        let (handle, count) = match state.primaries.get(&device) {
            Some(&(handle, count)) => (handle, count),
            None => (state.add_context(device, true, 0), 0),
        };
        state.primaries.insert(device, (handle, count + 1));
        // SAFETY: the caller's promise.
        unsafe { put(context, handle) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> u32 {
    enter("cuDevicePrimaryCtxRelease_v2", Gate::Initialized, |state| {
        state.device(device)?;
        let Some((handle, count)) = state.primaries.remove(&device) else {
            return Err(INVALID_CONTEXT);
        };
        if count > 1 {
            state.primaries.insert(device, (handle, count - 1));
        } else {
            state.drop_context(handle);
        }
        Ok(())
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> u32 {
    enter("cuDevicePrimaryCtxReset_v2", Gate::Initialized, |state| {
        state.device(device)?;
        if let Some((handle, _)) = state.primaries.remove(&device) {
            state.drop_context(handle);
        }
        Ok(())
    })
}

/// # Safety
/// The results are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(
    device: c_int,
    flags: *mut c_uint,
    active: *mut c_int,
) -> u32 {
    enter("cuDevicePrimaryCtxGetState", Gate::Initialized, |state| {
        state.device(device)?;
        let primary = state
            .primaries
            .get(&device)
            .and_then(|(handle, _)| state.contexts.get(handle));
        // SAFETY: the caller's promise.
        unsafe {
            put(flags, primary.map_or(0, |context| context.flags))?;
            put(active, c_int::from(primary.is_some()))
        }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> u32 {
    enter(
        "cuDevicePrimaryCtxSetFlags_v2",
        Gate::Initialized,
        |state| {
            state.device(device)?;
            if let Some((handle, _)) = state.primaries.get(&device)
                && let Some(context) = state.contexts.get_mut(handle)
            {
                context.flags = flags;
            }
            Ok(())
        },
    )
}

fn create(symbol: &str, context: *mut Handle, flags: c_uint, device: c_int) -> u32 {
    enter(symbol, Gate::Initialized, |state| {
        state.device(device)?;
        let handle = state.add_context(device, false, flags);
        set_current(handle);
        // SAFETY: the caller's promise.
        unsafe { put(context, handle) }
    })
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) -> u32 {
    create("cuCtxCreate_v2", context, flags, device)
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v3(
    context: *mut Handle,
    _affinities: *mut c_void,
    _count: c_int,
    flags: c_uint,
    device: c_int,
) -> u32 {
    create("cuCtxCreate_v3", context, flags, device)
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(
    context: *mut Handle,
    _params: *mut c_void,
    flags: c_uint,
    device: c_int,
) -> u32 {
    create("cuCtxCreate_v4", context, flags, device)
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxDestroy_v2(context: Handle) -> u32 {
    enter("cuCtxDestroy_v2", Gate::Initialized, |state| {
        match state.contexts.get(&context) {
            Some(found) if !found.is_primary => {}
            _ => return Err(INVALID_CONTEXT),
        }
        state.drop_context(context);
        if current() == context {
            set_current(0);
        }
        Ok(())
    })
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut Handle) -> u32 {
    enter("cuCtxGetCurrent", Gate::Initialized, |state| {
        let handle = if state.contexts.contains_key(&current()) {
            current()
        } else {
            0
        };
        // SAFETY: the caller's promise.
        unsafe { put(context, handle) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> u32 {
    enter("cuCtxSetCurrent", Gate::Initialized, |state| {
        if context != 0 && !state.contexts.contains_key(&context) {
            return Err(INVALID_CONTEXT);
        }
        set_current(context);
        Ok(())
    })
}

/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> u32 {
    enter("cuCtxGetDevice", Gate::Context, |state| {
        let found = state.current_context()?.device;
        // SAFETY: the caller's promise.
        unsafe { put(device, found) }
    })
}

/// # Safety
/// `flags` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetFlags(flags: *mut c_uint) -> u32 {
    enter("cuCtxGetFlags", Gate::Context, |state| {
        let found = state.current_context()?.flags;
        // SAFETY: the caller's promise.
        unsafe { put(flags, found) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetFlags(flags: c_uint) -> u32 {
    enter("cuCtxSetFlags", Gate::Context, |state| {
        state.current_context()?.flags = flags;
        Ok(())
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> u32 {
    enter("cuCtxSynchronize", Gate::Context, |state| {
        state.nothing_captured()?;
        state.drain_all()
    })
}

/// # Safety
/// `version` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetApiVersion(_context: Handle, version: *mut c_uint) -> u32 {
    enter("cuCtxGetApiVersion", Gate::Initialized, |_| {
        // SAFETY: the caller's promise.
        unsafe { put(version, 3020) }
    })
}

/// # Safety
/// `value` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, limit: c_uint) -> u32 {
    enter("cuCtxGetLimit", Gate::Context, |state| {
        let Some(&found) = state.current_context()?.limits.get(&limit) else {
            return Err(UNSUPPORTED_LIMIT);
        };
        // SAFETY: the caller's promise.
        unsafe { put(value, found) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetLimit(limit: c_uint, value: usize) -> u32 {
    enter("cuCtxSetLimit", Gate::Context, |state| {
        match state.current_context()?.limits.get_mut(&limit) {
            Some(found) => {
                *found = value;
                Ok(())
            }
            None => Err(UNSUPPORTED_LIMIT),
        }
    })
}

/// # Safety
/// `config` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCacheConfig(config: *mut c_uint) -> u32 {
    enter("cuCtxGetCacheConfig", Gate::Context, |_| {
        // SAFETY: the caller's promise.
        unsafe { put(config, 0) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCacheConfig(config: c_uint) -> u32 {
    enter("cuCtxSetCacheConfig", Gate::Context, |_| {
        if config > 3 {
            Err(INVALID_VALUE)
        } else {
            Ok(())
        }
    })
}

/// # Safety
/// The results are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(
    least: *mut c_int,
    greatest: *mut c_int,
) -> u32 {
    enter("cuCtxGetStreamPriorityRange", Gate::Context, |_| {
        // SAFETY: the caller's promise.
        unsafe {
            put_if(least, 0);
            put_if(greatest, -5);
        }
        Ok(())
    })
}
