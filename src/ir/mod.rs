//! The graph of tensor operations, between the text of a model and its kernels.
//!
//! A graph is a directed acyclic graph of nodes. A node is a *source* (data, a state, a run-time
//! scalar) or an *operation* with operands; it yields one or more typed values, never mutated. The
//! position of an operand is stored on the edge that brings it, since parallel edges carry no order.
//! What lives from step to step is listed as *states*; a source is one's value when the step starts.
//! What the program must produce is listed as *outputs*: the loss of each example, the number of
//! correct answers, and the next values of states.
//!
//! Shapes are static but for the leading axis, which is the batch ([`Leading::Batch`]) or the whole
//! data set ([`Leading::Dataset`]).
//!
//! This module does not know which operators exist: [`Graph`] is generic over them.

mod dot;
mod graph;
mod mode;
mod scalar;
mod state;
mod text;
mod types;
mod verify;

pub use dot::{Drawing, dot};
pub use graph::{Graph, Node, NodeId, NodeKind, Operation, Output, Role, Source, Value};
pub use mode::{Graphs, Mode};
pub use scalar::{Scalar, Scalars};
pub use state::{Distribution, StateId, StateInfo, StateKind};
pub use text::{node_text, text, value_text};
pub use types::{DType, Leading, TensorType};
pub use verify::verify;
