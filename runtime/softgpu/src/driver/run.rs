//! Does the work of streams, in their order: each stream's own, events', and the legacy stream's.

use super::errors::{self, Code, INVALID_HANDLE, Result};
use super::queue::{Item, LEGACY, LaunchSpec, Source, Work};
use super::state::{Handle, State, in_callback};
use crate::count::Copied;
use crate::exec::fault::{Fault, ILLEGAL_ADDRESS};
use crate::exec::grid::{Launch, deadline};
use crate::exec::probe::Probe;
use crate::sanitize::warp::INDEPENDENT_SINCE;
use crate::time::cache::L2;
use crate::time::launch::Place;
use crate::time::model::Surroundings;
use crate::time::rates::{CardRates, Rates};
use std::time::Instant;

impl State {
    /// Does a stream's work up to a number.
    pub fn drain(&mut self, stream: Handle, upto: u64) -> Result {
        loop {
            let Some(queue) = self.streams.get_mut(&stream) else {
                return Ok(());
            };
            match queue.items.front() {
                Some(item) if item.number <= upto => {}
                _ => return Ok(()),
            }
            let Some(item) = queue.items.pop_front() else {
                return Ok(());
            };
            let is_blocking = queue.is_blocking;
            self.run_before(stream, is_blocking, item.number)?;
            self.run_item(stream, item)?;
        }
    }

    pub fn drain_stream(&mut self, stream: Handle) -> Result {
        let stream = self.stream(stream)?;
        self.drain(stream, u64::MAX)
    }

    pub fn drain_all(&mut self) -> Result {
        let streams: Vec<Handle> = self.streams.keys().copied().collect();
        streams
            .into_iter()
            .try_for_each(|stream| self.drain(stream, u64::MAX))
    }

    /// The legacy stream and the blocking ones wait for one another's earlier work.
    fn run_before(&mut self, stream: Handle, is_blocking: bool, number: u64) -> Result {
        if stream == LEGACY {
            let others: Vec<Handle> = self
                .streams
                .iter()
                .filter(|(_, other)| other.is_blocking)
                .map(|(id, _)| *id)
                .collect();
            others
                .into_iter()
                .filter(|other| *other != LEGACY)
                .try_for_each(|other| self.drain(other, number))
        } else if is_blocking {
            self.drain(LEGACY, number)
        } else {
            Ok(())
        }
    }

    fn run_item(&mut self, stream: Handle, item: Item) -> Result {
        match item.work {
            Work::Record { event, version } => {
                if let Some(event) = self.events.get_mut(&event) {
                    event.done = event.done.max(version);
                    event.time = Some(Instant::now());
                }
                Ok(())
            }
            Work::Wait {
                event,
                version,
                stream: recorder,
            } => self.run_until_recorded(event, version, recorder),
            Work::Free(start) => {
                self.report_pending_use(start, "freed", stream);
                self.sticky.map_or(Ok(()), Err)?;
                if self.heap.free(start) {
                    Ok(())
                } else {
                    self.lose("a free of memory that was freed already", start)
                }
            }
            Work::Graph(graph) => {
                self.counters.total.graph_launches += 1;
                graph.nodes.iter().try_for_each(|node| self.run_work(node))
            }
            other => self.run_work(&other),
        }
    }

    /// Runs the recording stream until the event has happened.
    pub fn run_until_recorded(&mut self, event: Handle, version: u64, recorder: Handle) -> Result {
        loop {
            let Some(known) = self.events.get(&event) else {
                return Ok(());
            };
            let next = self
                .streams
                .get(&recorder)
                .and_then(|stream| stream.items.front())
                .map(|item| item.number);
            match next {
                Some(number) if known.done < version => self.drain(recorder, number)?,
                _ => return Ok(()),
            }
        }
    }

    fn run_work(&mut self, work: &Work) -> Result {
        match work {
            Work::Launch(spec) => self.run_launch(spec),
            Work::CopyIn { to, from, len } => self.run_copy_in(*to, from, *len),
            Work::CopyOut { to, from, len } => self.run_copy_out(*to, *from, *len),
            Work::CopyDevice { to, from, len } => self.run_copy_device(*to, *from, *len),
            Work::Set {
                to,
                value,
                width,
                count,
                rows,
                pitch,
            } => (0..*rows)
                .try_for_each(|row| self.run_set(to + row * pitch, *value, *width, *count)),
            Work::Host { function, data } => {
                // SAFETY: the program gave a function of this type to cuLaunchHostFunc.
                let function: extern "C" fn(usize) = unsafe { std::mem::transmute(*function) };
                in_callback(|| function(*data));
                Ok(())
            }
            Work::Free(_) | Work::Record { .. } | Work::Wait { .. } | Work::Graph(_) => {
                Err(INVALID_HANDLE)
            }
        }
    }

    /// An error that the context does not recover from.
    fn lose(&mut self, what: &str, address: u64) -> Result {
        let detail = format!("{what}, at {address:#x}: {}", self.heap.describe(address));
        self.report(Fault {
            code: ILLEGAL_ADDRESS,
            kind: "out_of_bounds",
            kernel: String::new(),
            line: 0,
            text: String::new(),
            block: [0; 3],
            thread: [0; 3],
            address,
            detail,
        })
    }

    /// Keeps a finding; the context is lost.
    pub fn report(&mut self, fault: Fault) -> Result {
        let code = Code(fault.code);
        self.last_error = format!("{}: {}", errors::name(fault.code), fault.detail);
        self.findings.push(fault);
        self.sticky = Some(code);
        for stream in self.streams.values_mut() {
            stream.items.clear();
        }
        Err(code)
    }

    fn run_copy_in(&mut self, to: u64, from: &Source, len: u64) -> Result {
        self.counters.copied(Copied::HostToDevice, len);
        let Some(span) = self.heap.find_range(to, len) else {
            return self.lose("a copy to the device", to);
        };
        let source = match from {
            Source::Bytes(bytes) => bytes.as_ptr(),
            Source::Host(address) => *address as *const u8,
        };
        // SAFETY: the target's bytes were looked up; the source is a copy of that length, or host memory that the program
        // promised to keep until the stream has got here.
        unsafe { span.host_at(to).copy_from(source, len as usize) };
        span.mark_written(to, len);
        Ok(())
    }

    fn run_copy_out(&mut self, to: usize, from: u64, len: u64) -> Result {
        self.counters.copied(Copied::DeviceToHost, len);
        let Some(span) = self.heap.find_range(from, len) else {
            return self.lose("a copy to the host", from);
        };
        // SAFETY: as in `run_copy_in`.
        unsafe { (to as *mut u8).copy_from(span.host_at(from), len as usize) };
        Ok(())
    }

    fn run_copy_device(&mut self, to: u64, from: u64, len: u64) -> Result {
        self.counters.copied(Copied::DeviceToDevice, len);
        let Some(source) = self.heap.find_range(from, len) else {
            return self.lose("a copy on the device", from);
        };
        let Some(target) = self.heap.find_range(to, len) else {
            return self.lose("a copy on the device", to);
        };
        // SAFETY: both ranges were looked up; `copy_from` allows them to overlap.
        unsafe {
            target
                .host_at(to)
                .copy_from(source.host_at(from), len as usize)
        };
        target.mark_written(to, len);
        Ok(())
    }

    fn run_set(&mut self, to: u64, value: u32, width: u64, count: u64) -> Result {
        let len = width * count;
        self.counters.copied(Copied::Set, len);
        let Some(span) = self.heap.find_range(to, len) else {
            return self.lose("a memset", to);
        };
        let pattern = &value.to_le_bytes()[..width as usize];
        // SAFETY: the range was looked up, and nothing else uses it while the driver's lock is held.
        let bytes = unsafe { std::slice::from_raw_parts_mut(span.host_at(to), len as usize) };
        for chunk in bytes.chunks_exact_mut(pattern.len()) {
            chunk.copy_from_slice(pattern);
        }
        span.mark_written(to, len);
        Ok(())
    }

    fn grid_of<'a>(&'a self, spec: &'a LaunchSpec) -> Launch<'a> {
        let program = &spec.kernel.program;
        Launch {
            program,
            heap: &self.heap,
            params: &spec.params,
            grid: spec.grid,
            block: spec.block,
            shared_len: program.shared_static + spec.dynamic_shared,
            warp_order: self.config.warp_order,
            deadline: deadline(self.config.watchdog),
            has_independent_lanes: self.config.card.capability >= INDEPENDENT_SINCE,
        }
    }

    /// What the model of time must know of a launch; takes the L2 along.
    fn surroundings(&mut self, spec: &LaunchSpec) -> Surroundings {
        let card = &self.config.card;
        let threads: u32 = spec.block.iter().product();
        let dynamic = spec.dynamic_shared as usize;
        let fitting = self.active_blocks(&spec.kernel, threads as i32, dynamic);
        let resident = fitting.unwrap_or(1).max(1).unsigned_abs();
        let rates = Rates::of(card.capability);
        // A cache of another card has another size.
        let l2_bytes = u64::from(card.l2_bytes);
        let fits = |l2: &L2| l2.capacity() == l2_bytes;
        let shared = spec.kernel.program.shared_static
            + spec.dynamic_shared
            + card.limits.shared_reserved_bytes;
        Surroundings {
            rates,
            card: CardRates::of(card),
            place: Place {
                multiprocessors: card.multiprocessors,
                resident,
            },
            l1_bytes: rates.l1_of_block(shared, resident),
            l2: self
                .l2
                .take()
                .filter(fits)
                .unwrap_or_else(|| L2::new(l2_bytes)),
        }
    }

    fn run_launch(&mut self, spec: &LaunchSpec) -> Result {
        self.counters.launched(&spec.kernel.name);
        if let Some(code) = self.injected("launch") {
            let detail = "injected".to_string();
            let name = spec.kernel.name.clone();
            let fault = Fault {
                code: code.0,
                kind: "injected",
                kernel: name,
                line: 0,
                text: String::new(),
                block: [0; 3],
                thread: [0; 3],
                address: 0,
                detail,
            };
            return self.report(fault);
        }
        let sanitize = self.config.sanitize;
        let result = if sanitize.in_kernels() || self.config.count {
            let counted = self.config.count.then(|| self.surroundings(spec));
            let resident = counted.as_ref().map_or(0, |known| known.place.resident);
            let launch = self.grid_of(spec);
            let probe = Box::new(Probe::new(sanitize, counted, &launch));
            let (probe, result) = launch.run_probed(probe);
            let (counts, outcome) = probe.finish();
            self.counters.executed(&spec.kernel.name, &counts);
            if let Some(outcome) = outcome {
                self.l2 = Some(outcome.l2);
                let name = &spec.kernel.name;
                self.counters.timed(name, &outcome.time, resident);
            }
            result
        } else {
            self.grid_of(spec).run()
        };
        result.or_else(|fault| self.report(*fault))
    }
}
