//! What losses share that sum a term over the elements of an output and of its targets, which have one shape.
//!
//! The loss of an example is Σ term(x, t) / divisor, its gradient dx = g · slope(x, t) / divisor, where the divisor is the
//! number of elements for the mean and 1 for the sum, and g the gradient of the example's loss. Does not know the terms.

use super::{Reduction, per_example};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, Compare, ExprId, Nest, Stage};
use crate::ops::{GradCx, Op, ShapeError};

/// The types of a loss: the targets have the shape of the output.
pub(super) fn infer(who: &str, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
    if inputs[0].dims == inputs[1].dims {
        return Ok(vec![per_example()]);
    }
    let rule = format!(
        "the model yields {} and the data holds {}",
        inputs[0], inputs[1]
    );
    let message = format!("{who} needs targets of the output's shape");
    Err(ShapeError::new("E0207", &message, rule))
}

/// The gradients of the operands, where `slope` is the operator (x, t, g) → dx, or with weights (x, t, g, w) → dx.
pub(super) fn grad(cx: &mut GradCx, slope: impl Into<Op>) -> Vec<Option<Value>> {
    let mut gradients = vec![None; cx.operands.len()];
    if let Some(g) = cx.dy() {
        let mut operands = cx.operands.clone();
        operands.insert(2, g);
        gradients[0] = cx.when_wanted(0, |cx| cx.emit(slope, &operands));
    }
    gradients
}

fn divisor(reduction: Reduction, ty: &TensorType) -> f32 {
    match reduction {
        Reduction::Mean => ty.elements() as f32,
        Reduction::Sum => 1.0,
    }
}

/// An element of an example.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub x: ExprId,
    pub t: ExprId,
    /// Of the output, where the loss has a weight for each.
    pub weight: Option<ExprId>,
}

impl Element {
    fn load(s: &mut Stage, n: &Nest, axes: &[AxisId], weights: Option<u32>) -> Self {
        Self {
            x: s.load_at(n.input(0), axes),
            t: s.load_at(n.input(1), axes),
            weight: weights.map(|k| s.load_at(n.input(k), &axes[1..])),
        }
    }

    /// x − t
    pub fn difference(&self, s: &mut Stage) -> ExprId {
        s.sub(self.x, self.t)
    }
}

/// The operand of weights that stands behind so many others, if there is one.
fn weights(types: &Types, behind: u32) -> Option<u32> {
    (types.inputs.len() as u32 > behind).then_some(behind)
}

/// The operands of a nest.
pub(super) struct Types<'a> {
    pub inputs: &'a [TensorType],
    pub outputs: &'a [TensorType],
}

/// (x, t) → loss, the sum of a term.
pub(super) fn sum(
    name: &str,
    types: Types,
    reduction: Reduction,
    term: impl FnOnce(&mut Stage, Element) -> ExprId,
) -> Nest {
    let mut n = Nest::new(name, types.inputs, types.outputs);
    for (t, name) in [(n.input(0), "x"), (n.input(1), "t"), (n.out(0), "loss")] {
        n.rename(t, name);
    }
    let weights = weights(&types, 2);
    let axes = n.axes_of(&types.inputs[0], &["c", "i", "j"]);
    let one = n.axis("one", 1);
    let mut s = Stage::new(&axes[..1]);
    let element = Element::load(&mut s, &n, &axes, weights);
    let value = term(&mut s, element);
    let reduce = match &axes[1..] {
        [] => vec![one],
        elements => elements.to_vec(),
    };
    s.reduce(Combine::Sum, &reduce, value);
    let share = 1.0 / divisor(reduction, &types.inputs[0]);
    let (acc, share) = (s.acc(0), s.constant(share));
    let loss = s.mul(acc, share);
    s.store_at(n.out(0), &axes[..1], loss);
    n.stages.push(s);
    n
}

/// (x, t, g) → dx, which is `factor` · slope(x, t) · g / divisor.
pub(super) fn slope(
    name: &str,
    types: Types,
    reduction: Reduction,
    factor: f32,
    slope: impl FnOnce(&mut Stage, Element) -> ExprId,
) -> Nest {
    let mut n = Nest::new(name, types.inputs, types.outputs);
    for (t, name) in [
        (n.input(0), "x"),
        (n.input(1), "t"),
        (n.input(2), "g"),
        (n.out(0), "dx"),
    ] {
        n.rename(t, name);
    }
    let axes = n.axes_of(&types.inputs[0], &["c", "i", "j"]);
    let mut s = Stage::new(&axes);
    let element = Element::load(&mut s, &n, &axes, weights(&types, 3));
    let slope = slope(&mut s, element);
    let g = s.load_at(n.input(2), &axes[..1]);
    let factor = s.constant(factor / divisor(reduction, &types.inputs[0]));
    let scaled = s.mul(g, factor);
    let dx = s.mul(scaled, slope);
    s.store_at(n.out(0), &axes, dx);
    n.stages.push(s);
    n
}

/// 1, −1, or 0 for 0, as torch has it for NaN too.
pub(super) fn sign(s: &mut Stage, x: ExprId) -> ExprId {
    let [zero, one, minus] = [0.0, 1.0, -1.0].map(|value| s.constant(value));
    let below = s.select(Compare::Lt, x, zero, minus, zero);
    s.select(Compare::Gt, x, zero, one, below)
}
