//! From groups of operators to a program: block size, kernels, the place of every value, phases.
//!
//! Values with one entry for each image live in the worker's arena, by liveness, or where a later phase reads them, in
//! what the block keeps; losses and the counts of right answers in arrays of the whole batch; sums over the batch in the
//! shard, and once the shards are added up, in the first of them; what is computed once in memory of the step; a state's
//! next value where the state is.
//!
//! Does not know operators, nor how a kernel computes.

use std::collections::BTreeMap;
use std::ops::Range;

use lenetc_runtime::exec::{Call, Phase, Place, Program};

use super::choose::{Chosen, choose};
use super::code::{Code, CodeError, Isa, Wide};
use crate::backend::memory::{self, Interval};
use crate::backend::origin::Origin;
use crate::backend::phases::{self, Slot, Work};
use crate::backend::values::{StateLayout, StatePlace, needed_for_eval, padded_bytes};
use crate::ir::{DType, Leading, NodeId, NodeKind, Role, Source, StateId, Value};
use crate::nest::Macs;
use crate::nest::loops::Kernel;
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// Vectors in a block at most. Constants, not the machine's caches, decide: block sizes are part of the order of
/// sums, and results must not depend on the machine.
const MOST_VECTORS: u32 = 2;
/// Batches of up to a lane in so many go image by image: a block would take as long as if it were full.
const ONE_IN: u32 = 4;
/// A worker's arena should stay below this, so that it fits the second-level cache beside the weights.
const ARENA_BYTES: u64 = 5 << 18;

/// A kernel and all that is known of it.
pub struct Step {
    /// How it is computed.
    pub chosen: Chosen,
    /// Of each buffer of the kernel where it lies.
    pub places: Vec<Place>,
    /// When it runs.
    pub slot: Slot,
    /// Whether the loss, the count of right answers or the logits depend on it.
    pub eval: bool,
    /// The operators that it computes.
    pub nodes: Vec<NodeId>,
    /// The same by their names, with the layers that they are of.
    pub origin: Origin,
    /// Multiply-adds for one image.
    pub macs: Macs,
    /// Bytes of its buffers that it reads or writes for one image, each counted once: values of an image in full,
    /// parameters and their gradients divided by the images of a full block, or of the batch where the kernel runs
    /// once.
    pub bytes: f64,
}

impl Step {
    /// Its kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.chosen.kernel
    }

    /// How often a step calls it.
    pub fn work(&self) -> Work {
        self.slot.work()
    }
}

/// Where everything lies, and what is called in which order, before the code is in executable memory.
pub struct Plan {
    pub isa: Isa,
    /// Images in a block.
    pub block: u32,
    /// In the order of the graph; [`Plan::in_order`] has that of their calls.
    pub steps: Vec<Step>,
    pub states: Vec<StatePlace>,
    pub arena_bytes: u64,
    /// What a block keeps for later phases.
    pub kept_bytes: u64,
    pub shard_bytes: u64,
    /// Where in a shard the sums of each slot lie.
    sums: BTreeMap<Slot, Range<usize>>,
    /// What is computed once a step and is no state.
    pub step_bytes: u64,
    pub parameter_bytes: u64,
}

/// Plans the groups of a graph for batches of `batch` images.
pub fn plan(g: &Graph, groups: &[Group], batch: u32, isa: Isa) -> Plan {
    let slots = phases::slots(g, groups);
    let fixed = Fixed::new(g, groups, &slots);
    let lanes = isa.lanes();
    let largest = lanes * MOST_VECTORS;
    let of_blocks = |block| OfBlocks::new(g, groups, &slots, &fixed, block, lanes);
    let large = batch > lanes && of_blocks(largest).arena_bytes <= ARENA_BYTES;
    let block = match large {
        true => largest,
        false if batch <= lanes / ONE_IN => 1,
        false => lanes,
    };
    let of_blocks = of_blocks(block);
    let step = |((group, eval), &slot): ((&Group, bool), &Slot)| {
        let place = |v: &Value| {
            let fixed = fixed.place(*v, slot);
            fixed.unwrap_or_else(|| of_blocks.places[v])
        };
        let places: Vec<Place> = group.values().iter().map(place).collect();
        let images = match slot.work() {
            Work::Blocks => batch.min(block),
            Work::Once => batch,
        };
        Step {
            chosen: choose(&group.nest, isa, block),
            bytes: bytes_an_image(g, group, &places, images),
            places,
            slot,
            eval,
            nodes: group.nodes.clone(),
            origin: Origin::of(g, &group.nodes),
            macs: group.nest.macs(),
        }
    };
    let steps = groups.iter().zip(needed_for_eval(g, groups));
    let steps = steps.zip(&slots).map(step).collect();
    Plan {
        isa,
        block,
        steps,
        parameter_bytes: fixed.states.bytes,
        states: fixed.states.places,
        arena_bytes: of_blocks.arena_bytes,
        kept_bytes: of_blocks.kept_bytes,
        shard_bytes: fixed.shard_bytes,
        sums: fixed.sums,
        step_bytes: fixed.step_bytes,
    }
}

impl Plan {
    /// Bytes that a run on `threads` threads takes for batches of `batch` images, data aside.
    pub fn run_bytes(&self, batch: u32, threads: usize) -> u64 {
        let shard = usize::try_from(self.shard_bytes).unwrap_or(usize::MAX);
        let blocks = u64::from(batch.div_ceil(self.block));
        let shards = lenetc_runtime::exec::shards(blocks as usize, shard) as u64;
        [
            self.parameter_bytes,
            self.step_bytes,
            self.shard_bytes.saturating_mul(shards),
            self.arena_bytes.saturating_mul(threads as u64),
            self.kept_bytes.saturating_mul(blocks),
            u64::from(batch) * 16,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// The kernels in the order in which a step of training first calls them.
    pub fn in_order(&self) -> impl Iterator<Item = &Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_key(|step| step.slot);
        steps.into_iter()
    }

    /// Compiles the kernels and puts the program together.
    pub fn compile(&self) -> Result<Program, CodeError> {
        let kernels: Vec<&Kernel> = self.steps.iter().map(Step::kernel).collect();
        let wide: Vec<&Wide> = self.steps.iter().map(|step| &step.chosen.code).collect();
        let code = Code::link(&kernels, &wide)?;
        let phases = |keep: &dyn Fn(&Step) -> bool| {
            let mut phases: BTreeMap<Slot, Vec<Call>> = BTreeMap::new();
            for (k, step) in self.steps.iter().enumerate().filter(|(_, step)| keep(step)) {
                phases.entry(step.slot).or_default().push(Call {
                    name: step.kernel().name.clone(),
                    macs: step.macs.terms,
                    bytes: step.bytes,
                    entry: code.entry(k),
                    buffers: step.places.clone(),
                });
            }
            let phases = phases.into_iter().map(|(slot, calls)| match slot.work() {
                Work::Once => Phase::Once(calls),
                Work::Blocks => Phase::Blocks {
                    sums: self.sums.get(&slot).cloned().unwrap_or_default(),
                    calls,
                },
            });
            phases.collect()
        };
        let eval = |mut phases: Vec<Phase>| {
            // Nothing is summed.
            for phase in &mut phases {
                if let Phase::Blocks { sums, .. } = phase {
                    *sums = 0..0;
                }
            }
            phases
        };
        Ok(Program {
            block: self.block as usize,
            arena_bytes: self.arena_bytes as usize,
            kept_bytes: self.kept_bytes as usize,
            shard_bytes: self.shard_bytes as usize,
            step_bytes: self.step_bytes as usize,
            parameter_bytes: self.parameter_bytes as usize,
            train: phases(&|_| true),
            eval: eval(phases(&|step| step.eval)),
            code: Box::new(code),
        })
    }
}

/// Bytes of a group's buffers for one image, where a call is for so many `images`. What is changed in place has one
/// place and counts once.
fn bytes_an_image(g: &Graph, group: &Group, places: &[Place], images: u32) -> f64 {
    let values = group.values();
    let first = |k: &usize| !places[..*k].contains(&places[*k]);
    let bytes = (0..values.len()).filter(first).map(|k| {
        let ty = g.ty(values[k]);
        let bytes = ty.elements() as f64 * ty.dtype.size_bytes() as f64;
        match ty.leading {
            Leading::Batch | Leading::Dataset => bytes,
            Leading::None => bytes / f64::from(images),
        }
    });
    bytes.sum()
}

/// Values that are not of a block.
struct Fixed {
    places: BTreeMap<Value, Place>,
    /// Sums over the batch: where in a shard.
    summed: BTreeMap<Value, usize>,
    sums: BTreeMap<Slot, Range<usize>>,
    states: StateLayout,
    shard_bytes: u64,
    step_bytes: u64,
}

impl Fixed {
    fn new(g: &Graph, groups: &[Group], slots: &[Slot]) -> Self {
        let mut fixed = Self {
            places: BTreeMap::new(),
            summed: BTreeMap::new(),
            sums: BTreeMap::new(),
            states: StateLayout::new(g),
            shard_bytes: 0,
            step_bytes: 0,
        };
        fixed.place_sources(g);
        fixed.place_outputs(g);
        for k in phases::order(slots) {
            fixed.place_results(g, &groups[k], slots[k]);
        }
        fixed
    }

    fn place_sources(&mut self, g: &Graph) {
        for id in g.topological() {
            let NodeKind::Source(source) = &g.node(id).kind else {
                continue;
            };
            let value = Value {
                node: id,
                output: 0,
            };
            let place = match source {
                Source::Images => Place::Inputs,
                Source::Targets => Place::Targets,
                Source::Indices => Place::Indices,
                Source::State(id) => self.state(*id),
                Source::Scalar(_) | Source::Constant(_) => continue,
            };
            self.places.insert(value, place);
        }
    }

    fn place_outputs(&mut self, g: &Graph) {
        for o in &g.outputs {
            let place = match o.role {
                Role::Loss => Place::Losses,
                Role::Correct => Place::Correct,
                Role::Logits => continue,
                Role::Next(id) => self.state(id),
            };
            self.places.insert(storage(g, o.value), place);
        }
    }

    fn state(&self, id: StateId) -> Place {
        Place::Parameters(self.states.places[id.index()].offset_bytes)
    }

    /// Places what a group stores that is not of an image.
    fn place_results(&mut self, g: &Graph, group: &Group, slot: Slot) {
        for v in group.stores() {
            if g.ty(v).leading != Leading::None || self.places.contains_key(&v) {
                continue;
            }
            let bytes = padded_bytes(g, v);
            match slot.work() {
                Work::Once => {
                    self.places.insert(v, Place::Step(self.step_bytes as usize));
                    self.step_bytes += bytes;
                }
                Work::Blocks => {
                    let at = self.shard_bytes as usize;
                    self.summed.insert(v, at);
                    self.shard_bytes += bytes;
                    let sums = self.sums.entry(slot).or_insert(at..at);
                    sums.end = self.shard_bytes as usize;
                }
            }
        }
    }

    /// Where a value is to a group of this slot; `None` for those of a block.
    fn place(&self, v: Value, slot: Slot) -> Option<Place> {
        let Some(&at) = self.summed.get(&v) else {
            return self.places.get(&v).copied();
        };
        let made_here = self.sums.get(&slot).is_some_and(|sums| sums.contains(&at));
        Some(match made_here {
            true => Place::Shard(at),
            false => Place::Total(at),
        })
    }

    fn holds(&self, v: Value) -> bool {
        self.places.contains_key(&v) || self.summed.contains_key(&v)
    }
}

/// Values of a block: in the worker's arena, or where a later phase reads them, in what the block keeps.
struct OfBlocks {
    places: BTreeMap<Value, Place>,
    arena_bytes: u64,
    kept_bytes: u64,
}

/// A value of a block, and the first and the last group that needs it.
struct Alive {
    value: Value,
    interval: Interval,
    /// Whether it is needed in the slot that makes it alone.
    within: bool,
}

impl OfBlocks {
    /// Those of blocks of `block` images. Behind one image a vector may be read.
    fn new(
        g: &Graph,
        groups: &[Group],
        slots: &[Slot],
        fixed: &Fixed,
        block: u32,
        lanes: u32,
    ) -> Self {
        let beyond = match block {
            1 => super::schedule::beyond(lanes),
            _ => 0,
        };
        let bytes = |v: Value| {
            debug_assert_eq!(g.ty(v).dtype, DType::F32, "results are f32");
            let floats = g.ty(v).elements().saturating_mul(u64::from(block));
            floats.saturating_add(beyond).saturating_mul(4)
        };
        let mut all: Vec<Alive> = Vec::new();
        let mut number: BTreeMap<Value, (usize, Slot)> = BTreeMap::new();
        for (at, k) in phases::order(slots).into_iter().enumerate() {
            for value in groups[k].stores().into_iter().filter(|v| !fixed.holds(*v)) {
                number.insert(value, (all.len(), slots[k]));
                let interval = Interval {
                    bytes: bytes(value),
                    born: at,
                    dies: at,
                };
                all.push(Alive {
                    value,
                    interval,
                    within: true,
                });
            }
            for v in groups[k].reads() {
                if let Some(&(made, slot)) = number.get(&v) {
                    all[made].interval.dies = at;
                    all[made].within &= slot == slots[k];
                }
            }
        }
        let (arena, kept): (Vec<Alive>, Vec<Alive>) = all.into_iter().partition(|v| v.within);
        let mut places = BTreeMap::new();
        let mut placed = |values: Vec<Alive>, place: fn(usize) -> Place| {
            let intervals: Vec<Interval> = values.iter().map(|v| v.interval).collect();
            let (offsets, total) = memory::place(&intervals);
            let each = values.iter().zip(offsets);
            places.extend(each.map(|(v, at)| (v.value, place(at as usize))));
            total
        };
        let arena_bytes = placed(arena, Place::Arena);
        let kept_bytes = placed(kept, Place::Kept);
        Self {
            places,
            arena_bytes,
            kept_bytes,
        }
    }
}
