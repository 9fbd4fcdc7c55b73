//! Runs a program on a device: its memory, one captured graph for a step of training and one for a step of
//! evaluation, and rounds of steps between two looks of the host.
//!
//! A step is one graph launch and nothing else: the kernels find the batch, the learning rate and the place of their
//! sums in device memory and move them on. Does not know what the kernels compute.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig,
    PushKernelArg, ValidAsZeroBits,
};

use super::device::{Device, Found};
use super::error::{CudaError, Phase, when};
use super::step::{RING, Slot, Step};
use super::{Launch, Place, Program};
use crate::exec::{Bytes, Examples, Mode, StepResult};

/// A program with its memory on a device.
pub struct Engine {
    /// A step of training and one of evaluation, once they are captured.
    graphs: [Option<CudaGraph>; 2],
    functions: BTreeMap<String, CudaFunction>,
    memory: Memory,
    stream: Arc<CudaStream>,
    program: Program,
    device: Found,
    log: String,
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
    order: CudaSlice<u32>,
    step: CudaSlice<Step>,
    results: CudaSlice<Slot>,
    losses: CudaSlice<f32>,
    correct: CudaSlice<f32>,
    parameters: CudaSlice<f32>,
    arena: CudaSlice<u8>,
    partials: CudaSlice<u8>,
}

/// A data set on the device.
struct Resident {
    inputs: Buffer,
    targets: Buffer,
    len: usize,
}

/// Memory of any element type that is written once.
struct Buffer {
    address: u64,
    _memory: Option<Box<dyn Any>>,
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
        // SAFETY: all memory and all work of the context are on one stream, whose order is the program's.
        unsafe { device.context.disable_event_tracking() };
        let stream = device
            .context
            .new_stream()
            .map_err(when(Phase::Start, "opening a stream"))?;
        let mut functions = BTreeMap::new();
        for Launch { kernel, .. } in program.train.iter().chain(&program.eval) {
            if !functions.contains_key(kernel) {
                functions.insert(kernel.clone(), loaded.function(kernel)?);
            }
        }
        let memory = Memory::new(device, &stream, &program, train, test)?;
        Ok(Self {
            graphs: [None, None],
            functions,
            memory,
            stream,
            program,
            device: device.found.clone(),
            log: loaded.log,
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

    /// All parameters, as they lie in their region.
    pub fn parameters(&self) -> Result<Vec<f32>, CudaError> {
        let copied = self.stream.clone_dtoh(&self.memory.parameters);
        let mut values = copied.map_err(when(self.phase(), "reading the parameters"))?;
        self.finish("reading the parameters")?;
        values.truncate(self.program.parameter_bytes / 4);
        Ok(values)
    }

    /// Sets all parameters. Panics where there are more or fewer than the region has.
    pub fn set_parameters(&mut self, values: &[f32]) -> Result<(), CudaError> {
        assert_eq!(
            values.len(),
            self.program.parameter_bytes / 4,
            "the whole region is set"
        );
        if values.is_empty() {
            return Ok(());
        }
        let to = &mut self.memory.parameters;
        let copied = self.stream.memcpy_htod(values, to);
        copied.map_err(when(self.phase(), "writing the parameters"))?;
        self.finish("writing the parameters")
    }

    /// What is at stake when the driver fails: the weights, once a step has changed them.
    fn phase(&self) -> Phase {
        match self.updated {
            false => Phase::Load,
            true => Phase::Run,
        }
    }

    /// Starts a run over the examples at `order`, positions in the set of the mode.
    ///
    /// Panics where a position is not below the number of examples.
    pub fn begin(
        &mut self,
        mode: Mode,
        order: &[u32],
        learning_rate: f32,
    ) -> Result<(), CudaError> {
        let len = self.memory.resident(mode).len;
        if let Some(i) = order.iter().find(|&&i| i as usize >= len) {
            panic!("there is no example {i}");
        }
        // Nothing is left to run until all is in place.
        (self.mode, self.left, self.step) = (mode, 0, self.trained);
        if order.is_empty() {
            return Ok(());
        }
        if order.len() > self.memory.order.len() {
            // The graphs point to the old one.
            self.graphs = [None, None];
            self.memory.order = reserve(&self.stream, order.len())
                .map_err(|e| e.with_memory(4 * order.len() as u64, None))?;
        }
        let batch = self.program.batch as u32;
        let step = Step::first(order.len() as u32, batch, self.step, learning_rate);
        let starting = when(self.phase(), "starting an epoch");
        let (stream, memory) = (&self.stream, &mut self.memory);
        stream
            .memcpy_htod(order, &mut memory.order)
            .map_err(&starting)?;
        stream
            .memcpy_htod(&[step], &mut memory.step)
            .map_err(&starting)?;
        // What is copied from may go only once it is there.
        self.finish("starting an epoch")?;
        if self.graphs[slot(mode)].is_none() {
            self.graphs[slot(mode)] = self.capture(mode)?;
        }
        self.left = order.len().div_ceil(self.program.batch);
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
        for step in 0..steps {
            // What fails behind a first step fails behind an update.
            self.updated |= self.mode == Mode::Train && step > 0;
            let mut graph = self.graphs[slot(self.mode)].iter();
            let launched = graph.try_for_each(CudaGraph::launch);
            launched.map_err(when(self.phase(), doing))?;
        }
        let ring = self.stream.clone_dtoh(&self.memory.results);
        let ring = ring.map_err(when(self.phase(), doing))?;
        self.finish(doing)?;
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

    /// Records the launches of a step; nothing runs. `None` where there are none.
    fn capture(&self, mode: Mode) -> Result<Option<CudaGraph>, CudaError> {
        const DOING: &str = "capturing a step";
        let launches = match mode {
            Mode::Train => &self.program.train,
            Mode::Eval => &self.program.eval,
        };
        let failed = when(Phase::Load, DOING);
        let thread = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(thread).map_err(&failed)?;
        let recorded = launches.iter().try_for_each(|l| self.launch(l, mode));
        // The recording ends whether it went well or not: a stream that stays in it would record all that follows.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        recorded?;
        let graph = graph.map_err(&failed)?;
        if let Some(graph) = &graph {
            graph.upload().map_err(&failed)?;
            self.finish(DOING)?;
        }
        Ok(graph)
    }

    fn launch(&self, launch: &Launch, mode: Mode) -> Result<(), CudaError> {
        let addresses: Vec<u64> = launch
            .arguments
            .iter()
            .map(|&place| self.memory.address(place, mode, &self.stream))
            .collect();
        let mut builder = self.stream.launch_builder(&self.functions[&launch.kernel]);
        for address in &addresses {
            builder.arg(address);
        }
        let shape = LaunchConfig {
            grid_dim: (launch.blocks, 1, 1),
            block_dim: (launch.threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the program's places have the sizes that its kernels use, `Memory` allocated those, and it lives as
        // long as the graph.
        unsafe { builder.launch(shape) }.map_err(when(Phase::Load, "launching a kernel"))?;
        Ok(())
    }
}

impl Memory {
    fn new(
        device: &Device,
        stream: &Arc<CudaStream>,
        p: &Program,
        train: Examples,
        test: Option<Examples>,
    ) -> Result<Self, CudaError> {
        let order = train.len.max(test.map_or(0, |t| t.len));
        let sets = [Some(train), test].into_iter().flatten();
        let data: usize = sets
            .map(|s| s.inputs.size_bytes() + s.targets.size_bytes())
            .sum();
        let kept = p.arena_bytes + p.parameter_bytes + p.partial_bytes;
        let need = (kept + data + 4 * order + 8 * p.batch) as u64;
        let build = || -> Result<Self, CudaError> {
            Ok(Self {
                arena: reserve(stream, p.arena_bytes)?,
                partials: reserve(stream, p.partial_bytes)?,
                // A loss without classes has no right answers, and they are counted all the same.
                losses: cleared(stream, p.batch)?,
                correct: cleared(stream, p.batch)?,
                order: reserve(stream, order)?,
                step: reserve(stream, 1)?,
                train: Resident::new(stream, train)?,
                test: test.map(|t| Resident::new(stream, t)).transpose()?,
                parameters: cleared(stream, p.parameter_bytes / 4)?,
                results: cleared(stream, RING)?,
            })
        };
        let memory = build().map_err(|e| e.with_memory(need, device.free_bytes()))?;
        stream
            .synchronize()
            .map_err(when(Phase::Start, "copying the data"))?;
        Ok(memory)
    }

    /// The data set of a mode.
    fn resident(&self, mode: Mode) -> &Resident {
        match (mode, &self.test) {
            (Mode::Eval, Some(test)) => test,
            _ => &self.train,
        }
    }

    fn address(&self, place: Place, mode: Mode, stream: &CudaStream) -> u64 {
        fn start<T>(memory: &CudaSlice<T>, stream: &CudaStream) -> u64 {
            memory.device_ptr(stream).0
        }
        match place {
            Place::Inputs => self.resident(mode).inputs.address,
            Place::Targets => self.resident(mode).targets.address,
            Place::Order => start(&self.order, stream),
            Place::Losses => start(&self.losses, stream),
            Place::Correct => start(&self.correct, stream),
            Place::Results => start(&self.results, stream),
            Place::Step => start(&self.step, stream),
            Place::Arena(at) => start(&self.arena, stream) + at as u64,
            Place::Parameters(at) => start(&self.parameters, stream) + at as u64,
            Place::Partials(at) => start(&self.partials, stream) + at as u64,
        }
    }
}

impl Resident {
    fn new(stream: &Arc<CudaStream>, examples: Examples) -> Result<Self, CudaError> {
        Ok(Self {
            inputs: Buffer::of(stream, examples.inputs)?,
            targets: Buffer::of(stream, examples.targets)?,
            len: examples.len,
        })
    }
}

impl Buffer {
    fn of(stream: &Arc<CudaStream>, data: Bytes) -> Result<Self, CudaError> {
        match data {
            Bytes::U8(x) => Self::copy(stream, x),
            Bytes::F32(x) => Self::copy(stream, x),
            Bytes::I32(x) => Self::copy(stream, x),
            Bytes::None => Ok(Self {
                address: 0,
                _memory: None,
            }),
        }
    }

    fn copy<T: DeviceRepr + 'static>(
        stream: &Arc<CudaStream>,
        data: &[T],
    ) -> Result<Self, CudaError> {
        let mut memory = reserve::<T>(stream, data.len())?;
        if !data.is_empty() {
            stream
                .memcpy_htod(data, &mut memory)
                .map_err(when(Phase::Start, "copying the data"))?;
        }
        let address = memory.device_ptr(stream).0;
        Ok(Self {
            address,
            _memory: Some(Box::new(memory)),
        })
    }
}

/// Memory for `len` zeros.
fn cleared<T: DeviceRepr + ValidAsZeroBits>(
    stream: &Arc<CudaStream>,
    len: usize,
) -> Result<CudaSlice<T>, CudaError> {
    let memory = stream.alloc_zeros(len.max(1));
    memory.map_err(when(Phase::Start, "reserving memory"))
}

/// Memory for `len` elements, not cleared. The driver refuses an allocation of nothing.
fn reserve<T: DeviceRepr>(stream: &Arc<CudaStream>, len: usize) -> Result<CudaSlice<T>, CudaError> {
    // SAFETY: what a kernel or a copy has not written is read by no one.
    unsafe { stream.alloc(len.max(1)) }.map_err(when(Phase::Start, "reserving memory"))
}
