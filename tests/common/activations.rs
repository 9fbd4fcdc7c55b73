//! The activations that tests draw from, each beside its value and its derivative in f64, written down without the
//! compiler. Does not know backends.

use lenetc::ops::*;

/// A layer, its operator, the operator of its gradient, and what both must be.
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
pub struct Function {
    pub written: AnyLayer,
    pub layer: Op,
    pub gradient: Op,
    pub value: fn(f64) -> f64,
    /// By x, also where the gradient reads the result. At a NaN it is what torch has.
    pub slope: fn(f64) -> f64,
    pub reads: Reads,
    /// How far value and slope may be off absolutely: where a sum cancels, what is left has the error of its parts.
    pub slack: [f64; 2],
}

unsafe extern "C" {
    /// The C library's.
    safe fn erfc(x: f64) -> f64;
}

fn of<A: Activation>(
    activation: A,
    slack: [f64; 2],
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
) -> Function
where
    Op: From<A> + From<ActivationGrad<A>>,
    AnyLayer: From<A>,
{
    Function {
        written: activation.clone().into(),
        layer: activation.clone().into(),
        gradient: ActivationGrad(activation).into(),
        value,
        slope,
        reads: A::READS,
        slack,
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// x · f(x) with its limit 0 where f vanishes faster than x grows.
fn times(x: f64, f: f64) -> f64 {
    if f == 0.0 { 0.0 } else { x * f }
}

fn normal(x: f64) -> f64 {
    0.5 * erfc(-x / 2f64.sqrt())
}

fn bell(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The inner function of GELU by tanh, and its derivative.
fn inner(x: f64) -> [f64; 2] {
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    [
        scale * (x + 0.044715 * x.powi(3)),
        scale * (1.0 + 3.0 * 0.044715 * x * x),
    ]
}

fn if_positive(x: f64, yes: f64, no: f64) -> f64 {
    if x > 0.0 { yes } else { no }
}

const LEAK: f64 = 0.25;

/// All of them, those with arguments also with others than their defaults.
pub fn all() -> Vec<Function> {
    let mut all = smooth();
    all.extend(with_kinks());
    all
}

fn smooth() -> Vec<Function> {
    let exact = [0.0; 2];
    let gelu = |approximate| GELU { approximate };
    let softplus = |beta: f64, threshold: f64| Softplus {
        beta: beta.into(),
        threshold: threshold.into(),
    };
    vec![
        of(Sigmoid, exact, sigmoid, |x| sigmoid(x) * sigmoid(-x)),
        of(Tanh, exact, f64::tanh, |x| 1.0 / x.cosh().powi(2)),
        of(
            SiLU,
            [0.0, 3e-7],
            |x| times(x, sigmoid(x)),
            |x| sigmoid(x) + times(x, sigmoid(x) * sigmoid(-x)),
        ),
        of(
            gelu(Approximation::None),
            [4e-7; 2],
            |x| times(x, normal(x)),
            |x| normal(x) + times(x, bell(x)),
        ),
        of(
            gelu(Approximation::Tanh),
            [4e-7; 2],
            |x| times(x, sigmoid(2.0 * inner(x)[0])),
            |x| {
                let [z, dz] = inner(x);
                let steep = 2.0 * sigmoid(2.0 * z) * sigmoid(-2.0 * z);
                sigmoid(2.0 * z) + times(x, times(dz, steep))
            },
        ),
        of(
            softplus(1.0, 20.0),
            exact,
            |x| if x > 20.0 { x } else { x.exp().ln_1p() },
            |x| if x > 20.0 { 1.0 } else { sigmoid(x) },
        ),
        of(
            softplus(2.0, 1.0),
            exact,
            |x| {
                if 2.0 * x > 1.0 {
                    x
                } else {
                    (2.0 * x).exp().ln_1p() / 2.0
                }
            },
            |x| if 2.0 * x > 1.0 { 1.0 } else { sigmoid(2.0 * x) },
        ),
    ]
}

fn with_kinks() -> Vec<Function> {
    let exact = [0.0; 2];
    let elu = |alpha: f64| ELU {
        alpha: alpha.into(),
    };
    let leaky = LeakyReLU {
        negative_slope: LEAK.into(),
    };
    vec![
        of(
            ReLU,
            exact,
            |x| if x < 0.0 { 0.0 } else { x },
            |x| if_positive(x, 1.0, 0.0),
        ),
        of(
            leaky,
            exact,
            |x| if_positive(x, x, LEAK * x),
            |x| if_positive(x, 1.0, LEAK),
        ),
        of(
            elu(1.0),
            exact,
            |x| if_positive(x, x, x.exp_m1()),
            |x| if_positive(x, 1.0, x.exp()),
        ),
        of(
            elu(0.5),
            exact,
            |x| if_positive(x, x, 0.5 * x.exp_m1()),
            |x| if_positive(x, 1.0, 0.5 * x.exp()),
        ),
        of(
            ReLU6,
            exact,
            |x| if x.is_nan() { x } else { x.clamp(0.0, 6.0) },
            |x| f64::from(u8::from(x.is_nan() || (x > 0.0 && x < 6.0))),
        ),
        of(
            Hardswish,
            [0.0, 1e-7],
            |x| times(x, hard(x)),
            |x| match x {
                x if x <= -3.0 => 0.0,
                x if x < 3.0 => x / 3.0 + 0.5,
                _ => 1.0,
            },
        ),
        of(Hardsigmoid, exact, hard, |x| {
            if x > -3.0 && x < 3.0 { 1.0 / 6.0 } else { 0.0 }
        }),
    ]
}

fn hard(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    (x + 3.0).clamp(0.0, 6.0) / 6.0
}
