//! Evaluates a whole graph in f64 through the nests of its operators: the oracle of a training step.
//!
//! Slow and obvious; knows no schedule and no backend.

use std::collections::BTreeMap;

use super::Graph;
use crate::ir::{NodeKind, Source, TensorType, Value};
use crate::nest::interp::{self, Env};

/// Every value of the graph. `feed` gives images, targets, indices and parameters, row-major.
pub fn evaluate(
    g: &Graph,
    env: Env,
    feed: impl Fn(&Source) -> Vec<f64>,
) -> BTreeMap<Value, Vec<f64>> {
    let mut values: BTreeMap<Value, Vec<f64>> = BTreeMap::new();
    for id in g.topological() {
        let node = g.node(id);
        let results = match &node.kind {
            NodeKind::Source(Source::Scalar(scalar)) => vec![vec![env.scalars.get(*scalar)]],
            NodeKind::Source(Source::Constant(bits)) => {
                vec![vec![f64::from(f32::from_bits(*bits))]]
            }
            NodeKind::Source(source) => vec![feed(source)],
            NodeKind::Op(op) => {
                let operands = g.operands(id);
                let types: Vec<TensorType> = operands.iter().map(|&v| g.ty(v).clone()).collect();
                let inputs: Vec<&[f64]> = operands.iter().map(|v| values[v].as_slice()).collect();
                interp::run(&op.lower(&types, &node.types), &inputs, env)
            }
        };
        for (k, data) in results.into_iter().enumerate() {
            values.insert(
                Value {
                    node: id,
                    output: k as u32,
                },
                data,
            );
        }
    }
    values
}
