//! How much each example counts in a mean over a batch or a set.
//!
//! Each counts 1, unless the loss weighs classes: then its mean divides by the weights of the examples' classes, which the
//! host adds up before a step. Does not know how losses are computed.

use std::ops::Range;

use lenetc_runtime::exec::Bytes;

use super::Set;
use crate::ir::{Scalar, Scalars};
use crate::ops::AnyLoss;

/// The shares of the examples of an order.
#[derive(Clone, Debug)]
pub(super) struct Shares<'a> {
    weighted: Option<Weighted<'a>>,
}

#[derive(Clone, Debug)]
struct Weighted<'a> {
    classes: &'a [i32],
    /// Of each class, as kernels have them.
    weights: Vec<f64>,
    order: Vec<u32>,
}

impl<'a> Shares<'a> {
    /// Those of a set under a loss, in no order yet.
    pub fn of(loss: &AnyLoss, set: &'a Set) -> Self {
        let weights = loss.shares().and_then(|weights| weights.0.as_ref());
        let weighted = weights.and_then(|weights| match set.examples().targets {
            Bytes::I32(classes) => Some(Weighted {
                classes,
                weights: weights.iter().map(|w| w.single().into()).collect(),
                order: vec![],
            }),
            _ => None,
        });
        Self { weighted }
    }

    /// Goes on to another order.
    pub fn begin(&mut self, order: &[u32]) {
        if let Some(weighted) = &mut self.weighted {
            weighted.order = order.to_vec();
        }
    }

    /// What the examples at these positions of the order count together.
    pub fn sum(&self, positions: Range<usize>) -> f64 {
        let Some(weighted) = &self.weighted else {
            return positions.len() as f64;
        };
        let class = |&example: &u32| weighted.classes[example as usize] as usize;
        let examples = weighted.order[positions].iter();
        examples
            .map(|example| weighted.weights[class(example)])
            .sum()
    }

    /// The numbers of a step on the examples at these positions.
    pub fn row(&self, row: Scalars, positions: Range<usize>) -> Scalars {
        match self.weighted {
            Some(_) => row.with(Scalar::InverseBatch, 1.0 / self.sum(positions)),
            None => row,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_counts_as_its_class_does() {
        let shares = Shares {
            weighted: Some(Weighted {
                classes: &[0, 1, 1, 2],
                weights: vec![0.25, 2.0, 0.0],
                order: vec![3, 0, 2, 1],
            }),
        };
        assert_eq!(shares.sum(0..2), 0.25);
        assert_eq!(shares.sum(1..4), 4.25);
        let row = shares.row(Scalars::new(3, 0.5), 1..4);
        assert_eq!(row.get(Scalar::InverseBatch), 1.0 / 4.25);
        assert_eq!(row.get(Scalar::LearningRate), 0.5);
    }

    #[test]
    fn without_weights_each_counts_once() {
        let mut shares = Shares { weighted: None };
        shares.begin(&[4, 2, 7]);
        assert_eq!(shares.sum(0..3), 3.0);
        let row = Scalars::new(3, 0.5);
        assert_eq!(shares.row(row, 0..3), row);
    }
}
