//! The place of every value of a step.
//!
//! Values with one entry for each image live in the worker's arena, by liveness, or where a later phase reads them, in
//! what the block keeps; losses and the counts of right answers in arrays of the whole batch; sums over the batch in the
//! shard, and once the shards are added up, in the first of them; what is computed once in memory of the step; a state's
//! next value where the state is.
//!
//! Does not know operators, nor kernels.

use std::collections::BTreeMap;
use std::ops::Range;

use lenetc_runtime::exec::Place;

use crate::backend::beyond::{self, Beyond};
use crate::backend::memory::{self, Interval};
use crate::backend::phases::{self, Slot, Work};
use crate::backend::values::{Part, StateLayout, padded_bytes};
use crate::ir::{DType, Leading, NodeKind, Role, Source, StateId, Value};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// A part of a plan, when its groups run, and the places of what is not of a block.
pub struct Placed<'a> {
    pub part: Part<'a>,
    pub slots: Vec<Slot>,
    pub beyond: Vec<Beyond>,
    pub fixed: Fixed,
}

impl<'a> Placed<'a> {
    pub fn new(part: Part<'a>, states: &StateLayout) -> Self {
        let slots = phases::slots(part.graph, part.groups);
        Self {
            fixed: Fixed::new(part, &slots, states),
            beyond: beyond::of(part.groups, &phases::order(&slots)),
            slots,
            part,
        }
    }

    /// The places in a block of `block` images.
    pub fn of_blocks(&self, block: u32, lanes: u32) -> OfBlocks {
        OfBlocks::new(self, block, lanes)
    }
}

/// Values that are not of a block.
pub struct Fixed {
    places: BTreeMap<Value, Place>,
    /// Sums over the batch: where in a shard.
    summed: BTreeMap<Value, usize>,
    /// The sums of each slot.
    pub sums: BTreeMap<Slot, Range<usize>>,
    pub shard_bytes: u64,
    pub step_bytes: u64,
}

impl Fixed {
    fn new(part: Part, slots: &[Slot], states: &StateLayout) -> Self {
        let mut fixed = Self {
            places: BTreeMap::new(),
            summed: BTreeMap::new(),
            sums: BTreeMap::new(),
            shard_bytes: 0,
            step_bytes: 0,
        };
        fixed.place_sources(part.graph, states);
        fixed.place_outputs(part.graph, states);
        for k in phases::order(slots) {
            fixed.place_results(part.graph, &part.groups[k], slots[k]);
        }
        fixed
    }

    fn place_sources(&mut self, g: &Graph, states: &StateLayout) {
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
                Source::State(id) => state(states, *id),
                Source::Scalar(_) | Source::Constant(_) => continue,
            };
            self.places.insert(value, place);
        }
    }

    fn place_outputs(&mut self, g: &Graph, states: &StateLayout) {
        for o in &g.outputs {
            let place = match o.role {
                Role::Loss => Place::Losses,
                Role::Correct => Place::Correct,
                Role::Logits => continue,
                Role::Next(id) => state(states, id),
            };
            self.places.insert(storage(g, o.value), place);
        }
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
    pub fn place(&self, v: Value, slot: Slot) -> Option<Place> {
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

fn state(states: &StateLayout, id: StateId) -> Place {
    Place::Parameters(states.places[id.index()].offset_bytes)
}

/// Values of a block: in the worker's arena, or where a later phase reads them, in what the block keeps.
pub struct OfBlocks {
    pub places: BTreeMap<Value, Place>,
    pub arena_bytes: u64,
    pub kept_bytes: u64,
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
    fn new(placed: &Placed, block: u32, lanes: u32) -> Self {
        let beyond = match block {
            1 => super::schedule::beyond(lanes),
            _ => 0,
        };
        let bytes = |elements: u64| {
            let floats = elements.saturating_mul(u64::from(block));
            floats.saturating_add(beyond).saturating_mul(4)
        };
        let all = alive(placed, bytes);
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

/// The values of a block in the order in which they are made, each of so many bytes for an image's elements.
fn alive(placed: &Placed, bytes: impl Fn(u64) -> u64) -> Vec<Alive> {
    let Placed {
        part, slots, fixed, ..
    } = placed;
    let mut all: Vec<Alive> = Vec::new();
    let mut made: BTreeMap<Value, usize> = BTreeMap::new();
    let mut within: Vec<Slot> = Vec::new();
    for (at, k) in phases::order(slots).into_iter().enumerate() {
        let stores = part.groups[k].stores().into_iter();
        for value in stores.filter(|v| !fixed.holds(*v)) {
            let ty = part.graph.ty(value);
            debug_assert_eq!(ty.dtype, DType::F32, "results are f32");
            made.insert(value, all.len());
            within.push(slots[k]);
            all.push(Alive {
                value,
                interval: Interval {
                    bytes: bytes(ty.elements()),
                    born: at,
                    dies: at,
                },
                within: true,
            });
        }
        for v in part.groups[k].reads() {
            if let Some(&number) = made.get(&v) {
                all[number].interval.dies = at;
                all[number].within &= within[number] == slots[k];
            }
        }
    }
    all
}
