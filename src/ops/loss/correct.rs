//! Whether the class of an example is the one that the model finds most likely.

use super::{logits, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Compare, Nest, Stage};
use crate::ops::{GradCx, Operator, ShapeError};

/// (logits, classes) → 1 where the greatest logit, the first among equals, is that of the class; else 0
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Correct;

impl Operator for Correct {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        logits(&inputs[0], "accuracy")?;
        Ok(vec![per_example()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("correct", inputs, outputs);
        n.rename(n.input(0), "x");
        n.rename(n.input(1), "t");
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b]);
        let x = s.load_at(n.input(0), &[b, c]);
        s.reduce(Combine::ArgMaxFirst, &[c], x);
        let (class, t) = (s.acc(1), s.load_at(n.input(1), &[b]));
        let (one, zero) = (s.constant(1.0), s.constant(0.0));
        let right = s.select(Compare::Eq, class, t, one, zero);
        s.store_at(n.out(0), &[b], right);
        n.stages.push(s);
        n
    }
}
