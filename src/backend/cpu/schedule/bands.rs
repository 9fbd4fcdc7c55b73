//! Sums over the positions of large images, such as a convolution's weight gradient: long rows in runs, and many rows
//! in bands.
//!
//! A row too long to be written out is summed by a loop over the columns where every tap of the window finds its
//! operand; the columns at its ends are written out. Of images that are larger than the cache a few rows are summed for
//! all results before the next ones, so that what a tile reads again and again stays in the first-level cache.
//!
//! Does not know how a tile computes. The sizes are constants: they decide the order of sums.

use super::{MOST_UNROLLED, Scheduler, Trips};
use crate::backend::pieces::{Piece, hold};
use crate::nest::Affine;
use crate::nest::loops::{At, Dim, Kind, Quotient, Stmt, Var};

/// Channels of a tile, or about so many.
const CHANNELS: i64 = 8;
/// Images whose channels of a tile take more are summed in bands,
const LARGE_BYTES: i64 = 1 << 19;
/// of which a tile's channels take no more.
const BAND_BYTES: i64 = 28 << 10;

/// A run of columns.
#[derive(Clone, Copy)]
pub(super) struct Part {
    from: i64,
    to: i64,
    /// Every tap finds its operand.
    pub inside: bool,
}

impl Part {
    /// The whole row, with its ends.
    pub fn whole() -> Self {
        Self {
            from: 0,
            to: 0,
            inside: false,
        }
    }

    pub fn of(&self, v: Var) -> Dim {
        Dim::range(v, self.from, self.to, 1)
    }

    pub fn written(&self, v: Var, body: Vec<Stmt>) -> Vec<Stmt> {
        vec![Stmt::For {
            dims: vec![self.of(v)],
            kind: Kind::Unrolled,
            body,
        }]
    }
}

/// The runs of a row of columns whose conditions know the positions `x`; none where its ends are long.
pub(super) fn parts(p: &Piece, column: Trips, x: Trips) -> Option<Vec<Part>> {
    let (v, n) = column;
    let inside = |at: i64| hold(p, v, &[x], at, at);
    let alone = |c: &At| c.terms.iter().all(|t| t.0 == v || t.0 == x.0);
    let known = p.conditions.iter().filter(|c| c.uses(v)).all(alone);
    let from = (0..n).find(|&at| inside(at))?;
    let to = (0..n).rev().find(|&at| inside(at))? + 1;
    let short = from <= MOST_UNROLLED && n - to <= MOST_UNROLLED && x.1 <= MOST_UNROLLED;
    let parts = [(0, from, false), (from, to, true), (to, n, false)];
    let parts = parts.into_iter().filter(|p| p.0 < p.1);
    let parts = parts.map(|(from, to, inside)| Part { from, to, inside });
    (known && short && (from..to).all(inside)).then(|| parts.collect())
}

/// So many rows of the reduction variable `of`, from the variable `start` on.
#[derive(Clone, Copy)]
pub(super) struct Band {
    pub of: Trips,
    pub start: Var,
    pub rows: i64,
}

impl Band {
    /// The rows of the band among these.
    pub fn within(&self, mut rows: Dim) -> Dim {
        let quotient = |num| Quotient { num, div: 1 };
        rows.lower.push(quotient(Affine::var(self.start)));
        rows.upper
            .push(quotient(Affine::var(self.start) + self.rows));
        rows
    }
}

impl Scheduler<'_> {
    /// The bands of a sum over large images. They do not depend on the tile.
    pub(super) fn band(&mut self, p: &Piece, columns: &[Trips]) -> Option<Band> {
        let of = *p.reduce.iter().find(|r| !columns.contains(r))?;
        let positions: i64 = p.reduce.iter().map(|r| r.1).product();
        let bytes = positions * CHANNELS * i64::from(self.options.block) * 4;
        let rows = (BAND_BYTES * of.1 / bytes).max(1);
        (bytes > LARGE_BYTES && rows < of.1).then(|| Band {
            of,
            start: self.k.var("band"),
            rows,
        })
    }
}
