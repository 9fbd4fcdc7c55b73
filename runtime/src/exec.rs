//! Runs compiled programs on a pool of threads.
//!
//! A program is a list of phases. In [`Phase::Blocks`] the images of a batch are cut into blocks; each block
//! goes through all calls of the phase on one thread, in that thread's arena. The blocks fall into at most
//! [`MOST_SHARDS`] contiguous shards, by the number of blocks alone; a shard adds the sums of its blocks,
//! in their order, into memory of its own. Then these shards are added by a fixed tree into the first,
//! and [`Phase::Once`] runs calls once, after everything before and beside each other. So the results do not depend on the number of
//! threads. What a block leaves for a later phase lies in memory of that block. This module does not know operators or
//! graphs: a program is function pointers and places.

use std::any::Any;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::memory::Region;

mod ahead;
mod profile;
pub use profile::{Profile, Timing};

/// Blocks of a batch are spread over so many shards at most. Fixed, since it decides the order of sums.
pub const MOST_SHARDS: usize = 8;
/// Shards together take no more than this, but there is always one.
pub const MOST_SHARD_BYTES: usize = 64 << 20;
/// Floats that are reduced over all shards by one thread before it takes the next.
const REDUCED_AT_ONCE: usize = 2048;

/// Calls that run once stay on one thread where they move fewer bytes: others would be late.
const BYTES_ALONE: f64 = (1 << 20) as f64;

/// A compiled kernel, which takes pointers to its buffers and the run-time numbers.
pub type Entry = unsafe extern "C" fn(*const *mut u8, *const Uniforms);

/// Numbers that a step can have beside those of its blocks.
pub const MOST_SCALARS: usize = 15;

/// Run-time numbers of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Uniforms {
    /// Valid images in the block.
    pub valid: f32,
    /// The numbers of the step, by slot.
    pub scalars: [f32; MOST_SCALARS],
    /// The position of the block's first image in the batch.
    pub first: u32,
}

impl Uniforms {
    /// Those of a block. Panics where there are more than [`MOST_SCALARS`].
    pub fn new(valid: f32, scalars: &[f32]) -> Self {
        let mut all = [0.0; MOST_SCALARS];
        all[..scalars.len()].copy_from_slice(scalars);
        Self {
            valid,
            scalars: all,
            first: 0,
        }
    }

    /// The same of a block that starts at this image of the batch.
    pub fn from(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// Where a slot lies, in bytes.
    pub const fn offset_of_scalar(slot: usize) -> usize {
        std::mem::offset_of!(Self, scalars) + slot * size_of::<f32>()
    }
}

/// Where a buffer of a call lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The examples of the data set.
    Inputs,
    /// Their classes or target values.
    Targets,
    /// Positions of the batch's images in the data set, i32.
    Indices,
    /// The loss of each example, f32.
    Losses,
    /// 1 for each example whose class is right, f32.
    Correct,
    /// Bytes from the start of the worker's arena.
    Arena(usize),
    /// Bytes from the start of what the block keeps for later phases.
    Kept(usize),
    /// Bytes from the start of the shard's sums.
    Shard(usize),
    /// The same of the first shard, where the sums over the batch are once the shards are added up.
    Total(usize),
    /// Bytes from the start of what is computed once a step.
    Step(usize),
    /// Bytes from the start of the parameters.
    Parameters(usize),
}

/// A kernel with its buffers.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// Multiply-adds for one image, those on padding left out; 0 where nothing is contracted.
    pub macs: u64,
    /// Bytes of its buffers that it reads or writes for one image, each counted once. Not whole, since the images of
    /// a block share the parameters and their gradients.
    pub bytes: f64,
    pub entry: Entry,
    pub buffers: Vec<Place>,
}

/// A part of a step that needs all of the one before.
#[derive(Clone, Debug)]
pub enum Phase {
    /// For every block of images. Then the shards are added up.
    Blocks {
        calls: Vec<Call>,
        /// Where in a shard the sums lie that these calls make, in bytes: those of a phase are neighbours.
        sums: Range<usize>,
    },
    /// Once, none of them waiting for another.
    Once(Vec<Call>),
}

impl Phase {
    /// What it calls.
    pub fn calls(&self) -> &[Call] {
        match self {
            Phase::Blocks { calls, .. } | Phase::Once(calls) => calls,
        }
    }
}

/// What a program needs to run.
pub struct Program {
    /// Images in a block.
    pub block: usize,
    pub arena_bytes: usize,
    /// What a block keeps for later phases.
    pub kept_bytes: usize,
    /// All sums over the batch, as gradients of parameters are.
    pub shard_bytes: usize,
    /// What is computed once a step and is no state.
    pub step_bytes: usize,
    pub parameter_bytes: usize,
    /// A step of training.
    pub train: Vec<Phase>,
    /// Loss and correctness alone.
    pub eval: Vec<Phase>,
    /// Owns the machine code behind the entries.
    pub code: Box<dyn Any + Send + Sync>,
}

/// Examples as compiled code reads them.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    pub inputs: Bytes<'a>,
    pub targets: Bytes<'a>,
    /// Number of examples.
    pub len: usize,
}

/// Elements of one of the types that data sets have.
#[derive(Clone, Copy)]
pub enum Bytes<'a> {
    U8(&'a [u8]),
    F32(&'a [f32]),
    I32(&'a [i32]),
    /// No targets: only where nothing reads them.
    None,
}

impl Bytes<'_> {
    fn start(&self) -> *mut u8 {
        match self {
            Bytes::U8(x) => x.as_ptr().cast_mut(),
            Bytes::F32(x) => x.as_ptr().cast_mut().cast(),
            Bytes::I32(x) => x.as_ptr().cast_mut().cast(),
            Bytes::None => std::ptr::null_mut(),
        }
    }
    fn len(&self) -> usize {
        match self {
            Bytes::U8(x) => x.len(),
            Bytes::F32(x) => x.len(),
            Bytes::I32(x) => x.len(),
            Bytes::None => 0,
        }
    }

    /// Bytes that the elements take.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Bytes::U8(x) => size_of_val(*x),
            Bytes::F32(x) => size_of_val(*x),
            Bytes::I32(x) => size_of_val(*x),
            Bytes::None => 0,
        }
    }
}

/// Which phases to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// What a step gave, on any target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The sum over the examples of the batch, before the update.
    pub loss_sum: f64,
    /// How many of their classes were right.
    pub correct: f64,
    pub examples: usize,
}

/// A program with its memory: parameters, arenas, shards and what a batch leaves.
pub struct Machine {
    program: Program,
    parameters: Region,
    arenas: Vec<Region>,
    /// What the blocks keep, one behind the other.
    kept: Region,
    shards: Vec<Region>,
    step: Region,
    indices: Vec<i32>,
    losses: Vec<f32>,
    correct: Vec<f32>,
}

/// Start of each region for one block, or for none.
#[derive(Clone, Copy)]
struct Frame {
    inputs: *mut u8,
    targets: *mut u8,
    indices: *mut i32,
    losses: *mut f32,
    correct: *mut f32,
    arena: *mut u8,
    kept: *mut u8,
    kept_bytes: usize,
    shard: *mut u8,
    total: *mut u8,
    step: *mut u8,
    parameters: *mut u8,
}

// SAFETY: blocks that run at the same time have their own arena, shard and slices of the batch's arrays and of what
// blocks keep; data, parameters, and the sums and values that earlier phases left are only read while blocks run. Calls
// that run once at the same time do not write what another of them touches.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    fn resolve(&self, place: Place) -> *mut u8 {
        match place {
            Place::Inputs => self.inputs,
            Place::Targets => self.targets,
            Place::Indices => self.indices.cast(),
            Place::Losses => self.losses.cast(),
            Place::Correct => self.correct.cast(),
            Place::Arena(at) => self.arena.wrapping_add(at),
            Place::Kept(at) => self.kept.wrapping_add(at),
            Place::Shard(at) => self.shard.wrapping_add(at),
            Place::Total(at) => self.total.wrapping_add(at),
            Place::Step(at) => self.step.wrapping_add(at),
            Place::Parameters(at) => self.parameters.wrapping_add(at),
        }
    }

    /// The frame of block `b`; `n` images in a block.
    fn block(&self, b: usize, n: usize) -> Frame {
        Frame {
            indices: self.indices.wrapping_add(b * n),
            losses: self.losses.wrapping_add(b * n),
            correct: self.correct.wrapping_add(b * n),
            kept: self.kept.wrapping_add(b * self.kept_bytes),
            ..*self
        }
    }

    fn call(&self, c: &Call, u: &Uniforms) {
        let places = c.buffers.iter().map(|&place| self.resolve(place));
        // Clearing all of it would take as long as a small kernel.
        let mut few = [const { MaybeUninit::uninit() }; FEW_BUFFERS];
        let many: Vec<*mut u8>;
        let table: *const *mut u8 = if c.buffers.len() <= FEW_BUFFERS {
            for (slot, place) in few.iter_mut().zip(places) {
                slot.write(place);
            }
            few.as_ptr().cast()
        } else {
            many = places.collect();
            many.as_ptr()
        };
        // SAFETY: the memory plan gave every buffer a place of its kernel's size, `Machine` allocated those
        // sizes and checked the data's, and frames of concurrent blocks do not overlap where they write. A kernel
        // reads as many entries of the table as it has buffers, which are written.
        unsafe { (c.entry)(table, u) }
    }
}

/// Pointers to so many buffers stand on the stack; a join of more branches has them on the heap.
const FEW_BUFFERS: usize = 64;

/// How many shards a batch of so many blocks has.
pub fn shards(blocks: usize, shard_bytes: usize) -> usize {
    let affordable = (MOST_SHARD_BYTES / shard_bytes.max(1)).max(1);
    blocks.clamp(1, MOST_SHARDS.min(affordable))
}

impl Machine {
    /// Allocates a program's memory for a pool of `threads`. Parameters are zero.
    pub fn new(program: Program, threads: usize) -> Self {
        Self {
            parameters: Region::zeroed(program.parameter_bytes),
            arenas: (0..threads)
                .map(|_| Region::zeroed(program.arena_bytes))
                .collect(),
            kept: Region::zeroed(0),
            shards: vec![],
            step: Region::zeroed(program.step_bytes),
            indices: vec![],
            losses: vec![],
            correct: vec![],
            program,
        }
    }

    /// All parameters, as they lie in their region.
    pub fn parameters(&self) -> &[f32] {
        self.parameters.floats(0, self.program.parameter_bytes / 4)
    }

    /// The same to set.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        self.parameters
            .floats_mut(0, self.program.parameter_bytes / 4)
    }

    /// A parameter's elements.
    pub fn parameter(&self, offset_bytes: usize, len: usize) -> &[f32] {
        self.parameters.floats(offset_bytes, len)
    }

    /// A parameter's elements, to set.
    pub fn parameter_mut(&mut self, offset_bytes: usize, len: usize) -> &mut [f32] {
        self.parameters.floats_mut(offset_bytes, len)
    }

    /// Loss of each example of the last batch.
    pub fn losses(&self) -> &[f32] {
        &self.losses[..self.indices.len()]
    }

    /// 1 for each example of the last batch whose class was right.
    pub fn correct(&self) -> &[f32] {
        &self.correct[..self.indices.len()]
    }

    /// Runs a step on the examples at `indices`. Call it from inside the pool that `new` was told of.
    ///
    /// `scalars` are the step's numbers by slot. Panics where an index is not below the number of examples, or the pool
    /// has more threads than arenas.
    pub fn run(&mut self, mode: Mode, examples: Examples, indices: &[u32], scalars: &[f32]) {
        let frame = self.begin(mode, examples, indices);
        let n = self.program.block;
        let uniforms = |b: usize| uniforms(indices.len(), n, b, scalars);
        for phase in self.phases(mode) {
            match phase {
                Phase::Blocks { calls, sums } => {
                    let batch = Blocks {
                        calls,
                        sums,
                        mode,
                        examples: &examples,
                        indices,
                    };
                    self.blocks(&batch, frame, &uniforms);
                }
                Phase::Once(calls) => once(calls, frame, &uniforms(0), indices.len()),
            }
        }
    }

    fn phases(&self, mode: Mode) -> &[Phase] {
        match mode {
            Mode::Train => &self.program.train,
            Mode::Eval => &self.program.eval,
        }
    }

    /// Takes every block through the calls of a phase, and adds up the shards.
    fn blocks(&self, batch: &Blocks, frame: Frame, uniforms: &(dyn Fn(usize) -> Uniforms + Sync)) {
        let (n, images) = (self.program.block, batch.indices.len());
        let blocks = images.div_ceil(n);
        let shards = match batch.sums.is_empty() {
            // Nothing is summed over blocks, so they may fall to threads as they like.
            true if batch.mode == Mode::Eval => blocks,
            _ => shards(blocks, self.program.shard_bytes),
        };
        (0..shards).into_par_iter().for_each(|s| {
            let worker = rayon::current_thread_index().unwrap_or(0);
            let frame = Frame {
                arena: self.arenas[worker].start(),
                ..with_shard(frame, &self.shards, s, batch.sums)
            };
            for b in share(blocks, shards, s) {
                let [from, to] = [b + 1, b + 2].map(|b| images.min(b * n));
                ahead::fetch(batch.examples, &batch.indices[from..to]);
                let (frame, u) = (frame.block(b, n), uniforms(b));
                for c in batch.calls {
                    frame.call(c, &u);
                }
            }
        });
        if !batch.sums.is_empty() {
            reduce(&self.shards[..shards], batch.sums);
        }
    }

    /// Checks the batch and makes room for what it leaves.
    fn begin(&mut self, mode: Mode, examples: Examples, indices: &[u32]) -> Frame {
        let n = self.program.block;
        let blocks = indices.len().div_ceil(n);
        let room = blocks * n;
        self.make_room(mode, blocks);
        for (what, data) in [("inputs", examples.inputs), ("targets", examples.targets)] {
            let whole = examples.len > 0 && data.len().is_multiple_of(examples.len);
            assert!(whole, "{what} are not of whole examples");
        }
        self.indices.clear();
        self.indices.extend(indices.iter().map(|&i| {
            assert!((i as usize) < examples.len, "there is no example {i}");
            i as i32
        }));
        // Lanes beyond the last image read the first example; nothing uses what they compute.
        self.indices.resize(room, 0);
        self.losses.resize(room.max(self.losses.len()), 0.0);
        self.correct.resize(room.max(self.correct.len()), 0.0);
        let frame = Frame {
            inputs: examples.inputs.start(),
            targets: examples.targets.start(),
            indices: self.indices.as_mut_ptr(),
            losses: self.losses.as_mut_ptr(),
            correct: self.correct.as_mut_ptr(),
            arena: std::ptr::null_mut(),
            kept: self.kept.start(),
            kept_bytes: self.program.kept_bytes,
            shard: std::ptr::null_mut(),
            total: self
                .shards
                .first()
                .map_or(std::ptr::null_mut(), Region::start),
            step: self.step.start(),
            parameters: self.parameters.start(),
        };
        self.indices.truncate(indices.len());
        frame
    }

    /// Makes room for the shards of so many blocks, and for what these keep.
    fn make_room(&mut self, mode: Mode, blocks: usize) {
        let (kept_bytes, shard_bytes) = (self.program.kept_bytes, self.program.shard_bytes);
        if self.kept.len_bytes() < blocks * kept_bytes {
            self.kept = Region::zeroed(blocks * kept_bytes);
        }
        let wanted = match mode {
            Mode::Train => shards(blocks, shard_bytes),
            Mode::Eval => 0,
        };
        while self.shards.len() < wanted {
            self.shards.push(Region::zeroed(shard_bytes));
        }
    }
}

/// Runs calls that do not wait for each other, on all threads where that is worth it, behind a batch of so many images.
fn once(calls: &[Call], frame: Frame, uniforms: &Uniforms, images: usize) {
    let bytes = calls.iter().map(|c| c.bytes).sum::<f64>() * images as f64;
    match bytes < BYTES_ALONE {
        true => calls.iter().for_each(|c| frame.call(c, uniforms)),
        false => {
            let calls = calls.par_iter();
            calls.for_each(|c| frame.call(c, uniforms));
        }
    }
}

/// The images of a batch and what is called for each of its blocks.
struct Blocks<'a> {
    calls: &'a [Call],
    sums: &'a Range<usize>,
    mode: Mode,
    examples: &'a Examples<'a>,
    indices: &'a [u32],
}

/// The numbers of block `b` of a batch of `images`; `n` images in a block.
fn uniforms(images: usize, n: usize, b: usize, scalars: &[f32]) -> Uniforms {
    Uniforms::new((images - b * n).min(n) as f32, scalars).from((b * n) as u32)
}

/// The blocks of shard `s`: contiguous, and sizes differ by one at most.
fn share(blocks: usize, shards: usize, s: usize) -> std::ops::Range<usize> {
    blocks * s / shards..blocks * (s + 1) / shards
}

/// The frame of a shard that starts: its sums of the phase are zero.
fn with_shard(frame: Frame, shards: &[Region], s: usize, sums: &Range<usize>) -> Frame {
    if sums.is_empty() {
        return frame;
    }
    let start = shards[s].start();
    // SAFETY: the region is this shard's alone until the phase ends, and the plan placed the sums within it.
    unsafe { std::ptr::write_bytes(start.add(sums.start), 0, sums.len()) };
    Frame {
        shard: start,
        ..frame
    }
}

/// Adds these bytes of all shards into the first by a binary tree over neighbours: (0+1)+(2+3), …
fn reduce(shards: &[Region], sums: &Range<usize>) {
    let (first, floats) = (sums.start / 4, sums.len() / 4);
    let chunks = floats.div_ceil(REDUCED_AT_ONCE);
    (0..chunks).into_par_iter().for_each(|c| {
        let from = c * REDUCED_AT_ONCE;
        let len = REDUCED_AT_ONCE.min(floats - from);
        let mut step = 1;
        while step < shards.len() {
            for i in (0..shards.len() - step).step_by(2 * step) {
                // SAFETY: this chunk of two different shards is touched by this task alone.
                let (sum, part) = unsafe {
                    let at = |k: usize| shards[k].start().cast::<f32>().add(first + from);
                    (
                        std::slice::from_raw_parts_mut(at(i), len),
                        std::slice::from_raw_parts(at(i + step), len),
                    )
                };
                for (a, b) in sum.iter_mut().zip(part) {
                    *a += *b;
                }
            }
            step *= 2;
        }
    });
}
