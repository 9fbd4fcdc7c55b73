//! Sums over all but the channel: Σ_{n,i,j} x\[n,k,i,j\], for images and for vectors. The gradient of a bias that was added
//! to every position of a channel is one: db\[k\] = Σ_{n,i,j} dy\[n,k,i,j\].

use super::{GradCx, Operator, ShapeError};
use crate::ir::{TensorType, Value};
use crate::nest::{Combine, Nest, Stage};

/// dy → db
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BiasGrad;

/// x → the sum of each channel
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelSum;

macro_rules! channel_sum {
    ($op:ident, $nest:literal, $from:literal, $to:literal) => {
        impl Operator for $op {
            fn attributes(&self) -> String {
                String::new()
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                Ok(vec![TensorType::fixed([inputs[0].dims[0]])])
            }
            fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
                vec![None; cx.operands.len()]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                let mut n = Nest::new($nest, inputs, outputs);
                n.rename(n.input(0), $from);
                n.rename(n.out(0), $to);
                let axes = n.axes_of(&inputs[0], &["k", "i", "j"]);
                let mut stage = Stage::new(&[axes[1]]);
                let element = stage.load_at(n.input(0), &axes);
                let rest: Vec<_> = axes.iter().copied().filter(|&a| a != axes[1]).collect();
                stage.reduce(Combine::Sum, &rest, element);
                let sum = stage.acc(0);
                stage.store_at(n.out(0), &[axes[1]], sum);
                n.stages.push(stage);
                n
            }
        }
    };
}

channel_sum!(BiasGrad, "bias_grad", "dy", "db");
channel_sum!(ChannelSum, "channel_sum", "x", "sum");
