//! Optimizers: the next value of a parameter from its gradient.

use super::{GradCx, Operator, ShapeError};
use crate::ir::{TensorType, Value};
use crate::nest::{Nest, Stage};

/// Stochastic gradient descent, (w, g, rate) → w − rate · g (Dive into Deep Learning, 12.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sgd;

impl Operator for Sgd {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("sgd", inputs, outputs);
        for (k, name) in ["w", "g", "rate"].into_iter().enumerate() {
            n.rename(n.input(k as u32), name);
        }
        let axes = n.axes_of(&outputs[0], &[]);
        let mut s = Stage::new(&axes);
        let (w, g) = (s.load_at(n.input(0), &axes), s.load_at(n.input(1), &axes));
        let rate = s.load(n.input(2), &[]);
        let step = s.mul(rate, g);
        let next = s.sub(w, step);
        s.store_at(n.out(0), &axes, next);
        n.stages.push(s);
        n
    }
}
