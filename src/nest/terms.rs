//! How many multiply-adds a nest has: the points of the stages that sum products.
//!
//! Does not know operators: padding is what a stage's domain leaves out.

mod points;

use super::{Binary, Combine, Expr, ExprId, Nest, Stage};
use points::Points;

/// Multiply-adds for one image; for the whole, where nothing is of an image. The most that can be told is `u64::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Macs {
    /// Those whose factors both exist: the work that there is.
    pub terms: u64,
    /// As they are counted by convention: those of a window that meets padding as well, where a factor is zero.
    pub padded: u64,
}

impl Macs {
    /// Both counts of two things together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            terms: self.terms.saturating_add(other.terms),
            padded: self.padded.saturating_add(other.padded),
        }
    }
}

impl Nest {
    /// Multiply-adds of all stages that sum products of two elements.
    pub fn macs(&self) -> Macs {
        let stages = self.stages.iter().filter(|s| sums_products(s));
        let each = stages.map(|s| {
            let padded = saturated(Points::new(self, s).without_borders(s).count());
            let terms = saturated(self.points(s)).min(padded);
            Macs { terms, padded }
        });
        each.fold(Macs::default(), Macs::plus)
    }

    /// The points of a stage's axes, the shared ones included, that lie in its domain, for one image. `None` where the
    /// domain is of a form that cannot be counted but by visiting too many points; no operator has such a domain.
    pub fn points(&self, s: &Stage) -> Option<u128> {
        Points::new(self, s).count()
    }
}

/// Whether the stage sums products of two different elements; a square is a function of one, and what a number scales
/// is no product of two.
fn sums_products(s: &Stage) -> bool {
    match s.exprs.get(s.body.0 as usize) {
        Some(&Expr::Binary(Binary::Mul, a, b)) => {
            s.combine == Combine::Sum && a != b && reads(s, a) && reads(s, b)
        }
        _ => false,
    }
}

/// Whether an element is part of an expression.
fn reads(s: &Stage, e: ExprId) -> bool {
    match &s.exprs[e.0 as usize] {
        Expr::Load(_) => true,
        Expr::Unary(_, x) => reads(s, *x),
        Expr::Binary(_, a, b) => reads(s, *a) || reads(s, *b),
        Expr::Select(_, xs) => xs.iter().any(|x| reads(s, *x)),
        Expr::Const(_) | Expr::Scalar(_) | Expr::Axis(_) | Expr::Acc(_) | Expr::Random { .. } => {
            false
        }
    }
}

/// What is not known is as many as can be told.
fn saturated(points: Option<u128>) -> u64 {
    points.map_or(u64::MAX, |n| u64::try_from(n).unwrap_or(u64::MAX))
}
