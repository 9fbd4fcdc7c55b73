//! Mean squared error: Σ (x − t)² / divisor; dx = g · 2 (x − t) / divisor, where the divisor is the number of elements for
//! the mean and 1 for the sum, and g the gradient of the example's loss.

use super::{Loss, Reduction, Targets, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, ExprId, Nest, Stage};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, ShapeError, Signature};

/// (x, target) → loss
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MseLoss {
    /// Divide by the number of elements.
    pub mean: bool,
}

/// (x, target, g) → gradient of x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MseGrad {
    pub mean: bool,
}

impl Loss for MseLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::or("reduction", "mean")];
        Signature::plain("MSELoss", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let mean = Reduction::read(args)? == Reduction::Mean;
        Ok(Self { mean })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::Values(output.dims.clone())
    }
    fn reduction(&self) -> Reduction {
        match self.mean {
            true => Reduction::Mean,
            false => Reduction::Sum,
        }
    }
    fn metric(&self) -> Option<Op> {
        None
    }
}

fn divisor(mean: bool, ty: &TensorType) -> f32 {
    if mean { ty.elements() as f32 } else { 1.0 }
}

fn difference(s: &mut Stage, n: &Nest, axes: &[AxisId]) -> ExprId {
    let (x, t) = (s.load_at(n.input(0), axes), s.load_at(n.input(1), axes));
    s.sub(x, t)
}

impl Operator for MseLoss {
    fn attributes(&self) -> String {
        format!("reduction={}", if self.mean { "mean" } else { "sum" })
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        if inputs[0].dims != inputs[1].dims {
            let rule = format!(
                "the model yields {} and the data holds {}",
                inputs[0], inputs[1]
            );
            return Err(ShapeError::new(
                "E0207",
                "MSELoss needs targets of the output's shape",
                rule,
            ));
        }
        Ok(vec![per_example()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(g) = cx.dy() else {
            return vec![None, None];
        };
        let (x, t) = (cx.operands[0], cx.operands[1]);
        vec![
            cx.when_wanted(0, |cx| cx.emit(MseGrad { mean: self.mean }, &[x, t, g])),
            None,
        ]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("mse", inputs, outputs);
        for (t, name) in [(n.input(0), "x"), (n.input(1), "t"), (n.out(0), "loss")] {
            n.rename(t, name);
        }
        let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
        let one = n.axis("one", 1);
        let mut s = Stage::new(&axes[..1]);
        let d = difference(&mut s, &n, &axes);
        let square = s.mul(d, d);
        let reduce = if axes.len() > 1 {
            axes[1..].to_vec()
        } else {
            vec![one]
        };
        s.reduce(Combine::Sum, &reduce, square);
        let (acc, share) = (s.acc(0), s.constant(1.0 / divisor(self.mean, &inputs[0])));
        let loss = s.mul(acc, share);
        s.store_at(n.out(0), &axes[..1], loss);
        n.stages.push(s);
        n
    }
}

impl Operator for MseGrad {
    fn attributes(&self) -> String {
        format!("reduction={}", if self.mean { "mean" } else { "sum" })
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("mse_grad", inputs, outputs);
        for (t, name) in [
            (n.input(0), "x"),
            (n.input(1), "t"),
            (n.input(2), "g"),
            (n.out(0), "dx"),
        ] {
            n.rename(t, name);
        }
        let axes = n.axes_of(&inputs[0], &["c", "i", "j"]);
        let mut s = Stage::new(&axes);
        let d = difference(&mut s, &n, &axes);
        let g = s.load_at(n.input(2), &axes[..1]);
        let factor = s.constant(2.0 / divisor(self.mean, &inputs[0]));
        let scaled = s.mul(g, factor);
        let dx = s.mul(scaled, d);
        s.store_at(n.out(0), &axes, dx);
        n.stages.push(s);
        n
    }
}
