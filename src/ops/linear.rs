//! A fully connected layer.
//!
//! y\[n,k\] = b\[k\] + Σ_c w\[k,c\] · x\[n,c\]; dx\[n,c\] = Σ_k w\[k,c\] · dy\[n,k\]; dw\[k,c\] = Σ_n dy\[n,k\] · x\[n,c\]
//! (Dive into Deep Learning, 3.1 and 5.3).

use super::{
    ArgError, Args, Argument, BiasGrad, GradCx, Inferred, Layer, LayerCx, LayerState, Operator,
    ShapeError, Signature, weight_and_bias,
};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Nest, Stage};

/// `Linear(out_features, bias=true)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    pub out_features: u32,
    pub bias: bool,
}

/// (w, dy) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinearGradInput;

/// (dy, x) → dw
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinearGradWeight;

impl Layer for Linear {
    fn signature() -> Signature {
        Signature {
            name: "Linear",
            arguments: &[
                Argument {
                    name: "out_features",
                    default: None,
                },
                Argument {
                    name: "bias",
                    default: Some("true"),
                },
            ],
            positional: 1,
            inferred: Some(Inferred {
                name: "in_features",
                what: "input features",
            }),
        }
    }

    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            out_features: args.size("out_features", 1)?,
            bias: args.flag("bias", true)?,
        })
    }

    fn states(&self, input: &TensorType) -> Vec<LayerState> {
        let inputs = input.dims.first().copied().unwrap_or(1);
        let (fan_in, fan_out) = (u64::from(inputs), u64::from(self.out_features));
        weight_and_bias(vec![self.out_features, inputs], fan_in, fan_out, self.bias)
    }

    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, _: &TensorType) -> String {
        format!("out_features = {}", self.out_features)
    }
}

impl Operator for Linear {
    fn attributes(&self) -> String {
        format!("out_features={}", self.out_features)
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        if inputs[0].dims.len() != 1 {
            let rule = format!(
                "its input is {}, with {}",
                inputs[0],
                crate::diag::count(inputs[0].dims.len() as u64, "axis")
            );
            return Err(
                ShapeError::new("E0202", "Linear needs a vector for each image", rule)
                    .help("write Flatten before it"),
            );
        }
        Ok(vec![TensorType::batch([self.out_features])])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else {
            return vec![None; cx.operands.len()];
        };
        let (x, w) = (cx.operands[0], cx.operands[1]);
        let dx = cx.when_wanted(0, |cx| cx.emit(LinearGradInput, &[w, dy]));
        let dw = cx.when_wanted(1, |cx| cx.emit(LinearGradWeight, &[dy, x]));
        let mut grads = vec![dx, dw];
        if self.bias {
            grads.push(cx.when_wanted(2, |cx| cx.emit(BiasGrad, &[dy])));
        }
        grads
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("linear", inputs, outputs);
        for (t, name) in [(0, "x"), (1, "w"), (2, "b")]
            .into_iter()
            .take(inputs.len())
        {
            n.rename(n.input(t), name);
        }
        let (b, k) = (n.batch(), n.axis("k", self.out_features));
        let c = n.axis("c", inputs[0].dims[0]);
        let mut s = Stage::new(&[b, k]);
        let w = s.load_at(n.input(1), &[k, c]);
        let x = s.load_at(n.input(0), &[b, c]);
        let body = s.mul(w, x);
        s.reduce(Combine::Sum, &[c], body);
        let mut y = s.acc(0);
        if self.bias {
            let bias = s.load_at(n.input(2), &[k]);
            y = s.add(y, bias);
        }
        s.store_at(n.out(0), &[b, k], y);
        n.stages.push(s);
        n
    }
}

impl Operator for LinearGradInput {
    fn attributes(&self) -> String {
        String::new()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::batch([inputs[0].dims[1]])])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("linear_grad_input", inputs, outputs);
        n.rename(n.input(0), "w");
        n.rename(n.input(1), "dy");
        n.rename(n.out(0), "dx");
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[1]));
        let k = n.axis("k", inputs[0].dims[0]);
        let mut s = Stage::new(&[b, c]);
        let w = s.load_at(n.input(0), &[k, c]);
        let dy = s.load_at(n.input(1), &[b, k]);
        let body = s.mul(w, dy);
        s.reduce(Combine::Sum, &[k], body);
        let dx = s.acc(0);
        s.store_at(n.out(0), &[b, c], dx);
        n.stages.push(s);
        n
    }
}

impl Operator for LinearGradWeight {
    fn attributes(&self) -> String {
        String::new()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::fixed([
            inputs[0].dims[0],
            inputs[1].dims[0],
        ])])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("linear_grad_weight", inputs, outputs);
        n.rename(n.input(0), "dy");
        n.rename(n.input(1), "x");
        n.rename(n.out(0), "dw");
        let b = n.batch();
        let (k, c) = (
            n.axis("k", outputs[0].dims[0]),
            n.axis("c", outputs[0].dims[1]),
        );
        let mut s = Stage::new(&[k, c]);
        let dy = s.load_at(n.input(0), &[b, k]);
        let x = s.load_at(n.input(1), &[b, c]);
        let body = s.mul(dy, x);
        s.reduce(Combine::Sum, &[b], body);
        let dw = s.acc(0);
        s.store_at(n.out(0), &[k, c], dw);
        n.stages.push(s);
        n
    }
}
