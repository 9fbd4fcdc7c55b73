//! A graph: launches that were recorded, to be launched as one.

use std::sync::Arc;

use cudarc::driver::sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::sys::{CUgraph_st, CUgraphExec_st};

use super::{DriverError, Handle, Stream, done};

/// A graph that can be launched on its stream. Destroyed at the end.
pub(in crate::cuda) struct Graph {
    stream: Arc<Stream>,
    handle: Handle<CUgraphExec_st>,
}

/// What a recording made, destroyed at the end.
struct Recorded<'a> {
    stream: &'a Stream,
    handle: Handle<CUgraph_st>,
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if !self.handle.0.is_null() {
            // SAFETY: it was made once; a graph that can be launched is a copy of it.
            let _ = unsafe { (self.stream.context.table.cuGraphDestroy)(self.handle.0) };
        }
    }
}

impl Graph {
    /// Records what `record` launches on the stream; nothing runs. An error of the driver goes through `failed`; one of
    /// `record` comes first.
    pub fn record<E>(
        stream: &Arc<Stream>,
        record: impl FnOnce() -> Result<(), E>,
        failed: impl Fn(DriverError) -> E,
    ) -> Result<Self, E> {
        let begun = Self::begin(stream);
        begun.map_err(&failed)?;
        let launched = record();
        // The recording ends whether it went well or not: a stream that stays in it would record all that follows.
        let recorded = Self::end(stream);
        launched?;
        let graph = recorded.and_then(|r| Self::instantiate(stream, &r));
        graph.map_err(failed)
    }

    fn begin(stream: &Stream) -> Result<(), DriverError> {
        stream.context.bind()?;
        let begin = stream.context.table.cuStreamBeginCapture_v2;
        // SAFETY: the stream is open.
        done(unsafe { begin(stream.handle.0, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) })
    }

    fn end(stream: &Stream) -> Result<Recorded<'_>, DriverError> {
        let mut handle = Handle::null();
        // SAFETY: the stream is being recorded on this thread; the driver writes one handle.
        let ended = done(unsafe {
            (stream.context.table.cuStreamEndCapture)(stream.handle.0, &mut handle.0)
        });
        let recorded = Recorded { stream, handle };
        ended.map(|()| recorded)
    }

    fn instantiate(stream: &Arc<Stream>, recorded: &Recorded) -> Result<Self, DriverError> {
        let instantiate = stream.context.table.cuGraphInstantiateWithFlags;
        let mut handle = Handle::null();
        // SAFETY: the recording is whole, there are no flags, and the driver writes one handle.
        done(unsafe { instantiate(&mut handle.0, recorded.handle.0, 0) })?;
        let stream = stream.clone();
        Ok(Self { stream, handle })
    }

    /// Brings it to the device, so that its first launch is as quick as the others.
    pub fn upload(&self) -> Result<(), DriverError> {
        self.stream.context.bind()?;
        let upload = self.stream.context.table.cuGraphUpload;
        // SAFETY: graph and stream are open, and of one context.
        done(unsafe { upload(self.handle.0, self.stream.handle.0) })
    }

    /// Launches it behind all that is on the stream.
    ///
    /// # Safety
    /// What its kernels read and write lives until the stream has done them.
    pub unsafe fn launch(&self) -> Result<(), DriverError> {
        self.stream.context.bind()?;
        let launch = self.stream.context.table.cuGraphLaunch;
        // SAFETY: graph and stream are open, and of one context; the caller's promise for the rest.
        done(unsafe { launch(self.handle.0, self.stream.handle.0) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.stream.context.bind().is_ok() {
            // SAFETY: it was made once; the driver keeps what still runs.
            let _ = unsafe { (self.stream.context.table.cuGraphExecDestroy)(self.handle.0) };
        }
    }
}
