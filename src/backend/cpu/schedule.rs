//! From nests to loops: lanes, register tiles, peeled borders.
//!
//! Three kinds of stages, told apart by where the batch stands:
//! - in the results: each lane computes its image. Where a reduction multiplies a parameter by an
//!   activation, a tile of channels × positions is kept in registers, so that each loaded value is used
//!   several times; along the last axis the taps of the window are unrolled and borders are peeled, along
//!   the other axes the bounds of the loops leave out the padding.
//! - in the reduction: lanes hold partial sums over the images, added up at the end of the block and
//!   *added to* the result, which the caller clears before the first block.
//! - nowhere: parameters, whose elements fill the lanes.
//!
//! Does not know operators, instructions, or where buffers lie.

use std::collections::BTreeMap;

use super::pieces::{self, Piece};
use crate::ir::Leading;
use crate::nest::loops::{
    At, BufId, Buffer, Dim, Expr as V, Kernel, Kind, Quotient, Read, RegId, Stmt, Uniform, ValueId,
    Var, Write,
};
use crate::nest::{
    Access, Affine, AxisId, Binary, Combine, Compare, Expr, ExprId, Extent, Index, Nest, Stage,
    TensorRole,
};

/// What the target offers.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// f32 in a vector.
    pub lanes: u32,
    /// Images in a block; a multiple of `lanes`.
    pub block: u32,
}

/// A variable and how many values it takes.
type Trips = (Var, i64);

/// Taps of a window are written out up to this many; a longer window is a loop.
const MOST_UNROLLED: i64 = 12;
/// Where lanes are summed, so many columns are written out.
const MOST_COLUMNS: i64 = 32;
/// Columns of a border are peeled up to this many tiles; a wider border is computed column by column.
const MOST_PEELED: usize = 8;

/// Schedules a nest as one kernel for one block of images (or, without a batch, for all elements).
pub fn run(n: &Nest, options: Options) -> Kernel {
    let mut k = Kernel::new(&n.name, options.lanes);
    let tensors = n
        .tensors
        .iter()
        .map(|t| tensor(&mut k, t, options))
        .collect();
    let mut s = Scheduler {
        n,
        options,
        k,
        tensors,
    };
    let shared = n.shared.first().map(|_| s.k.var("g"));
    let mut body = Vec::new();
    for stage in &n.stages {
        body.extend(s.stage(stage, shared));
    }
    s.k.body = match shared {
        Some(g) => vec![serial(Dim::count(g, s.groups()), body)],
        None => body,
    };
    s.k
}

/// Where a tensor of the nest lives.
#[derive(Clone, Copy)]
enum Home {
    Memory(BufId),
    Register(RegId),
}

fn tensor(k: &mut Kernel, t: &crate::nest::Tensor, o: Options) -> Home {
    if t.role == TensorRole::Temp {
        return Home::Register(k.reg(&t.name, &[]));
    }
    let len = match t.ty.leading {
        Leading::Batch => t.ty.elements() * u64::from(o.block),
        // Elements beyond the last fill the lanes of the last vector.
        Leading::None => t.ty.elements().next_multiple_of(u64::from(o.lanes)),
        Leading::Dataset => t.ty.elements(),
    };
    k.buffers.push(Buffer {
        name: t.name.clone(),
        dtype: t.ty.dtype,
        len,
    });
    Home::Memory(BufId(k.buffers.len() as u32 - 1))
}

struct Scheduler<'a> {
    n: &'a Nest,
    options: Options,
    k: Kernel,
    tensors: Vec<Home>,
}

/// A stage under an assignment of its axes.
struct Place<'a> {
    stage: &'a Stage,
    axes: &'a BTreeMap<AxisId, At>,
    /// Offset of the lanes within a block, in images.
    image: At,
    /// What the stage combined.
    acc: Vec<ValueId>,
}

/// A tile of results: `a` channels × `x` positions from `a0`, `x0` on.
struct Tile {
    a: Option<Trips>,
    x: Option<Trips>,
    /// Lane groups in the place of positions.
    groups: i64,
    guarded: bool,
}

fn serial(d: Dim, body: Vec<Stmt>) -> Stmt {
    Stmt::For {
        dims: vec![d],
        kind: Kind::Serial,
        body,
    }
}

fn unrolled(v: Var, n: i64, body: Vec<Stmt>) -> Stmt {
    Stmt::For {
        dims: vec![Dim::count(v, n)],
        kind: Kind::Unrolled,
        body,
    }
}

impl Scheduler<'_> {
    fn groups(&self) -> i64 {
        i64::from(self.options.block / self.options.lanes)
    }

    fn is_batch(&self, a: &AxisId) -> bool {
        self.n.extent(*a) == Extent::Batch
    }

    fn stage(&mut self, s: &Stage, shared: Option<Var>) -> Vec<Stmt> {
        let summed = s.reduce.iter().any(|a| self.is_batch(a));
        if !summed && shared.is_none() && !s.own.iter().any(|a| self.is_batch(a)) {
            return self.parameters(s);
        }
        let pieces = pieces::split(&mut self.k, self.n, s);
        pieces
            .iter()
            .flat_map(|p| self.piece(s, p, shared, summed))
            .collect()
    }

    /// Elements of parameters in the lanes. Row-major and alike, so one flat loop covers them.
    fn parameters(&mut self, s: &Stage) -> Vec<Stmt> {
        let v = self.k.var("e");
        let len: i64 = s.own.iter().map(|&a| self.n.size(a)).product();
        let axes: BTreeMap<AxisId, At> = BTreeMap::new();
        let place = Place {
            stage: s,
            axes: &axes,
            image: Affine::var(v),
            acc: vec![],
        };
        let body = self.finish(&place, false);
        let lanes = i64::from(self.options.lanes);
        vec![serial(Dim::range(v, 0, len, lanes), body)]
    }

    fn piece(&mut self, s: &Stage, p: &Piece, shared: Option<Var>, summed: bool) -> Vec<Stmt> {
        let g = shared.unwrap_or_else(|| self.k.var("g"));
        let (channel, positions) = self.roles(s, p);
        let columns: Vec<Trips> = p
            .reduce
            .iter()
            .copied()
            .filter(|r| {
                positions.is_some_and(|x| p.conditions.iter().any(|c| c.uses(r.0) && c.uses(x.0)))
            })
            .collect();
        let most = if summed { MOST_COLUMNS } else { MOST_UNROLLED };
        let unroll = columns.iter().map(|c| c.1).product::<i64>() <= most;
        let free = |r: &&Trips| r.1 <= most && !p.conditions.iter().any(|c| c.uses(r.0));
        let columns: Vec<Trips> = match p.reduce.last().filter(free) {
            Some(&last) if columns.is_empty() && s.combine == Combine::Sum => vec![last],
            _ => columns,
        };
        let by_groups = positions.is_none() && channel.is_some() && !summed && shared.is_none();
        let (a_width, x_width) = match (channel, positions) {
            (Some(_), Some(_)) if unroll => (2, 5),
            (Some(_), None) if by_groups => (3, 1),
            (Some(_), _) => (4, 1),
            (None, Some(_)) if unroll => (1, 4),
            _ => (1, 1),
        };
        let fits = |w: &i64| self.groups() % w == 0;
        let group_width = if by_groups {
            [4, 3, 2].into_iter().find(fits).unwrap_or(1)
        } else {
            1
        };
        let columns = if unroll { columns } else { vec![] };
        let mut out = Vec::new();
        let tiles = self.tiles(p, &columns, positions, x_width, unroll);
        for (a_from, a_tiles, a_size) in cut(channel.map_or(1, |c| c.1), a_width) {
            for &(x_from, x_tiles, x_size, guarded) in &tiles {
                let tile = Tile {
                    a: channel.map(|c| (c.0, a_size)),
                    x: positions.map(|x| (x.0, x_size)),
                    groups: group_width,
                    guarded,
                };
                let mut body = self.tile(s, p, &tile, &columns, g, summed);
                if shared.is_none() && !summed {
                    body = vec![serial(Dim::range(g, 0, self.groups(), group_width), body)];
                }
                body = loop_over(positions, x_from, x_tiles, x_size, body);
                for &(v, n) in p.own.iter().rev() {
                    if channel.is_none_or(|c| c.0 != v) && positions.is_none_or(|x| x.0 != v) {
                        body = vec![serial(Dim::count(v, n), body)];
                    }
                }
                out.extend(loop_over(channel, a_from, a_tiles, a_size, body));
            }
        }
        out
    }

    /// The own axis that picks among parameters only, and the one whose positions share them.
    fn roles(&self, s: &Stage, p: &Piece) -> (Option<Trips>, Option<Trips>) {
        let loads: Vec<&Access> = match &s.exprs[s.body.0 as usize] {
            Expr::Binary(Binary::Mul, a, b) => [a, b]
                .into_iter()
                .filter_map(|e| match &s.exprs[e.0 as usize] {
                    Expr::Load(a) => Some(a),
                    _ => None,
                })
                .collect(),
            _ => vec![],
        };
        let uses = |a: &Access, v: Var| {
            a.index.iter().any(|i| match i {
                Index::Affine(i) => i
                    .terms
                    .iter()
                    .any(|t| p.axes.get(&t.0).is_some_and(|at| at.uses(v))),
                Index::Lookup(..) => false,
            })
        };
        let product = loads.len() == 2 && s.combine == Combine::Sum;
        let channel = p
            .own
            .iter()
            .copied()
            .filter(|_| product)
            .find(|o| uses(loads[0], o.0) && !uses(loads[1], o.0));
        let positions = p
            .own
            .last()
            .copied()
            .filter(|o| o.1 > 1 && channel.is_none_or(|c| c.0 != o.0));
        (channel, positions)
    }

    /// Cuts the positions into tiles: first position, number of tiles, width, whether taps may be missing.
    fn tiles(
        &self,
        p: &Piece,
        columns: &[Trips],
        positions: Option<Trips>,
        width: i64,
        unrolled: bool,
    ) -> Vec<(i64, i64, i64, bool)> {
        let Some((x, n)) = positions else {
            return vec![(0, 1, 1, false)];
        };
        if !unrolled || columns.is_empty() {
            return cut(n, width)
                .into_iter()
                .map(|(f, t, w)| (f, t, w, false))
                .collect();
        }
        let inside = |at: i64| {
            p.conditions.iter().filter(|c| c.uses(x)).all(|c| {
                let least = c.terms.iter().fold(c.constant, |sum, &(v, f)| {
                    let trips = columns.iter().find(|c| c.0 == v).map_or(1, |c| c.1);
                    sum + if v == x {
                        f * at
                    } else if f < 0 {
                        f * (trips - 1)
                    } else {
                        0
                    }
                });
                least >= 0
            })
        };
        let mut tiles: Vec<(i64, i64, i64, bool)> = Vec::new();
        for from in (0..n).step_by(width as usize) {
            let size = width.min(n - from);
            let guarded = !(from..from + size).all(inside);
            match tiles.last_mut() {
                Some(t) if !guarded && !t.3 && t.2 == size => t.1 += 1,
                _ => tiles.push((from, 1, size, guarded)),
            }
        }
        if tiles.len() > MOST_PEELED {
            vec![(0, n, 1, true)]
        } else {
            tiles
        }
    }

    fn tile(
        &mut self,
        s: &Stage,
        p: &Piece,
        t: &Tile,
        columns: &[Trips],
        g: Var,
        summed: bool,
    ) -> Vec<Stmt> {
        let [av, xv, gv] = ["a", "x", "y"].map(|v| self.k.var(v));
        let mut axes = p.axes.clone();
        let mut shift = BTreeMap::new();
        let mut at = Vec::new();
        let mut loops = Vec::new();
        for (v, role) in [(av, t.a), (xv, t.x)] {
            if let Some((var, n)) = role.filter(|r| r.1 > 1) {
                shift.insert(var, v);
                at.push((Affine::var(v), n));
                loops.push((v, n));
            }
        }
        let lanes = i64::from(self.options.lanes);
        let mut image = Affine::var(g) * lanes;
        if t.groups > 1 {
            image = image + Affine::var(gv) * lanes;
            at.push((Affine::var(gv), t.groups));
            loops.push((gv, t.groups));
        }
        let moved = |a: &At| {
            a.substitute(|v| {
                shift
                    .get(&v)
                    .map_or(Affine::var(v), |&d| Affine::var(v) + Affine::var(d))
            })
        };
        for a in axes.values_mut() {
            *a = moved(a);
        }
        let index: Vec<At> = at.iter().map(|a| a.0.clone()).collect();
        let dims: Vec<u32> = at.iter().map(|a| a.1 as u32).collect();
        let nested = |mut body: Vec<Stmt>| {
            for &(v, n) in loops.iter().rev() {
                body = vec![unrolled(v, n, body)];
            }
            body
        };
        let mut place = Place {
            stage: s,
            axes: &axes,
            image,
            acc: vec![],
        };
        let mut out = Vec::new();
        if s.combine != Combine::None {
            let acc: Vec<RegId> = (0..s.combine.width())
                .map(|_| self.k.reg("acc", &dims))
                .collect();
            let row = p
                .conditions
                .iter()
                .filter(|c| !columns.iter().any(|r| c.uses(r.0)));
            let rows: Vec<At> = row.map(&moved).collect();
            let initial = self.initial(s.combine);
            let sets = acc.iter().zip(initial).map(|(&reg, value)| Stmt::Set {
                reg,
                index: index.clone(),
                value,
            });
            out.extend(nested(sets.collect()));
            let guards: Vec<At> = p
                .conditions
                .iter()
                .filter(|c| columns.iter().any(|r| c.uses(r.0)))
                .map(&moved)
                .collect();
            let guarded = |body: Vec<Stmt>| {
                if t.guarded && !guards.is_empty() {
                    vec![Stmt::If {
                        conditions: guards.clone(),
                        body,
                    }]
                } else {
                    body
                }
            };
            let outer = t.a.is_some_and(|a| a.1 > 1) as usize;
            let mut body = match self.products(&place, acc[0], &index, &loops[outer..]) {
                Some((factor, step)) => {
                    let mut body = guarded(step);
                    for &(v, n) in loops[outer..].iter().rev() {
                        body = vec![unrolled(v, n, body)];
                    }
                    body.insert(0, factor);
                    for &(v, n) in loops[..outer].iter().rev() {
                        body = vec![unrolled(v, n, body)];
                    }
                    body
                }
                None => nested(guarded(self.step(&place, &acc, &index))),
            };
            for &(v, n) in columns.iter().rev() {
                body = vec![unrolled(v, n, body)];
            }
            let mut dims: Vec<Dim> = Vec::new();
            for &(v, n) in p.reduce.iter().filter(|r| !columns.contains(r)) {
                dims.push(bounded(v, n, &rows));
            }
            // The groups share the cache lines of a position.
            if summed {
                dims.push(Dim::count(g, self.groups()));
            }
            out.push(if dims.is_empty() {
                Stmt::If {
                    conditions: vec![],
                    body,
                }
            } else {
                Stmt::For {
                    dims,
                    kind: Kind::Serial,
                    body,
                }
            });
            place.acc = acc.iter().map(|&r| self.k.get(r, &index)).collect();
        }
        let finish = self.finish(&place, summed);
        out.extend(nested(finish));
        out
    }

    /// What the accumulators hold before the first element.
    fn initial(&mut self, combine: Combine) -> Vec<ValueId> {
        let lowest = self.k.constant(f32::NEG_INFINITY);
        match combine {
            Combine::ArgMaxFirst => vec![lowest, self.k.constant(-1.0)],
            Combine::Max => vec![lowest],
            Combine::Sum | Combine::None => vec![self.k.constant(0.0)],
        }
    }

    /// A product of what the channels pick, loaded once for all positions, and of what the positions pick,
    /// loaded for each: the multiply-add overwrites what it loaded last, which costs no copy.
    fn products(
        &mut self,
        place: &Place,
        acc: RegId,
        index: &[At],
        positions: &[Trips],
    ) -> Option<(Stmt, Vec<Stmt>)> {
        let s = place.stage;
        let Expr::Binary(Binary::Mul, a, b) = &s.exprs[s.body.0 as usize] else {
            return None;
        };
        let (Expr::Load(a), Expr::Load(b)) = (&s.exprs[a.0 as usize], &s.exprs[b.0 as usize])
        else {
            return None;
        };
        let moves = |at: At| positions.iter().any(|p| at.uses(p.0));
        if s.combine != Combine::Sum || moves(self.address(place, a)) {
            return None;
        }
        let [factor, term] = [("f", a), ("t", b)].map(|(name, access)| {
            let (reg, load) = (self.k.reg(name, &[]), self.load(place, access));
            let value = self.k.value(load);
            Stmt::Set {
                reg,
                index: vec![],
                value,
            }
        });
        let [x, y] = [&term, &factor].map(|s| match s {
            Stmt::Set { reg, .. } => self.k.get(*reg, &[]),
            _ => unreachable!("both are set"),
        });
        let old = self.k.get(acc, index);
        let value = self.k.value(V::Fma(x, y, old));
        let sum = Stmt::Set {
            reg: acc,
            index: index.to_vec(),
            value,
        };
        Some((factor, vec![term, sum]))
    }

    /// Combines one more element.
    fn step(&mut self, place: &Place, acc: &[RegId], index: &[At]) -> Vec<Stmt> {
        let s = place.stage;
        let set = |reg: RegId, value| Stmt::Set {
            reg,
            index: index.to_vec(),
            value,
        };
        if let (Combine::Sum, Expr::Binary(Binary::Mul, a, b)) =
            (s.combine, &s.exprs[s.body.0 as usize])
        {
            let (a, b) = (self.value(place, *a), self.value(place, *b));
            let old = self.k.get(acc[0], index);
            let fma = self.k.value(V::Fma(a, b, old));
            return vec![set(acc[0], fma)];
        }
        let x = self.value(place, s.body);
        let old0 = self.k.get(acc[0], index);
        if s.combine == Combine::Sum {
            let sum = self.k.binary(Binary::Add, old0, x);
            return vec![set(acc[0], sum)];
        }
        // A NaN wins and stays: it differs from itself, and nothing is greater than it.
        let new = self.k.value(V::Select(Compare::Gt, [x, old0, x, old0]));
        let new = self.k.value(V::Select(Compare::Ne, [x, x, x, new]));
        if s.combine == Combine::Max {
            return vec![set(acc[0], new)];
        }
        let old1 = self.k.get(acc[1], index);
        let here = self.position(place);
        let zero = self.k.constant(0.0);
        let at = self.k.value(V::Select(Compare::Gt, [x, old0, here, old1]));
        let nan = self
            .k
            .value(V::Select(Compare::Ne, [old0, old0, old1, here]));
        let at = self.k.value(V::Select(Compare::Ne, [x, x, nan, at]));
        // The first element counts even where it is −∞.
        let at = self.k.value(V::Select(Compare::Lt, [old1, zero, here, at]));
        vec![set(acc[1], at), set(acc[0], new)]
    }

    /// The position of an element, counted row-major over the reduction axes.
    fn position(&mut self, place: &Place) -> ValueId {
        let flat = place.stage.reduce.iter().fold(Affine::constant(0), |p, a| {
            p * self.n.size(*a) + place.axes[a].clone()
        });
        self.k.value(V::Number(flat))
    }

    fn finish(&mut self, place: &Place, summed: bool) -> Vec<Stmt> {
        let s = place.stage;
        let per_image = self
            .n
            .tensors
            .iter()
            .any(|t| t.ty.is_batch() && t.ty.dims.is_empty() && t.role != TensorRole::Temp);
        let mut out = Vec::new();
        let mut stores = Vec::new();
        for (access, &value) in s.outs.iter().zip(&s.finish) {
            let mut v = self.value(place, value);
            match self.tensors[access.tensor.0 as usize] {
                Home::Register(reg) => out.push(Stmt::Set {
                    reg,
                    index: vec![],
                    value: v,
                }),
                Home::Memory(buf) => {
                    let at = self.address(place, access);
                    let mut how = Write::Vector;
                    if summed {
                        v = self.k.value(V::ReduceLanes(v));
                        let old = self.k.value(V::Load(buf, at.clone(), Read::Splat));
                        v = self.k.binary(Binary::Add, old, v);
                        how = Write::First;
                    } else if per_image {
                        let lane = self.k.value(V::Lane(place.image.clone()));
                        let valid = self.k.value(V::Uniform(Uniform::Valid));
                        let zero = self.k.constant(0.0);
                        v = self.k.value(V::Select(Compare::Lt, [lane, valid, v, zero]));
                    }
                    stores.push(Stmt::Store {
                        buf,
                        at,
                        how,
                        value: v,
                    });
                }
            }
        }
        out.extend(stores);
        out
    }

    /// The address of an element, in elements of its buffer.
    fn address(&self, place: &Place, a: &Access) -> At {
        let ty = self.n.ty(a.tensor);
        let skip = a.index.len() - ty.dims.len();
        if place.axes.is_empty() && ty.leading == Leading::None {
            return if a.index.is_empty() {
                Affine::constant(0)
            } else {
                place.image.clone()
            };
        }
        let flat = a.index[skip..]
            .iter()
            .zip(&ty.dims)
            .fold(Affine::constant(0), |f, (i, &d)| {
                let Index::Affine(i) = i else {
                    panic!("only the leading axis is looked up")
                };
                f * i64::from(d) + i.substitute(|v| place.axes[&v].clone())
            });
        if ty.is_batch() {
            flat * i64::from(self.options.block) + place.image.clone()
        } else {
            flat
        }
    }

    fn value(&mut self, place: &Place, e: ExprId) -> ValueId {
        let operand = |s: &mut Self, x: &ExprId| s.value(place, *x);
        let v = match &place.stage.exprs[e.0 as usize] {
            Expr::Const(bits) => V::Const(*bits),
            Expr::Scalar(x) => V::Uniform(Uniform::Scalar(*x)),
            Expr::Axis(a) => V::Number(a.substitute(|v| place.axes[&v].clone())),
            Expr::Acc(k) => return place.acc[*k as usize],
            Expr::Load(a) => self.load(place, a),
            Expr::Unary(f, x) => V::Unary(*f, operand(self, x)),
            Expr::Binary(f, a, b) => {
                let (a, b) = (operand(self, a), operand(self, b));
                V::Binary(*f, a, b)
            }
            Expr::Select(c, xs) => {
                let xs = xs.map(|x| operand(self, &x));
                V::Select(*c, xs)
            }
        };
        self.k.value(v)
    }

    fn load(&self, place: &Place, a: &Access) -> V {
        let buf = match self.tensors[a.tensor.0 as usize] {
            Home::Register(reg) => return V::Reg(reg, vec![]),
            Home::Memory(buf) => buf,
        };
        let ty = self.n.ty(a.tensor);
        let at = self.address(place, a);
        if let Some(Index::Lookup(t, _)) = a.index.first() {
            let Home::Memory(index) = self.tensors[t.0 as usize] else {
                panic!("indices lie in memory")
            };
            let stride = ty.elements() as i64;
            return V::Load(
                buf,
                at,
                Read::Lookup {
                    index,
                    index_at: place.image.clone(),
                    stride,
                },
            );
        }
        let parameters = place.axes.is_empty() && !ty.dims.is_empty();
        V::Load(
            buf,
            at,
            if ty.is_batch() || parameters {
                Read::Vector
            } else {
                Read::Splat
            },
        )
    }
}

/// Full tiles and the rest: first element, number of tiles, width.
fn cut(n: i64, width: i64) -> Vec<(i64, i64, i64)> {
    let width = width.min(n).max(1);
    let mut parts = vec![(0, n / width, width)];
    if n % width > 0 {
        parts.push((n - n % width, 1, n % width));
    }
    parts
}

/// Runs `body` for each tile of an axis. A single tile still binds its variable, to a constant.
fn loop_over(axis: Option<Trips>, from: i64, tiles: i64, width: i64, body: Vec<Stmt>) -> Vec<Stmt> {
    let Some((v, _)) = axis else { return body };
    let dim = Dim::range(v, from, from + tiles * width, width);
    let kind = if tiles == 1 {
        Kind::Unrolled
    } else {
        Kind::Serial
    };
    vec![Stmt::For {
        dims: vec![dim],
        kind,
        body,
    }]
}

/// A reduction variable from 0 to below n, within what the conditions leave.
fn bounded(v: Var, n: i64, conditions: &[At]) -> Dim {
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
