//! Points at which the obvious form of a loss of values fails.

use lenetc::ir::TensorType;
use lenetc::ops::*;

use super::Hard;

/// Binary cross-entropy and its gradient, where a small loss or a small slope is what is left of large numbers.
pub fn binary_cross_entropies() -> Vec<Hard> {
    let logits: [f32; 12] = [
        0.0, -0.0, 1e-30, 0.5, 10.0, 20.0, 60.0, 88.0, 1e4, 3e38, 1e-45, 7.25,
    ];
    let signed = logits.iter().flat_map(|&x| [x, -x]);
    let points: Vec<[f64; 2]> = signed
        .flat_map(|x| [0.0, 1.0].map(|t| [f64::from(x), t]))
        .collect();
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| match x < 0.0 {
        true => x.exp() / (1.0 + x.exp()),
        false => 1.0 / (1.0 + (-x).exp()),
    };
    let [x, t] = [0, 1].map(|k| points.iter().map(|p| p[k]).collect::<Vec<f64>>());
    let at = |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| f(p[0], p[1])).collect();
    let one = TensorType::batch([1]);
    let images = points.len();
    let loss = BceWithLogitsLoss::default();
    vec![
        Hard {
            name: "binary cross-entropy",
            op: loss.clone().into(),
            types: vec![one.clone(); 2],
            operands: vec![x.clone(), t.clone()],
            wanted: at(&|x, t| t * softplus(-x) + (1.0 - t) * softplus(x)),
            images,
            slack: 0.0,
        },
        Hard {
            name: "binary cross-entropy's gradient",
            op: BceWithLogitsGrad { loss }.into(),
            types: vec![one.clone(), one, TensorType::batch([])],
            operands: vec![x, t, vec![1.0; images]],
            wanted: at(&|x, t| (1.0 - t) * sigmoid(x) - t * sigmoid(-x)),
            images,
            slack: 0.0,
        },
    ]
}

/// Absolute differences, squares near 0 and lines beyond, at the border, at 0 and far out.
pub fn absolutes() -> Vec<Hard> {
    let pairs: [[f32; 2]; 10] = [
        [0.0, 0.0],
        [0.0, -0.0],
        [1.0, 1.000_000_1],
        [1e8, 1e8 + 8.0],
        [1e-30, 0.0],
        [2.0, 1.0],
        [1.0, 2.0],
        [1e20, -1e20],
        [-3e38, 1.0],
        [0.25, 0.5],
    ];
    let [x, t] = [0, 1].map(|k| pairs.map(|p| f64::from(p[k])).to_vec());
    let one = TensorType::batch([1]);
    let images = pairs.len();
    let pair = |name, loss: Op, slope: Op, term: fn(f64) -> f64, rise: fn(f64) -> f64| {
        let wanted = |f: fn(f64) -> f64| (0..images).map(|k| f(x[k] - t[k])).collect();
        [
            Hard {
                name,
                op: loss,
                types: vec![one.clone(); 2],
                operands: vec![x.clone(), t.clone()],
                wanted: wanted(term),
                images,
                slack: 0.0,
            },
            Hard {
                name,
                op: slope,
                types: vec![one.clone(), one.clone(), TensorType::batch([])],
                operands: vec![x.clone(), t.clone(), vec![1.0; images]],
                wanted: wanted(rise),
                images,
                slack: 0.0,
            },
        ]
    };
    fn sign(d: f64) -> f64 {
        if d == 0.0 { 0.0 } else { d.signum() }
    }
    let reduction = Reduction::Sum;
    let smooth = SmoothL1Loss {
        beta: 1.0.into(),
        reduction,
    };
    let huber = HuberLoss {
        delta: 1.0.into(),
        reduction,
    };
    let near = |d: f64| {
        if d.abs() < 1.0 {
            d * d / 2.0
        } else {
            d.abs() - 0.5
        }
    };
    let rise = |d: f64| if d.abs() < 1.0 { d } else { sign(d) };
    let slopes = [
        Op::from(L1Grad {
            loss: L1Loss { reduction },
        }),
        SmoothL1Grad {
            loss: smooth.clone(),
        }
        .into(),
        HuberGrad {
            loss: huber.clone(),
        }
        .into(),
    ];
    let [l1_grad, smooth_grad, huber_grad] = slopes;
    [
        pair("l1", L1Loss { reduction }.into(), l1_grad, f64::abs, sign),
        pair("smooth l1", smooth.into(), smooth_grad, near, rise),
        pair("huber", huber.into(), huber_grad, near, rise),
    ]
    .into_iter()
    .flatten()
    .collect()
}
