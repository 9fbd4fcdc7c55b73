//! What a layer builds its part of a graph with.
//!
//! Does not know how layers are written, nor which graph it is but for its mode.

use super::{Graph, Op, ShapeError};
use crate::diag::Span;
use crate::ir::{Mode, NodeId, Role, TensorType, Value};

/// A state of the layer and its source.
#[derive(Clone, Debug)]
pub struct StateSource {
    /// Its name within the layer, as `weight`.
    pub name: &'static str,
    pub value: Value,
}

/// The graph that a layer extends, and what it has to read.
pub struct LayerCx<'a> {
    pub graph: &'a mut Graph,
    mode: Mode,
    asked: bool,
    /// What the layer is fed.
    pub input: Value,
    /// Its states, as it declares them.
    pub states: Vec<StateSource>,
    /// The layer's path and place, which its nodes bear.
    path: &'a str,
    span: Span,
    /// The operations so far.
    pub made: Vec<NodeId>,
    /// Images that a batch must have in training.
    pub least_images: u32,
}

impl<'a> LayerCx<'a> {
    /// For the layer at this path.
    pub fn new(
        graph: &'a mut Graph,
        mode: Mode,
        input: Value,
        states: Vec<StateSource>,
        path: &'a str,
        span: Span,
    ) -> Self {
        Self {
            graph,
            mode,
            asked: false,
            input,
            states,
            path,
            span,
            made: vec![],
            least_images: 1,
        }
    }

    /// What the graph is for. A layer that asks is one in training and another in evaluation.
    pub fn mode(&mut self) -> Mode {
        self.asked = true;
        self.mode
    }

    /// Whether the layer depends on the mode.
    pub fn depends_on_mode(&self) -> bool {
        self.asked
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> TensorType {
        self.graph.ty(v).clone()
    }

    /// The source of the layer's state of this name. Panics where it declares none.
    pub fn state(&self, name: &str) -> Value {
        let state = self.states.iter().find(|s| s.name == name);
        let state = state.map(|s| s.value);
        state.unwrap_or_else(|| panic!("a bug in lenetc: {} has no state {name}", self.path))
    }

    /// Adds an operation where its operands fit; its first result.
    pub fn emit(&mut self, op: impl Into<Op>, operands: &[Value]) -> Result<Value, ShapeError> {
        let op = op.into();
        let types: Vec<TensorType> = operands.iter().map(|&v| self.ty(v)).collect();
        let results = op.infer(&types)?;
        let node = self.graph.op(op, operands, results, self.path, self.span);
        self.made.push(node);
        Ok(Value { node, output: 0 })
    }

    /// The layer as one operation on its input and its states, whatever the mode.
    pub fn plain(&mut self, op: impl Into<Op>) -> Result<Value, ShapeError> {
        let states = self.states.iter().map(|s| s.value);
        let operands: Vec<Value> = [self.input].into_iter().chain(states).collect();
        self.emit(op, &operands)
    }

    /// Declares what the state behind a source is when the step has ended. Panics for what is no state's source.
    pub fn next(&mut self, state: Value, value: Value) {
        let id = self.graph.state_of(state.node);
        let id = id.expect("only a state has a next value");
        self.graph.output(Role::Next(id), value);
    }
}
