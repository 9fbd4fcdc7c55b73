//! What a graph is for, and the graphs of a model. Knows no operator.

use super::{Graph, Operation};

listed! {
    /// What a graph computes a model for.
    pub enum Mode {
        /// To learn: layers may use what the batch tells of its images, and states get next values.
        Train,
        /// To use what was learned: what is computed of an image depends on that image alone.
        Eval,
    }
}

/// The graphs of a model, over one table of states.
#[derive(Clone, Debug)]
pub struct Graphs<O> {
    /// A step of training; the forward pass alone where nothing is trained.
    pub step: Graph<O>,
    /// Evaluation, where a layer differs in it; else it is the part of the step that the loss and the logits depend on.
    pub eval: Option<Graph<O>>,
}

impl<O: Operation> Graphs<O> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Graph<O>> {
        [Some(&self.step), self.eval.as_ref()].into_iter().flatten()
    }
}
