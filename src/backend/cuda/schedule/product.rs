//! Recognises a sum of products, and says what a tile of its results needs of each operand.
//!
//! out[g, m, n] = Σ_k a[g, m, k] · b[g, n, k]: one own variable is read by the first factor alone (m), others by the
//! second alone (n), the rest by both (g, the groups of a convolution). Convolution, its two gradients, Linear
//! and its two gradients are of this form, and each factor reads one tensor at affine indices, so that what a
//! tile needs of it is a *box* of neighbouring elements: a window's overlaps are brought in once. Elements of a box
//! outside of the tensor are zeros, which is what a domain's inequalities say if they bound an index by the
//! tensor's size.
//!
//! Does not know tile sizes, threads or memory.

use std::collections::BTreeMap;

use super::{Builder, Trips};
use crate::backend::pieces::Piece;
use crate::nest::loops::{At, Var};
use crate::nest::{Access, Affine, AxisId, Binary, Combine, Expr, ExprId, Index, Stage};

/// A piece of a stage that is a sum of products.
pub(super) struct Product<'a> {
    pub stage: &'a Stage,
    /// Every axis in terms of the variables below.
    pub axes: BTreeMap<AxisId, At>,
    pub a: Factor<'a>,
    pub b: Factor<'a>,
    pub groups: Vec<Trips>,
    pub m: Option<Trips>,
    /// The last one is the threads' own.
    pub n: Vec<Trips>,
    pub k: Vec<Trips>,
    /// The variable of the images, which is one of `n` or of `k`.
    pub images: Var,
    /// Whether images are summed.
    pub summed: bool,
}

/// A factor: an expression of one element.
pub(super) struct Factor<'a> {
    pub expr: ExprId,
    pub access: &'a Access,
}

impl<'a> Builder<'a> {
    /// The piece as a sum of products, if it is one.
    pub(super) fn product(&mut self, s: &'a Stage, p: &Piece) -> Option<Product<'a>> {
        let Expr::Binary(Binary::Mul, a, b) = s.exprs[s.body.0 as usize] else {
            return None;
        };
        // Between a stride's taps there are results that nothing adds to.
        let empty = p.reduce.iter().any(|r| r.1 == 0);
        if s.combine != Combine::Sum || empty {
            return None;
        }
        let (a, b) = (factor(s, a)?, factor(s, b)?);
        let batch = self.batch_axis()?;
        let summed = s.reduce.contains(&batch);
        if !summed && !s.own.contains(&batch) || !self.bounded_by_tensors(p, [&a, &b]) {
            return None;
        }
        let images = self.k.var("n");
        let mut axes = p.axes.clone();
        axes.insert(batch, Affine::var(images));
        let all = (images, i64::from(self.o.batch));
        let (mut own, mut k) = (p.own.clone(), p.reduce.clone());
        if summed { &mut k } else { &mut own }.insert(0, all);
        let by = |f: &Factor, v: Var| reads(&axes, f.access, v);
        let only = |x: &Factor, y: &Factor| -> Vec<Trips> {
            let alone = own.iter().filter(|o| by(x, o.0) && !by(y, o.0));
            alone.copied().collect()
        };
        let (m, n) = (only(&a, &b), only(&b, &a));
        let groups: Vec<Trips> = own
            .iter()
            .copied()
            .filter(|o| by(&a, o.0) == by(&b, o.0))
            .collect();
        if m.len() > 1 || n.is_empty() {
            return None;
        }
        Some(Product {
            stage: s,
            a,
            b,
            groups,
            m: m.first().copied(),
            n,
            k,
            images,
            summed,
            axes,
        })
    }

    /// Whether every inequality bounds an index of a factor by the size of its tensor.
    fn bounded_by_tensors(&self, p: &Piece, factors: [&Factor; 2]) -> bool {
        let bounds: Vec<At> = factors
            .iter()
            .flat_map(|f| {
                let ty = self.n.ty(f.access.tensor);
                let skip = f.access.index.len() - ty.dims.len();
                let sized = f.access.index[skip..].iter().zip(&ty.dims);
                sized.filter_map(|(i, &d)| match i {
                    Index::Affine(i) if i.terms.iter().all(|t| p.axes.contains_key(&t.0)) => {
                        let i = i.substitute(|v| p.axes[&v].clone());
                        Some([i.clone(), i * -1 + (i64::from(d) - 1)])
                    }
                    _ => None,
                })
            })
            .flatten()
            .collect();
        p.conditions.iter().all(|c| bounds.contains(c))
    }
}

/// An expression that reads one element, besides constants.
fn factor(s: &Stage, expr: ExprId) -> Option<Factor<'_>> {
    let mut loads = Vec::new();
    let mut open = vec![expr];
    while let Some(e) = open.pop() {
        match &s.exprs[e.0 as usize] {
            Expr::Load(a) => loads.push(a),
            Expr::Unary(_, x) => open.push(*x),
            Expr::Binary(_, x, y) => open.extend([*x, *y]),
            Expr::Const(_) | Expr::Scalar(_) => {}
            Expr::Axis(_) | Expr::Acc(_) | Expr::Random { .. } | Expr::Select(..) => return None,
        }
    }
    let [access] = loads[..] else { return None };
    Some(Factor { expr, access })
}

/// Whether an access depends on a variable.
fn reads(axes: &BTreeMap<AxisId, At>, a: &Access, v: Var) -> bool {
    a.index.iter().any(|i| match i {
        Index::Affine(i) | Index::Lookup(_, i) => i.substitute(|x| axes[&x].clone()).uses(v),
    })
}
