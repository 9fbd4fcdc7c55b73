//! Runs a program on a device: its memory, one captured graph for a step of training and one for a step of
//! evaluation, and rounds of steps between two looks of the host.
//!
//! A step is one graph launch and nothing else: the kernels find the batch, the numbers of the step and the place of
//! their sums in device memory and move them on. Does not know what the kernels compute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::device::{Device, Found};
use super::driver::{Function, Graph, Memory as Region, Plain, Stream};
use super::error::{CudaError, Phase, when};
use super::step::{RING, Slot, Step};
use super::{Launch, Place, Program};
use crate::exec::{Bytes, Examples, Mode, StepResult};

/// A program with its memory on a device.
pub struct Engine {
    /// A step of training and one of evaluation, once they are captured.
    graphs: [Option<Graph>; 2],
    functions: BTreeMap<String, Function>,
    memory: Memory,
    stream: Arc<Stream>,
    program: Program,
    device: Found,
    log: String,
    warnings: Vec<String>,
    /// How long a step of each mode took, in its last round.
    step_time: [Option<Duration>; 2],
    mode: Mode,
    /// Steps that the order still has.
    left: usize,
    /// The number of the next step, which says where its result lies.
    step: u32,
    /// Steps of training since the start. Those of an evaluation count on from there.
    trained: u32,
    /// Whether a step of training has run.
    updated: bool,
}

/// The longest wait that keeps a core busy. To wake up from one that does not takes tens of microseconds.
const LONGEST_BUSY_WAIT: Duration = Duration::from_millis(5);

/// Whether the host sleeps while a round runs. How long a first round takes is not known.
fn sleeps(step_time: Option<Duration>, steps: usize) -> bool {
    let round = step_time.map(|t| t.saturating_mul(steps as u32));
    round.is_some_and(|t| t > LONGEST_BUSY_WAIT)
}

/// Where a mode's graph stands.
fn slot(mode: Mode) -> usize {
    match mode {
        Mode::Train => 0,
        Mode::Eval => 1,
    }
}

/// Device memory that the kernels' pointers lead to. It is not cleared where a step writes before it reads.
struct Memory {
    train: Resident,
    test: Option<Resident>,
    /// Positions, u32.
    order: Region,
    /// One [`Step`], and behind it the numbers of all steps of the order.
    step: Region,
    /// [`RING`] times a [`Slot`].
    results: Region,
    losses: Region,
    correct: Region,
    parameters: Region,
    arena: Region,
    partials: Region,
}

/// A data set on the device.
struct Resident {
    inputs: Option<Region>,
    targets: Option<Region>,
    len: usize,
}

impl Engine {
    /// Compiles a program for a device, and copies the data sets there once. Parameters are zero. Evaluation runs on
    /// `test`, or where there is none on the training set.
    pub fn new(
        device: &Device,
        program: Program,
        train: Examples,
        test: Option<Examples>,
    ) -> Result<Self, CudaError> {
        let loaded = device.load(&program)?;
        let stream = Stream::new(&device.context);
        let stream = stream.map_err(when(Phase::Start, "opening a stream"))?;
        let mut functions = BTreeMap::new();
        for Launch { kernel, .. } in program.train.iter().chain(&program.eval) {
            if !functions.contains_key(kernel) {
                functions.insert(kernel.clone(), loaded.function(kernel)?);
            }
        }
        let need_bytes = need(&program, &train, test.as_ref());
        let spill = spill_warning(need_bytes, device.free_bytes());
        let memory = Memory::new(&stream, &program, train, test)
            .map_err(|e| e.with_memory(need_bytes, device.free_bytes()))?;
        Ok(Self {
            graphs: [None, None],
            functions,
            memory,
            stream,
            program,
            device: device.found.clone(),
            log: loaded.log,
            warnings: spill.into_iter().collect(),
            step_time: [None, None],
            mode: Mode::Train,
            left: 0,
            step: 0,
            trained: 0,
            updated: false,
        })
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Found {
        &self.device
    }

    /// Examples of a step.
    pub fn batch(&self) -> usize {
        self.program.batch
    }

    /// What ptxas says that each kernel takes; nothing where the driver made the machine code from PTX.
    pub fn resources(&self) -> Vec<super::Resources> {
        super::resources(&self.log)
    }

    /// What NVRTC said about the program: nothing, or warnings. What ptxas says of each kernel's resources is not in it.
    pub fn log(&self) -> String {
        let of_ptxas =
            |line: &&str| line.starts_with("ptxas info") || line.contains("bytes stack frame");
        let mut lines: Vec<&str> = Vec::new();
        for line in self.log.lines().filter(|line| !of_ptxas(line)) {
            // What modules have in common is warned of in each.
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.join("\n").trim().to_string()
    }

    /// What may make it slow, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All parameters, as they lie in their region.
    pub fn parameters(&self) -> Result<Vec<f32>, CudaError> {
        let len = self.program.parameter_bytes / 4;
        let values = self.stream.read(&self.memory.parameters, len);
        values.map_err(when(self.phase(), "reading the parameters"))
    }

    /// Sets all parameters. Panics where there are more or fewer than the region has.
    pub fn set_parameters(&mut self, values: &[f32]) -> Result<(), CudaError> {
        assert_eq!(
            values.len(),
            self.program.parameter_bytes / 4,
            "the whole region is set"
        );
        let written = self.stream.write(values, &mut self.memory.parameters);
        written.map_err(when(self.phase(), "writing the parameters"))
    }

    /// What is at stake when the driver fails: the weights, once a step has changed them.
    fn phase(&self) -> Phase {
        match self.updated {
            false => Phase::Load,
            true => Phase::Run,
        }
    }

    /// Starts a run over the examples at `order`, positions in the set of the mode; `rows` are the numbers of each of its
    /// steps, as many as the program names.
    ///
    /// Panics where a position is not below the number of examples, or a step has no numbers.
    pub fn begin(&mut self, mode: Mode, order: &[u32], rows: &[f32]) -> Result<(), CudaError> {
        let len = self.memory.resident(mode).len;
        if let Some(i) = order.iter().find(|&&i| i as usize >= len) {
            panic!("there is no example {i}");
        }
        let slots = self.program.scalars.len();
        let steps = order.len().div_ceil(self.program.batch);
        assert_eq!(rows.len(), steps * slots, "each step has its numbers");
        // Nothing is left to run until all is in place.
        (self.mode, self.left, self.step) = (mode, 0, self.trained);
        if order.is_empty() {
            return Ok(());
        }
        if size_of_val(order) > self.memory.order.bytes() {
            // The graphs point to the old one.
            self.graphs = [None, None];
            self.memory.order = reserve(&self.stream, size_of_val(order))
                .map_err(|e| e.with_memory(4 * order.len() as u64, None))?;
        }
        let step_bytes = Step::region_bytes(steps, slots);
        if step_bytes > self.memory.step.bytes() {
            self.graphs = [None, None];
            self.memory.step = reserve(&self.stream, step_bytes)
                .map_err(|e| e.with_memory(step_bytes as u64, None))?;
        }
        let batch = self.program.batch as u32;
        let step = Step::first(order.len() as u32, batch, self.step).region(rows, slots);
        let starting = when(self.phase(), "starting an epoch");
        let (stream, memory) = (&self.stream, &mut self.memory);
        stream.write(order, &mut memory.order).map_err(&starting)?;
        stream.write(&step, &mut memory.step).map_err(&starting)?;
        if self.graphs[slot(mode)].is_none() {
            self.graphs[slot(mode)] = Some(self.capture(mode)?);
        }
        self.left = steps;
        Ok(())
    }

    /// Runs up to `steps` steps of the order, fewer where it ends, and waits for them. Training ends at the first
    /// loss that is not finite, which is the last result; no update follows it.
    pub fn run(&mut self, steps: usize) -> Result<Vec<StepResult>, CudaError> {
        let mut all = Vec::new();
        while all.len() < steps && self.left > 0 {
            let n = (steps - all.len()).min(RING).min(self.left);
            all.extend(self.round(n)?);
        }
        Ok(all)
    }

    /// At most [`RING`] steps.
    fn round(&mut self, steps: usize) -> Result<Vec<StepResult>, CudaError> {
        let doing = match self.mode {
            Mode::Train => "training",
            Mode::Eval => "evaluating",
        };
        let begun = Instant::now();
        for step in 0..steps {
            // What fails behind a first step fails behind an update.
            self.updated |= self.mode == Mode::Train && step > 0;
            let graph = self.graphs[slot(self.mode)].as_ref();
            let graph = graph.expect("steps are left only where `begin` has captured one");
            // SAFETY: the program's places have the sizes that its kernels use, `Memory` allocated those, and it lives
            // as long as the graph.
            let launched = unsafe { graph.launch() };
            launched.map_err(when(self.phase(), doing))?;
        }
        if sleeps(self.step_time[slot(self.mode)], steps) {
            self.stream.sleep().map_err(when(self.phase(), doing))?;
        }
        let ring: Result<Vec<Slot>, _> = self.stream.read(&self.memory.results, RING);
        let ring = ring.map_err(when(self.phase(), doing))?;
        self.step_time[slot(self.mode)] = Some(begun.elapsed() / steps as u32);
        let result = |k: u32| ring[self.step.wrapping_add(k) as usize % RING].into();
        let mut results: Vec<StepResult> = (0..steps as u32).map(result).collect();
        self.left -= steps;
        self.step = self.step.wrapping_add(steps as u32);
        if self.mode == Mode::Train {
            (self.trained, self.updated) = (self.step, true);
            if let Some(k) = results.iter().position(|r| !r.loss_sum.is_finite()) {
                results.truncate(k + 1);
                self.left = 0;
            }
        }
        Ok(results)
    }

    /// Waits for all work.
    fn finish(&self, doing: &'static str) -> Result<(), CudaError> {
        self.stream.synchronize().map_err(when(self.phase(), doing))
    }

    /// Records the launches of a step; nothing runs.
    fn capture(&self, mode: Mode) -> Result<Graph, CudaError> {
        const DOING: &str = "capturing a step";
        let launches = match mode {
            Mode::Train => &self.program.train,
            Mode::Eval => &self.program.eval,
        };
        let failed = when(Phase::Load, DOING);
        let record = || launches.iter().try_for_each(|l| self.launch(l, mode));
        let graph = Graph::record(&self.stream, record, &failed)?;
        graph.upload().map_err(&failed)?;
        self.finish(DOING)?;
        Ok(graph)
    }

    fn launch(&self, launch: &Launch, mode: Mode) -> Result<(), CudaError> {
        let places = launch.arguments.iter();
        let addresses: Vec<u64> = places.map(|&p| self.memory.address(p, mode)).collect();
        let function = &self.functions[&launch.kernel];
        // SAFETY: the program's places have the sizes that its kernels use, `Memory` allocated those, and it lives as
        // long as the graph.
        let launched =
            unsafe { function.launch(&self.stream, launch.blocks, launch.threads, &addresses) };
        launched.map_err(when(Phase::Load, "launching a kernel"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Where a call failed within a round, what was launched before it may still run.
        let _ = self.stream.synchronize();
    }
}

impl Memory {
    fn new(
        stream: &Arc<Stream>,
        p: &Program,
        train: Examples,
        test: Option<Examples>,
    ) -> Result<Self, CudaError> {
        let memory = Self {
            arena: reserve(stream, p.arena_bytes)?,
            partials: reserve(stream, p.partial_bytes)?,
            // A loss without classes has no right answers, and they are counted all the same.
            losses: cleared(stream, 4 * p.batch)?,
            correct: cleared(stream, 4 * p.batch)?,
            order: reserve(stream, 4 * longest(&train, test.as_ref()))?,
            step: reserve(stream, step_bytes(p, &train, test.as_ref()))?,
            train: Resident::new(stream, train)?,
            test: test.map(|t| Resident::new(stream, t)).transpose()?,
            parameters: cleared(stream, p.parameter_bytes)?,
            results: cleared(stream, RING * size_of::<Slot>())?,
        };
        // What was cleared is there before anything is timed.
        let waited = stream.synchronize();
        waited.map_err(when(Phase::Start, "copying the data"))?;
        Ok(memory)
    }

    /// The data set of a mode.
    fn resident(&self, mode: Mode) -> &Resident {
        match (mode, &self.test) {
            (Mode::Eval, Some(test)) => test,
            _ => &self.train,
        }
    }

    fn address(&self, place: Place, mode: Mode) -> u64 {
        // There is no memory where there are no values.
        let start = |region: &Option<Region>| region.as_ref().map_or(0, Region::address);
        match place {
            Place::Inputs => start(&self.resident(mode).inputs),
            Place::Targets => start(&self.resident(mode).targets),
            Place::Order => self.order.address(),
            Place::Losses => self.losses.address(),
            Place::Correct => self.correct.address(),
            Place::Results => self.results.address(),
            Place::Step => self.step.address(),
            Place::Arena(at) => self.arena.address() + at as u64,
            Place::Parameters(at) => self.parameters.address() + at as u64,
            Place::Partials(at) => self.partials.address() + at as u64,
        }
    }
}

/// Bytes that a program and its data take on a device.
fn need(p: &Program, train: &Examples, test: Option<&Examples>) -> u64 {
    let sets = [Some(train), test].into_iter().flatten();
    let data: usize = sets
        .map(|s| s.inputs.size_bytes() + s.targets.size_bytes())
        .sum();
    let kept = p.arena_bytes + p.parameter_bytes + p.partial_bytes;
    let state = step_bytes(p, train, test) + RING * size_of::<Slot>();
    (kept + data + 4 * longest(train, test) + 8 * p.batch + state) as u64
}

/// Bytes of a step with the numbers of the longest order.
fn step_bytes(p: &Program, train: &Examples, test: Option<&Examples>) -> usize {
    Step::region_bytes(longest(train, test).div_ceil(p.batch), p.scalars.len())
}

/// Positions of the longest order that goes over a set once.
fn longest(train: &Examples, test: Option<&Examples>) -> usize {
    train.len.max(test.map_or(0, |t| t.len))
}

/// Drivers of Windows, which WSL2 uses, take the host's memory where a device's is full, instead of failing.
fn spill_warning(need_bytes: u64, free_bytes: Option<u64>) -> Option<String> {
    let free_bytes = free_bytes.filter(|&free| need_bytes > free)?;
    Some(format!(
        "the program needs {} MiB of the GPU and {} MiB are free: the rest lies in the host's memory, which is far \
         slower. Lower train.batch_size, or end what else runs on the GPU",
        need_bytes.div_ceil(1 << 20),
        free_bytes >> 20
    ))
}

impl Resident {
    fn new(stream: &Arc<Stream>, examples: Examples) -> Result<Self, CudaError> {
        Ok(Self {
            inputs: resident(stream, examples.inputs)?,
            targets: resident(stream, examples.targets)?,
            len: examples.len,
        })
    }
}

/// Values as they are on the host, or nothing where there are none.
fn resident(stream: &Arc<Stream>, data: Bytes) -> Result<Option<Region>, CudaError> {
    fn copy<T: Plain>(stream: &Arc<Stream>, values: &[T]) -> Result<Option<Region>, CudaError> {
        let mut region = reserve(stream, size_of_val(values))?;
        let copied = stream.write(values, &mut region);
        copied.map_err(when(Phase::Start, "copying the data"))?;
        Ok(Some(region))
    }
    match data {
        Bytes::U8(x) => copy(stream, x),
        Bytes::F32(x) => copy(stream, x),
        Bytes::I32(x) => copy(stream, x),
        Bytes::None => Ok(None),
    }
}

/// Memory for so many bytes of zeros.
fn cleared(stream: &Arc<Stream>, bytes: usize) -> Result<Region, CudaError> {
    Region::zeros(stream, bytes).map_err(when(Phase::Start, "reserving memory"))
}

/// Memory for so many bytes, not cleared.
fn reserve(stream: &Arc<Stream>, bytes: usize) -> Result<Region, CudaError> {
    Region::new(stream, bytes).map_err(when(Phase::Start, "reserving memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rounds_that_are_known_to_be_long_are_slept_through() {
        let step = |us| Some(Duration::from_micros(us));
        assert!(!sleeps(None, RING));
        assert!(!sleeps(step(80), 62));
        assert!(sleeps(step(80), 63));
        assert!(sleeps(step(6000), 1));
    }

    #[test]
    fn memory_that_may_spill_is_told_with_what_to_do() {
        assert_eq!(spill_warning(1 << 20, Some(1 << 20)), None);
        assert_eq!(spill_warning(u64::MAX, None), None);
        let said = spill_warning((1 << 20) + 1, Some(1 << 20)).expect("it is too much");
        for part in ["needs 2 MiB", "1 MiB are free", "train.batch_size"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
