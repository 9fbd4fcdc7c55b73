//! What every plan asks of a graph: where its states lie, what depends on the batch, what evaluation needs.
//!
//! Does not know targets.

use std::collections::BTreeSet;

use crate::backend::memory::ALIGNMENT_BYTES;
use crate::ir::{Leading, Role, StateInfo, TensorType, Value};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// What a plan is made of: a graph and the groups of its operators.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub graph: &'a Graph,
    pub groups: &'a [Group],
}

/// A state in the program's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePlace {
    pub info: StateInfo,
    /// From the start of the states.
    pub offset_bytes: usize,
}

impl StatePlace {
    /// The size of each axis.
    pub fn dims(&self) -> Vec<usize> {
        self.info.ty.dims.iter().map(|&d| d as usize).collect()
    }
}

/// Where the states lie: behind each other, by their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct StateLayout {
    pub places: Vec<StatePlace>,
    pub bytes: u64,
}

impl StateLayout {
    /// Lays out the states of a graph.
    pub fn new(g: &Graph) -> Self {
        let mut bytes = 0;
        let places = g.states().iter().map(|info| {
            let offset_bytes = bytes as usize;
            bytes += aligned_bytes(&info.ty);
            let info = info.clone();
            StatePlace { info, offset_bytes }
        });
        let places = places.collect();
        Self { places, bytes }
    }
}

/// Bytes of a value (for one image, where it has a batch axis), up to the next value's alignment.
pub fn padded_bytes(g: &Graph, v: Value) -> u64 {
    aligned_bytes(g.ty(v))
}

fn aligned_bytes(ty: &TensorType) -> u64 {
    ty.elements()
        .saturating_mul(ty.dtype.size_bytes())
        .next_multiple_of(ALIGNMENT_BYTES)
}

/// Whether a group reads or makes something of each image. The others, the optimizer, run once a step.
pub fn touches_batch(g: &Graph, group: &Group) -> bool {
    let mut values = group.values().into_iter();
    values.any(|v| g.ty(v).leading != Leading::None)
}

/// Which groups the loss, the count of right answers or the logits depend on.
pub fn needed_for_eval(g: &Graph, groups: &[Group]) -> Vec<bool> {
    let mut live: BTreeSet<Value> = [Role::Loss, Role::Correct, Role::Logits]
        .iter()
        .filter_map(|&r| g.output_for(r))
        .map(|v| storage(g, v))
        .collect();
    let mut needed = vec![false; groups.len()];
    for (k, group) in groups.iter().enumerate().rev() {
        needed[k] = group.stores().iter().any(|v| live.contains(v));
        if needed[k] {
            live.extend(group.reads());
        }
    }
    needed
}
