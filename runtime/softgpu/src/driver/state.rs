//! Everything the driver knows, behind one lock, and the way into it that every exported function takes: no panic goes
//! out, injected faults come back, and the conditions of a call are checked.

use super::errors::{
    self, Code, INVALID_CONTEXT, INVALID_HANDLE, INVALID_VALUE, NOT_INITIALIZED, NOT_PERMITTED,
    Result,
};
use super::graph::{Capture, Graph};
use super::machine::ImageKey;
use super::module::{Kernel, Module};
use super::queue::{Event, Stream};
use crate::config::Config;
use crate::count::Counters;
use crate::exec::fault::Fault;
use crate::exec::heap::Heap;
use crate::time::cache::L2;
use std::alloc::Layout;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// An opaque handle or an id: what C programs hold as a pointer.
pub type Handle = usize;

pub struct Context {
    pub device: i32,
    pub is_primary: bool,
    pub flags: u32,
    pub limits: BTreeMap<u32, usize>,
}

pub struct State {
    pub config: Config,
    pub initialized: bool,
    pub next_handle: Handle,
    /// Work gets numbers in the order in which it is queued.
    pub next_number: u64,
    pub contexts: BTreeMap<Handle, Context>,
    /// Device, context, how often it was retained.
    pub primaries: BTreeMap<i32, (Handle, u32)>,
    pub heap: Heap,
    /// Blocks of pinned host memory; those that were only registered have no layout.
    pub pinned: BTreeMap<usize, (usize, Option<Layout>)>,
    /// The PTX of CUBINs.
    pub sources: BTreeMap<ImageKey, Arc<str>>,
    pub modules: BTreeMap<Handle, Module>,
    pub functions: BTreeMap<Handle, Arc<Kernel>>,
    pub streams: BTreeMap<Handle, Stream>,
    pub events: BTreeMap<Handle, Event>,
    pub captures: BTreeMap<u64, Capture>,
    pub graphs: BTreeMap<Handle, Arc<Graph>>,
    pub graph_execs: BTreeMap<Handle, Arc<Graph>>,
    pub pools: BTreeMap<Handle, BTreeMap<u32, u64>>,
    /// The error that every call returns from now on.
    pub sticky: Option<Code>,
    pub findings: Vec<Fault>,
    pub last_error: String,
    pub counters: Counters,
    /// What the counted launches so far have left in the card's L2.
    pub l2: Option<L2>,
}

impl State {
    fn new(config: Config) -> Self {
        let mut state = Self {
            heap: Heap::new(config.card.memory_bytes),
            config,
            initialized: false,
            next_handle: 0x1000,
            next_number: 1,
            contexts: BTreeMap::new(),
            primaries: BTreeMap::new(),
            pinned: BTreeMap::new(),
            sources: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            graph_execs: BTreeMap::new(),
            pools: BTreeMap::new(),
            sticky: None,
            findings: Vec::new(),
            last_error: String::new(),
            counters: Counters::default(),
            l2: None,
        };
        state.add_default_streams();
        state
    }

    #[expect(
        clippy::print_stderr,
        reason = "a program that loads the library has no other way to be told"
    )]
    fn from_environment() -> Self {
        let mut config = Config::default();
        let mut error = String::new();
        if let Ok(text) = std::env::var("LENETC_SOFTGPU") {
            error = config.apply(&text).err().unwrap_or_default();
        }
        let mut state = Self::new(config);
        if !error.is_empty() {
            eprintln!("LENETC_SOFTGPU: {error}");
            state.last_error = error;
        }
        state
    }

    /// Forgets everything but the settings. Pinned memory stays until it is freed, since the program holds pointers.
    pub fn reset(&mut self) {
        let (pinned, next_handle) = (std::mem::take(&mut self.pinned), self.next_handle);
        *self = Self::new(self.config.clone());
        self.pinned = pinned;
        // Old handles must not become valid again.
        self.next_handle = next_handle;
    }

    pub fn fresh_handle(&mut self) -> Handle {
        self.next_handle += 16;
        self.next_handle
    }

    pub fn fresh_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Counts a call against the injected faults.
    pub fn injected(&mut self, symbol: &str) -> Option<Code> {
        let mut code = None;
        for fault in self
            .config
            .faults
            .iter_mut()
            .filter(|fault| fault.symbol == symbol)
        {
            if fault.remaining == 1 {
                code = Some(Code(fault.code));
            }
            fault.remaining = fault.remaining.saturating_sub(1);
        }
        code
    }

    fn admit(&mut self, symbol: &str, gate: Gate) -> Result {
        if let Some(code) = self.injected(symbol) {
            self.last_error = format!("{symbol}: injected {}", errors::name(code.0));
            if code.is_sticky() {
                self.sticky = Some(code);
            }
            return Err(code);
        }
        if gate >= Gate::Initialized && !self.initialized {
            return Err(NOT_INITIALIZED);
        }
        if gate >= Gate::Context {
            if !self.contexts.contains_key(&current()) {
                return Err(INVALID_CONTEXT);
            }
            if let Some(code) = self.sticky {
                return Err(code);
            }
        }
        Ok(())
    }

    /// Remembers why a call fails.
    pub fn fail<T>(&mut self, code: Code, reason: impl Into<String>) -> Result<T> {
        self.last_error = reason.into();
        Err(code)
    }

    pub fn function(&self, handle: Handle) -> Result<Arc<Kernel>> {
        self.functions.get(&handle).cloned().ok_or(INVALID_HANDLE)
    }
}

/// What must hold for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    Always,
    Initialized,
    /// A context is current and has met no error that it cannot recover from.
    Context,
}

thread_local! {
    static CURRENT: Cell<Handle> = const { Cell::new(0) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// The context of this thread, or zero.
pub fn current() -> Handle {
    CURRENT.get()
}

pub fn set_current(context: Handle) {
    CURRENT.set(context);
}

/// Runs a host function of a stream, during which this thread may not call the driver.
pub fn in_callback(run: impl FnOnce()) {
    IN_CALLBACK.set(true);
    run();
    IN_CALLBACK.set(false);
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Runs an exported function's body.
pub fn enter(symbol: &str, gate: Gate, body: impl FnOnce(&mut State) -> Result) -> u32 {
    let run = || {
        if IN_CALLBACK.get() {
            return Err(NOT_PERMITTED);
        }
        let mut guard = STATE
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let state = guard.get_or_insert_with(State::from_environment);
        state.admit(symbol, gate)?;
        body(state)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => 0,
        Ok(Err(code)) => code.0,
        Err(_) => errors::UNKNOWN,
    }
}

/// Writes a result.
///
/// # Safety
/// `target` is null or may be written.
pub unsafe fn put<T>(target: *mut T, value: T) -> Result {
    if target.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise, and not null. Callers in C may not keep Rust's alignment.
    unsafe { target.write_unaligned(value) };
    Ok(())
}

/// Like `put`, where C programs may pass null for results that they do not want.
///
/// # Safety
/// As for `put`.
pub unsafe fn put_if<T>(target: *mut T, value: T) {
    if !target.is_null() {
        // SAFETY: as in `put`.
        unsafe { target.write_unaligned(value) };
    }
}
