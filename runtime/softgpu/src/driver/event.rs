//! Events: marks in streams that other streams and the host wait for.

use super::errors::{
    CAPTURE_ISOLATION, CAPTURED_EVENT, Code, INVALID_HANDLE, INVALID_VALUE, NOT_READY, Result,
};
use super::queue::{Event, Work};
use super::state::{Gate, Handle, State, enter, put};
use super::stream::PATIENCE;
use std::ffi::c_uint;

const BLOCKING_SYNC: u32 = 1;
const DISABLE_TIMING: u32 = 2;
const CAPTURE_MERGE: Code = Code(902);

impl State {
    fn event(&mut self, event: Handle) -> Result<&mut Event> {
        self.events.get_mut(&event).ok_or(INVALID_HANDLE)
    }

    fn record(&mut self, event: Handle, stream: Handle) -> Result {
        let stream = self.stream(stream)?;
        let capture = self.streams[&stream].capture;
        let nodes = capture.map(|capture| {
            (
                capture,
                self.captures
                    .get(&capture)
                    .map_or(0, |known| known.nodes.len()),
            )
        });
        let known = self.event(event)?;
        known.stream = stream;
        known.capture = nodes;
        known.queries = 0;
        if nodes.is_some() {
            return Ok(());
        }
        known.version += 1;
        let version = known.version;
        self.queue(stream, Work::Record { event, version })
    }

    fn wait(&mut self, stream: Handle, event: Handle) -> Result {
        let stream = self.stream(stream)?;
        let known = self.event(event)?;
        let (captured, version, recorder) = (known.capture, known.version, known.stream);
        let own = self.streams[&stream].capture;
        match (captured, own) {
            (Some((capture, _)), _) if !self.captures.contains_key(&capture) => Err(CAPTURED_EVENT),
            (Some((capture, nodes)), None) => self.join_capture(stream, capture, nodes),
            (Some((capture, nodes)), Some(own)) if capture == own => {
                self.join_branch(capture, recorder, nodes)
            }
            (Some(_), Some(own)) => {
                self.spoil(own);
                Err(CAPTURE_MERGE)
            }
            (None, _) if version == 0 => Ok(()),
            (None, Some(own)) => {
                self.spoil(own);
                Err(CAPTURE_ISOLATION)
            }
            (None, None) => self.queue(
                stream,
                Work::Wait {
                    event,
                    version,
                    stream: recorder,
                },
            ),
        }
    }

    fn uncaptured(&mut self, event: Handle) -> Result<&mut Event> {
        let known = self.event(event)?;
        if known.capture.is_some() {
            Err(CAPTURED_EVENT)
        } else {
            Ok(known)
        }
    }

    fn elapsed(&mut self, from: Handle, to: Handle) -> Result<f32> {
        let mut times = Vec::new();
        for event in [from, to] {
            let known = self.uncaptured(event)?;
            if known.flags & DISABLE_TIMING != 0 || known.version == 0 {
                return Err(INVALID_HANDLE);
            }
            if known.done < known.version {
                return Err(NOT_READY);
            }
            times.extend(known.time);
        }
        let [from, to] = times[..] else {
            return Err(INVALID_HANDLE);
        };
        let sign = if to < from { -1.0 } else { 1.0 };
        let apart = if to < from { from - to } else { to - from };
        Ok(sign * apart.as_secs_f32() * 1e3)
    }
}

/// # Safety
/// `event` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut Handle, flags: c_uint) -> u32 {
    enter("cuEventCreate", Gate::Context, |state| {
        if flags > 7 {
            return Err(INVALID_VALUE);
        }
        let handle = state.fresh_handle();
        state.events.insert(
            handle,
            Event {
                flags,
                ..Event::default()
            },
        );
        // SAFETY: the caller's promise.
        unsafe { put(event, handle) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> u32 {
    enter("cuEventDestroy_v2", Gate::Context, |state| {
        let known = state.event(event)?;
        let (version, recorder) = (known.version, known.stream);
        // Streams may still wait for it.
        let is_awaited = state.streams.values().any(|stream| {
            stream
                .items
                .iter()
                .any(|item| matches!(item.work, Work::Wait { event: other, .. } if other == event))
        });
        if is_awaited {
            state.run_until_recorded(event, version, recorder)?;
        }
        state.events.remove(&event);
        Ok(())
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> u32 {
    enter("cuEventRecord", Gate::Context, |state| {
        state.record(event, stream)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecordWithFlags(
    event: Handle,
    stream: Handle,
    flags: c_uint,
) -> u32 {
    enter("cuEventRecordWithFlags", Gate::Context, |state| {
        if flags > 1 {
            Err(INVALID_VALUE)
        } else {
            state.record(event, stream)
        }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) -> u32 {
    enter("cuStreamWaitEvent", Gate::Context, |state| {
        if flags > 1 {
            Err(INVALID_VALUE)
        } else {
            state.wait(stream, event)
        }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> u32 {
    enter("cuEventSynchronize", Gate::Context, |state| {
        let known = state.uncaptured(event)?;
        let (version, recorder) = (known.version, known.stream);
        let sleeps = known.flags & BLOCKING_SYNC != 0;
        if sleeps && let Some(code) = state.injected("sleep") {
            return state.fail(code, "sleep: injected");
        }
        state.run_until_recorded(event, version, recorder)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: Handle) -> u32 {
    enter("cuEventQuery", Gate::Context, |state| {
        let known = state.uncaptured(event)?;
        if known.done >= known.version {
            return Ok(());
        }
        if known.queries < PATIENCE {
            known.queries += 1;
            return Err(NOT_READY);
        }
        let (version, recorder) = (known.version, known.stream);
        state.run_until_recorded(event, version, recorder)
    })
}

/// # Safety
/// `milliseconds` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: *mut f32,
    from: Handle,
    to: Handle,
) -> u32 {
    enter("cuEventElapsedTime", Gate::Context, |state| {
        let apart = state.elapsed(from, to)?;
        // SAFETY: the caller's promise.
        unsafe { put(milliseconds, apart) }
    })
}

/// # Safety
/// `milliseconds` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut f32,
    from: Handle,
    to: Handle,
) -> u32 {
    enter("cuEventElapsedTime_v2", Gate::Context, |state| {
        let apart = state.elapsed(from, to)?;
        // SAFETY: the caller's promise.
        unsafe { put(milliseconds, apart) }
    })
}
