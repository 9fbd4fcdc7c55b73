//! Fusion: which operators become one kernel.
//!
//! A *group* is a list of operators with one nest. An elementwise operator (an activation, its gradient, a
//! sum of gradients) joins the group that produces its operand: it is computed where the producer finishes,
//! while the value is in a register, and a value that nobody else reads is not stored at all. It joins the
//! latest of the groups that it reads from, so that all its other operands exist by then; that group's
//! place in the order does not change, so no cycle can arise.
//!
//! A group takes no more where its formulas, written out, would become long: a ReLU reads its operand twice, so that a
//! chain of them doubles a formula with each. The next operator starts a group of its own.
//!
//! A change of shape moves nothing and has no group: its result is another name of its operand. Run-time
//! scalars and constants are written into the formulas that read them.
//!
//! Does not know loops or targets.

use std::collections::BTreeMap;

use crate::ir::{Leading, NodeId, NodeKind, Source, Value};
use crate::nest::{self, Expr, Nest, TensorRole};
use crate::ops::{Graph, Op};

/// What the results of joined operators are computed from at most, as [`nest::written_out`] counts it: many times that
/// of a sum, its bias and an activation.
pub const MOST_WRITTEN_OUT: u64 = 256;

/// Operators that are computed together.
#[derive(Clone, Debug)]
pub struct Group {
    pub nodes: Vec<NodeId>,
    pub nest: Nest,
    /// The values behind the nest's operands.
    pub inputs: Vec<Value>,
    /// The values behind its results.
    pub outputs: Vec<Value>,
}

/// The groups of a graph, each after those that it reads from. Without `join` each operator is alone.
pub fn run(g: &Graph, join: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut home: BTreeMap<Value, usize> = BTreeMap::new();
    for id in g.topological() {
        let Some(op) = g.operation(id).filter(|op| !is_view(op)) else {
            continue;
        };
        let single = single(g, id, op);
        let joined = if join {
            try_join(g, id, &single, &mut groups, &home)
        } else {
            None
        };
        let at = joined.unwrap_or_else(|| {
            groups.push(single);
            groups.len() - 1
        });
        for output in 0..g.node(id).types.len() as u32 {
            home.insert(Value { node: id, output }, at);
        }
    }
    drop_unread(g, &mut groups);
    groups
}

/// True for operators whose result is their operand's memory.
fn is_view(op: &Op) -> bool {
    matches!(op, Op::Flatten(_) | Op::Reshape(_))
}

/// The value whose memory this value is a view of: itself, unless it is a change of shape.
pub fn storage(g: &Graph, mut v: Value) -> Value {
    while g.operation(v.node).is_some_and(is_view) {
        v = g.operands(v.node)[0];
    }
    v
}

fn single(g: &Graph, id: NodeId, op: &Op) -> Group {
    let operands = g.operands(id);
    let types: Vec<_> = operands.iter().map(|&v| g.ty(v).clone()).collect();
    let node = g.node(id);
    let mut nest = op.lower(&types, &node.types);
    for (k, v) in operands.iter().enumerate() {
        let number = match &g.node(v.node).kind {
            NodeKind::Source(Source::Scalar(s)) => Expr::Scalar(*s),
            NodeKind::Source(Source::Constant(bits)) => Expr::Const(*bits),
            _ => continue,
        };
        nest::inline(&mut nest, k as u32, number);
    }
    Group {
        nodes: vec![id],
        nest,
        inputs: operands.iter().map(|&v| storage(g, v)).collect(),
        outputs: (0..node.types.len() as u32)
            .map(|output| Value { node: id, output })
            .collect(),
    }
}

/// Joins `consumer` to the latest group that it reads from, where the formulas allow it.
fn try_join(
    g: &Graph,
    id: NodeId,
    consumer: &Group,
    groups: &mut [Group],
    home: &BTreeMap<Value, usize>,
) -> Option<usize> {
    let at = *consumer.inputs.iter().filter_map(|v| home.get(v)).max()?;
    // What is summed over blocks is complete only after all of them; what is computed once is complete where it is.
    let of_images = g.node(id).types.iter().all(|t| t.is_batch());
    let joins = of_images || (once(g, consumer) && once(g, &groups[at]));
    if !joins {
        return None;
    }
    let mut from_there = (0..)
        .zip(&consumer.inputs)
        .filter(|(_, v)| home.get(v) == Some(&at));
    let ((operand, &value), None) = (from_there.next()?, from_there.next()) else {
        return None;
    };
    let producer = &groups[at];
    let output = producer.outputs.iter().position(|&v| v == value)? as u32;
    let shared = producer.nest.out(output);
    let mut inputs = producer.inputs.clone();
    let numbers: Vec<u32> = consumer
        .inputs
        .iter()
        .map(|v| number(&mut inputs, *v))
        .collect();
    let first = producer.outputs.len() as u32;
    let whole = nest::append(
        &producer.nest,
        shared,
        &consumer.nest,
        operand,
        &numbers,
        first,
    )?;
    if nest::written_out(&whole) > MOST_WRITTEN_OUT {
        return None;
    }
    let group = &mut groups[at];
    group.nest = whole;
    group.inputs = inputs;
    group.outputs.extend(&consumer.outputs);
    group.nodes.push(id);
    Some(at)
}

/// Whether a group has to do with parameters alone, element by element: the blocks of images are over before it runs.
fn once(g: &Graph, group: &Group) -> bool {
    let elements = |s: &nest::Stage| s.combine == nest::Combine::None;
    let mut values = group.inputs.iter().chain(&group.outputs);
    values.all(|&v| g.ty(v).leading == Leading::None) && group.nest.stages.iter().all(elements)
}

/// The operand number of `v`, new or known.
pub fn number(inputs: &mut Vec<Value>, v: Value) -> u32 {
    let at = inputs.iter().position(|&x| x == v).unwrap_or_else(|| {
        inputs.push(v);
        inputs.len() - 1
    });
    at as u32
}

/// Stores only what another group or the caller reads, and forgets tensors that no formula touches.
fn drop_unread(g: &Graph, groups: &mut [Group]) {
    let mut read: Vec<Value> = g.outputs.iter().map(|o| storage(g, o.value)).collect();
    for group in groups.iter() {
        read.extend(group.reads());
    }
    read.sort();
    for group in groups {
        let used = |k: u32| read.binary_search(&group.outputs[k as usize]).is_ok();
        nest::drop_unused(&mut group.nest, used);
        nest::prune(&mut group.nest);
    }
}

impl Group {
    /// The value behind each tensor of the nest but its temporaries, in their order.
    pub fn values(&self) -> Vec<Value> {
        self.nest
            .tensors
            .iter()
            .filter_map(|t| match t.role {
                TensorRole::Input(k) => Some(self.inputs[k as usize]),
                TensorRole::Output(k) => Some(self.outputs[k as usize]),
                TensorRole::Temp => None,
            })
            .collect()
    }

    /// Values that the group stores.
    pub fn stores(&self) -> Vec<Value> {
        self.with(|r| matches!(r, TensorRole::Output(_)))
    }

    /// Values that the group reads.
    pub fn reads(&self) -> Vec<Value> {
        self.with(|r| matches!(r, TensorRole::Input(_)))
    }

    fn with(&self, keep: impl Fn(TensorRole) -> bool) -> Vec<Value> {
        let roles = self.nest.tensors.iter().map(|t| t.role);
        let mut roles = roles.filter(|r| *r != TensorRole::Temp);
        let mut values = self.values();
        values.retain(|_| roles.next().is_some_and(&keep));
        values
    }
}
