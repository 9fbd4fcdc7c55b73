//! Folding: operations whose result is known without computing it.
//!
//! - a join of one branch, or a change of shape to the same shape, is its operand;
//! - a change of shape of a change of shape is one change of shape;
//! - a sum of sums is one sum, in the same order;
//! - a window of one element at stride 1 without padding is its operand.
//!
//! Results keep every bit.

use crate::ir::{NodeId, Value};
use crate::ops::{Add, Graph, Op};

/// Runs the pass.
pub fn run(g: &mut Graph) {
    for id in g.topological() {
        let Some(op) = g.operation(id).cloned() else {
            continue;
        };
        let operands = g.operands(id);
        let out = Value {
            node: id,
            output: 0,
        };
        if is_identity(g, id, &op, &operands) {
            g.replace(out, operands[0]);
            g.remove(id);
        } else if let Some((op, operands)) = merged(g, &op, &operands) {
            let node = g.node(id);
            let (types, layer, span) = (node.types.clone(), node.layer.clone(), node.span);
            let new = g.op(op, &operands, types, &layer, span);
            g.replace(
                out,
                Value {
                    node: new,
                    output: 0,
                },
            );
            g.remove(id);
        }
    }
}

fn is_identity(g: &Graph, id: NodeId, op: &Op, operands: &[Value]) -> bool {
    let same = operands.len() == 1 && *g.ty(operands[0]) == g.node(id).types[0];
    match op {
        Op::Add(_) | Op::Concat(_) | Op::ConcatGrad(_) | Op::Flatten(_) | Op::Reshape(_) => same,
        Op::AvgPool2d(pool) => same && pool.window.kernel == [1, 1],
        _ => false,
    }
}

fn merged(g: &Graph, op: &Op, operands: &[Value]) -> Option<(Op, Vec<Value>)> {
    let inner = |v: &Value| g.operation(v.node);
    match op {
        Op::Reshape(_) | Op::Flatten(_) => match inner(&operands[0])? {
            Op::Reshape(_) | Op::Flatten(_) => Some((op.clone(), g.operands(operands[0].node))),
            _ => None,
        },
        // Only the first operand: then the additions happen in the same order.
        Op::Add(_) => match inner(&operands[0])? {
            Op::Add(_) if g.users(operands[0]).len() == 1 => {
                let mut all = g.operands(operands[0].node);
                all.extend_from_slice(&operands[1..]);
                Some((Op::from(Add), all))
            }
            _ => None,
        },
        _ => None,
    }
}
