//! The functions that formulas are made of: how each is written, and what it is in f64.
//!
//! A function is one row here, one polynomial or instruction in `backend/cpu/math.rs` and one name in the printer of
//! CUDA C. Does not know how any target computes it.

use super::formula::{Binary, Compare, Unary};

/// How a function of two numbers is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Between its operands.
    Sign(&'static str),
    /// Before them, in parentheses.
    Name(&'static str),
}

/// A function of one number.
struct Row {
    name: &'static str,
    exact: fn(f64) -> f64,
    /// Whether processors have an instruction for it, rather than a polynomial.
    instruction: bool,
}

impl Unary {
    fn row(self) -> Row {
        let (name, exact, instruction): (_, fn(f64) -> f64, _) = match self {
            Self::Neg => ("neg", |x| -x, true),
            Self::Exp => ("exp", f64::exp, false),
            Self::Expm1 => ("expm1", f64::exp_m1, false),
            Self::Log => ("log", f64::ln, false),
            Self::Log1p => ("log1p", f64::ln_1p, false),
            Self::Tanh => ("tanh", f64::tanh, false),
            Self::Sigmoid => ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), false),
            Self::Erf => ("erf", erf, false),
            Self::Sqrt => ("sqrt", f64::sqrt, true),
            Self::Rsqrt => ("rsqrt", |x| 1.0 / x.sqrt(), true),
            Self::Abs => ("abs", f64::abs, true),
        };
        Row {
            name,
            exact,
            instruction,
        }
    }

    /// Its name in text.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Its value in f64.
    pub fn of(self, x: f64) -> f64 {
        (self.row().exact)(x)
    }

    /// Whether processors compute it by an instruction or two, rather than by a polynomial with many constants.
    pub fn is_instruction(self) -> bool {
        self.row().instruction
    }
}

impl Binary {
    /// How it is written in text.
    pub fn written(self) -> Written {
        match self {
            Self::Add => Written::Sign("+"),
            Self::Sub => Written::Sign("-"),
            Self::Mul => Written::Sign("*"),
            Self::Div => Written::Sign("/"),
            Self::Max => Written::Name("max"),
            Self::Min => Written::Name("min"),
        }
    }

    /// Both operands' text, put together.
    pub fn text(self, a: &str, b: &str) -> String {
        match self.written() {
            Written::Sign(sign) => format!("{a} {sign} {b}"),
            Written::Name(name) => format!("{name}({a}, {b})"),
        }
    }

    /// Its value in f64.
    pub fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Max if a > b || a.is_nan() => a,
            Self::Min if a < b || a.is_nan() => a,
            Self::Max | Self::Min => b,
        }
    }
}

impl Compare {
    /// Its sign in text.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Gt => ">",
            Self::Eq => "==",
            Self::Ne => "!=",
        }
    }

    /// Whether it holds.
    pub fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Lt => a < b,
            Self::Gt => a > b,
            Self::Eq => a == b,
            Self::Ne => a != b,
        }
    }
}

/// 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms have one sign, so nothing cancels. From 6 on, 1 is nearest.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x == 0.0 {
        return x;
    }
    if x.abs() >= 6.0 {
        return 1f64.copysign(x);
    }
    let (mut sum, mut term) = (x, x);
    let mut odd = 3.0;
    while term.abs() > f64::EPSILON * sum.abs() / 16.0 {
        term *= 2.0 * x * x / odd;
        sum += term;
        odd += 2.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf from tables (Abramowitz and Stegun, table 7.1), and at its ends.
    #[test]
    fn erf_of_the_table() {
        for (x, want) in [
            (0.02, 0.022_564_574_7),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (1.5, 0.966_105_146_5),
            (2.0, 0.995_322_265_0),
        ] {
            for sign in [1.0, -1.0] {
                let got = Unary::Erf.of(sign * x);
                assert!((got - sign * want).abs() < 6e-11, "erf({x}) = {got}");
            }
        }
        assert_eq!(Unary::Erf.of(f64::INFINITY), 1.0);
        assert_eq!(Unary::Erf.of(-1e300), -1.0);
        assert!(Unary::Erf.of(f64::NAN).is_nan());
        assert!(Unary::Erf.of(-0.0).is_sign_negative());
    }

    #[test]
    fn nan_wins_and_of_equals_the_second_is_taken() {
        for f in [Binary::Max, Binary::Min] {
            assert!(f.of(f64::NAN, 1.0).is_nan() && f.of(1.0, f64::NAN).is_nan());
            assert!(f.of(0.0, -0.0).is_sign_negative());
            assert!(f.of(-0.0, 0.0).is_sign_positive());
        }
        assert_eq!(Binary::Max.of(1.0, 2.0), 2.0);
        assert_eq!(Binary::Min.of(1.0, f64::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn no_two_functions_have_one_name() {
        let signs = Binary::ALL.iter().map(|f| f.text("", ""));
        let names = Unary::ALL.iter().map(|f| format!("{}(, )", f.name()));
        let mut all: Vec<String> = signs.chain(names).collect();
        all.sort();
        all.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }
}
