//! Device memory: allocation, copies and fills, at once or in a stream.

use super::errors::{INVALID_VALUE, OUT_OF_MEMORY, Result};
use super::queue::{LEGACY, Source, Work};
use super::state::{Gate, Handle, State, enter, put, put_if};
use crate::exec::fault::{Fault, ILLEGAL_ADDRESS};
use std::ffi::{c_uchar, c_uint, c_ushort, c_void};
use std::sync::Arc;

impl State {
    pub fn allocate(&mut self, len: usize) -> Result<u64> {
        if len == 0 {
            return Err(INVALID_VALUE);
        }
        let track = self.config.sanitize.init;
        self.heap.limit_bytes = match self.config.spill {
            false => self.config.card.memory_bytes,
            true => u64::MAX,
        };
        match self.heap.allocate(len as u64, "an allocation", track) {
            Some(start) => Ok(start),
            None => self.fail(OUT_OF_MEMORY, format!("{len} bytes do not fit")),
        }
    }

    /// Whether a range lies in one allocation.
    fn check_range(&mut self, address: u64, len: u64) -> Result {
        if self.heap.find_range(address, len).is_some() {
            return Ok(());
        }
        let place = self.heap.describe(address);
        self.fail(
            INVALID_VALUE,
            format!("{len} bytes at {address:#x}: {place}"),
        )
    }

    /// A finding of the stream sanitizer: work is queued that still needs the memory.
    pub fn report_pending_use(&mut self, start: u64, what: &str, by: Handle) {
        if !self.config.sanitize.stream {
            return;
        }
        let len = self.heap.find(start).map_or(1, |span| span.len);
        let Some((stream, work)) = self.pending_use(start, len) else {
            return;
        };
        let detail = format!(
            "memory {what} by stream {by:#x} while {work} in stream {stream:#x} has still to use it"
        );
        self.note(start, detail);
    }

    /// Keeps a finding of the stream sanitizer; the next synchronisation fails.
    pub fn note(&mut self, address: u64, detail: String) {
        let fault = Fault {
            code: ILLEGAL_ADDRESS,
            kind: "stream",
            kernel: String::new(),
            line: 0,
            text: String::new(),
            block: [0; 3],
            thread: [0; 3],
            address,
            detail,
        };
        // The caller's own result stays as it is: the error is the next synchronisation's.
        let _ = self.report(fault);
    }

    fn free_now(&mut self, address: u64) -> Result {
        if address == 0 {
            return Ok(());
        }
        if self
            .heap
            .find(address)
            .is_none_or(|span| span.start != address)
        {
            return Err(INVALID_VALUE);
        }
        self.report_pending_use(address, "freed", LEGACY);
        self.drain_all()?;
        self.heap.free(address);
        Ok(())
    }

    fn copy_in(
        &mut self,
        stream: Handle,
        to: u64,
        from: *const c_void,
        len: usize,
        at_once: bool,
    ) -> Result {
        if len == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(INVALID_VALUE);
        }
        self.check_range(to, len as u64)?;
        let stream = self.stream(stream)?;
        let is_captured = self.streams[&stream].capture.is_some();
        let late = !at_once && (is_captured || self.is_pinned(from as usize, len));
        let source = if late {
            Source::Host(from as usize)
        } else {
            // SAFETY: the program promised that many bytes; nobody writes them during this call.
            Source::Bytes(Arc::new(
                unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len) }.to_vec(),
            ))
        };
        self.queue(
            stream,
            Work::CopyIn {
                to,
                from: source,
                len: len as u64,
            },
        )
    }

    fn copy_out(
        &mut self,
        stream: Handle,
        to: *mut c_void,
        from: u64,
        len: usize,
        at_once: bool,
    ) -> Result {
        if len == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err(INVALID_VALUE);
        }
        self.check_range(from, len as u64)?;
        let stream = self.stream(stream)?;
        let is_captured = self.streams[&stream].capture.is_some();
        let is_late = is_captured
            || !at_once && (self.config.late_pageable || self.is_pinned(to as usize, len));
        self.queue(
            stream,
            Work::CopyOut {
                to: to as usize,
                from,
                len: len as u64,
            },
        )?;
        if is_late {
            Ok(())
        } else {
            self.drain_stream(stream)
        }
    }

    fn copy_device(&mut self, stream: Handle, to: u64, from: u64, len: usize) -> Result {
        if len == 0 {
            return Ok(());
        }
        self.check_range(to, len as u64)?;
        self.check_range(from, len as u64)?;
        self.queue(
            stream,
            Work::CopyDevice {
                to,
                from,
                len: len as u64,
            },
        )
    }

    fn set(
        &mut self,
        stream: Handle,
        to: u64,
        value: u32,
        width: u64,
        size: (usize, usize),
        pitch: u64,
    ) -> Result {
        let (count, rows) = (size.0 as u64, size.1 as u64);
        if count == 0 || rows == 0 {
            return Ok(());
        }
        if !to.is_multiple_of(width) || rows > 1 && pitch < count * width {
            return Err(INVALID_VALUE);
        }
        self.check_range(to, pitch * (rows - 1) + count * width)?;
        self.queue(
            stream,
            Work::Set {
                to,
                value,
                width,
                count,
                rows,
                pitch,
            },
        )
    }

    /// Before a call that works on the legacy stream and waits for it.
    fn begin_sync(&mut self, address: u64) -> Result {
        self.nothing_captured()?;
        if self.config.sanitize.stream {
            self.report_unordered_use(address);
            return self.sticky.map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// A synchronous copy waits for no non-blocking stream: queued work there must not need the same memory.
    fn report_unordered_use(&mut self, address: u64) {
        let Some(span) = self.heap.find(address) else {
            return;
        };
        let (start, len) = (span.start, span.len);
        let found = self
            .streams
            .iter()
            .filter(|(_, stream)| !stream.is_blocking)
            .find_map(|(handle, stream)| {
                let item = stream
                    .items
                    .iter()
                    .find(|item| item.work.touches(start, len))?;
                Some((*handle, item.work.describe()))
            });
        if let Some((stream, work)) = found {
            let detail = format!(
                "memory copied or filled at once while {work} in stream {stream:#x} has still to use it"
            );
            self.note(address, detail);
        }
    }
}

/// Defines exported functions that only pass their arguments on.
macro_rules! passes {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) |$state:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        /// # Safety
        /// Pointers point to as many bytes as the arguments say, and stay valid until the work is done.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $kind),*) -> u32 {
            enter(stringify!($name), Gate::Context, |$state| $body)
        }
    )*};
}

passes! {
    cuMemAlloc_v2(address: *mut u64, len: usize) |state| {
        state.unsafe_call()?;
        if address.is_null() {
            return Err(INVALID_VALUE);
        }
        let start = state.allocate(len)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, start) }
    };
    cuMemFree_v2(address: u64) |state| { state.unsafe_call()?; state.free_now(address) };
    cuMemcpyHtoD_v2(to: u64, from: *const c_void, len: usize) |state| {
        state.begin_sync(to)?;
        state.copy_in(LEGACY, to, from, len, true)?;
        state.drain_stream(LEGACY)
    };
    cuMemcpyDtoH_v2(to: *mut c_void, from: u64, len: usize) |state| {
        state.begin_sync(from)?;
        state.copy_out(LEGACY, to, from, len, true)
    };
    cuMemcpyDtoD_v2(to: u64, from: u64, len: usize) |state| {
        state.begin_sync(to)?;
        state.copy_device(LEGACY, to, from, len)
    };
    cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, len: usize, stream: Handle) |state| {
        state.copy_in(stream, to, from, len, false)
    };
    cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, len: usize, stream: Handle) |state| {
        state.copy_out(stream, to, from, len, false)
    };
    cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: Handle) |state| {
        state.copy_device(stream, to, from, len)
    };
    cuMemcpyPeerAsync(to: u64, _to_context: Handle, from: u64, _from_context: Handle, len: usize, stream: Handle) |state| {
        state.copy_device(stream, to, from, len)
    };
    cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) |state| {
        state.begin_sync(to)?;
        state.set(LEGACY, to, u32::from(value), 1, (count, 1), 0)
    };
    cuMemsetD16_v2(to: u64, value: c_ushort, count: usize) |state| {
        state.begin_sync(to)?;
        state.set(LEGACY, to, u32::from(value), 2, (count, 1), 0)
    };
    cuMemsetD32_v2(to: u64, value: c_uint, count: usize) |state| {
        state.begin_sync(to)?;
        state.set(LEGACY, to, value, 4, (count, 1), 0)
    };
    cuMemsetD8Async(to: u64, value: c_uchar, count: usize, stream: Handle) |state| {
        state.set(stream, to, u32::from(value), 1, (count, 1), 0)
    };
    cuMemsetD16Async(to: u64, value: c_ushort, count: usize, stream: Handle) |state| {
        state.set(stream, to, u32::from(value), 2, (count, 1), 0)
    };
    cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle) |state| {
        state.set(stream, to, value, 4, (count, 1), 0)
    };
    cuMemsetD2D8Async(to: u64, pitch: usize, value: c_uchar, width: usize, height: usize, stream: Handle) |state| {
        state.set(stream, to, u32::from(value), 1, (width, height), pitch as u64)
    };
    cuMemsetD2D32Async(to: u64, pitch: usize, value: c_uint, width: usize, height: usize, stream: Handle) |state| {
        state.set(stream, to, value, 4, (width, height), pitch as u64)
    };
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) |state| {
        let all = state.config.card.memory_bytes;
        // SAFETY: the caller's promise.
        unsafe {
            put(free, all.saturating_sub(state.heap.used_bytes) as usize)?;
            put(total, all as usize)
        }
    };
    cuMemGetAddressRange_v2(base: *mut u64, len: *mut usize, address: u64) |state| {
        let Some(span) = state.heap.find(address) else { return Err(INVALID_VALUE) };
        // SAFETY: the caller's promise.
        unsafe {
            put_if(base, span.start);
            put_if(len, span.len as usize);
        }
        Ok(())
    };
}
