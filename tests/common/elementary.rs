//! Elementary functions at points where they are hard, each beside a reference in f64 that shares nothing with the
//! compiler. Does not know backends.

#![allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]

use lenetc::ir::TensorType;
use lenetc::nest::{Binary, Compare, Expr, Nest, Stage, Unary};

/// A function of one number.
pub struct Function {
    pub unary: Unary,
    pub exact: fn(f64) -> f64,
    /// How far the processor's code may be off, in units of the result's last place; a GPU's may be off by
    /// [`GPU_ULPS`].
    pub ulps: f64,
    /// Where it is hard, beside [`EVERYWHERE`] with both signs.
    pub points: &'static [f32],
}

/// What CUDA's own functions are documented to be off by, with the division of a sigmoid.
pub const GPU_ULPS: f64 = 4.0;

/// Hard for any function, with both signs.
pub const EVERYWHERE: [f32; 16] = [
    0.0,
    1e-45,
    1.1e-39,
    f32::MIN_POSITIVE,
    1e-30,
    1e-8,
    5.960_464_5e-8,
    f32::EPSILON,
    1e-4,
    0.5,
    1.0,
    1.5,
    16_777_216.0,
    f32::MAX,
    f32::INFINITY,
    f32::NAN,
];

/// Where the logarithm's exponent changes.
const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
const BELOW_SQRT_HALF: f32 = SQRT_HALF.next_down();

pub const FUNCTIONS: [Function; 10] = [
    Function {
        unary: Unary::Exp,
        exact: f64::exp,
        ulps: 1.5,
        // Around the least and the greatest normal result, the least subnormal one, and where the reduction changes.
        points: &[
            88.722_83,
            88.722_84,
            -87.336_54,
            -87.336_55,
            -103.97,
            -103.98,
            -104.5,
            0.346_573_6,
            0.346_573_5,
            -0.346_573_6,
            1.039_720_8,
            89.5,
        ],
    },
    Function {
        unary: Unary::Log,
        exact: f64::ln,
        ulps: 1.0,
        points: &[
            1.000_000_1,
            0.999_999_94,
            1.001,
            0.999,
            SQRT_HALF,
            BELOW_SQRT_HALF,
            std::f32::consts::SQRT_2,
            2.0,
            1.17e-38,
            3e-45,
        ],
    },
    Function {
        unary: Unary::Log1p,
        exact: f64::ln_1p,
        ulps: 3.0,
        points: &[
            -0.999_999_94,
            -0.999,
            1.125_351_7e-7,
            4.539_993e-5,
            -4.539_993e-5,
            8.9e-8,
            -8.9e-8,
            0.414_213_57,
            -0.292_893_23,
            9.0,
            8_388_607.5,
        ],
    },
    Function {
        unary: Unary::Tanh,
        exact: f64::tanh,
        ulps: 1.5,
        points: &[
            0.624_999_94,
            0.625,
            -0.625,
            9.0,
            9.01,
            10.0,
            -10.0,
            44.0,
            89.0,
            3e-4,
            3.4e-4,
        ],
    },
    Function {
        unary: Unary::Sigmoid,
        exact: |x| 1.0 / (1.0 + (-x).exp()),
        ulps: 2.5,
        points: &[
            16.0, 17.3, -16.0, -17.3, 88.0, 89.0, -87.0, -87.336_54, -88.0, -88.5, -104.0,
        ],
    },
    Function {
        unary: Unary::Expm1,
        exact: f64::exp_m1,
        ulps: 2.0,
        // Around the border of the tiny ones, where the reduction changes, and at both ends.
        points: &[
            2.980_232_2e-8,
            2.980_232e-8,
            -2.980_232_2e-8,
            0.346_573_6,
            -0.346_573_6,
            1.039_720_8,
            -17.3,
            -17.4,
            -25.0,
            17.0,
            88.722_83,
            88.722_84,
            89.5,
        ],
    },
    Function {
        unary: Unary::Erf,
        exact: |x| erf(x),
        ulps: 1.5,
        points: &[
            0.874_999_94,
            0.875,
            -0.875,
            3.8,
            3.91,
            3.92,
            3.93,
            4.0,
            -4.0,
            4.000_000_5,
            30.0,
        ],
    },
    Function {
        unary: Unary::Sqrt,
        exact: f64::sqrt,
        ulps: 0.5001,
        points: &[2.0, 3.0, 0.999_999_94, 1.000_000_1, 1e-44, 3e38],
    },
    Function {
        unary: Unary::Rsqrt,
        exact: |x| 1.0 / x.sqrt(),
        ulps: 1.5,
        points: &[2.0, 3.0, 0.999_999_94, 1.000_000_1, 1e-44, 3e38],
    },
    Function {
        unary: Unary::Abs,
        exact: f64::abs,
        ulps: 0.0,
        points: &[-1.5, -3e38],
    },
];

unsafe extern "C" {
    /// The C library's, which shares nothing with the compiler.
    safe fn erf(x: f64) -> f64;
}

/// What two numbers become.
type Rule = fn(f32, f32) -> f32;

/// The greater and the smaller of two numbers, by the rule in words: NaN where one is, of equals the second.
pub const EXTREMES: [(Binary, Rule); 2] = [
    (Binary::Max, |a, b| extreme(a, b, a > b)),
    (Binary::Min, |a, b| extreme(a, b, a < b)),
];

fn extreme(a: f32, b: f32, first: bool) -> f32 {
    match first || a.is_nan() {
        true => a,
        false => b,
    }
}

/// Each point of [`EVERYWHERE`] with either sign beside each.
pub fn pairs() -> [Vec<f64>; 2] {
    let signed = EVERYWHERE.into_iter().flat_map(|x| [x, -x]);
    let all: Vec<f64> = signed.map(f64::from).collect();
    let first = all.iter().flat_map(|&x| vec![x; all.len()]).collect();
    [first, all.repeat(all.len())]
}

/// The greater or the smaller of each of so many pairs; `first` in the place of all first numbers.
pub fn extremes(f: Binary, first: Option<f32>, len: usize) -> Nest {
    let ty = TensorType::fixed([len as u32]);
    let mut nest = Nest::new("f", &vec![ty.clone(); 2], std::slice::from_ref(&ty));
    let axes = nest.axes_of(&ty, &[]);
    let mut stage = Stage::new(&axes);
    let [a, b] = [0, 1].map(|k| stage.load_at(nest.input(k), &axes));
    let a = first.map_or(a, |x| stage.constant(x));
    let y = stage.push(Expr::Binary(f, a, b));
    // Every operand is read.
    let [sum, zero] = [stage.load_at(nest.input(0), &axes), stage.constant(0.0)];
    let y = stage.select(Compare::Eq, sum, zero, y, y);
    stage.store_at(nest.out(0), &axes, y);
    nest.stages.push(stage);
    nest
}

/// Panics where a result is not the same bits, NaN aside.
pub fn hold_extremes(f: usize, first: Option<f32>, got: &[f64], on: &str) {
    let (function, rule) = EXTREMES[f];
    let [a, b] = pairs();
    for ((&got, &a), &b) in got.iter().zip(&a).zip(&b) {
        let a = first.unwrap_or(a as f32);
        let want = rule(a, b as f32);
        let same = (got as f32).to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(same, "{function:?}({a:e}, {b:e}) = {got:e} on {on}");
    }
}

/// First numbers that are constants; `None`: all of [`pairs`].
pub const FIRST: [Option<f32>; 4] = [None, Some(0.0), Some(-0.0), Some(f32::NAN)];

impl Function {
    /// The function of each of so many numbers.
    pub fn nest(&self, len: usize) -> Nest {
        let ty = TensorType::fixed([len as u32]);
        let mut nest = Nest::new("f", std::slice::from_ref(&ty), std::slice::from_ref(&ty));
        let axes = nest.axes_of(&ty, &[]);
        let mut stage = Stage::new(&axes);
        let x = stage.load_at(nest.input(0), &axes);
        let y = stage.unary(self.unary, x);
        stage.store_at(nest.out(0), &axes, y);
        nest.stages.push(stage);
        nest
    }

    /// All points.
    pub fn all(&self) -> Vec<f32> {
        let signed = EVERYWHERE.into_iter().flat_map(|x| [x, -x]);
        signed.chain(self.points.iter().copied()).collect()
    }
}

/// Distance in units of the last place of the nearest f32; equal NaN and infinities are at 0.
pub fn ulps(got: f32, want: f64) -> f64 {
    let near = want as f32;
    if got == near || (got.is_nan() && near.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !near.is_finite() {
        return f64::INFINITY;
    }
    // Sigmoid flushes results below the normal numbers to zero.
    if got == 0.0 && near.abs() < f32::MIN_POSITIVE {
        return 0.0;
    }
    let spacing = f64::from(near.abs().max(f32::MIN_POSITIVE))
        .log2()
        .floor()
        .exp2()
        * f64::from(f32::EPSILON);
    (f64::from(got) - want).abs() / spacing
}
