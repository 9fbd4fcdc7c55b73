//! Sums of products through shared memory and register tiles.
//!
//! A block takes a tile of results. Chunk by chunk of the reduction it brings the boxes of both factors into
//! shared memory, the first with its results' variable innermost, the second with the threads' own; a thread
//! multiplies `tm` elements of the one by `tn` of the other, loaded as rows of four where they are aligned. Where a
//! window slides along the threads' own variable, a row serves all of its taps. Results leave from registers, with
//! whatever is fused behind them.
//!
//! Does not choose sizes ([`super::choose`]), nor know how boxes are brought in ([`boxes`]) and results leave ([`results`]).

use std::collections::BTreeMap;

use super::choose::{Tile, moved};
use super::product::Product;
use super::{Builder, Trips, around, between, unrolled, when};
use crate::nest::Affine;
use crate::nest::loops::{At, BufId, Dim, Expr as V, Kind, Read, RegId, Stmt, Var};

mod boxes;
mod results;

use boxes::Bring;
pub(super) use boxes::Side;

/// A variable of the product, cut into tiles.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    var: Var,
    trips: i64,
    size: i64,
    /// The tile's start; none where there is one tile only.
    start: Option<Var>,
    /// The place within the tile.
    pub inner: Var,
    /// A tile has one place, and no loop over it.
    single: bool,
}

impl Cut {
    fn partial(&self) -> bool {
        self.trips % self.size != 0
    }
    /// Non-negative where the variable is below its end.
    fn inside(&self, at: &At) -> At {
        at.clone() * -1 + (self.trips - 1)
    }
    fn at(&self) -> At {
        moved(self.start, self.place())
    }
    fn place(&self) -> At {
        if self.single {
            return Affine::constant(0);
        }
        Affine::var(self.inner)
    }
}

/// The registers of a thread, and what they are filled from.
pub(super) struct Tiles<'a> {
    pub p: &'a Product<'a>,
    pub t: Tile,
    /// All variables, each once.
    cuts: Vec<Cut>,
    pub a: Bring,
    b: Bring,
    acc: RegId,
    /// The thread's own places: of its rows, of its elements of a row.
    row: Var,
    col: Var,
    /// Dimensions of the threads.
    threads: Vec<Dim>,
    split: Option<Var>,
}

impl<'a> Builder<'a> {
    /// Adds the part of a product. Where no tile fits, elements are computed one by one.
    pub(super) fn contraction(&mut self, p: &Product<'a>, t: Tile) {
        self.shared = 0;
        if p.summed {
            self.summed_in(p.stage, t.shards);
        }
        let tiles = self.tiles(p, t);
        let shard = p.summed.then(|| self.k.var("shard"));
        let mut grid: Vec<Dim> = Vec::new();
        grid.extend(shard.map(|s| Dim::count(s, tiles.t.shards)));
        let is_k = |c: &&Cut| p.k.iter().any(|k| k.0 == c.var);
        for c in tiles.cuts.iter().filter(|c| !is_k(c)) {
            let own = self.images.is_some() && c.var == p.images;
            if let Some(s) = c.start.filter(|_| !own) {
                grid.push(Dim::range(s, 0, c.trips, c.size));
            }
        }
        let mut body = self.each(&tiles, |b, _| {
            let zero = b.k.constant(0.0);
            let (reg, index) = (tiles.acc, tiles.index());
            vec![Stmt::Set {
                reg,
                index,
                value: zero,
            }]
        });
        let mut chunk = self.bring(&tiles, &p.a, &tiles.a);
        chunk.extend(self.bring(&tiles, &p.b, &tiles.b));
        chunk.push(Stmt::Barrier);
        chunk.extend(self.multiply(&tiles));
        let rows = self.rows_to.zip(shard);
        let rows = rows.and_then(|(to, shard)| self.row_sums(&tiles, to, shard));
        if let Some(rows) = &rows {
            body.extend(rows.clear.clone());
            chunk.extend(rows.add.clone());
        }
        chunk.push(Stmt::Barrier);
        let chunks = self.chunks(&tiles, shard);
        body.extend(around(chunks, Kind::Serial, chunk));
        if let Some(rows) = rows {
            body.extend(rows.store);
            self.out.rows = Some(tiles.t.shards as u32);
        }
        body.extend(match tiles.split {
            Some(_) => self.split_end(&tiles, shard),
            None => self.end(&tiles, shard),
        });
        let images = tiles.cut(p.images);
        let guard = match images.start {
            Some(s) if !p.summed => vec![self.is_valid(Affine::var(s))],
            _ => vec![],
        };
        let body = when(guard, body);
        if grid.is_empty() {
            grid.push(Dim::count(self.k.var("tile"), 1));
        }
        self.push(grid, Kind::Grid, body);
    }

    fn tiles<'b>(&mut self, p: &'b Product<'a>, t: Tile) -> Tiles<'b> {
        let mut cuts = Vec::new();
        for &g in &p.groups {
            cuts.push(Cut {
                single: true,
                ..self.cut(p, g, 1)
            });
        }
        cuts.extend(p.m.map(|m| self.cut(p, m, t.tm * t.mg)));
        let last = p.n.len() - 1;
        for (&n, &size) in p.n.iter().zip(t.n.iter().chain([&(t.tn * t.vg)])) {
            cuts.push(self.cut(p, n, size));
        }
        for (&k, &size) in p.k.iter().zip(&t.k) {
            cuts.push(self.cut(p, k, size));
        }
        let of = |v: Var| cuts.iter().find(|c: &&Cut| c.var == v);
        let m = p.m.and_then(|m| of(m.0)).map(|c| c.inner);
        let v = of(p.n[last].0).map(|c| c.inner);
        let a = self.plan(p, &cuts, &p.a, m, "a_tile");
        let b = self.plan(p, &cuts, &p.b, v, "b_tile");
        let acc = self.k.reg("acc", &[t.tm as u32, t.tn as u32]);
        let [row, col] = ["row", "col"].map(|v| self.k.var(v));
        let split = t.split.map(|_| self.k.var("part"));
        let mut threads: Vec<Dim> = Vec::new();
        threads.extend(split.zip(t.split).map(|(v, (_, n))| Dim::count(v, n)));
        threads.extend(m.map(|m| Dim::range(m, 0, t.tm * t.mg, t.tm)));
        for (n, &size) in p.n[..last].iter().zip(&t.n) {
            threads.extend(of(n.0).map(|c| Dim::count(c.inner, size)));
        }
        threads.extend(v.map(|v| Dim::range(v, 0, t.tn * t.vg, t.tn)));
        Tiles {
            p,
            t,
            cuts,
            a,
            b,
            acc,
            row,
            col,
            threads,
            split,
        }
    }

    fn cut(&mut self, p: &Product, (var, trips): Trips, size: i64) -> Cut {
        let name = self.k.vars[var.0 as usize].clone();
        let name = name.split('.').next().unwrap_or("i").to_string();
        let own = self.images.filter(|_| var == p.images);
        let start = match own {
            Some(i) => Some(i.first),
            None if size < trips => Some(self.k.var(&format!("{name}0"))),
            None => None,
        };
        Cut {
            var,
            trips,
            size,
            start,
            inner: self.k.var(&name),
            single: false,
        }
    }

    /// The loops over the chunks of the reduction.
    fn chunks(&mut self, t: &Tiles, shard: Option<Var>) -> Vec<Dim> {
        let mut dims = Vec::new();
        for c in t.p.k.iter().map(|k| t.cut(k.0)) {
            let Some(start) = c.start else { continue };
            dims.push(match shard.filter(|_| c.var == t.p.images) {
                None => Dim::range(start, 0, c.trips, c.size),
                Some(shard) => {
                    // Whole chunks, so that no image is in two shards.
                    let chunks = (c.trips + c.size - 1) / c.size;
                    let images = (chunks + t.t.shards - 1) / t.t.shards * c.size;
                    let first = Affine::var(shard) * images;
                    let ends = vec![first.clone() + images, Affine::var(self.valid)];
                    between(start, first, ends, c.size)
                }
            });
        }
        dims
    }

    /// What each thread does with each of its results.
    fn each(&mut self, t: &Tiles, f: impl FnOnce(&mut Self, &Tiles) -> Vec<Stmt>) -> Vec<Stmt> {
        let body = f(self, t);
        let body = vec![unrolled(t.col, t.t.tn, body)];
        let body = vec![unrolled(t.row, t.t.tm, body)];
        around(t.threads.clone(), Kind::Threads, body)
    }

    /// The multiply-adds of a chunk.
    fn multiply(&mut self, t: &Tiles) -> Vec<Stmt> {
        let (at, width) = t.t.unroll;
        let u = t.cut(t.p.k[at].0).clone();
        let step = self.k.var("u");
        let tap = |a: At| {
            a.substitute(|v| {
                let shift = if v == u.inner {
                    Affine::var(step)
                } else {
                    Affine::constant(0)
                };
                Affine::var(v) + shift
            })
        };
        let (a_at, b_at) = (tap(t.a.at()), t.b.at());
        let v = t.cut(t.p.n[t.p.n.len() - 1].0).inner;
        let side = t.b.sides.iter().find(|s| s.local.uses(v));
        let (along, slide) = side.map_or((1, 0), |s| {
            (s.local.coefficient(v), s.local.coefficient(u.inner))
        });
        let slides = slide != 0 && along > 0 && slide > 0;
        let rows = self.k.reg("x", &[t.t.tm as u32]);
        let (length, index, b_at) = if slides {
            let length = along * (t.t.tn - 1) + slide * (width - 1) + 1;
            let index = Affine::var(t.col) * along + Affine::var(step) * slide;
            (length, index, b_at)
        } else {
            let length = along.abs() * (t.t.tn - 1) + 1;
            (length, Affine::var(t.col) * along, tap(b_at))
        };
        let cols = self.k.reg("y", &[length as u32]);
        let fill_cols = self.fill(cols, length, (t.b.buf, b_at), &t.steps());
        let fill_rows = self.fill(rows, t.t.tm, (t.a.buf, a_at), &t.steps());
        let x = self.k.get(rows, &[Affine::var(t.row)]);
        let y = self.k.get(cols, &[index]);
        let old = self.k.get(t.acc, &t.index());
        let set = Stmt::Set {
            reg: t.acc,
            index: t.index(),
            value: self.k.value(V::Fma(x, y, old)),
        };
        let fmas = unrolled(t.row, t.t.tm, vec![unrolled(t.col, t.t.tn, vec![set])]);
        let (mut before, mut inner) = (vec![], fill_rows);
        if slides { &mut before } else { &mut inner }.extend(fill_cols);
        inner.push(fmas);
        before.push(unrolled(step, width, inner));
        let mut body = before;
        for k in (0..t.p.k.len()).rev() {
            let c = t.cut(t.p.k[k].0);
            let width = if k == at { width } else { 1 };
            body = around(vec![t.inner_loop(c, width)], Kind::Serial, body);
        }
        around(t.threads.clone(), Kind::Threads, body)
    }

    /// Sets a register row from shared memory, by rows of four or two where the place allows it.
    fn fill(
        &mut self,
        reg: RegId,
        len: i64,
        (buf, at): (BufId, At),
        steps: &BTreeMap<Var, i64>,
    ) -> Vec<Stmt> {
        let aligned = |w: i64| {
            let known = |v: &Var| steps.get(v).copied().unwrap_or(1);
            let terms = at.terms.iter().all(|(v, c)| c * known(v) % w == 0);
            terms && at.constant % w == 0
        };
        let widest = [4, 2, 1].into_iter().find(|&w| aligned(w)).unwrap_or(1);
        let mut out = Vec::new();
        let mut from = 0;
        while from < len {
            let width = [4, 2, 1]
                .into_iter()
                .find(|&w| w <= widest && from % w == 0 && w <= len - from)
                .unwrap_or(1);
            let (index, at) = (vec![Affine::constant(from)], at.clone() + from);
            out.push(if width > 1 {
                Stmt::SetRow {
                    reg,
                    index,
                    buf,
                    at,
                    width: width as u32,
                }
            } else {
                Stmt::Set {
                    reg,
                    index,
                    value: self.k.value(V::Load(buf, at, Read::Splat)),
                }
            });
            from += width;
        }
        out
    }
}

impl Tiles<'_> {
    pub fn cut(&self, v: Var) -> &Cut {
        let found = self.cuts.iter().find(|c| c.var == v);
        found.expect("every variable of a product is cut")
    }

    /// Where tiles of the second factor's results start.
    pub fn column_starts(&self) -> impl Iterator<Item = Var> {
        let cuts = self.p.n.iter().map(|n| self.cut(n.0));
        cuts.filter_map(|c| c.start)
    }

    /// What must be non-negative for a row of the tile to exist.
    pub fn row_guard(&self, row: &At) -> Vec<At> {
        let m = self.p.m.map(|m| self.cut(m.0)).filter(|c| c.partial());
        let inside = |c: &Cut| c.inside(&moved(c.start, row.clone()));
        m.map(inside).into_iter().collect()
    }

    fn index(&self) -> Vec<At> {
        vec![Affine::var(self.row), Affine::var(self.col)]
    }

    /// A number that a tile's start is a multiple of.
    fn step_of(&self, v: Var) -> i64 {
        let cut = self.cuts.iter().find(|c| c.start == Some(v));
        cut.map_or(1, |c| c.size)
    }

    /// Numbers that variables are multiples of.
    fn steps(&self) -> BTreeMap<Var, i64> {
        let one = |d: &Dim| {
            d.upper[0]
                .num
                .as_constant()
                .is_some_and(|end| end <= d.step)
        };
        // A variable that is only ever 0 is a multiple of everything.
        let step = |d: &Dim| (d.var, if one(d) { 0 } else { d.step });
        let mut steps: BTreeMap<Var, i64> = self.threads.iter().map(step).collect();
        let (at, width) = self.t.unroll;
        steps.insert(self.cut(self.p.k[at].0).inner, width);
        steps
    }

    /// The loop over a reduction variable within a chunk.
    fn inner_loop(&self, c: &Cut, step: i64) -> Dim {
        let own = self.t.split.filter(|s| self.p.k[s.0].0 == c.var);
        let (first, step) = match own.zip(self.split) {
            Some(((_, n), part)) => (Affine::var(part), n),
            None => (Affine::constant(0), step),
        };
        let mut ends = vec![Affine::constant(c.size)];
        if c.partial() && c.var != self.p.images {
            let start = c.start.map_or(Affine::constant(0), Affine::var);
            ends.push(start * -1 + c.trips);
        }
        between(c.inner, first, ends, step)
    }
}
