//! Removes the equations of a stage's domain: residue classes.
//!
//! A strided or dilated input gradient sums under `h + p − S·o − d·r = 0`. Of the own axis h one piece is
//! made for each residue modulo S: with h = S·q + ρ, those r that can meet it are an arithmetic progression
//! r₀ + t·step, and o is affine in q and t. What remains are inequalities, so only terms that exist are
//! computed. Does not know lanes, tiles or memory.

use std::collections::BTreeMap;

use crate::nest::loops::{At, Dim, Kernel, Quotient, Var};
use crate::nest::{Affine, AxisId, Constraint, Extent, Nest, Stage};

/// A part of a stage whose domain has inequalities only.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Every axis of the stage, the shared ones too, in terms of the piece's variables; the batch is left to the schedule.
    pub axes: BTreeMap<AxisId, At>,
    /// Variables and trip counts of the own axes, in their order.
    pub own: Vec<(Var, i64)>,
    /// Variables and trip counts of the reduction.
    pub reduce: Vec<(Var, i64)>,
    /// All of these are to be non-negative.
    pub conditions: Vec<At>,
}

/// Variables and trip counts of the axes that all stages share, but for the batch; one loop over each is around them all.
pub fn shared(k: &mut Kernel, n: &Nest) -> Vec<(AxisId, (Var, i64))> {
    let mut out = Vec::new();
    for &a in &n.shared {
        if let Extent::Static(extent) = n.extent(a) {
            let var = k.var(&n.axes[a.0 as usize].name);
            out.push((a, (var, i64::from(extent))));
        }
    }
    out
}

/// The pieces of a stage, whose shared axes have these variables. Their results are disjoint and cover the stage's.
pub fn split(k: &mut Kernel, n: &Nest, s: &Stage, shared: &[(AxisId, (Var, i64))]) -> Vec<Piece> {
    let empty = Piece {
        axes: shared.iter().map(|x| (x.0, Affine::var(x.1.0))).collect(),
        own: vec![],
        reduce: vec![],
        conditions: vec![],
    };
    let mut pieces = vec![empty];
    let mut solved: Vec<AxisId> = Vec::new();
    for c in &s.domain {
        let Constraint::Zero(equation) = c else {
            continue;
        };
        let e = Equation::new(n, s, equation);
        solved.extend([e.h, e.o]);
        solved.extend(e.r.map(|r| r.0));
        pieces = pieces.iter().flat_map(|p| e.split(k, n, p)).collect();
    }
    for p in &mut pieces {
        finish(k, n, s, p, &solved);
    }
    pieces
}

/// Adds the axes that no equation binds, sorts the own variables and collects the inequalities.
fn finish(k: &mut Kernel, n: &Nest, s: &Stage, p: &mut Piece, solved: &[AxisId]) {
    let mut bound: BTreeMap<AxisId, (Var, i64)> = BTreeMap::new();
    for (&a, at) in &p.axes {
        if let Some(&v) = p.own.iter().find(|v| s.own.contains(&a) && at.uses(v.0)) {
            bound.insert(a, v);
        }
    }
    p.own.clear();
    for &a in s.own.iter().chain(&s.reduce) {
        let Extent::Static(extent) = n.extent(a) else {
            continue;
        };
        if !solved.contains(&a) {
            let var = k.var(&n.axes[a.0 as usize].name);
            p.axes.insert(a, Affine::var(var));
            bound.insert(a, (var, i64::from(extent)));
        }
        match bound.get(&a) {
            Some(&v) if s.own.contains(&a) => p.own.push(v),
            Some(&v) => p.reduce.push(v),
            None => {}
        }
    }
    for c in &s.domain {
        if let Constraint::NonNegative(a) = c {
            p.conditions.push(a.substitute(|v| p.axes[&v].clone()));
        }
    }
}

/// `h + constant − stride·o − d·r = 0`
struct Equation {
    h: AxisId,
    o: AxisId,
    stride: i64,
    r: Option<(AxisId, i64)>,
    constant: i64,
}

impl Equation {
    /// Panics where the equation has another form, which no operator writes.
    fn new(n: &Nest, s: &Stage, a: &Affine<AxisId>) -> Self {
        let own = a.terms.iter().find(|t| s.own.contains(&t.0) && t.1 == 1);
        let h = own.expect("an equation binds one own axis").0;
        let mut rest: Vec<(AxisId, i64)> = a.terms.iter().copied().filter(|t| t.0 != h).collect();
        rest.sort_by_key(|t| std::cmp::Reverse(n.size(t.0)));
        assert!(rest.len() <= 2 && rest.iter().all(|t| s.reduce.contains(&t.0) && t.1 < 0));
        let (o, stride) = (rest[0].0, -rest[0].1);
        let r = rest.get(1).map(|t| (t.0, -t.1));
        Self {
            h,
            o,
            stride,
            r,
            constant: a.constant,
        }
    }

    fn split(&self, k: &mut Kernel, n: &Nest, p: &Piece) -> Vec<Piece> {
        (0..self.stride.min(n.size(self.h)))
            .map(|rho| self.piece(k, n, p, rho))
            .collect()
    }

    fn piece(&self, k: &mut Kernel, n: &Nest, p: &Piece, rho: i64) -> Piece {
        let mut p = p.clone();
        let count = (n.size(self.h) - rho + self.stride - 1) / self.stride;
        let q = k.var(&n.axes[self.h.0 as usize].name);
        p.own.push((q, count));
        p.axes.insert(self.h, Affine::var(q) * self.stride + rho);
        let (r_size, d) = self.r.map_or((1, 0), |(r, d)| (n.size(r), d));
        let base = rho + self.constant;
        let meets = |r: &i64| (base - d * r).rem_euclid(self.stride) == 0;
        let hits: Vec<i64> = (0..r_size.min(self.stride * 2))
            .filter(meets)
            .take(2)
            .collect();
        let first = hits.first().copied().unwrap_or(0);
        let step = if hits.len() == 2 {
            hits[1] - hits[0]
        } else {
            r_size
        };
        let trips = if hits.is_empty() {
            0
        } else {
            (r_size - first + step - 1) / step
        };
        let t = k.var(&n.axes[self.r.map_or(self.o, |r| r.0).0 as usize].name);
        p.reduce.push((t, trips));
        if let Some((r, _)) = self.r {
            p.axes.insert(r, Affine::var(t) * step + first);
        }
        // With one trip any slope will do; a zero would hide from the loop that it may be empty.
        let slope = if trips > 1 { d * step / self.stride } else { 1 };
        let o =
            Affine::var(q) - Affine::var(t) * slope + (base - d * first).div_euclid(self.stride);
        p.conditions.push(o.clone());
        p.conditions.push(o.clone() * -1 + (n.size(self.o) - 1));
        p.axes.insert(self.o, o);
        p
    }
}

/// Drops the inequalities that hold at every point.
pub fn drop_idle(p: &mut Piece) {
    let last = |v: Var| {
        let of = |list: &[(Var, i64)]| list.iter().find(|x| x.0 == v).map(|x| x.1 - 1);
        of(&p.own).or_else(|| of(&p.reduce))
    };
    let least = |c: &At| {
        let parts = c
            .terms
            .iter()
            .map(|&(v, f)| last(v).map(|l| (f * l).min(0)));
        parts.sum::<Option<i64>>().map(|sum| c.constant + sum)
    };
    let needed: Vec<bool> = p
        .conditions
        .iter()
        .map(|c| least(c).is_none_or(|l| l < 0))
        .collect();
    let mut needed = needed.into_iter();
    p.conditions.retain(|_| needed.next() == Some(true));
}

/// Whether the conditions on `v` hold from `first` to `last`, whatever the others are, which all conditions on it are
/// about.
pub fn hold(p: &Piece, v: Var, others: &[(Var, i64)], first: i64, last: i64) -> bool {
    p.conditions.iter().filter(|c| c.uses(v)).all(|c| {
        let least = c.terms.iter().fold(c.constant, |sum, &(x, f)| {
            let trips = others.iter().find(|t| t.0 == x).map_or(1, |t| t.1);
            let (low, high) = if x == v {
                (first, last)
            } else {
                (0, trips - 1)
            };
            sum + (f * low).min(f * high)
        });
        least >= 0
    })
}

/// The piece with its own variables renamed, in order, to these.
pub fn renamed(p: &Piece, own: &[(Var, i64)]) -> Piece {
    let new = |a: &At| {
        a.substitute(|v| {
            let at = p.own.iter().position(|o| o.0 == v);
            Affine::var(at.map_or(v, |at| own[at].0))
        })
    };
    Piece {
        axes: p.axes.iter().map(|(&a, at)| (a, new(at))).collect(),
        own: own.to_vec(),
        reduce: p.reduce.clone(),
        conditions: p.conditions.iter().map(new).collect(),
    }
}

/// A reduction variable from 0 to below n, within what the conditions leave.
pub fn bounded(v: Var, n: i64, conditions: &[At]) -> Dim {
    let mut d = Dim::count(v, n);
    for c in conditions.iter().filter(|c| c.uses(v)) {
        let f = c.coefficient(v);
        let rest = c.clone() - Affine::var(v) * f;
        if f > 0 {
            // f·v + rest ≥ 0: v ≥ ⌈−rest / f⌉
            d.lower.push(Quotient {
                num: rest * -1 + (f - 1),
                div: f,
            });
        } else {
            // v ≤ ⌊rest / −f⌋
            d.upper.push(Quotient {
                num: rest - f,
                div: -f,
            });
        }
    }
    d
}
