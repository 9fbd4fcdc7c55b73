//! Initialisers: what a model's `init` draws the states of its layers from.
//!
//! Each is a type here and a word in the list. Formulas are torch's (`torch.nn.init`); fan_in and fan_out are the weight's,
//! as torch counts them. Biases start as torch's layers start them, U(±1/√fan_in), unless all states get one value. Does
//! not know which layers there are, nor how numbers are drawn.

use super::{ArgError, Args, Argument, Real, Signature, Start, above, registry};
use crate::ir::Distribution;

/// What can be named as `init`.
pub trait Initialiser {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature
    where
        Self: Sized;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>
    where
        Self: Sized;
    /// What a state is drawn from that starts so. A state that starts as a constant whatever `init` says never asks.
    fn distribution(&self, fans: Fans) -> Distribution;
}

/// A state whose start `init` decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fans {
    Weight { fan_in: u64, fan_out: u64 },
    Bias { fan_in: u64 },
}

registry! {
    /// What a model can name as its `init`.
    pub enum AnyInitialiser of Initialiser {
        XavierUniform, TorchDefault, Zeros, Constant, Normal
    }
}

impl AnyInitialiser {
    /// What a state is drawn from.
    pub fn start(&self, start: Start) -> Distribution {
        match start {
            Start::Constant(value) => Distribution::Constant(value),
            Start::Weight { fan_in, fan_out } => {
                self.distribution(Fans::Weight { fan_in, fan_out })
            }
            Start::Bias { fan_in } => self.distribution(Fans::Bias { fan_in }),
        }
    }
}

/// U(±1/√fan_in).
fn torch(fan_in: u64) -> Distribution {
    Distribution::Uniform {
        bound: 1.0 / (fan_in as f32).sqrt(),
    }
}

/// U(±√(6 / (fan_in + fan_out))) (Glorot and Bengio, 2010).
#[derive(Clone, Debug, PartialEq)]
pub struct XavierUniform;

impl Initialiser for XavierUniform {
    fn signature() -> Signature {
        Signature::bare("xavier_uniform")
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { fan_in, fan_out } => Distribution::Uniform {
                bound: (6.0 / (fan_in + fan_out) as f32).sqrt(),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
    }
}

/// U(±1/√fan_in), weights and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct TorchDefault;

impl Initialiser for TorchDefault {
    fn signature() -> Signature {
        Signature::bare("torch_default")
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        let (Fans::Weight { fan_in, .. } | Fans::Bias { fan_in }) = fans;
        torch(fan_in)
    }
}

/// 0, weights and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Zeros;

impl Initialiser for Zeros {
    fn signature() -> Signature {
        Signature::bare("zeros")
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn distribution(&self, _: Fans) -> Distribution {
        Distribution::Constant(0.0)
    }
}

/// One value, weights and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    value: Real,
}

impl Initialiser for Constant {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("value")];
        Signature::plain("constant", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let value = args.real("value", ..)?;
        Ok(Self { value })
    }
    fn distribution(&self, _: Fans) -> Distribution {
        Distribution::Constant(self.value.single())
    }
}

/// N(0, std²).
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    std: Real,
}

impl Initialiser for Normal {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("std")];
        Signature::plain("normal", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let std = args.real("std", above(0.0))?;
        Ok(Self { std })
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { .. } => Distribution::Normal {
                std: self.std.single(),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
    }
}
