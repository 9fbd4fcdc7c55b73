//! Initialisers: what a model's `init` draws the states of its layers from.
//!
//! Each is a type here and a word in the list. Formulas are torch's (`torch.nn.init`); fan_in and fan_out are the weight's,
//! as torch counts them. Biases start as torch's layers start them, U(±1/√fan_in), unless all states get one value. Does
//! not know which layers there are, nor how numbers are drawn.

use super::args::{above, beyond};
use super::{ArgError, Args, Argument, Real, Signature, Start, registry};
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
        XavierUniform, XavierNormal, KaimingUniform, KaimingNormal, TorchDefault, Zeros, Ones, Constant,
        Uniform, Normal
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

/// U(±gain · √(6 / (fan_in + fan_out))) (Glorot and Bengio, 2010).
#[derive(Clone, Debug, PartialEq)]
pub struct XavierUniform {
    gain: Real,
}

/// What Xavier's initialisers take.
const GAIN: &[Argument] = &[Argument::or("gain", "1.0")];

impl Initialiser for XavierUniform {
    fn signature() -> Signature {
        Signature::plain("xavier_uniform", GAIN)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let gain = args.real_or("gain", above(0.0), 1.0)?;
        Ok(Self { gain })
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { fan_in, fan_out } => Distribution::Uniform {
                bound: self.gain.single() * (6.0 / (fan_in + fan_out) as f32).sqrt(),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
    }
}

/// N(0, gain² · 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
#[derive(Clone, Debug, PartialEq)]
pub struct XavierNormal {
    gain: Real,
}

impl Initialiser for XavierNormal {
    fn signature() -> Signature {
        Signature::plain("xavier_normal", GAIN)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let gain = args.real_or("gain", above(0.0), 1.0)?;
        Ok(Self { gain })
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { fan_in, fan_out } => Distribution::Normal {
                std: self.gain.single() * (2.0 / (fan_in + fan_out) as f32).sqrt(),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
    }
}

/// A standard deviation of gain / √fan, which keeps the size of what follows an activation (He et al., 2015).
#[derive(Clone, Debug, PartialEq)]
struct Kaiming {
    gain: Real,
    /// Whether the fan is the number of outputs.
    fan_out: bool,
}

impl Kaiming {
    const ARGUMENTS: &[Argument] = &[
        Argument::or("a", "0.0"),
        Argument::or("mode", "fan_in"),
        Argument::or("nonlinearity", "leaky_relu"),
    ];

    /// Gains are those of torch's `calculate_gain`.
    fn read(args: &Args) -> Result<Self, ArgError> {
        let slope = args.real_or("a", .., 0.0)?.get();
        let leaky = (2.0 / (1.0 + slope * slope)).sqrt();
        let gains = [
            ("leaky_relu", leaky),
            ("relu", 2f64.sqrt()),
            ("tanh", 5.0 / 3.0),
            ("sigmoid", 1.0),
            ("linear", 1.0),
            ("selu", 0.75),
        ];
        let modes = [("fan_in", false), ("fan_out", true)];
        Ok(Self {
            gain: args.word_or("nonlinearity", &gains, leaky)?.into(),
            fan_out: args.word_or("mode", &modes, false)?,
        })
    }

    fn std(&self, fan_in: u64, fan_out: u64) -> f32 {
        let fan = if self.fan_out { fan_out } else { fan_in };
        (self.gain.get() / (fan as f64).sqrt()) as f32
    }
}

/// U(±√3 · gain / √fan).
#[derive(Clone, Debug, PartialEq)]
pub struct KaimingUniform(Kaiming);

impl Initialiser for KaimingUniform {
    fn signature() -> Signature {
        Signature::plain("kaiming_uniform", Kaiming::ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Kaiming::read(args).map(Self)
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { fan_in, fan_out } => Distribution::Uniform {
                bound: 3f32.sqrt() * self.0.std(fan_in, fan_out),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
    }
}

/// N(0, gain² / fan).
#[derive(Clone, Debug, PartialEq)]
pub struct KaimingNormal(Kaiming);

impl Initialiser for KaimingNormal {
    fn signature() -> Signature {
        Signature::plain("kaiming_normal", Kaiming::ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Kaiming::read(args).map(Self)
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { fan_in, fan_out } => Distribution::Normal {
                std: self.0.std(fan_in, fan_out),
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

/// 1, weights and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Ones;

impl Initialiser for Ones {
    fn signature() -> Signature {
        Signature::bare("ones")
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn distribution(&self, _: Fans) -> Distribution {
        Distribution::Constant(1.0)
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

/// U(a, b).
#[derive(Clone, Debug, PartialEq)]
pub struct Uniform {
    low: Real,
    high: Real,
}

impl Initialiser for Uniform {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::or("a", "0.0"), Argument::or("b", "1.0")];
        Signature::plain("uniform", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let low = args.real_or("a", .., 0.0)?;
        let high = args.real_or("b", .., 1.0)?;
        match low.get() <= high.get() {
            true => Ok(Self { low, high }),
            false => Err(beyond("b", format!("is {high}, which is below a, {low}"))),
        }
    }
    fn distribution(&self, fans: Fans) -> Distribution {
        match fans {
            Fans::Weight { .. } => Distribution::Between {
                low: self.low.single(),
                high: self.high.single(),
            },
            Fans::Bias { fan_in } => torch(fan_in),
        }
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

#[cfg(test)]
mod tests {
    use super::super::{ArgValue, Registry};
    use super::*;

    fn of(name: &str, values: &[(&'static str, ArgValue)]) -> Result<AnyInitialiser, ArgError> {
        let args = Args {
            values: values.to_vec(),
        };
        AnyInitialiser::read(name, &args).expect("is in the list")
    }

    fn weight(name: &str, values: &[(&'static str, ArgValue)]) -> Distribution {
        let initialiser = of(name, values).expect("is taken");
        initialiser.start(Start::Weight {
            fan_in: 8,
            fan_out: 24,
        })
    }

    fn word(name: &str) -> ArgValue {
        ArgValue::Name(name.into())
    }

    /// Worked out by the formulas of `torch.nn.init`.
    #[test]
    fn weights_are_spread_as_torch_spreads_them() {
        let uniform = |bound| Distribution::Uniform { bound };
        let normal = |std| Distribution::Normal { std };
        assert_eq!(weight("xavier_uniform", &[]), uniform((6f32 / 32.0).sqrt()));
        assert_eq!(weight("xavier_normal", &[]), normal(0.25));
        let gain = [("gain", ArgValue::Int(2))];
        assert_eq!(weight("xavier_normal", &gain), normal(0.5));
        assert_eq!(weight("kaiming_normal", &[]), normal(0.5));
        assert_eq!(weight("kaiming_uniform", &[]), uniform(3f32.sqrt() * 0.5));
        let out = [("mode", word("fan_out")), ("nonlinearity", word("linear"))];
        let std = 1.0 / 24f64.sqrt();
        assert_eq!(weight("kaiming_normal", &out), normal(std as f32));
        let torch = [("a", ArgValue::Float(5f64.sqrt()))];
        let Distribution::Uniform { bound } = weight("kaiming_uniform", &torch) else {
            panic!("it is uniform")
        };
        // What torch's layers start with is this.
        let default = 1.0 / 8f32.sqrt();
        assert!((bound - default).abs() < 1e-7, "{bound} for {default}");
        assert_eq!(weight("torch_default", &[]), uniform(default));
        assert_eq!(weight("ones", &[]), Distribution::Constant(1.0));
        let between = Distribution::Between {
            low: 0.0,
            high: 1.0,
        };
        assert_eq!(weight("uniform", &[]), between);
    }

    #[test]
    fn biases_start_as_torch_s_and_constants_as_they_are() {
        let torch = Distribution::Uniform { bound: 0.5 };
        for name in [
            "xavier_uniform",
            "kaiming_normal",
            "uniform",
            "torch_default",
        ] {
            let initialiser = of(name, &[]).expect("is taken");
            assert_eq!(
                initialiser.start(Start::Bias { fan_in: 4 }),
                torch,
                "{name}"
            );
            let one = Distribution::Constant(1.0);
            assert_eq!(initialiser.start(Start::Constant(1.0)), one, "{name}");
        }
        let zeros = of("zeros", &[]).expect("is taken");
        let zero = Distribution::Constant(0.0);
        assert_eq!(zeros.start(Start::Bias { fan_in: 4 }), zero);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let ends = [("a", ArgValue::Int(2)), ("b", ArgValue::Int(1))];
        let said = of("uniform", &ends).expect_err("is refused").message;
        assert_eq!(said, "b is 1, which is below a, 2");
        let mode = [("mode", word("fan_all"))];
        let said = of("kaiming_normal", &mode).expect_err("is refused").message;
        assert_eq!(said, "mode must be fan_in or fan_out, not `fan_all`");
    }
}
