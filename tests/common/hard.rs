//! Points at which the obvious form of a function or a loss fails: large, tiny, nearly cancelling, ±0, subnormal, not
//! finite; each list beside a reference in f64 that shares nothing with the nests. Does not know backends.

#![allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]

#[path = "hard_losses.rs"]
pub mod losses;

use lenetc::ir::TensorType;
use lenetc::nest::{Binary, Compare, Expr, Nest, Stage, Unary};
use lenetc::ops::*;

use super::activations::all as every_activation;

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

/// An operator at hard points: its operands, image by image, and what its first result must be.
pub struct Hard {
    pub name: &'static str,
    pub op: Op,
    pub types: Vec<TensorType>,
    pub operands: Vec<Vec<f64>>,
    /// Its first result.
    pub wanted: Vec<f64>,
    pub images: usize,
    /// How far it may be off absolutely, beside [`RELATIVE`].
    pub slack: f64,
}

/// How far a result may be off, relative to it. Below the normal numbers it may be off by one of them.
pub const RELATIVE: f64 = 1e-6;

impl Hard {
    /// Panics where a result is not what it must be.
    pub fn hold(&self, got: &[f64], on: &str) {
        assert_eq!(got.len(), self.wanted.len(), "{}", self.name);
        for (at, (&got, &exact)) in got.iter().zip(&self.wanted).enumerate() {
            let want = f64::from(exact as f32);
            let same = got == want || (got.is_nan() && want.is_nan());
            let slack = self.slack + f64::from(f32::MIN_POSITIVE);
            let near = (got - want).abs() <= RELATIVE * want.abs() + slack;
            let operands: Vec<&[f64]> = self.operands.iter().map(Vec::as_slice).collect();
            assert!(
                same || near,
                "{} on {on}: {got:e} for {want:e} at {at} of {operands:?}",
                self.name
            );
        }
    }
}

/// Logits, the class, and what the loss is where a source of its own says so (worked out by hand).
pub struct Row {
    pub logits: &'static [f32],
    pub class: usize,
    pub known: Option<f64>,
}

const LN_2: Option<f64> = Some(std::f64::consts::LN_2);

const fn row(logits: &'static [f32], class: usize, known: Option<f64>) -> Row {
    Row {
        logits,
        class,
        known,
    }
}

/// Two classes.
pub const PAIRS: [Row; 24] = [
    row(&[1e8, 1e8], 1, LN_2),
    row(&[1e3, 1e3], 1, LN_2),
    row(&[1e4, 1e4], 1, LN_2),
    row(&[1e5, 1e5], 1, LN_2),
    row(&[1e6, 1e6], 1, LN_2),
    row(&[-3e38, -3e38], 0, LN_2),
    row(&[0.0, -0.0], 0, LN_2),
    row(&[1e-45, 0.0], 0, LN_2),
    row(&[10.0, 0.0], 0, Some(4.539_889_921_686_465e-5)),
    row(&[1e4 + 10.0, 1e4], 0, Some(4.539_889_921_686_465e-5)),
    row(&[16.0, 0.0], 0, Some(1.125_351_684_161_672_5e-7)),
    row(&[0.0, 16.0], 0, Some(16.000_000_112_535_17)),
    row(&[17.5, 0.0], 0, None),
    row(&[40.0, 0.0], 0, None),
    row(&[87.0, 0.0], 0, None),
    row(&[103.0, 0.0], 0, Some(0.0)),
    row(&[200.0, 0.0], 0, Some(0.0)),
    row(&[0.0, 200.0], 0, Some(200.0)),
    row(&[0.0, 1e30], 0, Some(1e30)),
    row(&[1e8, 1e8 + 8.0], 0, None),
    row(&[1.0, 1.000_000_1], 0, None),
    row(&[f32::NEG_INFINITY, 0.0], 1, Some(0.0)),
    row(&[f32::NEG_INFINITY, 0.0], 0, Some(f64::INFINITY)),
    row(&[f32::NAN, 0.0], 1, Some(f64::NAN)),
];

/// Ten classes.
pub const TENS: [Row; 4] = [
    row(
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        3,
        Some(std::f64::consts::LN_10),
    ),
    row(
        &[30.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        0,
        None,
    ),
    row(
        &[1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6],
        9,
        Some(std::f64::consts::LN_10),
    ),
    row(
        &[
            -90.0, -80.0, -70.0, -60.0, -50.0, -40.0, -30.0, -20.0, -10.0, 0.0,
        ],
        0,
        None,
    ),
];

impl Row {
    /// The logits less that of the class: Σ over the other classes of e^that is what all follows from.
    fn apart(&self) -> impl Iterator<Item = f64> + '_ {
        let own = f64::from(self.logits[self.class]);
        self.logits.iter().map(move |&x| f64::from(x) - own)
    }

    /// ln Σ e^(x[c] − x[t]), by the greatest of them where that is not x[t].
    pub fn loss(&self) -> f64 {
        if let Some(known) = self.known {
            return known;
        }
        let most = self.apart().fold(0.0, f64::max);
        let ties = self.apart().filter(|&d| d == most).count() as f64 - 1.0;
        let below = self.apart().filter(|&d| d < most).map(|d| (d - most).exp());
        most + (ties + below.sum::<f64>()).ln_1p()
    }

    /// Its derivatives: 1 / Σ e^(x[k] − x[c]) over k; at the class less all the others.
    pub fn gradient(&self) -> Vec<f64> {
        let part = |c: usize| {
            let to = f64::from(self.logits[c]);
            let sum: f64 = self.logits.iter().map(|&x| (f64::from(x) - to).exp()).sum();
            1.0 / sum
        };
        let others = (0..self.logits.len()).filter(|&c| c != self.class);
        let rest: f64 = others.map(part).sum();
        (0..self.logits.len())
            .map(|c| if c == self.class { -rest } else { part(c) })
            .collect()
    }
}

/// Gradients are asked for where all logits are finite.
fn finite(rows: &'static [Row]) -> Vec<&'static Row> {
    let all = |r: &&Row| r.logits.iter().all(|x| x.is_finite());
    rows.iter().filter(all).collect()
}

fn operands(rows: &[&Row]) -> [Vec<f64>; 2] {
    let logits = rows.iter().flat_map(|r| r.logits);
    [
        logits.map(|&x| f64::from(x)).collect(),
        rows.iter().map(|r| r.class as f64).collect(),
    ]
}

/// Cross-entropy of each list of rows.
pub fn cross_entropies() -> Vec<Hard> {
    cross_entropies_of(&[PAIRS.iter().collect(), TENS.iter().collect()])
}

/// Cross-entropy of lists of rows.
pub fn cross_entropies_of(lists: &[Vec<&Row>]) -> Vec<Hard> {
    let of = |rows: &Vec<&Row>| Hard {
        name: "cross-entropy",
        op: CrossEntropyLoss::default().into(),
        types: vec![
            TensorType::batch([rows[0].logits.len() as u32]),
            TensorType::batch([]),
        ],
        operands: operands(rows).into(),
        wanted: rows.iter().map(|r| r.loss()).collect(),
        images: rows.len(),
        slack: 0.0,
    };
    lists.iter().map(of).collect()
}

/// The rows that have a gradient, two classes and ten.
pub fn rows_with_gradients() -> [Vec<&'static Row>; 2] {
    [finite(&PAIRS), finite(&TENS)]
}

/// The gradient of each list of rows, for what the loss said of them besides; `saved` are the loss's other results.
pub fn cross_entropy_gradient(rows: &[&Row], saved: Vec<Vec<f64>>) -> Hard {
    let classes = rows[0].logits.len() as u32;
    let mut types = vec![TensorType::batch([classes])];
    types.extend(vec![TensorType::batch([]); saved.len() + 2]);
    let mut all: Vec<Vec<f64>> = operands(rows).into();
    all.extend(saved);
    all.push(vec![1.0; rows.len()]);
    Hard {
        name: "cross-entropy's gradient",
        op: CrossEntropyGrad::default().into(),
        types,
        operands: all,
        wanted: rows.iter().flat_map(|r| r.gradient()).collect(),
        images: rows.len(),
        slack: 0.0,
    }
}

/// Losses and gradients of one number from another, and slopes of functions by their results.
pub fn elementwise() -> Vec<Hard> {
    let pairs: [[f32; 2]; 12] = [
        [1e8, 1e8 + 8.0],
        [1.0, 1.000_000_1],
        [-1e8, -1e8],
        [0.0, -0.0],
        [1e-30, 0.0],
        [1e-45, -1e-45],
        [1e-19, -1e-19],
        [3e18, -3e18],
        [1e20, -1e20],
        [3e38, 1.0],
        [f32::INFINITY, 0.0],
        [f32::NAN, 0.0],
    ];
    let [x, t] = [0, 1].map(|k| pairs.map(|p| f64::from(p[k])).to_vec());
    let difference = |k: usize| x[k] - t[k];
    let one = TensorType::batch([1]);
    let images = pairs.len();
    let mut all = Vec::new();
    for mean in [false, true] {
        all.push(Hard {
            name: "squares",
            op: MseLoss { mean }.into(),
            types: vec![one.clone(); 2],
            operands: vec![x.clone(), t.clone()],
            wanted: (0..images).map(|k| difference(k).powi(2)).collect(),
            images,
            slack: 0.0,
        });
        all.push(Hard {
            name: "squares' gradient",
            op: MseGrad { mean }.into(),
            types: vec![one.clone(), one.clone(), TensorType::batch([])],
            operands: vec![x.clone(), t.clone(), vec![1.0; images]],
            wanted: (0..images).map(|k| 2.0 * difference(k)).collect(),
            images,
            slack: 0.0,
        });
    }
    all.push(slope(
        "sigmoid's slope",
        ActivationGrad(Sigmoid).into(),
        |y| y * (1.0 - y),
    ));
    all.push(slope("tanh's slope", ActivationGrad(Tanh).into(), |y| {
        (1.0 - y) * (1.0 + y)
    }));
    all
}

/// A derivative by the function's result.
fn slope(name: &'static str, op: Op, exact: fn(f64) -> f64) -> Hard {
    let results: [f32; 11] = [
        0.0,
        -0.0,
        1e-45,
        1e-30,
        0.5,
        0.999,
        0.999_99,
        0.999_999_94,
        1.0,
        5.960_464_5e-8,
        f32::NAN,
    ];
    let y = results.map(f64::from).to_vec();
    let images = y.len();
    Hard {
        name,
        op,
        types: vec![TensorType::batch([1]); 2],
        wanted: y.iter().map(|&y| exact(y)).collect(),
        operands: vec![y, vec![1.0; images]],
        images,
        slack: 0.0,
    }
}

/// Where activations bend, saturate or cancel.
const BENDS: [f32; 32] = [
    3.0,
    2.999_999_8,
    3.000_000_2,
    -3.0,
    -2.999_999_8,
    -3.000_000_2,
    6.0,
    5.999_999_5,
    6.000_000_5,
    20.0,
    20.000_002,
    10.0,
    10.000_001,
    0.500_000_06,
    -1.278,
    -0.75,
    -1.5,
    0.3,
    -0.3,
    2.0,
    -2.0,
    5.5,
    -5.5,
    -8.0,
    -14.0,
    -15.0,
    88.0,
    -88.0,
    104.0,
    -104.0,
    200.0,
    -200.0,
];

/// Each activation and its gradient.
pub fn activations() -> Vec<Hard> {
    let signed = EVERYWHERE.into_iter().flat_map(|x| [x, -x]);
    let points: Vec<f64> = signed.chain(BENDS).map(f64::from).collect();
    let images = points.len();
    let mut all = Vec::new();
    for f in every_activation() {
        all.push(Hard {
            name: "activation",
            op: f.layer,
            types: vec![TensorType::batch([1])],
            operands: vec![points.clone()],
            wanted: points.iter().map(|&x| (f.value)(x)).collect(),
            images,
            slack: f.slack[0],
        });
        // Slopes by the result are those of the result as it is rounded, which `elementwise` asks for.
        if f.reads == Reads::Result && !matches!(f.gradient, Op::ReLU6Grad(_) | Op::ReLUGrad(_)) {
            continue;
        }
        let read = match f.reads {
            Reads::Input => points.clone(),
            Reads::Result => points.iter().map(|&x| (f.value)(x)).collect(),
        };
        all.push(Hard {
            name: "activation's gradient",
            op: f.gradient,
            types: vec![TensorType::batch([1]); 2],
            operands: vec![read, vec![1.0; images]],
            wanted: points.iter().map(|&x| (f.slope)(x)).collect(),
            images,
            slack: f.slack[1],
        });
    }
    all
}
