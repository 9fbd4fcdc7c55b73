//! y = x · σ(x), dx = dy · σ(x) (1 + x (1 − σ(x))), σ being the sigmoid (Elfwing, Uchibe and Doya 2018, Sigmoid-weighted
//! linear units). −∞ yields −0, the limit.

use super::{Activation, Reads, within};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// Where σ(−x) is below all f32.
const NOTHING: f32 = 104.0;

/// `SiLU`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SiLU;

impl Activation for SiLU {
    const NAME: &'static str = "SiLU";
    const ARGUMENTS: &'static [Argument] = &[];
    const NEST: &'static str = "silu";
    const READS: Reads = Reads::Input;

    fn with(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn shown(&self) -> String {
        String::new()
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let x = stage.at_least(-NOTHING, x);
        let sigmoid = stage.unary(Unary::Sigmoid, x);
        stage.mul(x, sigmoid)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let x = within(stage, NOTHING, x);
        let (sigmoid, one) = (stage.unary(Unary::Sigmoid, x), stage.constant(1.0));
        let rest = stage.sub(one, sigmoid);
        let more = stage.mul(x, rest);
        let factor = stage.add(one, more);
        let slope = stage.mul(sigmoid, factor);
        stage.mul(dy, slope)
    }
}
