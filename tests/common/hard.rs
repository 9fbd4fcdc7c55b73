//! Points at which the obvious form of an activation or a loss fails: large, tiny, nearly cancelling, ±0, subnormal, not
//! finite; each list beside a reference in f64 that shares nothing with the nests. Does not know backends.

#![allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]

#[path = "hard_losses.rs"]
pub mod losses;

use lenetc::ir::TensorType;
use lenetc::ops::*;

use super::activations::all as every_activation;
use super::elementary::EVERYWHERE;

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
    for reduction in [Reduction::Sum, Reduction::Mean] {
        let loss = MseLoss { reduction };
        all.push(Hard {
            name: "squares",
            op: loss.clone().into(),
            types: vec![one.clone(); 2],
            operands: vec![x.clone(), t.clone()],
            wanted: (0..images).map(|k| difference(k).powi(2)).collect(),
            images,
            slack: 0.0,
        });
        all.push(Hard {
            name: "squares' gradient",
            op: MseGrad { loss }.into(),
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
