//! What lives from step to step: parameters, a layer's buffers, an optimizer's memory.
//!
//! A graph has a table of its states. A source stands for the value of one when the step starts, and
//! [`Role::Next`](super::Role::Next) for the one that it ends with. Does not know where values lie, nor who reads them.

use std::sync::Arc;

use super::TensorType;

/// Identifies a state in the table of its graph, and in the tables of all graphs of its model: its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub u32);

impl StateId {
    /// The position in the table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

listed! {
    /// Whose a state is.
    pub enum StateKind {
        /// Trained: the loss is differentiated by it.
        Parameter,
        /// A layer's own, such as a running mean: it stands in a weights file, but has no gradient.
        Buffer,
        /// An optimizer's, such as a momentum: it stands in a checkpoint alone.
        Optimizer,
        /// A loss's, such as the weights of classes: it stays what it starts as, and stands in no file.
        Loss,
    }
}

impl StateKind {
    /// The word in printed graphs.
    pub fn name(self) -> &'static str {
        match self {
            StateKind::Parameter => "parameter",
            StateKind::Buffer => "buffer",
            StateKind::Optimizer => "optimizer",
            StateKind::Loss => "loss",
        }
    }
}

/// What the elements of a state are drawn from before the first step.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    Constant(f32),
    /// These, one for each element.
    Values(Arc<[f32]>),
    /// In [−bound, bound).
    Uniform {
        bound: f32,
    },
    /// In [low, high).
    Between {
        low: f32,
        high: f32,
    },
    /// Around 0 with this standard deviation.
    Normal {
        std: f32,
    },
}

/// A state: what it is called, what it holds, and what it starts as.
#[derive(Clone, Debug, PartialEq)]
pub struct StateInfo {
    /// Its name in a weights file, as `0.weight`.
    pub name: String,
    /// Without a leading axis.
    pub ty: TensorType,
    pub kind: StateKind,
    pub initial: Distribution,
}
