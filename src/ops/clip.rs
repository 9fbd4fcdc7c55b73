//! Gradients kept small: element by element, or by the norm of all of them (Dive into Deep Learning, 9.5).
//!
//! None has a gradient: they stand behind the gradients of a step.

use super::{GradCx, Operator, Real, ShapeError};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Compare, Nest, Stage, Unary};

/// g → g within [−most, most], as torch's `clip_grad_value_` has it; NaN stays NaN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clamp {
    pub most: Real,
}

/// g → Σ g² over all elements of a parameter's gradient.
///
/// In f32, by the fixed trees of the schedules. Of n elements the sum is off by at most (4096 / lanes + n / 4096 + 16) · 2⁻²⁴
/// of itself on the processor, and by (n / (256 · s) + 40) · 2⁻²⁴ on a GPU, where s is the first axis, at most 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SquareSum;

/// (Σ g₁², Σ g₂², …) → min(1, most / (√Σ + 10⁻⁶)), as torch's `clip_grad_norm_` has it; NaN where a gradient is NaN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClipFactor {
    pub most: Real,
}

/// (x, factor) → factor · x
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scale;

impl Operator for Clamp {
    fn attributes(&self) -> String {
        format!("most={}", self.most)
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("clamp", inputs, outputs);
        n.rename(n.input(0), "g");
        let axes = n.axes_of(&outputs[0], &[]);
        let mut s = Stage::new(&axes);
        let g = s.load_at(n.input(0), &axes);
        let [most, least] = [1.0, -1.0].map(|sign: f32| s.constant(sign * self.most.single()));
        let below = s.select(Compare::Gt, g, most, most, g);
        let within = s.select(Compare::Lt, g, least, least, below);
        s.store_at(n.out(0), &axes, within);
        n.stages.push(s);
        n
    }
}

impl Operator for SquareSum {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::fixed([])])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("square_sum", inputs, outputs);
        n.rename(n.input(0), "g");
        let axes = n.axes_of(&inputs[0], &[]);
        let mut s = Stage::new(&[]);
        let g = s.load_at(n.input(0), &axes);
        let square = s.mul(g, g);
        s.reduce(Combine::Sum, &axes, square);
        let sum = s.acc(0);
        s.store(n.out(0), &[], sum);
        n.stages.push(s);
        n
    }
}

impl Operator for ClipFactor {
    fn attributes(&self) -> String {
        format!("most={}", self.most)
    }
    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::fixed([])])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("clip_factor", inputs, outputs);
        let mut s = Stage::new(&[]);
        let sums = (0..inputs.len() as u32).map(|k| n.input(k));
        let sums: Vec<_> = sums.map(|tensor| s.load(tensor, &[])).collect();
        let all = sums.into_iter().reduce(|all, sum| s.add(all, sum));
        let all = all.unwrap_or_else(|| s.constant(0.0));
        let norm = s.unary(Unary::Sqrt, all);
        let [most, small, one] = [self.most.single(), 1e-6, 1.0].map(|x| s.constant(x));
        let norm = s.add(norm, small);
        let factor = s.div(most, norm);
        let factor = s.select(Compare::Gt, factor, one, one, factor);
        s.store(n.out(0), &[], factor);
        n.stages.push(s);
        n
    }
}

impl Operator for Scale {
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
        let mut n = Nest::new("scale", inputs, outputs);
        n.rename(n.input(0), "g");
        n.rename(n.input(1), "factor");
        let axes = n.axes_of(&outputs[0], &[]);
        let mut s = Stage::new(&axes);
        let (g, factor) = (s.load_at(n.input(0), &axes), s.load(n.input(1), &[]));
        let product = s.mul(factor, g);
        s.store_at(n.out(0), &axes, product);
        n.stages.push(s);
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nest::interp::{self, Env};
    use crate::ops::Op;

    fn run(op: impl Into<Op>, inputs: &[(&[u32], &[f64])]) -> Vec<f64> {
        let op = op.into();
        let types: Vec<TensorType> = inputs.iter().map(|i| TensorType::fixed(i.0)).collect();
        let outputs = op.infer(&types).expect("the operands fit");
        let nest = op.lower(&types, &outputs);
        crate::nest::verify(&nest).expect("the nest is well-formed");
        let data: Vec<&[f64]> = inputs.iter().map(|i| i.1).collect();
        interp::run(&nest, &data, Env::new(1, 0.0)).remove(0)
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn elements_stay_within_and_what_is_no_number_stays() {
        let most = 0.5.into();
        let found = run(
            Clamp { most },
            &[(&[6], &[0.25, 0.75, -3.0, INF, -INF, -0.5])],
        );
        assert_eq!(found, [0.25, 0.5, -0.5, 0.5, -0.5, -0.5]);
        assert!(run(Clamp { most }, &[(&[1], &[f64::NAN])])[0].is_nan());
    }

    #[test]
    fn small_gradients_stay_and_large_ones_come_to_the_norm() {
        let most = 2.0.into();
        let factor = |sums: &[f64]| {
            let inputs: Vec<(&[u32], &[f64])> = sums.chunks(1).map(|s| (&[][..], s)).collect();
            run(ClipFactor { most }, &inputs)[0]
        };
        assert_eq!(factor(&[1.0, 2.0]), 1.0);
        assert_eq!(factor(&[0.0]), 1.0);
        let four = factor(&[9.0, 7.0]);
        assert!((four - 2.0 / (4.0 + 1e-6)).abs() < 1e-9, "{four}");
        assert_eq!(factor(&[INF]), 0.0);
        assert!(factor(&[1.0, f64::NAN]).is_nan());
        let sum = run(SquareSum, &[(&[2, 3], &[1.0, -2.0, 3.0, 0.0, 1.0, 1.0])]);
        assert_eq!(sum, [16.0]);
        assert_eq!(
            run(Scale, &[(&[2], &[3.0, -1.0]), (&[], &[0.5])]),
            [1.5, -0.5]
        );
    }
}
