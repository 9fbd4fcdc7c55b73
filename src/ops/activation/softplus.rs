//! y = ln(1 + e^βx) / β, x itself where βx is above a threshold; dx = dy · σ(βx), dy above the threshold.
//!
//! ln(1 + e^z) = max(z, 0) + log1p(e^−|z|): nothing overflows, and small results keep their digits.

use super::{Activation, Reads, times};
use crate::nest::{Compare, ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, Real, above};

/// `Softplus`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Softplus {
    pub beta: Real,
    pub threshold: Real,
}

impl Activation for Softplus {
    const NAME: &'static str = "Softplus";
    const ARGUMENTS: &'static [Argument] = &[
        Argument::or("beta", "1.0"),
        Argument::or("threshold", "20.0"),
    ];
    const NEST: &'static str = "softplus";
    const READS: Reads = Reads::Input;

    fn with(args: &Args) -> Result<Self, ArgError> {
        let beta = args.real_or("beta", above(0.0), 1.0)?;
        let threshold = args.real_or("threshold", .., 20.0)?;
        Ok(Self { beta, threshold })
    }
    fn shown(&self) -> String {
        format!("beta={} threshold={}", self.beta, self.threshold)
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let beta = self.beta.single();
        let z = times(stage, beta, x);
        let size = stage.unary(Unary::Abs, z);
        let minus = stage.unary(Unary::Neg, size);
        let tail = stage.unary(Unary::Exp, minus);
        let tail = stage.unary(Unary::Log1p, tail);
        let positive = stage.at_least(0.0, z);
        let mut sum = stage.add(positive, tail);
        if beta != 1.0 {
            let beta = stage.constant(beta);
            sum = stage.div(sum, beta);
        }
        let threshold = stage.constant(self.threshold.single());
        stage.select(Compare::Gt, z, threshold, x, sum)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let z = times(stage, self.beta.single(), x);
        let slope = stage.unary(Unary::Sigmoid, z);
        let curved = stage.mul(dy, slope);
        let threshold = stage.constant(self.threshold.single());
        stage.select(Compare::Gt, z, threshold, dy, curved)
    }
}
