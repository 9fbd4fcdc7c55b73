//! Gradient of a bias that was added to every position of a channel: db\[k\] = Σ_{n,i,j} dy\[n,k,i,j\].

use super::{GradCx, Operator, ShapeError};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Nest, Stage};

/// dy → db, for images and for vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BiasGrad;

impl Operator for BiasGrad {
    fn attributes(&self) -> String {
        String::new()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::fixed([inputs[0].dims[0]])])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("bias_grad", inputs, outputs);
        n.rename(n.input(0), "dy");
        n.rename(n.out(0), "db");
        let axes = n.axes_of(&inputs[0], &["k", "i", "j"]);
        let mut s = Stage::new(&[axes[1]]);
        let dy = s.load_at(n.input(0), &axes);
        let reduce: Vec<_> = axes.iter().copied().filter(|&a| a != axes[1]).collect();
        s.reduce(Combine::Sum, &reduce, dy);
        let db = s.acc(0);
        s.store_at(n.out(0), &[axes[1]], db);
        n.stages.push(s);
        n
    }
}
