//! Gradients kept small before the optimizer takes them: each element by itself, then all by their norm.
//!
//! The norm waits for all gradients, and every update for the norm; what is multiplied into a gradient becomes part of its
//! update. Does not know optimizers.

use super::config::Clip;
use super::grad::Gradient;
use crate::diag::Span;
use crate::ir::{TensorType, Value};
use crate::ops::{Clamp, ClipFactor, Graph, Op, Scale, SquareSum};

/// The gradients that updates take in the place of these.
pub fn run(g: &mut Graph, gradients: Vec<Gradient>, clip: Clip) -> Vec<Gradient> {
    let mut gradients = gradients;
    if let Some(most) = clip.value {
        for found in &mut gradients {
            found.gradient = like(g, found, Op::from(Clamp { most }), &[]);
        }
    }
    if let (Some(most), false) = (clip.norm, gradients.is_empty()) {
        let sums = gradients.iter().map(|found| {
            let sum = Op::from(SquareSum);
            let (layer, span) = place(g, found);
            number(g, sum, &[found.gradient], &layer, span)
        });
        let sums: Vec<Value> = sums.collect();
        let factor = number(g, Op::from(ClipFactor { most }), &sums, "", Span::ZERO);
        for found in &mut gradients {
            found.gradient = like(g, found, Op::from(Scale), &[factor]);
        }
    }
    gradients
}

/// The layer of a gradient's parameter.
fn place(g: &Graph, found: &Gradient) -> (String, Span) {
    let node = g.node(found.parameter.node);
    (node.layer.clone(), node.span)
}

/// An operation on a gradient, and on what else there is, that yields a gradient.
fn like(g: &mut Graph, found: &Gradient, op: Op, others: &[Value]) -> Value {
    let (layer, span) = place(g, found);
    let ty = g.ty(found.gradient).clone();
    let operands = [&[found.gradient], others].concat();
    let node = g.op(op, &operands, vec![ty], &layer, span);
    Value { node, output: 0 }
}

/// An operation that yields a number.
fn number(g: &mut Graph, op: Op, operands: &[Value], layer: &str, span: Span) -> Value {
    let node = g.op(op, operands, vec![TensorType::fixed([])], layer, span);
    Value { node, output: 0 }
}
