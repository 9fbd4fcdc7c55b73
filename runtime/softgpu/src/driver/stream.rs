//! Streams: made, waited for, and given host functions.

use super::errors::{INVALID_HANDLE, INVALID_VALUE, NOT_READY, Result};
use super::queue::{LEGACY, PER_THREAD, Stream, Work};
use super::state::{Gate, Handle, State, enter, put};
use std::ffi::{c_int, c_uint, c_void};

const NON_BLOCKING: u32 = 1;
/// How often a query says "not ready" before it lets the stream run, so that programs that poll get on.
pub const PATIENCE: u32 = 2;

impl State {
    fn create_stream(&mut self, target: *mut Handle, flags: u32, priority: i32) -> Result {
        if flags > NON_BLOCKING || target.is_null() {
            return Err(INVALID_VALUE);
        }
        let handle = self.fresh_handle();
        let is_blocking = flags & NON_BLOCKING == 0;
        self.streams.insert(
            handle,
            Stream {
                is_blocking,
                flags,
                priority,
                ..Stream::default()
            },
        );
        // SAFETY: the caller of the exported function promised it.
        unsafe { put(target, handle) }
    }
}

/// # Safety
/// `stream` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut Handle, flags: c_uint) -> u32 {
    enter("cuStreamCreate", Gate::Context, |state| {
        state.create_stream(stream, flags, 0)
    })
}

/// # Safety
/// `stream` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(
    stream: *mut Handle,
    flags: c_uint,
    priority: c_int,
) -> u32 {
    enter("cuStreamCreateWithPriority", Gate::Context, |state| {
        state.create_stream(stream, flags, priority)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> u32 {
    enter("cuStreamDestroy_v2", Gate::Context, |state| {
        if stream == LEGACY || stream == PER_THREAD || !state.streams.contains_key(&stream) {
            return Err(INVALID_HANDLE);
        }
        if let Some(capture) = state.streams[&stream].capture {
            state.captures.remove(&capture);
        }
        // Its work is done before it goes, as the driver promises; when does not matter to the program.
        let result = state.drain_stream(stream);
        state.streams.remove(&stream);
        result
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> u32 {
    enter("cuStreamSynchronize", Gate::Context, |state| {
        state.not_capturing(stream)?;
        state.drain_stream(stream)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: Handle) -> u32 {
    enter("cuStreamQuery", Gate::Context, |state| {
        state.not_capturing(stream)?;
        let queue = state.stream_mut(stream)?;
        if !queue.items.is_empty() && queue.queries < PATIENCE {
            queue.queries += 1;
            return Err(NOT_READY);
        }
        queue.queries = 0;
        state.drain_stream(stream)
    })
}

/// # Safety
/// `flags` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetFlags(stream: Handle, flags: *mut c_uint) -> u32 {
    enter("cuStreamGetFlags", Gate::Context, |state| {
        let found = state.stream_mut(stream)?.flags;
        // SAFETY: the caller's promise.
        unsafe { put(flags, found) }
    })
}

/// # Safety
/// `priority` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetPriority(stream: Handle, priority: *mut c_int) -> u32 {
    enter("cuStreamGetPriority", Gate::Context, |state| {
        let found = state.stream_mut(stream)?.priority;
        // SAFETY: the caller's promise.
        unsafe { put(priority, found) }
    })
}

/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCtx(stream: Handle, context: *mut Handle) -> u32 {
    enter("cuStreamGetCtx", Gate::Context, |state| {
        state.stream(stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(context, super::state::current()) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamAttachMemAsync(
    stream: Handle,
    _address: u64,
    _len: usize,
    _flags: c_uint,
) -> u32 {
    enter("cuStreamAttachMemAsync", Gate::Context, |state| {
        state.stream(stream).map(|_| ())
    })
}

/// # Safety
/// `function` takes one pointer, and `data` is what it expects whenever the stream gets there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: Handle,
    function: *const c_void,
    data: *mut c_void,
) -> u32 {
    enter("cuLaunchHostFunc", Gate::Context, |state| {
        if function.is_null() {
            return Err(INVALID_VALUE);
        }
        state.queue(
            stream,
            Work::Host {
                function: function as usize,
                data: data as usize,
            },
        )
    })
}
