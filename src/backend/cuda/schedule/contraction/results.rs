//! Results: how a tile leaves the registers of its threads.
//!
//! Where threads shared out the reduction, their sums meet in shared memory first. What is fused behind the sum is computed
//! on the way. Does not know how the sums came about.

use std::collections::BTreeMap;

use super::{Cut, Tiles};
use crate::backend::cuda::schedule::{Builder, Place, around, unrolled, when};
use crate::nest::loops::{At, Dim, Expr as V, Kind, Read, Stmt, ValueId, Var, Write};
use crate::nest::{Affine, Binary};

impl Builder<'_> {
    /// Results leave from registers: rows of four where they lie side by side, else one by one.
    pub(super) fn end(&mut self, t: &Tiles, shard: Option<Var>) -> Vec<Stmt> {
        let old = self.k.get(t.acc, &t.index());
        let (row, col) = (Affine::var(t.row), Affine::var(t.col));
        let place = t.result(old, &row, &col);
        let store = self.finish(&place, shard.map(Affine::var).as_ref());
        let guard = self.guard(t, &row, &col);
        if let Some(body) = self.rows_of_results(t, &store, &guard) {
            let body = vec![unrolled(t.row, t.t.tm, body)];
            return around(t.threads.clone(), Kind::Threads, body);
        }
        self.each(t, |_, _| when(guard, store))
    }

    /// The same results through a row of registers; `None` where they are not neighbours, or not aligned.
    fn rows_of_results(&mut self, t: &Tiles, store: &[Stmt], guard: &[At]) -> Option<Vec<Stmt>> {
        let [Stmt::Store { buf, at, value, .. }] = store else {
            return None;
        };
        let steps = t.steps();
        let known = |v: &Var| steps.get(v).copied().unwrap_or_else(|| t.step_of(*v));
        let aligned = |(v, c): &(Var, i64)| *v == t.col || c * known(v) % 4 == 0;
        let whole = at.coefficient(t.col) == 1
            && t.t.tn % 4 == 0
            && at.constant % 4 == 0
            && at.terms.iter().all(aligned)
            && guard.iter().all(|g| !g.uses(t.col));
        if !whole {
            return None;
        }
        let out = self.k.reg("out", &[t.t.tn as u32]);
        let set = Stmt::Set {
            reg: out,
            index: vec![Affine::var(t.col)],
            value: *value,
        };
        let mut body = vec![unrolled(t.col, t.t.tn, vec![set])];
        for from in (0..t.t.tn).step_by(4) {
            let first = at.substitute(|v| {
                if v == t.col {
                    Affine::constant(from)
                } else {
                    Affine::var(v)
                }
            });
            body.push(Stmt::StoreRow {
                reg: out,
                index: vec![Affine::constant(from)],
                buf: *buf,
                at: first,
                width: 4,
            });
        }
        Some(when(guard.to_vec(), body))
    }

    /// Threads that shared out the reduction leave their sums in shared memory; results are their sums, in order.
    pub(super) fn split_end(&mut self, t: &Tiles, shard: Option<Var>) -> Vec<Stmt> {
        let parts = t.t.split.map_or(1, |s| s.1);
        let (Some(part), m, last) = (t.split, t.t.tm * t.t.mg, t.p.n.len() - 1) else {
            return vec![];
        };
        // One array for each part: rows, then all of a row.
        let mut shape: Vec<(Var, i64)> = vec![];
        let row = t.p.m.map(|m| t.cut(m.0).inner);
        shape.extend(row.map(|r| (r, m)));
        for (n, &size) in t.p.n[..last].iter().zip(&t.t.n) {
            shape.push((t.cut(n.0).inner, size));
        }
        shape.push((t.cut(t.p.n[last].0).inner, t.t.tn * t.t.vg));
        let flat = |at: &dyn Fn(Var) -> At| {
            let start = Affine::constant(0);
            shape.iter().fold(start, |f, &(v, n)| f * n + at(v))
        };
        let all: i64 = shape.iter().map(|s| s.1).product();
        self.shared = 0;
        let buf = self.share("sums", all * parts);
        let own = |v: Var| {
            let shift = match v {
                v if Some(v) == row => Affine::var(t.row),
                v if Some(v) == shape.last().map(|s| s.0) => Affine::var(t.col),
                _ => Affine::constant(0),
            };
            Affine::var(v) + shift
        };
        let at = flat(&own) + Affine::var(part) * all;
        let value = self.k.get(t.acc, &t.index());
        let how = Write::First;
        let mut out = self.each(t, |_, _| {
            vec![Stmt::Store {
                buf,
                at,
                how,
                value,
            }]
        });
        out.push(Stmt::Barrier);
        let sum = self.k.reg("sum", &[]);
        let set = |value| Stmt::Set {
            reg: sum,
            index: vec![],
            value,
        };
        let old = self.k.get(sum, &[]);
        let at = flat(&Affine::var) + Affine::var(part) * all;
        let x = self.k.value(V::Load(buf, at, Read::Splat));
        let mut body = vec![set(self.k.constant(0.0))];
        let add = set(self.k.binary(Binary::Add, old, x));
        body.extend(around(
            vec![Dim::count(part, parts)],
            Kind::Serial,
            vec![add],
        ));
        let zero = Affine::constant(0);
        let place = t.result(old, &zero, &zero);
        let store = self.finish(&place, shard.map(Affine::var).as_ref());
        body.extend(when(self.guard(t, &zero, &zero), store));
        let dims = shape.iter().map(|&(v, n)| Dim::count(v, n)).collect();
        out.extend(around(dims, Kind::Threads, body));
        out.push(Stmt::Barrier);
        out
    }

    /// What must be non-negative for a result to exist: tiles may reach beyond the end.
    fn guard(&mut self, t: &Tiles, row: &At, col: &At) -> Vec<At> {
        let mut out = Vec::new();
        for c in t.cuts.iter().filter(|c| t.p.k.iter().all(|k| k.0 != c.var)) {
            let at = t.at(c, row, col);
            if c.var == t.p.images {
                out.push(self.is_valid(at));
            } else if c.partial() {
                out.push(c.inside(&at));
            }
        }
        out
    }
}

impl Tiles<'_> {
    /// A result of the thread: so many rows and elements of a row beyond its first one.
    fn result(&self, acc: ValueId, row: &At, col: &At) -> Place<'_> {
        let at = |v: Var| self.at(self.cut(v), row, col);
        let axes = self.p.axes.iter();
        Place {
            stage: self.p.stage,
            axes: axes.map(|(&a, x)| (a, x.substitute(at))).collect(),
            acc: vec![acc],
            sums: BTreeMap::new(),
        }
    }

    /// A variable at that result.
    fn at(&self, c: &Cut, row: &At, col: &At) -> At {
        if self.p.m.is_some_and(|m| m.0 == c.var) {
            return c.at() + row.clone();
        }
        if self.p.n.last().is_some_and(|n| n.0 == c.var) {
            return c.at() + col.clone();
        }
        c.at()
    }
}
