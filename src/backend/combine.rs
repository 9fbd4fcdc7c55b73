//! How a kernel combines the elements of a reduction, one after the other.
//!
//! Knows values only: registers, loops and lanes are the schedules'.

use crate::nest::loops::{Expr, Kernel, ValueId};
use crate::nest::{Binary, Combine, Compare};

/// What the accumulators hold before the first element, one value for each.
pub fn initial(k: &mut Kernel, combine: Combine) -> Vec<ValueId> {
    let lowest = k.constant(f32::NEG_INFINITY);
    match combine {
        Combine::ArgMaxFirst => vec![lowest, k.constant(-1.0)],
        Combine::Max => vec![lowest],
        Combine::Sum | Combine::None => vec![k.constant(0.0)],
    }
}

/// The accumulators' next values after element `x`, whose position is `here` where the combiner asks for it.
pub fn step(
    k: &mut Kernel,
    combine: Combine,
    x: ValueId,
    old: &[ValueId],
    here: Option<ValueId>,
) -> Vec<ValueId> {
    if combine == Combine::Sum {
        return vec![k.binary(Binary::Add, old[0], x)];
    }
    // A NaN wins and stays: it differs from itself, and nothing is greater than it.
    let new = k.value(Expr::Select(Compare::Gt, [x, old[0], x, old[0]]));
    let new = k.value(Expr::Select(Compare::Ne, [x, x, x, new]));
    let (Some(here), &[old, at]) = (here, old) else {
        return vec![new];
    };
    let zero = k.constant(0.0);
    let greater = k.value(Expr::Select(Compare::Gt, [x, old, here, at]));
    let nan = k.value(Expr::Select(Compare::Ne, [old, old, at, here]));
    let next = k.value(Expr::Select(Compare::Ne, [x, x, nan, greater]));
    // The first element counts even where it is −∞.
    let next = k.value(Expr::Select(Compare::Lt, [at, zero, here, next]));
    vec![new, next]
}
