//! From groups of operators to a program: block size, kernels, phases.
//!
//! Does not know operators, nor how a kernel computes.

use std::collections::BTreeMap;
use std::ops::Range;

use lenetc_runtime::exec::{Call, Phase, Place, Program};

use super::choose::{Chosen, choose};
use super::code::{Code, CodeError, Isa, Wide};
use super::places::{OfBlocks, Placed};
use super::waves;
use crate::backend::beyond::Beyond;
use crate::backend::origin::Origin;
use crate::backend::phases::{Slot, Work};
use crate::backend::values::{Part, StateLayout, StatePlace, needed_for_eval};
use crate::ir::{Leading, NodeId, Value};
use crate::nest::Macs;
use crate::nest::loops::Kernel;
use crate::ops::Graph;
use crate::passes::fuse::Group;

/// Vectors in a block at most. Constants, not the machine's caches, decide: block sizes are part of the order of
/// sums, and results must not depend on the machine.
const MOST_VECTORS: u32 = 2;
/// Batches of up to a lane in so many go image by image: a block would take as long as if it were full.
const ONE_IN: u32 = 4;
/// A worker's arena should stay below this, so that it fits the second-level cache beside the weights.
const ARENA_BYTES: u64 = 5 << 18;

/// The modes that a kernel runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    pub train: bool,
    pub eval: bool,
}

impl Modes {
    const TRAIN: Modes = Modes {
        train: true,
        eval: false,
    };
    const EVAL: Modes = Modes {
        train: false,
        eval: true,
    };

    /// Of each group of a step whose evaluation is a part of it.
    fn of_step(part: Part) -> Vec<Modes> {
        let needed = needed_for_eval(part.graph, part.groups).into_iter();
        needed.map(|eval| Modes { train: true, eval }).collect()
    }
}

/// A kernel and all that is known of it.
pub struct Step {
    /// How it is computed.
    pub chosen: Chosen,
    /// Of each buffer of the kernel where it lies.
    pub places: Vec<Place>,
    /// When it runs, in its modes.
    pub slot: Slot,
    /// Which kernels of the slot that run once it waits for: those of the waves before.
    pub wave: usize,
    pub modes: Modes,
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

    /// What it does about lanes beyond the last image.
    pub fn beyond(&self) -> Beyond {
        self.chosen.choice.options.beyond
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
    /// In the order of the graph, those of evaluation alone last; [`Plan::in_order`] has the order of a step's calls.
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

/// Plans a step and, where it is no part of that, evaluation, for batches of `batch` images.
pub fn plan(step: Part, eval: Option<Part>, batch: u32, isa: Isa) -> Plan {
    let states = StateLayout::new(step.graph);
    let of_step = Placed::new(step, &states);
    let of_eval = eval.map(|part| Placed::new(part, &states));
    let all = || [Some(&of_step), of_eval.as_ref()].into_iter().flatten();
    let lanes = isa.lanes();
    let largest = lanes * MOST_VECTORS;
    let fits = |part: &Placed| part.of_blocks(largest, lanes).arena_bytes <= ARENA_BYTES;
    let block = match batch > lanes && all().all(fits) {
        true => largest,
        false if batch <= lanes / ONE_IN => 1,
        false => lanes,
    };
    let planner = Planner { block, batch, isa };
    let of_blocks: Vec<OfBlocks> = all().map(|part| part.of_blocks(block, lanes)).collect();
    let modes = match &of_eval {
        Some(_) => vec![Modes::TRAIN; step.groups.len()],
        None => Modes::of_step(step),
    };
    let mut steps = planner.steps(&of_step, &of_blocks[0], &modes);
    if let (Some(part), Some(of_blocks)) = (&of_eval, of_blocks.get(1)) {
        let modes = vec![Modes::EVAL; part.slots.len()];
        steps.extend(planner.steps(part, of_blocks, &modes));
    }
    let most = |bytes: &dyn Fn(&OfBlocks) -> u64| of_blocks.iter().map(bytes).max().unwrap_or(0);
    Plan {
        isa,
        block,
        steps,
        arena_bytes: most(&|of_blocks| of_blocks.arena_bytes),
        kept_bytes: most(&|of_blocks| of_blocks.kept_bytes),
        step_bytes: all().map(|part| part.fixed.step_bytes).max().unwrap_or(0),
        shard_bytes: of_step.fixed.shard_bytes,
        sums: of_step.fixed.sums,
        parameter_bytes: states.bytes,
        states: states.places,
    }
}

/// What the kernels of a plan are made for.
struct Planner {
    block: u32,
    batch: u32,
    isa: Isa,
}

impl Planner {
    /// The kernels of a part, each of these modes.
    fn steps(&self, placed: &Placed, of_blocks: &OfBlocks, modes: &[Modes]) -> Vec<Step> {
        let numbered = modes.iter().zip(waves::of(placed)).enumerate();
        numbered
            .map(|(k, (&modes, wave))| Step {
                wave,
                ..self.step(placed, of_blocks, k, modes)
            })
            .collect()
    }

    fn step(&self, placed: &Placed, of_blocks: &OfBlocks, at: usize, modes: Modes) -> Step {
        let (g, group, slot) = (placed.part.graph, &placed.part.groups[at], placed.slots[at]);
        let place = |v: &Value| {
            let fixed = placed.fixed.place(*v, slot);
            fixed.unwrap_or_else(|| of_blocks.places[v])
        };
        let places: Vec<Place> = group.values().iter().map(place).collect();
        let images = match slot.work() {
            Work::Blocks => self.batch.min(self.block),
            Work::Once => self.batch,
        };
        Step {
            chosen: choose(&group.nest, self.isa, self.block, placed.beyond[at]),
            bytes: bytes_an_image(g, group, &places, images),
            places,
            slot,
            wave: 0,
            modes,
            nodes: group.nodes.clone(),
            origin: Origin::of(g, &group.nodes),
            macs: group.nest.macs(),
        }
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
        let trained = self.steps.iter().filter(|step| step.modes.train);
        let mut steps: Vec<&Step> = trained.collect();
        steps.sort_by_key(|step| (step.slot, step.wave));
        steps.into_iter()
    }

    /// Compiles the kernels and puts the program together.
    pub fn compile(&self) -> Result<Program, CodeError> {
        let kernels: Vec<&Kernel> = self.steps.iter().map(Step::kernel).collect();
        let wide: Vec<&Wide> = self.steps.iter().map(|step| &step.chosen.code).collect();
        let code = Code::link(&kernels, &wide)?;
        let phases = |keep: &dyn Fn(&Step) -> bool, sums: &BTreeMap<Slot, Range<usize>>| {
            let mut phases: BTreeMap<(Slot, usize), Vec<Call>> = BTreeMap::new();
            for (k, step) in self.steps.iter().enumerate().filter(|(_, step)| keep(step)) {
                let phase = phases.entry((step.slot, step.wave)).or_default();
                phase.push(Call {
                    name: step.kernel().name.clone(),
                    macs: step.macs.terms,
                    bytes: step.bytes,
                    entry: code.entry(k),
                    buffers: step.places.clone(),
                });
            }
            let phases = phases
                .into_iter()
                .map(|((slot, _), calls)| match slot.work() {
                    Work::Once => Phase::Once(calls),
                    Work::Blocks => Phase::Blocks {
                        sums: sums.get(&slot).cloned().unwrap_or_default(),
                        calls,
                    },
                });
            phases.collect()
        };
        Ok(Program {
            block: self.block as usize,
            arena_bytes: self.arena_bytes as usize,
            kept_bytes: self.kept_bytes as usize,
            shard_bytes: self.shard_bytes as usize,
            step_bytes: self.step_bytes as usize,
            parameter_bytes: self.parameter_bytes as usize,
            train: phases(&|step| step.modes.train, &self.sums),
            // Nothing is summed.
            eval: phases(&|step| step.modes.eval, &BTreeMap::new()),
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
