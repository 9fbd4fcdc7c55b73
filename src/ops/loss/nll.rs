//! Negative log-likelihood: of logarithms x of probabilities and class t the loss is −w\[t\] · x\[t\], and dx\[t\] = −w\[t\] · g,
//! where w weighs the classes and g is the gradient of the example's loss. The other classes have no part in it.

use super::weights::Weights;
use super::{Correct, Loss, LossState, Reduction, Targets, logits, of_class, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Nest, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, GradCx, Op, Operator, ShapeError, Signature};

/// (logarithms, classes) → loss, or with weights (logarithms, classes, w) → loss
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NllLoss {
    pub weight: Weights,
    pub reduction: Reduction,
}

/// (logarithms, classes, g) → gradient of the logarithms, or with weights (logarithms, classes, g, w)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NllGrad;

const NAME: &str = "NLLLoss";

impl Loss for NllLoss {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::or("weight", "None"), Reduction::ARGUMENT];
        Signature::plain(NAME, ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            weight: Weights::read(args, "weight")?,
            reduction: Reduction::read(args)?,
        })
    }
    fn targets(&self, output: &TensorType) -> Targets {
        Targets::classes(output)
    }
    fn reduction(&self) -> Reduction {
        self.reduction
    }
    fn shares(&self) -> Option<&Weights> {
        let weights = Some(&self.weight).filter(|weight| weight.0.is_some());
        weights.filter(|_| self.reduction == Reduction::Mean)
    }
    fn states(&self) -> Vec<LossState> {
        self.weight.states("weight")
    }
    fn metric(&self) -> Option<Op> {
        Some(Correct.into())
    }
}

impl Operator for NllLoss {
    fn attributes(&self) -> String {
        let weight = self.weight.attribute("weight");
        format!("{weight} {}", self.reduction.attribute())
            .trim_start()
            .into()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        logits(&inputs[0], NAME)?;
        self.weight.fit(NAME, "weight", &inputs[0])?;
        Ok(vec![per_example()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let mut gradients = vec![None; cx.operands.len()];
        if let Some(g) = cx.dy() {
            let mut operands = cx.operands.clone();
            operands.insert(2, g);
            gradients[0] = cx.when_wanted(0, |cx| cx.emit(NllGrad, &operands));
        }
        gradients
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("nll", inputs, outputs);
        for (t, name) in [(n.input(0), "x"), (n.input(1), "t"), (n.out(0), "loss")] {
            n.rename(t, name);
        }
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b]);
        let (x, t) = (s.load_at(n.input(0), &[b, c]), s.load_at(n.input(1), &[b]));
        let weighted = match inputs.get(2) {
            Some(_) => {
                let weight = s.load_at(n.input(2), &[c]);
                s.mul(weight, x)
            }
            None => x,
        };
        let zero = s.constant(0.0);
        let own = of_class(&mut s, c, t, weighted, zero);
        s.reduce(Combine::Sum, &[c], own);
        let acc = s.acc(0);
        let loss = s.unary(Unary::Neg, acc);
        s.store_at(n.out(0), &[b], loss);
        n.stages.push(s);
        n
    }
}

impl Operator for NllGrad {
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
        let mut n = Nest::new("nll_grad", inputs, outputs);
        for (t, name) in [
            (n.input(0), "x"),
            (n.input(1), "t"),
            (n.input(2), "g"),
            (n.out(0), "dx"),
        ] {
            n.rename(t, name);
        }
        let (b, c) = (n.batch(), n.axis("c", inputs[0].dims[0]));
        let mut s = Stage::new(&[b, c]);
        let [t, g] = [1, 2].map(|k| s.load_at(n.input(k), &[b]));
        let scale = match inputs.get(3) {
            Some(_) => {
                let weight = s.load_at(n.input(3), &[c]);
                s.mul(weight, g)
            }
            None => g,
        };
        let (minus, zero) = (s.unary(Unary::Neg, scale), s.constant(0.0));
        let dx = of_class(&mut s, c, t, minus, zero);
        s.store_at(n.out(0), &[b, c], dx);
        n.stages.push(s);
        n
    }
}
