//! Activations: elementwise functions whose gradient needs only their result
//! (Dive into Deep Learning, 5.1).
//!
//! sigmoid: y = 1 / (1 + e^−x), dx = dy · y · (1 − y); ReLU: y = max(x, 0), dx = dy where y > 0;
//! tanh: dx = dy · (1 − y) (1 + y). The gradient of ReLU at 0 is 0, as torch has it.

use super::{
    ArgError, Args, GradCx, Layer, LayerCx, LayerState, Operator, ShapeError, Signature, same_types,
};
use crate::ir::{TensorType, Value};
use crate::nest::{Compare, ExprId, Nest, Stage, Unary};

/// `build` makes the value of one element from those of the operands.
fn elementwise(
    name: &str,
    inputs: &[TensorType],
    outputs: &[TensorType],
    build: impl FnOnce(&mut Stage, &[ExprId]) -> ExprId,
) -> Nest {
    let mut n = Nest::new(name, inputs, outputs);
    let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
    let mut s = Stage::new(&axes);
    let values: Vec<ExprId> = (0..inputs.len() as u32)
        .map(|k| s.load_at(n.input(k), &axes))
        .collect();
    let y = build(&mut s, &values);
    s.store_at(n.out(0), &axes, y);
    n.stages.push(s);
    n
}

fn sigmoid(s: &mut Stage, v: &[ExprId]) -> ExprId {
    s.unary(Unary::Sigmoid, v[0])
}

fn relu(s: &mut Stage, v: &[ExprId]) -> ExprId {
    // A NaN passes through, since it is not less than zero.
    let zero = s.constant(0.0);
    s.select(Compare::Lt, v[0], zero, zero, v[0])
}

fn tanh(s: &mut Stage, v: &[ExprId]) -> ExprId {
    s.unary(Unary::Tanh, v[0])
}

fn sigmoid_grad(s: &mut Stage, v: &[ExprId]) -> ExprId {
    let one = s.constant(1.0);
    let rest = s.sub(one, v[0]);
    let slope = s.mul(v[0], rest);
    s.mul(v[1], slope)
}

fn relu_grad(s: &mut Stage, v: &[ExprId]) -> ExprId {
    let zero = s.constant(0.0);
    s.select(Compare::Gt, v[0], zero, v[1], zero)
}

fn tanh_grad(s: &mut Stage, v: &[ExprId]) -> ExprId {
    // 1 − y² by its factors: near ±1 the square alone is rounded to few digits of the difference.
    let one = s.constant(1.0);
    let (less, more) = (s.sub(one, v[0]), s.add(one, v[0]));
    let slope = s.mul(less, more);
    s.mul(v[1], slope)
}

macro_rules! activation {
    ($name:ident, $text:literal, $grad:ident, $nest:literal, $grad_nest:literal, $f:ident, $df:ident) => {
        #[doc = concat!("`", $text, "`: x → y")]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name;

        #[doc = "(y, dy) → dx"]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $grad;

        impl Layer for $name {
            fn signature() -> Signature {
                Signature::bare($text)
            }
            fn from_args(_: &Args) -> Result<Self, ArgError> {
                Ok(Self)
            }
            fn states(&self, _: &TensorType) -> Vec<LayerState> {
                vec![]
            }
            fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
                cx.plain(self.clone())
            }
            fn formula(&self, _: &TensorType) -> String {
                "as its input".into()
            }
        }

        impl Operator for $name {
            fn attributes(&self) -> String {
                String::new()
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                Ok(vec![inputs[0].clone()])
            }
            fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
                let (Some(dy), y) = (cx.dy(), cx.results[0]) else {
                    return vec![None];
                };
                vec![cx.when_wanted(0, |cx| cx.emit($grad, &[y, dy]))]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                elementwise($nest, inputs, outputs, $f)
            }
        }

        impl Operator for $grad {
            fn attributes(&self) -> String {
                String::new()
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                Ok(vec![same_types(inputs, stringify!($grad))?])
            }
            fn grad(&self, _: &mut GradCx) -> Vec<Option<Value>> {
                vec![None, None]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                elementwise($grad_nest, inputs, outputs, $df)
            }
        }
    };
}

activation!(
    Sigmoid,
    "Sigmoid",
    SigmoidGrad,
    "sigmoid",
    "sigmoid_grad",
    sigmoid,
    sigmoid_grad
);
activation!(ReLU, "ReLU", ReLUGrad, "relu", "relu_grad", relu, relu_grad);
activation!(Tanh, "Tanh", TanhGrad, "tanh", "tanh_grad", tanh, tanh_grad);
