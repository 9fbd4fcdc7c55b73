//! Symbolic differentiation: extends a graph with the gradients of its loss.
//!
//! Reverse mode, graph to graph: nodes are visited from the loss back, each operator's own rule
//! ([`crate::ops::Operator::grad`]) builds nodes for the gradients of its operands, and where a value has
//! several users their parts are added in the order of the users. Only values that depend on a parameter
//! are differentiated. Gradients are in gather form, so no backend needs atomic additions.
//!
//! The step's loss is the mean of the examples' losses, or their sum; so the gradient of each example's
//! loss is 1/batch, or 1. Does not know operators by name, but for those that it adds itself, nor what gradients are for.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Span;
use crate::ir::{NodeId, Role, Scalar, Source, TensorType, Value};
pub use crate::ops::Reduction;
use crate::ops::{Add, Fill, GradCx, Graph, Op};

/// A parameter and the loss's gradient by it, of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// The parameter's source.
    pub parameter: Value,
    pub gradient: Value,
}

/// Adds the gradients of every parameter that the loss depends on, and returns them in the parameters' order.
///
/// Panics where the graph has no loss.
pub fn run(g: &mut Graph, reduction: Reduction) -> Vec<Gradient> {
    let loss = g
        .output_for(Role::Loss)
        .expect("a graph is differentiated at its loss");
    let order = g.topological();
    let trained = depends_on_parameters(g, &order);
    let mut parts: BTreeMap<Value, Vec<Value>> = BTreeMap::new();
    parts.insert(loss, vec![seed(g, reduction)]);
    let mut gradients = Vec::new();
    for &id in order.iter().rev().filter(|id| trained.contains(id)) {
        let outputs = g.node(id).types.len() as u32;
        let results: Vec<Value> = (0..outputs)
            .map(|output| Value { node: id, output })
            .collect();
        let upstream: Vec<Option<Value>> =
            results.iter().map(|v| sum(g, parts.remove(v))).collect();
        if upstream.iter().all(Option::is_none) {
            continue;
        }
        match g.operation(id).cloned() {
            None => {
                let parameter = Value {
                    node: id,
                    output: 0,
                };
                gradients.extend(upstream[0].map(|gradient| Gradient {
                    parameter,
                    gradient,
                }));
            }
            Some(op) => {
                let operands = g.operands(id);
                let wanted = operands.iter().map(|v| trained.contains(&v.node)).collect();
                let mut cx = GradCx {
                    graph: g,
                    node: id,
                    operands: operands.clone(),
                    results,
                    upstream,
                    wanted,
                };
                let grads = op.grad(&mut cx);
                for (operand, part) in operands.into_iter().zip(grads) {
                    if let Some(part) = part.filter(|_| trained.contains(&operand.node)) {
                        parts.entry(operand).or_default().push(part);
                    }
                }
            }
        }
    }
    gradients.sort_by_key(|found| found.parameter);
    gradients
}

fn depends_on_parameters(g: &Graph, order: &[NodeId]) -> BTreeSet<NodeId> {
    let mut set = BTreeSet::new();
    for &id in order {
        if g.is_parameter(id) || g.operands(id).iter().any(|v| set.contains(&v.node)) {
            set.insert(id);
        }
    }
    set
}

/// The gradient of each example's loss.
fn seed(g: &mut Graph, reduction: Reduction) -> Value {
    let scalar = match reduction {
        Reduction::Mean => g.scalar(Scalar::InverseBatch),
        Reduction::Sum => {
            let one = Source::Constant(1f32.to_bits());
            g.source(one, TensorType::fixed([]), "", Span::ZERO)
        }
    };
    let node = g.op(
        Op::from(Fill),
        &[scalar],
        vec![TensorType::batch([])],
        "",
        Span::ZERO,
    );
    Value { node, output: 0 }
}

fn sum(g: &mut Graph, parts: Option<Vec<Value>>) -> Option<Value> {
    let parts = parts?;
    if let [one] = parts[..] {
        return Some(one);
    }
    let ty = g.ty(parts[0]).clone();
    let node = g.op(Op::from(Add), &parts, vec![ty], "", Span::ZERO);
    Some(Value { node, output: 0 })
}
