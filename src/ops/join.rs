//! Joins the results of branches: `Add { … }` elementwise, `Concat { … }` along the channels.
//!
//! Their gradients hand each branch the part that it gave: for Add the whole, for Concat its channels.

use super::{GradCx, Operator, ShapeError, same_types};
use crate::ir::{TensorType, Value};
use crate::nest::{Nest, Stage, ax};

/// y = Σ_k x_k
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Add;

/// y = the channels of x_0, then those of x_1, …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Concat;

/// `channels` channels of dy from `first` on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConcatGrad {
    pub first: u32,
    pub channels: u32,
}

impl Operator for Add {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![same_types(inputs, "Add")?])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![cx.dy(); cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("add", inputs, outputs);
        let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
        let mut s = Stage::new(&axes);
        let mut sum = s.load_at(n.input(0), &axes);
        for k in 1..inputs.len() as u32 {
            let x = s.load_at(n.input(k), &axes);
            sum = s.add(sum, x);
        }
        s.store_at(n.out(0), &axes, sum);
        n.stages.push(s);
        n
    }
}

impl Operator for Concat {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut ty = inputs[0].clone();
        let mut channels = 0u64;
        for t in inputs {
            channels += u64::from(t.dims.first().copied().unwrap_or(0));
            if t.dims.is_empty() || t.dims.get(1..) != inputs[0].dims.get(1..) {
                let rule = format!("{} and {t} differ beside their channels", inputs[0]);
                return Err(ShapeError::new(
                    "E0205",
                    "the operands of Concat differ",
                    rule,
                ));
            }
        }
        ty.dims[0] = u32::try_from(channels)
            .ok()
            .filter(|&c| c <= 1 << 30)
            .ok_or_else(|| {
                ShapeError::new(
                    "E0204",
                    "the output is too large",
                    format!("{channels} channels"),
                )
            })?;
        Ok(vec![ty])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else {
            return vec![None; cx.operands.len()];
        };
        let mut first = 0;
        let mut grads = Vec::new();
        for (k, x) in cx.operands.clone().into_iter().enumerate() {
            let channels = cx.graph.ty(x).dims[0];
            let back = ConcatGrad { first, channels };
            grads.push(cx.when_wanted(k, |cx| cx.emit(back, &[dy])));
            first += channels;
        }
        grads
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("concat", inputs, outputs);
        let mut first = 0;
        for (k, ty) in inputs.iter().enumerate() {
            let axes = n.axes_of(ty, &["c", "i", "j"]);
            let mut s = Stage::new(&axes);
            let x = s.load_at(n.input(k as u32), &axes);
            let mut index: Vec<_> = axes.iter().map(|&a| ax(a)).collect();
            index[1] = index[1].clone() + first;
            s.store(n.out(0), &index, x);
            n.stages.push(s);
            first += i64::from(ty.dims[0]);
        }
        n
    }
}

impl Operator for ConcatGrad {
    fn attributes(&self) -> String {
        format!("first={} channels={}", self.first, self.channels)
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut ty = inputs[0].clone();
        ty.dims[0] = self.channels;
        Ok(vec![ty])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("concat_grad", inputs, outputs);
        let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
        let mut s = Stage::new(&axes);
        let mut index: Vec<_> = axes.iter().map(|&a| ax(a)).collect();
        index[1] = index[1].clone() + i64::from(self.first);
        let dy = s.load(n.input(0), &index);
        s.store_at(n.out(0), &axes, dy);
        n.stages.push(s);
        n
    }
}
