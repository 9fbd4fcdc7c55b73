//! The graph itself: the only file that uses petgraph.
//!
//! Knows no operator: whatever implements [`Operation`] can stand in a node.

use std::fmt;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use super::{Scalar, StateId, StateInfo, StateKind, TensorType};
use crate::diag::Span;

/// What the graph needs of an operator: a name and attributes to print, and equality.
pub trait Operation: Clone + Eq + std::hash::Hash + fmt::Debug {
    /// The name in printed graphs, as `Conv2d`.
    fn name(&self) -> &'static str;
    /// The attributes in printed graphs, as `stride=(1, 1) padding=(2, 2, 2, 2)`; may be empty.
    fn attributes(&self) -> String;
}

/// Identifies a node; stable when other nodes are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex);

impl NodeId {
    /// A dense number for tables and printed names.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// One result of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    pub node: NodeId,
    pub output: u32,
}

/// A node without operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// All images of the data set.
    Images,
    /// All labels, or the values to be met, of the data set.
    Targets,
    /// The positions in the data set of the images of this batch.
    Indices,
    /// What a state is when the step starts.
    State(StateId),
    Scalar(Scalar),
    /// A number known when compiling; the bits of an f32.
    Constant(u32),
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind<O> {
    Source(Source),
    Op(O),
}

/// A node: what it is, what it yields, and where it was written.
#[derive(Clone, Debug)]
pub struct Node<O> {
    pub kind: NodeKind<O>,
    pub types: Vec<TensorType>,
    /// The layer's path in the model, as `3` or `block.conv1`; empty where no layer stands behind it.
    pub layer: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    output: u32,
    operand: u32,
}

/// What a value is produced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The network's last layer, for each image.
    Logits,
    /// The loss of each example.
    Loss,
    /// 1 where the class is right, for each example.
    Correct,
    /// What a state is when the step has ended. A state without one stays as it is.
    Next(StateId),
}

/// A value that the program must produce.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub role: Role,
    pub value: Value,
}

/// A graph of operations `O`.
#[derive(Clone, Debug)]
pub struct Graph<O> {
    pub name: String,
    inner: StableDiGraph<Node<O>, Edge>,
    states: Vec<StateInfo>,
    /// Streams of random numbers so far.
    streams: u32,
    pub outputs: Vec<Output>,
}

impl<O: Operation> Graph<O> {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inner: StableDiGraph::new(),
            states: Vec::new(),
            streams: 0,
            outputs: Vec::new(),
        }
    }

    /// Adds a source of the given type.
    pub fn source(&mut self, source: Source, ty: TensorType, layer: &str, span: Span) -> Value {
        let kind = NodeKind::Source(source);
        let node = self.inner.add_node(Node {
            kind,
            types: vec![ty],
            layer: layer.into(),
            span,
        });
        Value {
            node: NodeId(node),
            output: 0,
        }
    }

    /// Adds the source of a number of the step.
    pub fn scalar(&mut self, scalar: Scalar) -> Value {
        let ty = TensorType::fixed([]);
        self.source(Source::Scalar(scalar), ty, "", Span::ZERO)
    }

    /// Adds a state and its source.
    pub fn state(&mut self, info: StateInfo, layer: &str, span: Span) -> Value {
        let id = StateId(self.states.len() as u32);
        let ty = info.ty.clone();
        self.states.push(info);
        self.source(Source::State(id), ty, layer, span)
    }

    /// A stream of random numbers that nothing else of the graph has: they are counted from 0 on.
    pub fn new_stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams - 1
    }

    /// All states, by their ids.
    pub fn states(&self) -> &[StateInfo] {
        &self.states
    }

    /// The state that a node is the source of.
    pub fn state_of(&self, id: NodeId) -> Option<StateId> {
        match self.node(id).kind {
            NodeKind::Source(Source::State(state)) => Some(state),
            _ => None,
        }
    }

    /// Whether a node is the source of a parameter.
    pub fn is_parameter(&self, id: NodeId) -> bool {
        let state = self.state_of(id);
        state.is_some_and(|s| self.states[s.index()].kind == StateKind::Parameter)
    }

    /// Adds an operation; `types` are those of its results.
    pub fn op(
        &mut self,
        op: O,
        operands: &[Value],
        types: Vec<TensorType>,
        layer: &str,
        span: Span,
    ) -> NodeId {
        let kind = NodeKind::Op(op);
        let node = self.inner.add_node(Node {
            kind,
            types,
            layer: layer.into(),
            span,
        });
        for (k, v) in operands.iter().enumerate() {
            self.inner.add_edge(
                v.node.0,
                node,
                Edge {
                    output: v.output,
                    operand: k as u32,
                },
            );
        }
        NodeId(node)
    }

    /// Declares that `value` is produced for `role`.
    pub fn output(&mut self, role: Role, value: Value) {
        self.outputs.push(Output { role, value });
    }

    /// The value produced for `role`, if there is one.
    pub fn output_for(&self, role: Role) -> Option<Value> {
        self.outputs
            .iter()
            .find(|o| o.role == role)
            .map(|o| o.value)
    }

    /// The node; panics if it was removed, which is a compiler bug.
    pub fn node(&self, id: NodeId) -> &Node<O> {
        &self.inner[id.0]
    }

    /// The operation of a node, unless it is a source.
    pub fn operation(&self, id: NodeId) -> Option<&O> {
        match &self.node(id).kind {
            NodeKind::Op(op) => Some(op),
            NodeKind::Source(_) => None,
        }
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> &TensorType {
        &self.node(v.node).types[v.output as usize]
    }

    /// The operands of a node in their order.
    pub fn operands(&self, id: NodeId) -> Vec<Value> {
        let mut edges: Vec<(u32, Value)> = self
            .inner
            .edges_directed(id.0, Direction::Incoming)
            .map(|e| {
                let value = Value {
                    node: NodeId(e.source()),
                    output: e.weight().output,
                };
                (e.weight().operand, value)
            })
            .collect();
        edges.sort_by_key(|&(k, _)| k);
        edges.into_iter().map(|(_, v)| v).collect()
    }

    /// The nodes that read `v`, each with the operand's position, in the order of their ids.
    pub fn users(&self, v: Value) -> Vec<(NodeId, u32)> {
        let mut users: Vec<(NodeId, u32)> = self
            .inner
            .edges_directed(v.node.0, Direction::Outgoing)
            .filter(|e| e.weight().output == v.output)
            .map(|e| (NodeId(e.target()), e.weight().operand))
            .collect();
        users.sort();
        users
    }

    /// All nodes, each after its operands; among the ready ones the smallest id comes first.
    pub fn topological(&self) -> Vec<NodeId> {
        let mut waiting: Vec<usize> = vec![
            0;
            self.inner
                .node_indices()
                .map(|n| n.index() + 1)
                .max()
                .unwrap_or(0)
        ];
        let mut ready = std::collections::BinaryHeap::new();
        for n in self.inner.node_indices() {
            let count = self.inner.edges_directed(n, Direction::Incoming).count();
            waiting[n.index()] = count;
            if count == 0 {
                ready.push(std::cmp::Reverse(n));
            }
        }
        let mut order = Vec::with_capacity(self.inner.node_count());
        while let Some(std::cmp::Reverse(n)) = ready.pop() {
            order.push(NodeId(n));
            for e in self.inner.edges_directed(n, Direction::Outgoing) {
                let count = &mut waiting[e.target().index()];
                *count -= 1;
                if *count == 0 {
                    ready.push(std::cmp::Reverse(e.target()));
                }
            }
        }
        order
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    /// True where there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes every reader of `from`, outputs included, read `to` instead.
    pub fn replace(&mut self, from: Value, to: Value) {
        let edges: Vec<_> = self
            .inner
            .edges_directed(from.node.0, Direction::Outgoing)
            .filter(|e| e.weight().output == from.output)
            .map(|e| (e.id(), e.target(), e.weight().operand))
            .collect();
        for (id, target, operand) in edges {
            self.inner.remove_edge(id);
            self.inner.add_edge(
                to.node.0,
                target,
                Edge {
                    output: to.output,
                    operand,
                },
            );
        }
        for o in self.outputs.iter_mut().filter(|o| o.value == from) {
            o.value = to;
        }
    }

    /// Removes a node with its edges.
    pub fn remove(&mut self, id: NodeId) {
        self.inner.remove_node(id.0);
    }
}
