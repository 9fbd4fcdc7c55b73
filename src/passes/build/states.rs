//! The states of layers: their names, and what a model's `init` makes of how they start.

use super::{Builder, Checked, error};
use crate::diag::Span;
use crate::ir::{StateInfo, TensorType};
use crate::ops::{LayerState, StateSource};

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
                initial: self.initial.start(state.start),
            };
            let name = state.name;
            let value = self.graph.state(info, path, span);
            sources.push(StateSource { name, value });
        }
        Ok(sources)
    }
}
