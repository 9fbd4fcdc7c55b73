//! What every plan asks of a graph: where its parameters lie, what depends on the batch, what evaluation needs.
//!
//! Does not know targets.

use std::collections::BTreeSet;

use crate::backend::memory::ALIGNMENT_BYTES;
use crate::ir::{Leading, NodeKind, Role, Source, Value};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// A parameter in the program's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterPlace {
    pub name: String,
    /// Position in source order.
    pub place: u32,
    pub offset_bytes: usize,
    pub dims: Vec<u32>,
}

/// The parameters in source order, the value of each, and the bytes of them all.
pub fn parameters(g: &Graph) -> (Vec<(Value, ParameterPlace)>, u64) {
    let mut list = Vec::new();
    let mut bytes = 0;
    for node in g.topological() {
        if let NodeKind::Source(Source::Parameter { name, place }) = &g.node(node).kind {
            let v = Value { node, output: 0 };
            let offset_bytes = bytes as usize;
            bytes += padded_bytes(g, v);
            let parameter = ParameterPlace {
                name: name.clone(),
                place: *place,
                offset_bytes,
                dims: g.ty(v).dims.clone(),
            };
            list.push((v, parameter));
        }
    }
    list.sort_by_key(|p| p.1.place);
    (list, bytes)
}

/// Bytes of a value (for one image, where it has a batch axis), up to the next value's alignment.
pub fn padded_bytes(g: &Graph, v: Value) -> u64 {
    let ty = g.ty(v);
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
