//! Sums over images alone, such as Linear's weight gradient: dw[k, c] += Σ_n dy[k, n] · x[c, n].
//!
//! The lanes hold neighbouring c. A block's activations are transposed once for each strip of c, which stays
//! in registers (at 128 bits some of it on the emitter's stack) while all k pass by. A few c beyond
//! the last full vector are left to the schedule that sums lanes.
//!
//! Does not know operators.

use std::collections::BTreeMap;

use super::{Home, Place, Scheduler, Trips, cut, even, loop_over, serial, unrolled};
use crate::backend::pieces::Piece;
use crate::nest::loops::{At, BufId, Dim, Expr as V, Read, RegId, Stmt, ValueId, Write};
use crate::nest::{Access, Affine, AxisId, Binary, Combine, Expr, ExprId, Stage};

/// Vectors of c in a strip.
const STRIP: i64 = 4;
/// Accumulators of a tile: two more registers hold a factor and a term.
const ACCUMULATORS: i64 = 12;
/// Images whose transposed activations are held at a time.
const MOST_IMAGES: i64 = 16;

/// A stage that sums over images alone.
pub(super) struct SumOfImages<'a> {
    stage: &'a Stage,
    axes: &'a BTreeMap<AxisId, At>,
    dy: &'a Access,
    x: &'a Access,
    k: Trips,
    c: Trips,
    out: BufId,
}

/// A strip of vectors of c, transposed: one register for each image and vector.
struct Strip {
    reg: RegId,
    vectors: i64,
    /// The first image of those that are held, and their number.
    first: At,
    images: i64,
}

impl Scheduler<'_> {
    /// The stage as such a sum, if it is one, its result is stored as it is, and c runs along its rows.
    pub(super) fn sum_of_images<'a>(
        &self,
        s: &'a Stage,
        p: &'a Piece,
        k: Trips,
        c: Trips,
    ) -> Option<SumOfImages<'a>> {
        let load = |e: ExprId| match &s.exprs[e.0 as usize] {
            Expr::Load(a) => Some(a),
            _ => None,
        };
        let Expr::Binary(Binary::Mul, a, b) = s.exprs[s.body.0 as usize] else {
            return None;
        };
        let (dy, x) = (load(a)?, load(b)?);
        let plain = s.combine == Combine::Sum && p.reduce.is_empty() && p.conditions.is_empty();
        let (&[value], [out]) = (&s.finish[..], &s.outs[..]) else {
            return None;
        };
        let stored = s.exprs[value.0 as usize] == Expr::Acc(0);
        let Home::Memory(buf) = self.tensors[out.tensor.0 as usize] else {
            return None;
        };
        let sum = SumOfImages {
            stage: s,
            axes: &p.axes,
            dy,
            x,
            k,
            c,
            out: buf,
        };
        let place = sum.place(Affine::constant(0), None, None);
        let rows = self.address(&place, out).coefficient(c.0) == 1
            && !self.address(&place, dy).uses(c.0)
            && self.address(&place, x).uses(c.0)
            && s.reduce.iter().all(|a| self.is_batch(a))
            && [dy, x].iter().all(|a| self.n.ty(a.tensor).is_batch());
        (plain && stored && rows && p.own.len() == 2).then_some(sum)
    }

    /// Vectors of c in a strip, accumulators of a tile, and images that are held at most. A wide vector of c is strip
    /// enough: with the accumulators it fits the registers.
    fn sizes(&self) -> (i64, i64, i64) {
        if !self.options.reuse {
            return (STRIP, ACCUMULATORS, MOST_IMAGES);
        }
        let lanes = i64::from(self.options.lanes);
        let rest = i64::from(self.options.registers) - lanes - 2;
        (1, rest.max(4), lanes)
    }

    /// The statements, and how many c they cover.
    pub(super) fn transposed(&mut self, sum: &SumOfImages) -> (Vec<Stmt>, i64) {
        let lanes = i64::from(self.options.lanes);
        let vectors = sum.c.1 / lanes;
        let block = i64::from(self.options.block);
        let fits = |n: &i64| block % n == 0 && n % lanes == 0;
        let (strip, accumulators, most) = self.sizes();
        let images = (lanes..=most.max(lanes)).rev().find(fits);
        let images = images.unwrap_or(lanes);
        let n = self.k.var("n");
        let mut out = Vec::new();
        for (from, tiles, width) in cut(vectors, strip) {
            if width == 0 || tiles == 0 {
                continue;
            }
            let strip = Strip {
                reg: self.k.reg("xt", &[images as u32, width as u32]),
                vectors: width,
                first: Affine::var(n),
                images,
            };
            let mut body = self.fill(sum, &strip);
            for (k_from, k_tiles, height) in cut(sum.k.1, even(sum.k.1, accumulators / width)) {
                let tile = self.rows(sum, &strip, height);
                body.extend(loop_over(Some(sum.k), k_from, k_tiles, height, tile));
            }
            out.extend(loop_over(
                Some(sum.c),
                from * lanes,
                tiles,
                width * lanes,
                body,
            ));
        }
        let blocks = vec![serial(Dim::range(n, 0, block, images), out)];
        (blocks, vectors * lanes)
    }

    /// Transposes the strip, as many rows of activations at a time as there are lanes.
    fn fill(&mut self, sum: &SumOfImages, strip: &Strip) -> Vec<Stmt> {
        let lanes = i64::from(self.options.lanes);
        let [i, v] = ["i", "v"].map(|v| self.k.var(v));
        let image = strip.first.clone() + Affine::var(i) * lanes;
        let rows: Vec<_> = (0..lanes)
            .map(|l| {
                let place = sum.place(image.clone(), Some(Affine::var(v) * lanes + l), None);
                let load = self.load(&place, sum.x);
                self.k.value(load)
            })
            .collect();
        let sets = (0..lanes).map(|l| Stmt::Set {
            reg: strip.reg,
            index: vec![Affine::var(i) * lanes + l, Affine::var(v)],
            value: self.k.value(V::Transposed(rows.clone(), l as u8)),
        });
        let sets = sets.collect();
        let groups = strip.images / lanes;
        vec![unrolled(i, groups, vec![unrolled(v, strip.vectors, sets)])]
    }

    /// A tile: this many k, all vectors of the strip.
    fn rows(&mut self, sum: &SumOfImages, strip: &Strip, height: i64) -> Vec<Stmt> {
        let [i, a, v] = ["i", "a", "v"].map(|v| self.k.var(v));
        let [ai, vi, ii] = [a, v, i].map(Affine::var);
        let acc = self.k.reg("acc", &[height as u32, strip.vectors as u32]);
        let f = self.k.reg("f", &[]);
        let at = [ai.clone(), vi.clone()];
        let each = |body| unrolled(a, height, vec![unrolled(v, strip.vectors, body)]);
        let set = |reg, index: &[At], value| Stmt::Set {
            reg,
            index: index.to_vec(),
            value,
        };
        let zero = self.k.constant(0.0);
        let clear = each(vec![set(acc, &at, zero)]);
        let place = sum.place(strip.first.clone() + ii.clone(), None, Some(ai));
        let factor = self.splat(&place, sum.dy);
        let term = self.k.get(strip.reg, &[ii, vi.clone()]);
        let (x, old) = (self.k.get(f, &[]), self.k.get(acc, &at));
        let next = self.k.value(V::Fma(term, x, old));
        let step = unrolled(v, strip.vectors, vec![set(acc, &at, next)]);
        let steps = unrolled(a, height, vec![set(f, &[], factor), step]);
        let total = self.k.get(acc, &at);
        let place = sum.place(
            Affine::constant(0),
            Some(vi * i64::from(self.options.lanes)),
            Some(Affine::var(a)),
        );
        let at = self.address(&place, &sum.stage.outs[0]);
        let old = self.k.value(V::Load(sum.out, at.clone(), Read::Vector));
        let store = Stmt::Store {
            buf: sum.out,
            at,
            how: Write::Vector,
            value: self.k.binary(Binary::Add, old, total),
        };
        vec![
            clear,
            unrolled(i, strip.images, vec![steps]),
            each(vec![store]),
        ]
    }

    /// One element in all lanes.
    fn splat(&mut self, place: &Place, a: &Access) -> ValueId {
        let V::Load(buf, at, _) = self.load(place, a) else {
            unreachable!("activations lie in memory")
        };
        self.k.value(V::Load(buf, at, Read::Splat))
    }
}

impl SumOfImages<'_> {
    /// The stage at an image, and at this much more than the variables of c and k say.
    fn place(&self, image: At, c: Option<At>, k: Option<At>) -> Place<'_> {
        let moved = |a: &At| {
            a.substitute(|v| {
                let shift = match v {
                    v if v == self.c.0 => c.clone(),
                    v if v == self.k.0 => k.clone(),
                    _ => None,
                };
                Affine::var(v) + shift.unwrap_or(Affine::constant(0))
            })
        };
        Place {
            stage: self.stage,
            axes: self.axes.iter().map(|(&a, at)| (a, moved(at))).collect(),
            image,
            acc: vec![],
            row: None,
        }
    }
}
