//! Small images: a vector of results runs on from one row of them into the next.
//!
//! Ten columns fill ten lanes of sixteen, but a hundred results fill seven vectors of sixteen but for twelve lanes. The
//! operands of lanes in different rows lie apart, so that a vector of them is put together of one for each row. That
//! pays where several channels use it.

use super::super::choice::{Lanes, Priced, TileSize};
use super::super::tile::run;
use super::super::{HIDES_LATENCY, Place, Scheduler, Trips, around, cut, loop_over, unrolled};
use super::choose::{taps, used};
use super::{End, InRow};
use crate::backend::pieces::{Piece, bounded};
use crate::nest::loops::{At, Dim, Expr as V, RegId, Stmt, ValueId, Var};
use crate::nest::{Access, Affine, Binary, Combine, Expr, ExprId, Stage};

/// Vectors of an image at most: each is written out.
const MOST_VECTORS: i64 = 16;

/// What a vector of several rows costs, in quarters of a multiply-add.
const SPANNED: i64 = 6;

/// A sum of products of what channels pick and what positions pick.
pub(super) struct Wrapped<'a> {
    stage: &'a Stage,
    piece: &'a Piece,
    factor: &'a Access,
    term: &'a Access,
    channel: Trips,
    rows: Trips,
    columns: Trips,
    lane: Var,
    taps: Vec<Trips>,
    vectors: i64,
}

impl Scheduler<'_> {
    /// The piece as such a sum, if it is one of few vectors and fills more lanes than row by row.
    pub(super) fn wrapped<'a>(
        &self,
        s: &'a Stage,
        piece: &'a Piece,
        columns: Trips,
        lane: Var,
    ) -> Option<Wrapped<'a>> {
        let (channel, rows) = self.sides(s, piece, columns.0);
        let (channel, rows) = (channel?, rows?);
        let vectors = self.vectors(rows.1 * columns.1);
        let fewer = 10 * vectors < 9 * rows.1 * self.vectors(columns.1);
        let [out] = &s.outs[..] else { return None };
        let load = |e: &ExprId| match &s.exprs[e.0 as usize] {
            Expr::Load(a) => Some(a),
            _ => None,
        };
        let Expr::Binary(Binary::Mul, a, b) = &s.exprs[s.body.0 as usize] else {
            return None;
        };
        let (factor, term) = (load(a)?, load(b)?);
        let place = self.plain(s, piece);
        let apart = |a: &Access, v: Trips| self.spacing(&place, a, v.0);
        let runs_on = |a: &Access| apart(a, rows) == columns.1 * apart(a, columns);
        let finished = used(s, &s.finish).into_iter().all(|e| match e {
            Expr::Load(a) => runs_on(a) && apart(a, columns) <= 1,
            Expr::Axis(_) | Expr::Random { .. } => false,
            _ => true,
        });
        let on = finished && runs_on(out) && apart(out, columns) == 1;
        let free = piece.conditions.iter().all(|c| !c.uses(columns.0));
        let picked = apart(factor, rows) == 0 && apart(factor, columns) == 0;
        let several = s.combine == Combine::Sum && !self.sums_images(s) && channel.1 > 1;
        let fits = vectors <= MOST_VECTORS && fewer && apart(term, columns) == 1;
        (on && free && picked && several && fits).then(|| Wrapped {
            stage: s,
            piece,
            factor,
            term,
            channel,
            rows,
            columns,
            lane,
            taps: taps(piece, columns.0),
            vectors,
        })
    }

    /// All results of the piece.
    pub(super) fn wrapped_results(&mut self, w: &Wrapped, end: End) -> Vec<Stmt> {
        let ranked = self.spans(w.channel.1, w.vectors);
        let (height, width) = self.pick(&ranked);
        let size = TileSize {
            channels: height,
            positions: width,
        };
        self.note(Lanes::Rows, Some((size, 1)), ranked);
        let mut body = Vec::new();
        for (a_from, a_tiles, a_size) in cut(w.channel.1, height) {
            let mut tiled = Vec::new();
            for (from, tiles, size) in cut(w.vectors, width) {
                for t in 0..tiles {
                    let first = from + t * size;
                    tiled.extend(self.wrapped_tile(w, a_size, first..first + size, end));
                }
            }
            body.extend(loop_over(Some(w.channel), a_from, a_tiles, a_size, tiled));
        }
        around(w.piece, &[w.channel, w.rows, w.columns].map(Some), body)
    }

    /// The tiles of channels × vectors that fit, the cheapest first: a vector is dear to put together, and all of a tile
    /// are held.
    fn spans(&self, channels: i64, vectors: i64) -> Vec<Priced> {
        let filled = |a: i64, x: i64| a * x + x + 1;
        let cost = |a: i64, x: i64| 4 * (a * x).max(HIDES_LATENCY) + a + SPANNED * x;
        self.ranked([channels, vectors], 1, filled, cost)
    }

    fn wrapped_tile(
        &mut self,
        w: &Wrapped,
        height: i64,
        vectors: std::ops::Range<i64>,
        end: End,
    ) -> Vec<Stmt> {
        let a = self.k.var("a");
        let count = (vectors.end - vectors.start) as u32;
        let acc = self.k.reg("acc", &[height as u32, count]);
        let (f, t) = (self.k.reg("f", &[]), self.k.reg("t", &[count]));
        let numbered = vectors.zip(0..);
        let zero = self.k.constant(0.0);
        let (mut clear, mut terms, mut sums, mut stores) = (vec![], vec![], vec![], vec![]);
        let factor = self.load(&w.place(0, 0, a), w.factor);
        sums.push(set(f, vec![], self.k.value(factor)));
        for (v, k) in numbered {
            let at = vec![Affine::var(a), Affine::constant(k)];
            clear.push(set(acc, at.clone(), zero));
            let term = self.spanned(w, v, a);
            terms.push(set(t, vec![Affine::constant(k)], term));
            let (x, y) = (self.k.get(t, &[Affine::constant(k)]), self.k.get(f, &[]));
            let old = self.k.get(acc, &at);
            let sum = self.k.value(V::Fma(x, y, old));
            sums.push(set(acc, at.clone(), sum));
            let total = self.k.get(acc, &at);
            stores.extend(self.wrapped_end(w, v, a, total, end));
        }
        let mut body = terms;
        body.push(unrolled(a, height, sums));
        for &(v, n) in w.taps.iter().rev() {
            body = vec![unrolled(v, n, body)];
        }
        let rounds = w.piece.reduce.iter().filter(|r| !w.taps.contains(r));
        let dims: Vec<Dim> = rounds
            .map(|&(v, n)| bounded(v, n, &w.piece.conditions))
            .collect();
        let mut out = vec![unrolled(a, height, clear)];
        out.extend(run(dims, body));
        out.push(unrolled(a, height, stores));
        out
    }

    /// The terms of vector `v`, put together of those of each row.
    fn spanned(&mut self, w: &Wrapped, v: i64, a: Var) -> ValueId {
        let lanes = i64::from(self.options.lanes);
        let first = v * lanes;
        let last = (first + lanes).min(w.rows.1 * w.columns.1) - 1;
        let (top, bottom) = (first / w.columns.1, last / w.columns.1);
        let mut parts = (top..=bottom).rev().map(|row| {
            let from = first - row * w.columns.1;
            (row, from)
        });
        let load = |s: &mut Self, (row, from): (i64, i64)| {
            let load = s.load(&w.place(row, from, a), w.term);
            s.k.value(load)
        };
        let Some(part) = parts.next() else {
            unreachable!("a vector is of a row or more")
        };
        let mut value = load(self, part);
        for part in parts {
            let upper = load(self, part);
            let count = Affine::constant(w.columns.1 - part.1);
            value = self.k.value(V::Split(count, upper, value));
        }
        value
    }

    fn wrapped_end(&mut self, w: &Wrapped, v: i64, a: Var, sum: ValueId, end: End) -> Vec<Stmt> {
        let first = v * i64::from(self.options.lanes);
        let row = first / w.columns.1;
        let left = w.rows.1 * w.columns.1 - first;
        let mut place = w.place(row, first - row * w.columns.1, a);
        place.acc = vec![sum];
        place.row = Some(InRow {
            end: Some(Affine::var(w.lane) * -1 + (left - 1)),
            valid: Affine::constant(left),
            ..InRow::whole(w.lane)
        });
        self.row_end(&mut place, end)
    }
}

fn set(reg: RegId, index: Vec<At>, value: ValueId) -> Stmt {
    Stmt::Set { reg, index, value }
}

impl<'a> Wrapped<'a> {
    /// The stage in a row of results, its first lane at a column (of the row before, where that is negative).
    fn place(&self, row: i64, column: i64, a: Var) -> Place<'a> {
        let at = |at: &At| {
            at.substitute(|v| match v {
                v if v == self.rows.0 => Affine::constant(row),
                v if v == self.columns.0 => Affine::var(self.lane) + column,
                v if v == self.channel.0 => Affine::var(v) + Affine::var(a),
                v => Affine::var(v),
            })
        };
        Place {
            stage: self.stage,
            axes: self.piece.axes.iter().map(|(&k, x)| (k, at(x))).collect(),
            image: Affine::constant(0),
            acc: vec![],
            row: Some(InRow::whole(self.lane)),
        }
    }
}
