//! The states of layers: their names, and what a model's `init` makes of how they start.

use super::super::config::Initial;
use super::{Builder, Checked, error};
use crate::diag::Span;
use crate::ir::{Distribution, StateInfo, TensorType};
use crate::ops::{LayerState, Start, StateSource};

impl Builder<'_> {
    /// Adds the states of the layer at `path`, and returns their sources in the same order.
    pub(super) fn states(
        &mut self,
        states: Vec<LayerState>,
        path: &str,
        span: Span,
    ) -> Checked<Vec<StateSource>> {
        let mut sources = Vec::new();
        for state in states {
            let name = format!("{path}.{}", state.name);
            if !self.names.insert(name.clone()) {
                let message = format!("two layers are called `{path}`");
                return Err(error("E0407", message, span));
            }
            let info = StateInfo {
                name,
                ty: TensorType::fixed(state.dims),
                kind: state.kind,
                initial: distribution(self.initial, state.start),
            };
            let name = state.name;
            let value = self.graph.state(info, path, span);
            sources.push(StateSource { name, value });
        }
        Ok(sources)
    }
}

/// Glorot and Bengio's bound is √(6 / (fan_in + fan_out)), torch's 1/√fan_in.
fn distribution(initial: Initial, start: Start) -> Distribution {
    let torch = |fan_in: u64| Distribution::Uniform {
        bound: 1.0 / (fan_in as f32).sqrt(),
    };
    match (initial, start) {
        (_, Start::Constant(value)) => Distribution::Constant(value),
        (Initial::Constant(value), _) => Distribution::Constant(value),
        (_, Start::Bias { fan_in }) => torch(fan_in),
        (Initial::XavierUniform, Start::Weight { fan_in, fan_out }) => Distribution::Uniform {
            bound: (6.0 / (fan_in + fan_out) as f32).sqrt(),
        },
        (Initial::TorchDefault, Start::Weight { fan_in, .. }) => torch(fan_in),
        (Initial::Normal { std }, Start::Weight { .. }) => Distribution::Normal { std },
    }
}
