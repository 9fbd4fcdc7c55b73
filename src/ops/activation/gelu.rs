//! y = x · Φ(x), Φ being the normal distribution: ½ (1 + erf(x / √2)), or by `approximate=tanh` about
//! ½ (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and Gimpel 2016, Gaussian error linear units).
//!
//! dx = dy · (Φ(x) + x · φ(x)). In f32 Φ is off by less than 1.2·10⁻⁷, absolutely, as torch's is: far below zero y has few
//! digits, and is −0 from about −5.6 on. Φ of −14 is below all f32, so that inputs beyond are taken for it.

use super::{Activation, Reads, one_less_square, times, within};
use crate::nest::{ExprId, Stage, Unary};
use crate::ops::{ArgError, Args, Argument};

/// How Φ is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approximation {
    None,
    Tanh,
}

/// `GELU`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GELU {
    pub approximate: Approximation,
}

/// Where Φ(−x) is below all f32.
const NOTHING: f32 = 14.0;
/// √(2/π)
const SCALE: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715 * SCALE;
/// 1/√(2π)
const DENSITY: f32 = 0.398_942_3;

const WORDS: [(&str, Approximation); 2] =
    [("none", Approximation::None), ("tanh", Approximation::Tanh)];

impl Activation for GELU {
    const NAME: &'static str = "GELU";
    const ARGUMENTS: &'static [Argument] = &[Argument::or("approximate", "none")];
    const NEST: &'static str = "gelu";
    const READS: Reads = Reads::Input;

    fn with(args: &Args) -> Result<Self, ArgError> {
        let approximate = args.word_or("approximate", &WORDS, Approximation::None)?;
        Ok(Self { approximate })
    }
    fn shown(&self) -> String {
        let word = WORDS.iter().find(|w| w.1 == self.approximate);
        format!("approximate={}", word.map_or("", |w| w.0))
    }
    fn value(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let x = stage.at_least(-NOTHING, x);
        let (twice, half) = (self.twice_normal(stage, x), times(stage, 0.5, x));
        stage.mul(half, twice)
    }
    fn gradient(&self, stage: &mut Stage, x: ExprId, dy: ExprId) -> ExprId {
        let x = within(stage, NOTHING, x);
        let twice = self.twice_normal(stage, x);
        let normal = times(stage, 0.5, twice);
        let density = self.density(stage, x);
        let more = stage.mul(x, density);
        let slope = stage.add(normal, more);
        stage.mul(dy, slope)
    }
}

impl GELU {
    /// The function between −1 and 1 that 2 Φ(x) − 1 is.
    fn sign(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        match self.approximate {
            Approximation::None => {
                let z = times(stage, std::f32::consts::FRAC_1_SQRT_2, x);
                stage.unary(Unary::Erf, z)
            }
            Approximation::Tanh => {
                let factor = self.factor(stage, x, CUBE);
                let z = stage.mul(x, factor);
                stage.unary(Unary::Tanh, z)
            }
        }
    }

    /// `√(2/π) + cube · x²`
    fn factor(&self, stage: &mut Stage, x: ExprId, cube: f32) -> ExprId {
        let square = stage.mul(x, x);
        let (more, scale) = (times(stage, cube, square), stage.constant(SCALE));
        stage.add(scale, more)
    }

    /// 2 Φ(x)
    fn twice_normal(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        let (one, sign) = (stage.constant(1.0), self.sign(stage, x));
        stage.add(one, sign)
    }

    /// φ(x), the derivative of Φ.
    fn density(&self, stage: &mut Stage, x: ExprId) -> ExprId {
        match self.approximate {
            Approximation::None => {
                let square = stage.mul(x, x);
                let exponent = times(stage, -0.5, square);
                let bell = stage.unary(Unary::Exp, exponent);
                times(stage, DENSITY, bell)
            }
            Approximation::Tanh => {
                let sign = self.sign(stage, x);
                let slope = one_less_square(stage, sign);
                let inner = self.factor(stage, x, 3.0 * CUBE);
                let slope = stage.mul(slope, inner);
                times(stage, 0.5, slope)
            }
        }
    }
}
