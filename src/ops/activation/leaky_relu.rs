//! y = x where x > 0, else a · x; dx = dy where x > 0, else a · dy (Maas, Hannun and Ng 2013, Rectifier nonlinearities).

use super::{Activation, Reads, times};
use crate::nest::{Compare, ExprId, Stage};
use crate::ops::{ArgError, Args, Argument, Real};

/// `LeakyReLU`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeakyReLU {
    /// a
    pub negative_slope: Real,
}

impl Activation for LeakyReLU {
    const NAME: &'static str = "LeakyReLU";
    const ARGUMENTS: &'static [Argument] = &[Argument::or("negative_slope", "0.01")];
    const NEST: &'static str = "leaky_relu";
    const READS: Reads = Reads::Input;

    fn with(args: &Args) -> Result<Self, ArgError> {
        let negative_slope = args.real_or("negative_slope", .., 0.01)?;
        Ok(Self { negative_slope })
    }
    fn shown(&self) -> String {
        format!("negative_slope={}", self.negative_slope)
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let (zero, below) = self.parts(stage, x);
        stage.select(Compare::Gt, x, zero, x, below)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let (zero, below) = self.parts(stage, dy);
        stage.select(Compare::Gt, x, zero, dy, below)
    }
}

impl LeakyReLU {
    /// 0, and what is left of a number where x is not positive.
    fn parts(&self, stage: &mut Stage, number: ExprId) -> (ExprId, ExprId) {
        let below = times(stage, self.negative_slope.single(), number);
        (stage.constant(0.0), below)
    }
}
