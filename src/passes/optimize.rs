//! The optimizer: extends a graph by the next value of every parameter that has a gradient.
//!
//! Does not know where gradients come from, nor when updates run.

use super::grad::Gradient;
use crate::diag::Span;
use crate::ir::{Role, Scalar, Source, TensorType, Value};
use crate::ops::{Graph, Op, Sgd};

/// Adds an update of each parameter, and declares it as its [`Role::Next`]. Panics where a gradient is by something else.
pub fn run(g: &mut Graph, gradients: &[Gradient]) {
    let rate = Source::Scalar(Scalar::LearningRate);
    let rate = g.source(rate, TensorType::fixed([]), "", Span::ZERO);
    for found in gradients {
        let source = found.parameter.node;
        let state = g
            .state_of(source)
            .expect("a gradient is by a parameter, which is a state");
        let node = g.node(source);
        let (ty, layer, span) = (node.types[0].clone(), node.layer.clone(), node.span);
        let operands = [found.parameter, found.gradient, rate];
        let node = g.op(Op::from(Sgd), &operands, vec![ty], &layer, span);
        g.output(Role::Next(state), Value { node, output: 0 });
    }
}
