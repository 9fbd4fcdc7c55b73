//! A thread for each element: windows, elementwise chains, and stages over common axes.
//!
//! Does not know tiles or shared memory.

use std::collections::BTreeMap;

use super::{Builder, Place, Trips, around, when};
use crate::backend::combine;
use crate::backend::pieces::{self, Piece, bounded};
use crate::nest::loops::{Dim, Expr as V, Kind, RegId, Stmt, ValueId};
use crate::nest::{Affine, Combine, Stage};

/// Windows of up to so many taps are written out.
const MOST_UNROLLED: i64 = 16;

impl<'a> Builder<'a> {
    /// Pieces of a stage over the same variables: a thread takes an element of each.
    pub(super) fn elements(&mut self, s: &'a Stage, pieces: &[Piece]) {
        let mut dims = Vec::new();
        let mut guard = vec![];
        let images = s.own.iter().copied().find(|&a| self.is_batch(a));
        let images = images.map(|a| (a, self.k.var("n")));
        if let Some((_, n)) = images {
            dims.push(self.over_images(n));
            guard.push(self.is_valid(Affine::var(n)));
        }
        let mut body = Vec::new();
        for p in pieces {
            let mut place = Place {
                stage: s,
                axes: p.axes.clone(),
                acc: vec![],
                sums: BTreeMap::new(),
            };
            place.axes.extend(images.map(|(a, n)| (a, Affine::var(n))));
            body.extend(self.whole_sums(&mut place));
            body.extend(self.combined(p, place));
        }
        let own = pieces.first().map_or(&[][..], |p| &p.own);
        dims.extend(own.iter().map(|&(v, n)| Dim::count(v, n)));
        if dims.is_empty() {
            // One number, of one thread.
            dims.push(Dim::count(self.k.var("e"), 1));
        }
        self.push(dims, Kind::Spread, when(guard, body));
    }

    /// Stages over common axes, the images and perhaps positions: a thread takes one of them through all stages.
    pub(super) fn rows(&mut self) {
        let n = self.k.var("n");
        let shared = pieces::shared(self.k, self.n);
        let mut body = Vec::new();
        for s in &self.n.stages {
            for p in pieces::split(self.k, self.n, s, &shared) {
                let mut place = Place {
                    stage: s,
                    axes: p.axes.clone(),
                    acc: vec![],
                    sums: BTreeMap::new(),
                };
                let images = self.n.shared.iter().chain(&s.own).copied();
                for a in images.filter(|&a| self.is_batch(a)) {
                    place.axes.insert(a, Affine::var(n));
                }
                let dims = p.own.iter().map(|&(v, n)| Dim::count(v, n)).collect();
                let inner = self.combined(&p, place);
                body.extend(around(dims, Kind::Serial, inner));
            }
        }
        let mut dims = vec![self.over_images(n)];
        dims.extend(shared.iter().map(|&(_, (v, extent))| Dim::count(v, extent)));
        let body = when(vec![self.is_valid(Affine::var(n))], body);
        self.push(dims, Kind::Spread, body);
    }

    /// One element: its reduction, then what is stored.
    fn combined(&mut self, p: &Piece, mut place: Place) -> Vec<Stmt> {
        let s = place.stage;
        let mut out = Vec::new();
        if s.combine != Combine::None {
            let acc: Vec<RegId> = (0..s.combine.width())
                .map(|_| self.k.reg("acc", &[]))
                .collect();
            let set = |reg: RegId, value| Stmt::Set {
                reg,
                index: vec![],
                value,
            };
            let initial = combine::initial(self.k, s.combine);
            out.extend(acc.iter().zip(initial).map(|(&reg, x)| set(reg, x)));
            let old: Vec<ValueId> = acc.iter().map(|&r| self.k.get(r, &[])).collect();
            let x = self.value(&place, s.body);
            let here = (acc.len() > 1).then(|| self.position(&place));
            let new = combine::step(self.k, s.combine, x, &old, here);
            // Positions first: they depend on the old values.
            let step = acc.iter().zip(new).rev().map(|(&reg, x)| set(reg, x));
            out.extend(reduction(p, step.collect()));
            place.acc = old;
        }
        out.extend(self.finish(&place, None));
        out
    }

    /// The position of an element, counted row-major over the reduction axes.
    fn position(&mut self, place: &Place) -> ValueId {
        let flat = place.stage.reduce.iter().fold(Affine::constant(0), |p, a| {
            p * self.n.size(*a) + place.axes[a].clone()
        });
        self.k.value(V::Number(flat))
    }
}

/// The loops of a reduction, without the terms that do not exist.
fn reduction(p: &Piece, body: Vec<Stmt>) -> Vec<Stmt> {
    let taps: i64 = p.reduce.iter().map(|r| r.1).product();
    let free = |r: &Trips| !p.conditions.iter().any(|c| c.uses(r.0));
    if taps <= MOST_UNROLLED && p.reduce.iter().all(free) {
        return p.reduce.iter().rev().fold(body, |body, &(v, n)| {
            around(vec![Dim::count(v, n)], Kind::Unrolled, body)
        });
    }
    // Each loop's bounds may depend on those around it.
    p.reduce.iter().rev().fold(body, |body, &(v, n)| {
        let around_it = |c: &&_| known(p, c, v);
        let conditions: Vec<_> = p.conditions.iter().filter(around_it).cloned().collect();
        around(vec![bounded(v, n, &conditions)], Kind::Serial, body)
    })
}

/// Whether all reduction variables of a condition but `v` are bound around the loop over `v`.
fn known(p: &Piece, c: &crate::nest::loops::At, v: crate::nest::loops::Var) -> bool {
    let at = p.reduce.iter().position(|r| r.0 == v);
    let inner = at.map_or(&[][..], |at| &p.reduce[at + 1..]);
    !inner.iter().any(|r| c.uses(r.0))
}
