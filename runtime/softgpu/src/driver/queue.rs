//! Streams and events: what waits to be done, in which order. Work is queued by calls and done at synchronisations; `run`
//! does it.

use super::errors::{CAPTURE_UNSUPPORTED, INVALID_HANDLE, Result};
use super::graph::Graph;
use super::module::Kernel;
use super::state::{Handle, State};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// The legacy default stream, its other name, and the default stream of a thread, which here is one for all threads.
pub const LEGACY: Handle = 0;
const LEGACY_NAME: Handle = 1;
pub const PER_THREAD: Handle = 2;

#[derive(Clone)]
pub struct LaunchSpec {
    pub kernel: Arc<Kernel>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub params: Vec<u8>,
}

#[derive(Clone)]
pub enum Source {
    /// Copied when the call was made.
    Bytes(Arc<Vec<u8>>),
    /// Address of host memory that is read when the work is done.
    Host(usize),
}

/// One piece of work in a stream, or one node of a graph.
#[derive(Clone)]
pub enum Work {
    Launch(LaunchSpec),
    CopyIn {
        to: u64,
        from: Source,
        len: u64,
    },
    CopyOut {
        to: usize,
        from: u64,
        len: u64,
    },
    CopyDevice {
        to: u64,
        from: u64,
        len: u64,
    },
    /// `count` elements of `width` bytes, in rows `pitch` bytes apart.
    Set {
        to: u64,
        value: u32,
        width: u64,
        count: u64,
        rows: u64,
        pitch: u64,
    },
    Free(u64),
    Host {
        function: usize,
        data: usize,
    },
    Record {
        event: Handle,
        version: u64,
    },
    Wait {
        event: Handle,
        version: u64,
        stream: Handle,
    },
    Graph(Arc<Graph>),
}

impl Work {
    /// Whether the work touches device memory in this range, as far as can be told: any 8-byte argument of a kernel may
    /// be a pointer.
    pub fn touches(&self, start: u64, len: u64) -> bool {
        let meets = |from: u64, size: u64| {
            from < start.saturating_add(len) && start < from.saturating_add(size)
        };
        match self {
            Self::Launch(spec) => spec.pointers().any(|pointer| meets(pointer, 1)),
            Self::CopyIn { to, len, .. } => meets(*to, *len),
            Self::CopyOut { from, len, .. } => meets(*from, *len),
            Self::CopyDevice { to, from, len } => meets(*to, *len) || meets(*from, *len),
            Self::Set {
                to,
                width,
                count,
                rows,
                pitch,
                ..
            } => meets(*to, pitch * rows.saturating_sub(1) + width * count),
            Self::Graph(graph) => graph.nodes.iter().any(|node| node.touches(start, len)),
            Self::Free(_) | Self::Host { .. } | Self::Record { .. } | Self::Wait { .. } => false,
        }
    }

    /// Whether the work reads or writes host memory in this range later on.
    pub fn touches_host(&self, start: usize, len: usize) -> bool {
        let meets = |from: usize, size: u64| from < start + len && start < from + size as usize;
        match self {
            Self::CopyIn {
                from: Source::Host(from),
                len,
                ..
            } => meets(*from, *len),
            Self::CopyOut { to, len, .. } => meets(*to, *len),
            Self::Graph(graph) => graph.nodes.iter().any(|node| node.touches_host(start, len)),
            _ => false,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Launch(spec) => format!("kernel `{}`", spec.kernel.name),
            Self::CopyIn { .. } => "a copy to the device".to_string(),
            Self::CopyOut { .. } => "a copy to the host".to_string(),
            Self::CopyDevice { .. } => "a copy on the device".to_string(),
            Self::Set { .. } => "a memset".to_string(),
            Self::Graph(_) => "a graph".to_string(),
            Self::Free(_) | Self::Host { .. } | Self::Record { .. } | Self::Wait { .. } => {
                "other work".to_string()
            }
        }
    }
}

impl LaunchSpec {
    fn pointers(&self) -> impl Iterator<Item = u64> {
        self.params.chunks_exact(8).map(|chunk| {
            chunk
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte))
        })
    }
}

pub struct Item {
    pub number: u64,
    pub work: Work,
}

#[derive(Default)]
pub struct Stream {
    pub items: VecDeque<Item>,
    /// Waits for the legacy stream, and it for this one.
    pub is_blocking: bool,
    pub flags: u32,
    pub priority: i32,
    pub capture: Option<u64>,
    /// How often `cuStreamQuery` has said "not ready" in a row.
    pub queries: u32,
}

#[derive(Default)]
pub struct Event {
    pub flags: u32,
    /// Counts recordings; zero before the first.
    pub version: u64,
    pub done: u64,
    pub stream: Handle,
    pub time: Option<Instant>,
    /// The capture in which it was recorded last, and after how many nodes.
    pub capture: Option<(u64, usize)>,
    pub queries: u32,
}

impl State {
    pub fn add_default_streams(&mut self) {
        for handle in [LEGACY, PER_THREAD] {
            self.streams.insert(
                handle,
                Stream {
                    is_blocking: true,
                    ..Stream::default()
                },
            );
        }
    }

    /// The stream that a handle means.
    pub fn stream(&self, handle: Handle) -> Result<Handle> {
        let handle = if handle == LEGACY_NAME {
            LEGACY
        } else {
            handle
        };
        if self.streams.contains_key(&handle) {
            Ok(handle)
        } else {
            Err(INVALID_HANDLE)
        }
    }

    pub fn stream_mut(&mut self, handle: Handle) -> Result<&mut Stream> {
        let handle = self.stream(handle)?;
        self.streams.get_mut(&handle).ok_or(INVALID_HANDLE)
    }

    /// Queues work, or adds it to the stream's capture.
    pub fn queue(&mut self, stream: Handle, work: Work) -> Result {
        let stream = self.stream(stream)?;
        if let Some(capture) = self.streams[&stream].capture {
            return self.add_node(capture, stream, work);
        }
        let number = self.fresh_number();
        self.stream_mut(stream)?
            .items
            .push_back(Item { number, work });
        Ok(())
    }

    /// Synchronising calls are not permitted on a stream that is being captured, and spoil the capture.
    pub fn not_capturing(&mut self, stream: Handle) -> Result {
        match self.stream_mut(stream)?.capture {
            None => Ok(()),
            Some(capture) => {
                self.spoil(capture);
                Err(CAPTURE_UNSUPPORTED)
            }
        }
    }

    /// For calls that speak of the whole device or of the legacy stream.
    pub fn nothing_captured(&mut self) -> Result {
        let captures: Vec<u64> = self.captures.keys().copied().collect();
        for &capture in &captures {
            self.spoil(capture);
        }
        if captures.is_empty() {
            Ok(())
        } else {
            Err(CAPTURE_UNSUPPORTED)
        }
    }

    /// Queued work that touches a range, for reports: the stream and what the work is.
    pub fn pending_use(&self, start: u64, len: u64) -> Option<(Handle, String)> {
        self.streams.iter().find_map(|(handle, stream)| {
            let item = stream
                .items
                .iter()
                .find(|item| item.work.touches(start, len))?;
            Some((*handle, item.work.describe()))
        })
    }
}
