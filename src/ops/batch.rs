//! What a batch is made of: examples fetched by a shuffled index, and a run-time number for each image.

use super::{GradCx, Operator, ShapeError};
use crate::ir::{DType, Leading, TensorType, Value};
use crate::nest::{Access, Expr, Index, Nest, Stage, ax};

/// (data, indices) → data\[indices\[n\]\], u8 divided by 255 where `scale` says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gather {
    pub scale: bool,
}

/// A scalar for each image of the batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fill;

impl Operator for Gather {
    fn attributes(&self) -> String {
        if self.scale {
            "scale=1/255".into()
        } else {
            String::new()
        }
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType {
            dtype: DType::F32,
            leading: Leading::Batch,
            dims: inputs[0].dims.clone(),
        }])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("gather", inputs, outputs);
        n.rename(n.input(0), "data");
        n.rename(n.input(1), "indices");
        let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
        let mut s = Stage::new(&axes);
        let mut index = vec![Index::Lookup(n.input(1), ax(axes[0]))];
        index.extend(axes[1..].iter().map(|&a| Index::Affine(ax(a))));
        let mut x = s.push(Expr::Load(Access {
            tensor: n.input(0),
            index,
        }));
        if self.scale {
            // Divided, not multiplied by 1/255: so torch's `x / 255` gives the same f32.
            let full = s.constant(255.0);
            x = s.div(x, full);
        }
        s.store_at(n.out(0), &axes, x);
        n.stages.push(s);
        n
    }
}

impl Operator for Fill {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::batch([])])
    }
    fn grad(&self, _: &mut GradCx) -> Vec<Option<Value>> {
        vec![None]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("fill", inputs, outputs);
        let b = n.batch();
        let mut s = Stage::new(&[b]);
        let x = s.load(n.input(0), &[]);
        s.store_at(n.out(0), &[b], x);
        n.stages.push(s);
        n
    }
}
