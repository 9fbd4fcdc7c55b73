//! Capture of streams into graphs, and their replay. A graph is a list: the order of capture, which respects every
//! dependency. Arguments are those of the time of capture.

use super::errors::{
    CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_UNMATCHED, CAPTURE_UNSUPPORTED, Code,
    INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED, Result,
};
use super::queue::{LEGACY, Work};
use super::state::{Gate, Handle, State, enter, put, put_if};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::sync::Arc;
use std::thread::ThreadId;

pub struct Graph {
    pub nodes: Vec<Work>,
    handles: Vec<Handle>,
}

/// A capture that has not ended.
pub struct Capture {
    origin: Handle,
    pub nodes: Vec<Work>,
    spoilt: bool,
    mode: u32,
    thread: ThreadId,
    /// For each further stream: how many nodes there were when it added its last one, and when it was joined last.
    branches: BTreeMap<Handle, (usize, usize)>,
}

const MODE_GLOBAL: u32 = 0;
const MODE_RELAXED: u32 = 2;
const STATUS_NONE: u32 = 0;
const STATUS_ACTIVE: u32 = 1;
const STATUS_INVALIDATED: u32 = 2;
const ILLEGAL_STATE: Code = Code(401);

impl State {
    pub fn add_node(&mut self, capture: u64, stream: Handle, work: Work) -> Result {
        let Some(known) = self.captures.get_mut(&capture) else {
            return Err(CAPTURE_INVALIDATED);
        };
        if known.spoilt {
            return Err(CAPTURE_INVALIDATED);
        }
        known.nodes.push(work);
        let count = known.nodes.len();
        if stream != known.origin {
            known.branches.entry(stream).or_insert((0, 0)).0 = count;
        }
        Ok(())
    }

    pub fn spoil(&mut self, capture: u64) {
        if let Some(known) = self.captures.get_mut(&capture) {
            known.spoilt = true;
        }
    }

    /// A stream waits for an event of a capture, and so becomes part of it.
    pub fn join_capture(&mut self, stream: Handle, capture: u64, nodes: usize) -> Result {
        if stream == LEGACY {
            self.spoil(capture);
            return Err(CAPTURE_UNSUPPORTED);
        }
        self.stream_mut(stream)?.capture = Some(capture);
        if let Some(known) = self.captures.get_mut(&capture) {
            known.branches.insert(stream, (nodes.max(1), 0));
        }
        Ok(())
    }

    /// A stream of the capture waits for an event of another one.
    pub fn join_branch(&mut self, capture: u64, branch: Handle, nodes: usize) -> Result {
        if let Some(known) = self.captures.get_mut(&capture)
            && let Some((_, joined)) = known.branches.get_mut(&branch)
        {
            *joined = nodes.max(1).max(*joined);
        }
        Ok(())
    }

    /// For calls that are not safe during a capture of mode "global", or of mode "thread local" by this thread.
    pub fn unsafe_call(&mut self) -> Result {
        let thread = std::thread::current().id();
        let forbids = |known: &Capture| {
            known.mode == MODE_GLOBAL || known.mode != MODE_RELAXED && known.thread == thread
        };
        let hit: Vec<u64> = self
            .captures
            .iter()
            .filter(|(_, known)| forbids(known))
            .map(|(id, _)| *id)
            .collect();
        hit.iter().for_each(|&capture| self.spoil(capture));
        if hit.is_empty() {
            Ok(())
        } else {
            self.fail(CAPTURE_UNSUPPORTED, "an unsafe call during a capture")
        }
    }

    fn begin_capture(&mut self, stream: Handle, mode: u32) -> Result {
        let stream = self.stream(stream)?;
        if mode > MODE_RELAXED {
            return Err(INVALID_VALUE);
        }
        if stream == LEGACY {
            return Err(CAPTURE_UNSUPPORTED);
        }
        if self.streams[&stream].capture.is_some() {
            return Err(ILLEGAL_STATE);
        }
        let capture = self.fresh_number();
        let thread = std::thread::current().id();
        let nodes = Vec::new();
        let branches = BTreeMap::new();
        self.captures.insert(
            capture,
            Capture {
                origin: stream,
                nodes,
                spoilt: false,
                mode,
                thread,
                branches,
            },
        );
        self.stream_mut(stream)?.capture = Some(capture);
        Ok(())
    }

    fn end_capture(&mut self, stream: Handle) -> Result<Handle> {
        let stream = self.stream(stream)?;
        let Some(capture) = self.streams[&stream].capture else {
            return Err(ILLEGAL_STATE);
        };
        if self
            .captures
            .get(&capture)
            .is_some_and(|known| known.origin != stream)
        {
            self.spoil(capture);
            return Err(CAPTURE_UNMATCHED);
        }
        for other in self
            .streams
            .values_mut()
            .filter(|other| other.capture == Some(capture))
        {
            other.capture = None;
        }
        let Some(known) = self.captures.remove(&capture) else {
            return Err(CAPTURE_INVALIDATED);
        };
        if known.spoilt {
            return Err(CAPTURE_INVALIDATED);
        }
        if known.branches.values().any(|(last, joined)| joined < last) {
            return Err(CAPTURE_UNJOINED);
        }
        let handles = known.nodes.iter().map(|_| self.fresh_handle()).collect();
        let graph = self.fresh_handle();
        self.graphs.insert(
            graph,
            Arc::new(Graph {
                nodes: known.nodes,
                handles,
            }),
        );
        Ok(graph)
    }

    fn capture_status(&mut self, stream: Handle) -> Result<(u32, u64)> {
        let Some(capture) = self.stream_mut(stream)?.capture else {
            return Ok((STATUS_NONE, 0));
        };
        let spoilt = self.captures.get(&capture).is_none_or(|known| known.spoilt);
        Ok((
            if spoilt {
                STATUS_INVALIDATED
            } else {
                STATUS_ACTIVE
            },
            capture,
        ))
    }

    fn instantiate(&mut self, exec: *mut Handle, graph: Handle, flags: u64) -> Result {
        const AUTO_FREE: u64 = 1;
        const DEVICE_LAUNCH: u64 = 4;
        if flags > 15 || flags & AUTO_FREE != 0 && flags & DEVICE_LAUNCH != 0 {
            return Err(INVALID_VALUE);
        }
        if flags & DEVICE_LAUNCH != 0 {
            return Err(NOT_SUPPORTED);
        }
        let graph = self.graphs.get(&graph).cloned().ok_or(INVALID_HANDLE)?;
        let handle = self.fresh_handle();
        self.graph_execs.insert(handle, graph);
        // SAFETY: the caller of the exported function promised it.
        unsafe { put(exec, handle) }
    }
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_uint) -> u32 {
    enter("cuStreamBeginCapture_v2", Gate::Context, |state| {
        state.begin_capture(stream, mode)
    })
}

/// # Safety
/// `graph` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> u32 {
    enter("cuStreamEndCapture", Gate::Context, |state| {
        if graph.is_null() {
            return Err(INVALID_VALUE);
        }
        let result = state.end_capture(stream);
        // SAFETY: the caller's promise.
        unsafe { put(graph, result.unwrap_or(0)) }?;
        result.map(|_| ())
    })
}

/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: Handle, status: *mut c_uint) -> u32 {
    enter("cuStreamIsCapturing", Gate::Context, |state| {
        let (found, _) = state.capture_status(stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(status, found) }
    })
}

/// Gives status and number of a capture; graph and dependencies are none.
///
/// # Safety
/// The results are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: Handle,
    status: *mut c_uint,
    id: *mut u64,
    graph: *mut Handle,
    dependencies: *mut *const c_void,
    count: *mut usize,
) -> u32 {
    enter("cuStreamGetCaptureInfo_v2", Gate::Context, |state| {
        let (found, capture) = state.capture_status(stream)?;
        // SAFETY: the caller's promise.
        unsafe {
            put_if(id, capture);
            put_if(graph, 0);
            put_if(dependencies, std::ptr::null());
            put_if(count, 0);
            put(status, found)
        }
    })
}

/// # Safety
/// `exec` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    exec: *mut Handle,
    graph: Handle,
    flags: c_ulonglong,
) -> u32 {
    enter("cuGraphInstantiateWithFlags", Gate::Context, |state| {
        state.instantiate(exec, graph, flags)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: Handle, stream: Handle) -> u32 {
    enter("cuGraphLaunch", Gate::Context, |state| {
        let graph = state
            .graph_execs
            .get(&exec)
            .cloned()
            .ok_or(INVALID_HANDLE)?;
        let stream = state.stream(stream)?;
        if state.streams[&stream].capture.is_some() {
            return state.fail(NOT_SUPPORTED, "a graph launched inside a capture");
        }
        state.queue(stream, Work::Graph(graph))
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(exec: Handle, stream: Handle) -> u32 {
    enter("cuGraphUpload", Gate::Context, |state| {
        state.stream(stream)?;
        if state.graph_execs.contains_key(&exec) {
            Ok(())
        } else {
            Err(INVALID_HANDLE)
        }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: Handle) -> u32 {
    enter("cuGraphExecDestroy", Gate::Context, |state| {
        state
            .graph_execs
            .remove(&exec)
            .map(|_| ())
            .ok_or(INVALID_HANDLE)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: Handle) -> u32 {
    enter("cuGraphDestroy", Gate::Context, |state| {
        state
            .graphs
            .remove(&graph)
            .map(|_| ())
            .ok_or(INVALID_HANDLE)
    })
}

/// # Safety
/// `count` is null or may be read and written; `nodes` is null or has room for that many handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(
    graph: Handle,
    nodes: *mut Handle,
    count: *mut usize,
) -> u32 {
    enter("cuGraphGetNodes", Gate::Context, |state| {
        let known = state.graphs.get(&graph).ok_or(INVALID_HANDLE)?;
        if count.is_null() {
            return Err(INVALID_VALUE);
        }
        if nodes.is_null() {
            // SAFETY: the caller's promise.
            return unsafe { put(count, known.handles.len()) };
        }
        // SAFETY: the caller's promise.
        let room = unsafe { count.read_unaligned() };
        for k in 0..room {
            let handle = known.handles.get(k).copied().unwrap_or(0);
            // SAFETY: the caller has room for so many.
            unsafe { nodes.add(k).write_unaligned(handle) };
        }
        // SAFETY: the caller's promise.
        unsafe { put(count, known.handles.len().min(room)) }
    })
}

/// # Safety
/// `kind` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: Handle, kind: *mut c_int) -> u32 {
    enter("cuGraphNodeGetType", Gate::Context, |state| {
        let find = |graph: &Arc<Graph>| {
            let index = graph.handles.iter().position(|handle| *handle == node)?;
            Some(match graph.nodes[index] {
                Work::Launch(_) => 0,
                Work::CopyIn { .. } | Work::CopyOut { .. } | Work::CopyDevice { .. } => 1,
                Work::Set { .. } => 2,
                Work::Host { .. } => 3,
                Work::Graph(_) => 4,
                Work::Free(_) | Work::Record { .. } | Work::Wait { .. } => 5,
            })
        };
        let found = state.graphs.values().find_map(find).ok_or(INVALID_HANDLE)?;
        // SAFETY: the caller's promise.
        unsafe { put(kind, found) }
    })
}
