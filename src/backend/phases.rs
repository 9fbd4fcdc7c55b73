//! When the groups of a step run: a value of an image that depends on a sum over the batch belongs to a later phase.
//!
//! The groups of a phase work image by image, and sum over images. What is computed once from such sums stands behind
//! the phase that makes them; what the next phase reads of it stands before that. So the phase of a group is the
//! longest path to it, counted in sums over the batch:
//!
//! - a group of images is in the phase of the images that it reads, and in the one behind the sums that it reads;
//! - what is computed once runs right behind the sums that it reads, where a later phase needs it;
//! - all else that is computed once, as the next values of parameters, runs at the end of the step.
//!
//! A state's next value lies where the state is, so it must not be there before every group that reads the state has run:
//! all of them read states as the step found them.
//!
//! Does not know targets, nor where values lie.

use std::collections::{BTreeMap, BTreeSet};

use super::values::touches_batch;
use crate::ir::{Role, StateId, Value};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// How often a step calls a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// For every block of images.
    Blocks,
    /// Once.
    Once,
}

/// When a group runs. What comes first is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Before the first phase.
    const FIRST: Slot = Slot(0);

    /// What runs in it. Slots of both kinds alternate.
    pub fn work(self) -> Work {
        match self.0 % 2 {
            0 => Work::Once,
            _ => Work::Blocks,
        }
    }

    /// The phase that it is, or that it follows; counted from 1, so that what runs before all is of phase 0.
    pub fn phase(self) -> u32 {
        self.0.div_ceil(2)
    }

    /// What of this work comes next behind it.
    fn next(self, work: Work) -> Slot {
        match self.work() == work {
            true => Slot(self.0 + 2),
            false => Slot(self.0 + 1),
        }
    }
}

/// The slot of each group of a step.
///
/// Panics where a group reads a state behind its next value, which would be a bug of whoever ordered the groups.
pub fn slots(g: &Graph, groups: &[Group]) -> Vec<Slot> {
    let mut slots = as_early_as_can_be(g, groups);
    let last = slots.iter().max().copied().unwrap_or(Slot::FIRST);
    let end = match last.work() {
        Work::Once => last,
        Work::Blocks => last.next(Work::Once),
    };
    for (slot, early) in slots.iter_mut().zip(needed_by_images(g, groups)) {
        if slot.work() == Work::Once && !early {
            *slot = end;
        }
    }
    if let Some(state) = read_too_late(g, groups, &slots) {
        panic!("a bug in lenetc: the state {state} is read behind its next value");
    }
    slots
}

/// The positions of groups in the order in which they run.
pub fn order(slots: &[Slot]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|&k| slots[k]);
    order
}

fn as_early_as_can_be(g: &Graph, groups: &[Group]) -> Vec<Slot> {
    let mut made: BTreeMap<Value, Slot> = BTreeMap::new();
    let mut slots = Vec::with_capacity(groups.len());
    for group in groups {
        let work = match touches_batch(g, group) {
            true => Work::Blocks,
            false => Work::Once,
        };
        let least = match work {
            Work::Once => Slot::FIRST,
            Work::Blocks => Slot::FIRST.next(Work::Blocks),
        };
        let behind = group.reads().into_iter().filter_map(|v| {
            let slot = *made.get(&v)?;
            // What a group of its kind made is there at once, but for a sum over images.
            let there = slot.work() == work && (work == Work::Once || g.ty(v).is_batch());
            Some(if there { slot } else { slot.next(work) })
        });
        let slot = behind.max().map_or(least, |slot| slot.max(least));
        made.extend(group.outputs.iter().map(|&v| (v, slot)));
        slots.push(slot);
    }
    slots
}

/// Whether what is computed of images depends on each group.
fn needed_by_images(g: &Graph, groups: &[Group]) -> Vec<bool> {
    let mut live: BTreeSet<Value> = BTreeSet::new();
    let mut needed = vec![false; groups.len()];
    for (k, group) in groups.iter().enumerate().rev() {
        needed[k] = touches_batch(g, group) || group.outputs.iter().any(|v| live.contains(v));
        if needed[k] {
            live.extend(group.reads());
        }
    }
    needed
}

/// A state whose next value is there before a group that reads it has run.
fn read_too_late(g: &Graph, groups: &[Group], slots: &[Slot]) -> Option<String> {
    let next = g.outputs.iter().filter_map(|o| match o.role {
        Role::Next(id) => Some((storage(g, o.value), id)),
        _ => None,
    });
    let next: BTreeMap<Value, StateId> = next.collect();
    let mut gone: BTreeSet<StateId> = BTreeSet::new();
    for k in order(slots) {
        let reads = groups[k].reads().into_iter();
        let mut states = reads.filter_map(|v| g.state_of(v.node));
        if let Some(id) = states.find(|id| gone.contains(id)) {
            return Some(g.states()[id.index()].name.clone());
        }
        gone.extend(groups[k].outputs.iter().filter_map(|v| next.get(v)));
    }
    None
}
