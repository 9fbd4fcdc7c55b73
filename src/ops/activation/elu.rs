//! y = x where x > 0, else α (e^x − 1); dx = dy where x > 0, else dy · α e^x (Clevert, Unterthiner and Hochreiter 2016,
//! Fast and accurate deep network learning by exponential linear units). At 0 the slope is α, as torch has it.

use super::{Activation, Reads, times};
use crate::nest::{Compare, ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument, Real};

/// `ELU`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ELU {
    pub alpha: Real,
}

impl Activation for ELU {
    const NAME: &'static str = "ELU";
    const ARGUMENTS: &'static [Argument] = &[Argument::or("alpha", "1.0")];
    const NEST: &'static str = "elu";
    const READS: Reads = Reads::Input;

    fn with(args: &Args) -> Result<Self, ArgError> {
        let alpha = args.real_or("alpha", .., 1.0)?;
        Ok(Self { alpha })
    }
    fn shown(&self) -> String {
        format!("alpha={}", self.alpha)
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let below = stage.unary(Unary::Expm1, x);
        let below = times(stage, self.alpha.single(), below);
        let zero = stage.constant(0.0);
        stage.select(Compare::Gt, x, zero, x, below)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let slope = stage.unary(Unary::Exp, x);
        let slope = times(stage, self.alpha.single(), slope);
        let (below, zero) = (stage.mul(dy, slope), stage.constant(0.0));
        stage.select(Compare::Gt, x, zero, dy, below)
    }
}
