//! Which axis of a piece the lanes run along, and what is joined or written out for that.
//!
//! Knows what accesses look like, but not how a tile computes.

use super::super::{Home, MOST_UNROLLED, Place, Scheduler, Trips};
use super::MOST_APART;
use crate::backend::pieces::{Piece, hold};
use crate::nest::loops::{At, Var};
use crate::nest::{Access, Affine, Binary, Combine, Expr, ExprId, Stage, operands};

/// What is in the lanes.
pub(super) enum Along {
    /// Results, side by side.
    Own(Trips),
    /// Terms of a sum.
    Reduced(Trips),
}

/// Results that lie apart are stored one by one, which makes them so many times as dear.
const APART: i64 = 2;
/// Vectors whose lanes do not all take part are each written out, up to so many: a row may have padding without end.
const MOST_MASKED: usize = 32;
/// Operations that add up lanes.
const REDUCTION: i64 = 10;

impl Scheduler<'_> {
    /// The axis that leaves fewest lanes idle; none where one lane of use is as good.
    pub(super) fn lanes(&self, s: &Stage, p: &Piece) -> Option<Along> {
        let lanes = i64::from(self.options.lanes);
        let spent = |n: i64| 100 * (self.vectors(n) * lanes) / n;
        let own = p.own.iter().filter(|&&(v, n)| {
            n > 1 && self.side_by_side(s, p, v, &all(s)) && self.peels(s, p, (v, n))
        });
        let place = self.plain(s, p);
        let apart = |v: Var| s.outs.iter().any(|a| self.spacing(&place, a, v) > 1);
        let dear = |v: Var| if apart(v) { APART } else { 1 };
        let own = own.map(|&l| (spent(l.1) * dear(l.0), Along::Own(l)));
        let terms: i64 = p.reduce.iter().map(|r| r.1).product();
        let sums = p
            .reduce
            .iter()
            .filter(|&&(v, n)| n > 1 && terms > 0 && self.summable(s, p, (v, n)));
        let sums = sums.map(|&l| {
            let steps = terms / l.1 * self.vectors(l.1);
            (spent(l.1) * (steps + REDUCTION) / steps, Along::Reduced(l))
        });
        let best = own.rev().chain(sums.rev()).min_by_key(|c| c.0);
        best.filter(|c| c.0 < 100 * lanes).map(|c| c.1)
    }

    /// A place whose addresses are those of the piece.
    pub(super) fn plain<'a>(&self, s: &'a Stage, p: &Piece) -> Place<'a> {
        Place {
            stage: s,
            axes: p.axes.clone(),
            image: Affine::constant(0),
            acc: vec![],
            row: None,
        }
    }

    /// Elements between the operands of neighbours along `v`, of what lies in memory.
    pub(super) fn spacing(&self, place: &Place, a: &Access, v: Var) -> i64 {
        match self.tensors[a.tensor.0 as usize] {
            Home::Memory(_) => self.address(place, a).coefficient(v),
            Home::Register(_) => 0,
        }
    }

    /// Whether results along `v` can be in the lanes: they lie side by side or at least are not added to others, and their
    /// operands lie side by side or a power of two apart.
    pub(super) fn side_by_side(&self, s: &Stage, p: &Piece, v: Var, read: &[&Expr]) -> bool {
        let place = self.plain(s, p);
        let stored = |a: &Access| {
            let step = self.spacing(&place, a, v);
            matches!(self.tensors[a.tensor.0 as usize], Home::Memory(_))
                && (step == 1 || step > 1 && !self.sums_images(s))
        };
        s.outs.iter().all(stored) && read.iter().all(|e| self.readable(&place, e, v))
    }

    fn readable(&self, place: &Place, e: &Expr, v: Var) -> bool {
        match e {
            Expr::Load(a) => match self.spacing(place, a, v) {
                0 | 1 => true,
                n => self.n.ty(a.tensor).is_batch() && n <= MOST_APART && n & (n - 1) == 0,
            },
            Expr::Axis(a) => {
                let at: At = a.substitute(|x| place.axes[&x].clone());
                [0, 1].contains(&at.coefficient(v))
            }
            _ => true,
        }
    }

    /// Whether the conditions on lanes along the own axis `l` are known once taps are written out, few vectors have lanes
    /// that they leave out, and those add 0.
    fn peels(&self, s: &Stage, p: &Piece, l: Trips) -> bool {
        let v = l.0;
        let others = |c: &At| p.own.iter().all(|o| o.0 == v || !c.uses(o.0));
        let free = p.conditions.iter().all(|c| !c.uses(v));
        let taps: i64 = coupled(p, v).iter().map(|t| t.1).product();
        let known = p.conditions.iter().filter(|c| c.uses(v)).all(others);
        let few = || self.masked(p, l, &coupled(p, v)) <= MOST_MASKED;
        free || known && taps <= MOST_UNROLLED && self.adds_zero(s, p, v) && few()
    }

    /// Whether a vector's lanes along `l` all exist and meet the conditions, whatever the taps are.
    pub(super) fn whole(&self, p: &Piece, l: Trips, taps: &[Trips], vector: i64) -> bool {
        let lanes = i64::from(self.options.lanes);
        let (first, last) = (vector * lanes, vector * lanes + lanes - 1);
        last < l.1 && hold(p, l.0, taps, first, last)
    }

    /// Vectors along `l` in which lanes do not take part.
    fn masked(&self, p: &Piece, l: Trips, taps: &[Trips]) -> usize {
        let all = 0..self.vectors(l.1);
        all.filter(|&v| !self.whole(p, l, taps, v)).count()
    }

    /// Whether terms along `l` can be summed in lanes.
    fn summable(&self, s: &Stage, p: &Piece, l: Trips) -> bool {
        let v = l.0;
        let place = self.plain(s, p);
        let mut with = coupled(p, v).into_iter();
        let position = with.next();
        let own = position.is_none_or(|x| p.own.contains(&x) && x.1 <= MOST_UNROLLED);
        let alone = p.conditions.iter().filter(|c| c.uses(v)).all(|c| {
            p.own
                .iter()
                .chain(&p.reduce)
                .all(|o| o.0 == v || position.is_some_and(|x| x.0 == o.0) || !c.uses(o.0))
        });
        own && with.next().is_none()
            && alone
            && s.exprs.iter().all(|e| self.readable(&place, e, v))
            && self.adds_zero(s, p, v)
            && self.masked(p, l, position.as_slice()) <= MOST_MASKED
    }

    /// Whether a lane adds nothing where what differs along `v` is read as 0: terms are elements or products of two, and
    /// one of them knows all that a condition knows.
    fn adds_zero(&self, s: &Stage, p: &Piece, v: Var) -> bool {
        let place = self.plain(s, p);
        let operands = match &s.exprs[s.body.0 as usize] {
            Expr::Binary(Binary::Mul, a, b) => vec![*a, *b],
            _ => vec![s.body],
        };
        let load = |e: &ExprId| match &s.exprs[e.0 as usize] {
            Expr::Load(a) => Some(a),
            _ => None,
        };
        let constant = |e: &&ExprId| matches!(s.exprs[e.0 as usize], Expr::Const(_));
        let operands = operands.iter().filter(|e| !constant(e));
        let loads: Option<Vec<&Access>> = operands.map(load).collect();
        let varying = loads.unwrap_or_default();
        let varying = varying
            .into_iter()
            .filter(|a| self.spacing(&place, a, v) > 0);
        let at: Vec<At> = varying.map(|a| self.address(&place, a)).collect();
        let masked = |c: &At| at.iter().any(|a| c.terms.iter().all(|t| a.uses(t.0)));
        let on = p.conditions.iter().filter(|c| c.uses(v));
        s.combine == Combine::Sum && !at.is_empty() && on.into_iter().all(masked)
    }

    /// The channels of a product, and the rows of results that no condition knows.
    pub(super) fn sides(&self, s: &Stage, p: &Piece, l: Var) -> (Option<Trips>, Option<Trips>) {
        let channel = self.roles(s, p).0.filter(|c| c.0 != l);
        let row = |o: &&Trips| {
            let free = p.conditions.iter().all(|c| !c.uses(o.0));
            free && o.0 != l && o.1 > 1 && channel.is_some_and(|c| c.0 != o.0)
        };
        (channel, p.own.iter().rev().find(row).copied())
    }

    /// The piece with neighbouring axes made one where all its accesses run on from one row to the next.
    pub(super) fn joined(&self, s: &Stage, mut p: Piece, read: &[&Expr]) -> Piece {
        while let Some((outer, inner)) = self.joinable(s, &p, read) {
            let one = |a: &At| {
                a.substitute(|v| match v == outer {
                    true => Affine::constant(0),
                    false => Affine::var(v),
                })
            };
            p.axes.values_mut().for_each(|a| *a = one(a));
            for list in [&mut p.own, &mut p.reduce] {
                let trips = list.iter().find(|t| t.0 == outer).map_or(1, |t| t.1);
                list.retain(|t| t.0 != outer);
                let kept = list.iter_mut().filter(|t| t.0 == inner);
                kept.for_each(|t| t.1 *= trips);
            }
        }
        p
    }

    fn joinable(&self, s: &Stage, p: &Piece, read: &[&Expr]) -> Option<(Var, Var)> {
        let place = self.plain(s, p);
        let reduce = s.combine != Combine::ArgMaxFirst;
        let lists = [&p.own[..], if reduce { &p.reduce[..] } else { &[] }];
        let pairs = lists.into_iter().flat_map(|l| l.windows(2));
        let mut pairs = pairs.map(|w| (w[0].0, w[1]));
        let found = pairs.find(|&(outer, (inner, n))| {
            let on =
                |a: &Access| self.spacing(&place, a, outer) == n * self.spacing(&place, a, inner);
            let used = |a: &At| a.uses(outer) || a.uses(inner);
            s.outs.iter().all(on)
                && !p.conditions.iter().any(used)
                && read.iter().all(|e| match e {
                    Expr::Load(a) => on(a),
                    Expr::Axis(a) => !used(&a.substitute(|x| place.axes[&x].clone())),
                    Expr::Random { element, .. } => {
                        let at = element.substitute(|x| place.axes[&x].clone());
                        at.coefficient(outer) == n * at.coefficient(inner)
                    }
                    _ => true,
                })
        });
        found.map(|(outer, inner)| (outer, inner.0))
    }
}

/// All expressions of a stage.
pub(super) fn all(s: &Stage) -> Vec<&Expr> {
    s.exprs.iter().collect()
}

/// The expressions that these are made of.
pub(super) fn used<'a>(s: &'a Stage, roots: &[ExprId]) -> Vec<&'a Expr> {
    let mut list = roots.to_vec();
    let mut out = Vec::new();
    while let Some(e) = list.pop() {
        let e = &s.exprs[e.0 as usize];
        out.push(e);
        list.extend(operands(e));
    }
    out
}

/// The other variables of conditions on `v`.
pub(super) fn coupled(p: &Piece, v: Var) -> Vec<Trips> {
    let conditions: Vec<&At> = p.conditions.iter().filter(|c| c.uses(v)).collect();
    let others = p.own.iter().chain(&p.reduce);
    let others = others.filter(|o| o.0 != v && conditions.iter().any(|c| c.uses(o.0)));
    others.copied().collect()
}

/// The taps that are written out: those that conditions on `v` know, and the last ones that no condition knows.
pub(super) fn taps(p: &Piece, v: Var) -> Vec<Trips> {
    let mut out = coupled(p, v);
    let mut count: i64 = out.iter().map(|t| t.1).product();
    for &t in p.reduce.iter().rev() {
        if out.contains(&t) {
            continue;
        }
        count *= t.1;
        if count > MOST_UNROLLED || p.conditions.iter().any(|c| c.uses(t.0)) {
            break;
        }
        out.insert(0, t);
    }
    out
}
