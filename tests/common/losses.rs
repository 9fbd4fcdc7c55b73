//! Losses that every backend is tested on, and their gradients.

use lenetc::ir::TensorType;
use lenetc::ops::*;

use super::{Case, Cases, image};

impl Cases {
    /// A loss of vectors and of images, with its gradient; vectors alone have weights.
    fn with_slope(
        &mut self,
        name: &'static str,
        loss: impl Into<Op>,
        slope: impl Into<Op>,
        weights: Option<TensorType>,
    ) {
        let (loss, slope) = (loss.into(), slope.into());
        let g = TensorType::batch([]);
        let mut shapes = vec![TensorType::batch([3])];
        shapes.extend(weights.is_none().then(|| image([2, 3, 2])));
        for x in shapes {
            let operands = [&[x.clone(), x.clone()][..], weights.as_slice()].concat();
            self.add(name, loss.clone(), &operands);
            let operands = [&[x.clone(), x, g.clone()][..], weights.as_slice()].concat();
            self.add(name, slope.clone(), &operands);
        }
    }
}

/// Losses that are sums over the elements of an output.
pub fn of_elements() -> Vec<Case> {
    let mut cases = Cases::default();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let l1 = L1Loss { reduction };
        let slope = L1Grad { loss: l1.clone() };
        cases.with_slope("l1", l1, slope, None);
        for size in [0.5, 2.0].map(Real::from) {
            let loss = HuberLoss {
                delta: size,
                reduction,
            };
            let slope = HuberGrad { loss: loss.clone() };
            cases.with_slope("huber", loss, slope, None);
        }
        for beta in [0.0, 0.5, 2.0].map(Real::from) {
            let loss = SmoothL1Loss { beta, reduction };
            let slope = SmoothL1Grad { loss: loss.clone() };
            cases.with_slope("smooth l1", loss, slope, None);
        }
        for weights in [None, Some([0.25, 2.0, 0.0].map(Real::from).to_vec())] {
            let weighted = weights.as_ref().map(|_| TensorType::fixed([3]));
            let loss = BceWithLogitsLoss {
                reduction,
                pos_weight: Weights(weights),
            };
            let slope = BceWithLogitsGrad { loss: loss.clone() };
            cases.with_slope("binary cross-entropy", loss, slope, weighted);
        }
    }
    cases.0
}

/// Losses of a class, with and without weights, and smoothed.
pub fn of_classes() -> Vec<Case> {
    let mut cases = Cases::default();
    let (x, t) = (TensorType::batch([3]), TensorType::batch([]));
    for weights in [None, Some([0.25, 2.0, 0.5].map(Real::from).to_vec())] {
        let weighted = weights.as_ref().map(|_| TensorType::fixed([3]));
        let operands = [&[x.clone(), t.clone()][..], weighted.as_slice()].concat();
        let weight = Weights(weights);
        let nll = NllLoss {
            weight: weight.clone(),
            reduction: Reduction::Sum,
        };
        cases.add("likelihood", nll, &operands);
        let slope = [&[x.clone(), t.clone(), t.clone()][..], weighted.as_slice()].concat();
        cases.add("likelihood", NllGrad, &slope);
        for smoothing in [0.0, 0.1, 1.0] {
            let loss = CrossEntropyLoss {
                weight: weight.clone(),
                reduction: Reduction::Sum,
                label_smoothing: smoothing.into(),
            };
            cases.add("cross-entropy", loss.clone(), &operands);
            let saved = vec![t.clone(); 4 + weighted.iter().len()];
            let slope = [&operands[..], &saved].concat();
            cases.add("cross-entropy", CrossEntropyGrad { loss }, &slope);
        }
    }
    cases.0
}
