//! Sums of products through shared memory and register tiles.
//!
//! A block takes a tile of results. Chunk by chunk of the reduction it brings the boxes of both factors into
//! shared memory, the first with its results' variable innermost, the second with the threads' own; a thread
//! multiplies `tm` elements of the one by `tn` of the other, loaded as rows of four where they are aligned. Where a
//! window slides along the threads' own variable, a row serves all of its taps. Results leave from registers, with
//! whatever is fused behind them.
//!
//! Does not choose sizes ([`super::choose`]).

use std::collections::BTreeMap;

use super::choose::{Tile, moved};
use super::product::{Factor, Product};
use super::{Builder, Place, Trips, around, between, unrolled, when};
use crate::nest::loops::{At, BufId, Dim, Expr as V, Kind, Read, RegId, Stmt, ValueId, Var, Write};
use crate::nest::{Affine, Expr, ExprId, Index};

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

/// A dimension of a factor's box.
pub(super) struct Side {
    /// The first index, in terms of tiles' starts.
    pub start: At,
    /// The index within the box, in terms of places within tiles.
    pub local: At,
    pub extent: i64,
    /// The tensor's size; none for the images.
    pub size: Option<i64>,
    /// Elements from one index to the next, in shared memory.
    pub stride: i64,
    /// Places in shared memory: rows of four end with zeros.
    padded: i64,
}

/// What a tile needs of a factor, in shared memory.
pub(super) struct Bring {
    pub sides: Vec<Side>,
    pub buf: BufId,
}

impl Bring {
    /// The address of the element that the factor reads.
    fn at(&self) -> At {
        let terms = self.sides.iter().map(|s| s.local.clone() * s.stride);
        terms.fold(Affine::constant(0), |sum, t| sum + t)
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

    /// The box of a factor; `innermost` is the place whose dimension comes last in shared memory.
    fn plan(
        &mut self,
        p: &Product,
        cuts: &[Cut],
        f: &Factor,
        innermost: Option<Var>,
        name: &str,
    ) -> Bring {
        let ty = self.n.ty(f.access.tensor);
        let skip = f.access.index.len() - ty.dims.len();
        let sizes: Vec<Option<i64>> = (0..f.access.index.len())
            .map(|d| d.checked_sub(skip).map(|d| i64::from(ty.dims[d])))
            .collect();
        let mut sides: Vec<Side> = Vec::new();
        for (i, size) in f.access.index.iter().zip(sizes) {
            let (Index::Affine(i) | Index::Lookup(_, i)) = i;
            let at = i.substitute(|x| p.axes[&x].clone());
            sides.push(side(cuts, &at, size));
        }
        let last = innermost.and_then(|v| sides.iter().position(|s| s.local.uses(v)));
        let order = (0..sides.len()).filter(|&d| Some(d) != last).chain(last);
        let mut stride = 1;
        for d in order.collect::<Vec<_>>().into_iter().rev() {
            if Some(d) == last {
                sides[d].padded = (sides[d].extent + 3) & !3;
            }
            sides[d].stride = stride;
            stride *= sides[d].padded;
            // Neighbouring rows start in different banks, so that a column of them is written in few wavefronts.
            if Some(d) == last && stride % 8 == 0 {
                stride += 4;
            }
        }
        let buf = self.share(name, stride);
        Bring { sides, buf }
    }

    /// Brings a box into shared memory: the threads take its elements in the order of the tensor.
    fn bring(&mut self, t: &Tiles, f: &Factor, to: &Bring) -> Vec<Stmt> {
        let places: Vec<Var> = to.sides.iter().map(|_| self.k.var("e")).collect();
        let mut index = Vec::new();
        let mut inside = Vec::new();
        let mut dims = Vec::new();
        let mut at = Affine::constant(0);
        for (s, &e) in to.sides.iter().zip(&places) {
            let i = s.start.clone() + Affine::var(e);
            match s.size {
                None => inside.push(self.is_valid(i.clone())),
                Some(size) => inside.extend(t.bounds(s, &i, size)),
            }
            if s.padded > s.extent {
                inside.push(Affine::var(e) * -1 + (s.extent - 1));
            }
            at = at + Affine::var(e) * s.stride;
            dims.push(Dim::count(e, s.padded));
            index.push(i);
        }
        let ty = self.n.ty(f.access.tensor).clone();
        let skip = f.access.index.len() - ty.dims.len();
        let lookup = matches!(f.access.index.first(), Some(Index::Lookup(..)));
        let first = match index[..skip].first().filter(|_| !lookup) {
            Some(i) => i.clone(),
            None => Affine::constant(0),
        };
        let flat = index[skip..]
            .iter()
            .zip(&ty.dims)
            .fold(first, |f, (i, &d)| f * i64::from(d) + i.clone());
        let super::Home::Memory(buf) = self.homes[f.access.tensor.0 as usize] else {
            panic!("factors lie in memory")
        };
        let read = self.read(f.access, |_| index[0].clone());
        let element = self.k.value(V::Load(buf, flat, read));
        let mut value = self.factor(t.p, f.expr, element);
        if !inside.is_empty() {
            value = self.k.value(V::Within(inside, value));
        }
        let store = Stmt::Store {
            buf: to.buf,
            at,
            how: Write::First,
            value,
        };
        around(dims, Kind::Threads, vec![store])
    }

    /// A factor's expression of its element.
    fn factor(&mut self, p: &Product, e: ExprId, element: ValueId) -> ValueId {
        let v = match &p.stage.exprs[e.0 as usize] {
            Expr::Load(_) => return element,
            Expr::Unary(f, x) => V::Unary(*f, self.factor(p, *x, element)),
            Expr::Binary(f, a, b) => {
                let [a, b] = [a, b].map(|x| self.factor(p, *x, element));
                V::Binary(*f, a, b)
            }
            Expr::Const(bits) => V::Const(*bits),
            Expr::Scalar(s) => V::Uniform(crate::nest::loops::Uniform::Scalar(*s)),
            Expr::Axis(_) | Expr::Acc(_) | Expr::Select(..) => {
                unreachable!("a factor has none of these")
            }
        };
        self.k.value(v)
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

    /// Results leave from registers: rows of four where they lie side by side, else one by one.
    fn end(&mut self, t: &Tiles, shard: Option<Var>) -> Vec<Stmt> {
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
    fn split_end(&mut self, t: &Tiles, shard: Option<Var>) -> Vec<Stmt> {
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
        let add = set(self.k.binary(crate::nest::Binary::Add, old, x));
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

/// A dimension of a box: where it starts, and the places within.
fn side(cuts: &[Cut], at: &At, size: Option<i64>) -> Side {
    let mut start = Affine::constant(at.constant);
    let mut local = Affine::constant(0);
    let mut extent = 1;
    for &(v, c) in &at.terms {
        let Some(cut) = cuts.iter().find(|x| x.var == v) else {
            continue;
        };
        if let Some(s) = cut.start {
            start = start + Affine::var(s) * c;
        }
        local = local + cut.place() * c;
        extent += c.abs() * (cut.size - 1);
        if c < 0 {
            start = start + c * (cut.size - 1);
            local = local - c * (cut.size - 1);
        }
    }
    Side {
        start,
        local,
        extent,
        size,
        stride: 0,
        padded: extent,
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

    /// What must be non-negative for index `i` of a side to lie in the tensor, where tiles may leave it.
    fn bounds(&self, s: &Side, i: &At, size: i64) -> Vec<At> {
        let (mut lo, mut hi) = (s.start.constant, s.start.constant + s.extent - 1);
        for &(v, c) in &s.start.terms {
            let cut = self.cuts.iter().find(|x| x.start == Some(v));
            let last = cut.map_or(0, |x| (x.trips - 1) / x.size * x.size) * c;
            (lo, hi) = (lo + last.min(0), hi + last.max(0));
        }
        let mut out = Vec::new();
        if lo < 0 {
            out.push(i.clone());
        }
        if hi >= size {
            out.push(i.clone() * -1 + (size - 1));
        }
        out
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
}
