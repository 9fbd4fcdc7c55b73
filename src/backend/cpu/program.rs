//! From groups of operators to a program: block size, kernels, the place of every value, phases.
//!
//! Values with one entry for each image live in the worker's arena, by liveness; losses and the counts of right
//! answers in arrays of the whole batch; gradients of parameters in the shard; a state's next value where
//! the state is. Groups without a batch axis (the optimizer) run once, after the shards are added up; all
//! others run for every block.
//!
//! Does not know operators, nor how a kernel computes.

use std::collections::BTreeMap;

use lenetc_runtime::exec::{Call, Phase, Place, Program};

use super::choose::{Chosen, choose};
use super::code::{Code, CodeError, Isa, Wide};
use crate::backend::memory::{self, Interval};
use crate::backend::origin::Origin;
use crate::backend::values::{
    StateLayout, StatePlace, needed_for_eval, padded_bytes, touches_batch,
};
use crate::ir::{DType, Leading, NodeId, NodeKind, Role, Source, Value};
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

/// How often a step of training calls a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// For every block of images.
    Blocks,
    /// Once, behind the sum of shards.
    Once,
}

/// A kernel and all that is known of it.
pub struct Step {
    /// How it is computed.
    pub chosen: Chosen,
    /// Of each buffer of the kernel where it lies.
    pub places: Vec<Place>,
    pub work: Work,
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
    pub shard_bytes: u64,
    pub parameter_bytes: u64,
}

/// Plans the groups of a graph for batches of `batch` images.
pub fn plan(g: &Graph, groups: &[Group], batch: u32, isa: Isa) -> Plan {
    let fixed = Fixed::new(g, groups);
    let lanes = isa.lanes();
    let largest = lanes * MOST_VECTORS;
    let large = batch > lanes && arena(g, groups, &fixed, largest, lanes).1 <= ARENA_BYTES;
    let block = match large {
        true => largest,
        false if batch <= lanes / ONE_IN => 1,
        false => lanes,
    };
    let (arena, arena_bytes) = arena(g, groups, &fixed, block, lanes);
    let place = |v: &Value| fixed.places.get(v).copied().unwrap_or_else(|| arena[v]);
    let step = |(group, eval): (&Group, bool)| {
        let places: Vec<Place> = group.values().iter().map(place).collect();
        let (work, images) = match touches_batch(g, group) {
            true => (Work::Blocks, batch.min(block)),
            false => (Work::Once, batch),
        };
        Step {
            chosen: choose(&group.nest, isa, block),
            bytes: bytes_an_image(g, group, &places, images),
            places,
            work,
            eval,
            nodes: group.nodes.clone(),
            origin: Origin::of(g, &group.nodes),
            macs: group.nest.macs(),
        }
    };
    let steps = groups.iter().zip(needed_for_eval(g, groups));
    Plan {
        isa,
        block,
        steps: steps.map(step).collect(),
        parameter_bytes: fixed.states.bytes,
        states: fixed.states.places,
        arena_bytes,
        shard_bytes: fixed.shard_bytes,
    }
}

impl Plan {
    /// Bytes that a run on `threads` threads takes for batches of `batch` images, data aside.
    pub fn run_bytes(&self, batch: u32, threads: usize) -> u64 {
        let shard = usize::try_from(self.shard_bytes).unwrap_or(usize::MAX);
        let blocks = batch.div_ceil(self.block) as usize;
        let shards = lenetc_runtime::exec::shards(blocks, shard) as u64;
        self.parameter_bytes
            .saturating_add(self.shard_bytes.saturating_mul(shards))
            .saturating_add(self.arena_bytes.saturating_mul(threads as u64))
            .saturating_add(u64::from(batch) * 16)
    }

    /// The kernels in the order in which a step of training first calls them.
    pub fn in_order(&self) -> impl Iterator<Item = &Step> {
        let of = |work| self.steps.iter().filter(move |step| step.work == work);
        of(Work::Blocks).chain(of(Work::Once))
    }

    /// Compiles the kernels and puts the program together.
    pub fn compile(&self) -> Result<Program, CodeError> {
        let kernels: Vec<&Kernel> = self.steps.iter().map(Step::kernel).collect();
        let wide: Vec<&Wide> = self.steps.iter().map(|step| &step.chosen.code).collect();
        let code = Code::link(&kernels, &wide)?;
        let calls = |keep: &dyn Fn(&Step) -> bool| -> Vec<Call> {
            let numbered = self.steps.iter().enumerate();
            let kept = numbered.filter(|(_, step)| keep(step));
            let call = kept.map(|(k, step)| Call {
                name: step.kernel().name.clone(),
                macs: step.macs.terms,
                bytes: step.bytes,
                entry: code.entry(k),
                buffers: step.places.clone(),
            });
            call.collect()
        };
        let mut train = vec![Phase::Blocks(calls(&|step| step.work == Work::Blocks))];
        let once = calls(&|step| step.work == Work::Once);
        if !once.is_empty() {
            train.extend([Phase::Reduce, Phase::Once(once)]);
        }
        Ok(Program {
            block: self.block as usize,
            arena_bytes: self.arena_bytes as usize,
            shard_bytes: self.shard_bytes as usize,
            parameter_bytes: self.parameter_bytes as usize,
            train,
            eval: vec![Phase::Blocks(calls(&|step| step.eval))],
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

/// Values that do not lie in the arena.
struct Fixed {
    places: BTreeMap<Value, Place>,
    states: StateLayout,
    shard_bytes: u64,
}

impl Fixed {
    fn new(g: &Graph, groups: &[Group]) -> Self {
        let mut f = Self {
            places: BTreeMap::new(),
            states: StateLayout::new(g),
            shard_bytes: 0,
        };
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
                Source::State(id) => Place::Parameters(f.states.places[id.index()].offset_bytes),
                Source::Scalar(_) | Source::Constant(_) => continue,
            };
            f.places.insert(value, place);
        }
        for o in &g.outputs {
            let place = match o.role {
                Role::Loss => Place::Losses,
                Role::Correct => Place::Correct,
                Role::Logits => continue,
                Role::Next(id) => Place::Parameters(f.states.places[id.index()].offset_bytes),
            };
            f.places.insert(storage(g, o.value), place);
        }
        for v in groups.iter().flat_map(Group::stores) {
            if g.ty(v).leading == Leading::None && !f.places.contains_key(&v) {
                f.places.insert(v, Place::Shard(f.shard_bytes as usize));
                f.shard_bytes += padded_bytes(g, v);
            }
        }
        f
    }
}

/// The arena for blocks of `block` images: the place of each value, and its bytes. Behind one image a vector may be
/// read.
fn arena(
    g: &Graph,
    groups: &[Group],
    fixed: &Fixed,
    block: u32,
    lanes: u32,
) -> (BTreeMap<Value, Place>, u64) {
    let mut values: Vec<Value> = Vec::new();
    let mut intervals: Vec<Interval> = Vec::new();
    let mut number: BTreeMap<Value, usize> = BTreeMap::new();
    for (step, group) in groups.iter().enumerate() {
        for v in group.stores() {
            if !fixed.places.contains_key(&v) {
                number.insert(v, values.len());
                values.push(v);
                debug_assert_eq!(g.ty(v).dtype, DType::F32, "results are f32");
                let images = g.ty(v).elements().saturating_mul(u64::from(block));
                let beyond = if block == 1 {
                    super::schedule::beyond(lanes)
                } else {
                    0
                };
                let images = images.saturating_add(beyond);
                intervals.push(Interval {
                    bytes: images.saturating_mul(4),
                    born: step,
                    dies: step,
                });
            }
        }
        for v in group.reads() {
            if let Some(&k) = number.get(&v) {
                intervals[k].dies = step;
            }
        }
    }
    let (offsets, total) = memory::place(&intervals);
    let places = values
        .into_iter()
        .zip(offsets)
        .map(|(v, at)| (v, Place::Arena(at as usize)))
        .collect();
    (places, total)
}
