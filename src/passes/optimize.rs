//! The optimizer: extends a graph by the next value of every parameter that has a gradient, and of what the optimizer keeps
//! of it.
//!
//! Does not know where gradients come from, nor when updates run.

use super::grad::Gradient;
use crate::ir::{Distribution, Role, StateId, StateInfo, StateKind, TensorType, Value};
use crate::ops::{AnyOptimizer, Graph, Op};

/// Adds an update of each parameter, and declares its results as [`Role::Next`]. Panics where a gradient is by something
/// else.
pub fn run(g: &mut Graph, gradients: &[Gradient], optimizer: &AnyOptimizer) {
    let scalars = optimizer.scalars().into_iter();
    let scalars: Vec<Value> = scalars.map(|scalar| g.scalar(scalar)).collect();
    for found in gradients {
        update(g, found, optimizer, &scalars);
    }
}

/// The next value of one parameter and of its states.
fn update(g: &mut Graph, found: &Gradient, optimizer: &AnyOptimizer, scalars: &[Value]) {
    let source = found.parameter.node;
    let parameter = g
        .state_of(source)
        .expect("a gradient is by a parameter, which is a state");
    let node = g.node(source);
    let (ty, layer, span) = (node.types[0].clone(), node.layer.clone(), node.span);
    let name = g.states()[parameter.index()].name.clone();
    let states = optimizer.states(&ty).into_iter().map(|state| {
        let info = StateInfo {
            name: format!("{name}.{}", state.name),
            ty: TensorType::fixed(state.dims),
            kind: StateKind::Optimizer,
            initial: Distribution::Constant(state.start),
        };
        g.state(info, &layer, span)
    });
    let states: Vec<Value> = states.collect();
    let mut operands = vec![found.parameter, found.gradient];
    operands.extend(states.iter().chain(scalars));
    let op = Op::from(optimizer.clone());
    let types: Vec<TensorType> = operands.iter().map(|&v| g.ty(v).clone()).collect();
    let results = op
        .infer(&types)
        .unwrap_or_else(|e| panic!("a bug in lenetc: an update does not type: {}", e.rule));
    let node = g.op(op, &operands, results, &layer, span);
    let kept = states.iter().filter_map(|state| g.state_of(state.node));
    let next: Vec<StateId> = [parameter].into_iter().chain(kept).collect();
    for (output, id) in (0..).zip(next) {
        g.output(Role::Next(id), Value { node, output });
    }
}
