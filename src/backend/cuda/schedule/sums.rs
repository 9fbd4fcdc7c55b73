//! Sums over the images of a batch that are not sums of products, such as a bias's gradient.
//!
//! Where there are positions besides the images, the threads of a block take them in turn, and a tree over the
//! threads adds up; else a thread adds up the images of its element.

use std::collections::BTreeMap;

use super::{Builder, Place, THREADS, around, between, when};
use crate::backend::pieces::Piece;
use crate::nest::loops::{BufId, Dim, Expr as V, Kind, Read, Stmt, Var, Write};
use crate::nest::{Affine, Binary, Combine, Stage};

/// Images of a shard.
const IMAGES: i64 = 8;
/// Positions from which on a block shares out one element.
const MANY: i64 = 32;

impl<'a> Builder<'a> {
    pub(super) fn sum_of_images(&mut self, s: &'a Stage, p: &Piece) {
        assert!(s.combine == Combine::Sum, "only sums run over images");
        let batch = i64::from(self.o.batch);
        let shards = (batch + IMAGES - 1) / IMAGES;
        self.summed_in(s, shards);
        let [n, shard] = ["n", "shard"].map(|v| self.k.var(v));
        let mut place = Place {
            stage: s,
            axes: p.axes.clone(),
            acc: vec![],
            sums: BTreeMap::new(),
        };
        let images = self
            .batch_axis()
            .expect("a sum over images has an axis of them");
        place.axes.insert(images, Affine::var(n));
        let first = Affine::var(shard) * IMAGES;
        let ends = vec![first.clone() + IMAGES, Affine::var(self.valid)];
        let over = between(n, first, ends, 1);
        let mut dims = vec![Dim::count(shard, shards)];
        dims.extend(p.own.iter().map(|&(v, n)| Dim::count(v, n)));
        let acc = self.k.reg("acc", &[]);
        let set = |value| Stmt::Set {
            reg: acc,
            index: vec![],
            value,
        };
        let clear = set(self.k.constant(0.0));
        let (old, x) = (self.k.get(acc, &[]), self.value(&place, s.body));
        let add = set(self.k.binary(Binary::Add, old, x));
        let guarded = when(p.conditions.clone(), vec![add]);
        let add = around(vec![over], Kind::Serial, guarded);
        let positions: i64 = p.reduce.iter().map(|r| r.1).product();
        let loops: Vec<Dim> = p.reduce.iter().map(|&(v, n)| Dim::count(v, n)).collect();
        place.acc = vec![old];
        let at = Affine::var(shard);
        if positions < MANY {
            let mut body = vec![clear];
            body.extend(around(loops, Kind::Serial, add));
            body.extend(self.finish(&place, Some(&at)));
            self.push(dims, Kind::Spread, body);
            return;
        }
        let t = self.k.var("t");
        let width = i64::from(THREADS);
        let threads = |body| around(vec![Dim::count(t, width)], Kind::Threads, body);
        let mut body = threads(vec![clear]);
        body.extend(around(loops, Kind::Threads, add));
        let sums = self.share("sums", width);
        body.extend(threads(vec![Stmt::Store {
            buf: sums,
            at: Affine::var(t),
            how: Write::First,
            value: old,
        }]));
        body.extend(self.tree(sums, t));
        let total = V::Load(sums, Affine::constant(0), Read::Splat);
        place.acc = vec![self.k.value(total)];
        let store = self.finish(&place, Some(&at));
        body.extend(around(vec![Dim::count(t, 1)], Kind::Threads, store));
        self.push(dims, Kind::Grid, body);
    }

    /// Adds up a block's sums: the upper half to the lower half, until one is left.
    pub(super) fn tree(&mut self, sums: BufId, t: Var) -> Vec<Stmt> {
        let mut out = Vec::new();
        let mut half = i64::from(THREADS) / 2;
        while half > 0 {
            let at = |shift: i64| Affine::var(t) + shift;
            let [a, b] = [0, half].map(|h| self.k.value(V::Load(sums, at(h), Read::Splat)));
            let value = self.k.binary(Binary::Add, a, b);
            let add = Stmt::Store {
                buf: sums,
                at: at(0),
                how: Write::First,
                value,
            };
            out.push(Stmt::Barrier);
            out.extend(around(vec![Dim::count(t, half)], Kind::Threads, vec![add]));
            half /= 2;
        }
        out.push(Stmt::Barrier);
        out
    }
}
