//! The formula of an update, element by element: what all optimizers' nests are made of.
//!
//! Does not know optimizers.

use crate::ir::TensorType;
use crate::nest::{AxisId, ExprId, Nest, Stage};

/// A nest with one stage over the elements of a parameter.
pub struct Elements {
    nest: Nest,
    axes: Vec<AxisId>,
    pub stage: Stage,
}

impl Elements {
    /// An update called `name` of a parameter, the first of the operands, whose names are `names`.
    pub fn new(name: &str, names: &[&str], inputs: &[TensorType], outputs: &[TensorType]) -> Self {
        let mut nest = Nest::new(name, inputs, outputs);
        for (k, operand) in (0..).zip(names) {
            nest.rename(nest.input(k), operand);
        }
        // The results are what comes next of the parameter and of what stands behind its gradient.
        if outputs.len() > 1 {
            let kept = names[..1].iter().chain(&names[2..]);
            for (k, operand) in (0..outputs.len() as u32).zip(kept) {
                nest.rename(nest.out(k), &format!("next_{operand}"));
            }
        }
        let axes = nest.axes_of(&outputs[0], &[]);
        let stage = Stage::new(&axes);
        Self { nest, axes, stage }
    }

    /// The element of an operand of the parameter's type.
    pub fn element(&mut self, operand: u32) -> ExprId {
        let tensor = self.nest.input(operand);
        self.stage.load_at(tensor, &self.axes)
    }

    /// An operand that is a number.
    pub fn number(&mut self, operand: u32) -> ExprId {
        let tensor = self.nest.input(operand);
        self.stage.load(tensor, &[])
    }

    /// (1 − weight) · old + weight · new, as torch's `lerp` has it for weights below a half.
    pub fn lerp(&mut self, old: ExprId, new: ExprId, weight: ExprId) -> ExprId {
        let s = &mut self.stage;
        let apart = s.sub(new, old);
        let part = s.mul(weight, apart);
        s.add(old, part)
    }

    /// The gradient with the weight's share: g + decay · w, or g where there is no decay.
    pub fn decayed(&mut self, gradient: ExprId, weight: ExprId, decay: f32) -> ExprId {
        if decay == 0.0 {
            return gradient;
        }
        let s = &mut self.stage;
        let decay = s.constant(decay);
        let share = s.mul(decay, weight);
        s.add(gradient, share)
    }

    /// The mean of squares that comes next: keep · old + (1 − keep) · x².
    pub fn squares(&mut self, old: ExprId, x: ExprId, keep: f64) -> ExprId {
        let s = &mut self.stage;
        let [keep, take] = [keep, 1.0 - keep].map(|x| s.constant(x as f32));
        let kept = s.mul(old, keep);
        let taken = s.mul(take, x);
        let taken = s.mul(taken, x);
        s.add(kept, taken)
    }

    /// Stores a result of the parameter's type.
    pub fn store(&mut self, result: u32, value: ExprId) {
        let tensor = self.nest.out(result);
        self.stage.store_at(tensor, &self.axes, value);
    }

    /// The nest.
    pub fn done(mut self) -> Nest {
        self.nest.stages.push(self.stage);
        self.nest
    }
}
