//! One tile: registers of accumulators, the loops of its reduction, and what is stored at its end.
//!
//! Does not know how results are cut into tiles.

use std::collections::BTreeMap;

use super::bands::Part;
use super::row::InRow;
use super::{Home, Place, Scheduler, Tile, Trips, serial, unrolled};
use crate::backend::beyond::vanishes;
use crate::backend::combine;
use crate::backend::pieces::{Piece, bounded};
use crate::nest::loops::{
    At, BufId, Dim, Expr as V, Kind, RegId, Stmt, Uniform, ValueId, Var, Write,
};
use crate::nest::{
    Access, Affine, Binary, Combine, Compare, Expr, ExprId, Stage, Tensor, TensorRole,
};

/// A loop with fewer taps written out than these is unrolled further,
const MOST_TAPS: i64 = 3;
/// so many times.
const ROUNDS: i64 = 4;

impl Scheduler<'_> {
    pub(super) fn tile(
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
        let sums = s.combine == Combine::Sum && !summed;
        let long = long(p, columns)
            .filter(|_| sums)
            .map(|v| (v, self.k.var("u")));
        shift.extend(long.map(|((v, _), u)| (v, u)));
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
            axes,
            image,
            acc: vec![],
            row: None,
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
            let initial = combine::initial(&mut self.k, s.combine);
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
            let split = t.a.is_some_and(|a| a.1 > 1) as usize;
            let (channels, rest) = loops.split_at(split);
            let mut dims: Vec<Dim> = Vec::new();
            for &(v, n) in p.reduce.iter().filter(|r| !columns.contains(r)) {
                dims.push(match t.band {
                    Some(b) if b.of.0 == v => b.within(bounded(v, n, &rows)),
                    _ => bounded(v, n, &rows),
                });
            }
            let alone = t.x.is_none_or(|x| x.1 == 1);
            let whole = [Part::whole()];
            for part in t.parts.as_deref().unwrap_or(&whole) {
                let guarded = |body| if part.inside { body } else { guarded(body) };
                let mut body = match self.products(&place, acc[0], &index, channels, rest) {
                    // What the channels pick may not exist either.
                    Some(p) if alone => guarded(p.body(channels, rest, |body| body)),
                    Some(p) => p.body(channels, rest, guarded),
                    None => nested(guarded(self.step(&place, &acc, &index))),
                };
                let mut dims = dims.clone();
                for &(v, n) in columns.iter().rev() {
                    match t.parts {
                        Some(_) if part.inside => dims.push(part.of(v)),
                        Some(_) => body = part.written(v, body),
                        None => body = vec![unrolled(v, n, body)],
                    }
                }
                // The groups share the cache lines of a position.
                if summed {
                    dims.push(Dim::count(g, self.groups()));
                }
                out.extend(rounds(dims, long, body));
            }
            place.acc = acc.iter().map(|&r| self.k.get(r, &index)).collect();
        }
        let finish = if self.finishes_apart(s) {
            self.keep(&place)
        } else {
            self.finish(&place)
        };
        out.extend(nested(finish));
        out
    }

    /// Whether sums are stored as they are and finished by a loop of their own, once those of a row are there.
    /// The constants of an elementary function, or of a random number, would take the accumulators' registers, and a
    /// tile would wait for its chain of operations, where a row has many independent ones.
    pub(super) fn finishes_apart(&self, s: &Stage) -> bool {
        let function = |e: &Expr| match e {
            Expr::Unary(f, _) => !f.is_instruction(),
            Expr::Random { .. } => true,
            _ => false,
        };
        let batch = !self.sums_images(s) && self.n.shared.is_empty();
        let [out] = &s.outs[..] else { return false };
        batch
            && s.combine == Combine::Sum
            && self.n.ty(out.tensor).is_batch()
            && matches!(self.tensors[out.tensor.0 as usize], Home::Memory(_))
            && s.exprs.iter().any(function)
    }

    /// Stores sums where the results will be.
    pub(super) fn keep(&self, place: &Place) -> Vec<Stmt> {
        let out = &place.stage.outs[0];
        let Home::Memory(buf) = self.tensors[out.tensor.0 as usize] else {
            unreachable!("only sums in memory are finished apart")
        };
        vec![self.stored(place, out, buf, place.acc[0])]
    }

    /// Replaces a row of stored sums, of all channels, by the results.
    pub(super) fn finish_apart(
        &mut self,
        s: &Stage,
        p: &Piece,
        channel: Option<Trips>,
        positions: Option<Trips>,
    ) -> Stmt {
        let y = self.k.var("y");
        let mut place = Place {
            stage: s,
            axes: p.axes.clone(),
            image: Affine::var(y) * i64::from(self.options.lanes),
            acc: vec![],
            row: None,
        };
        let sum = self.load(&place, &s.outs[0]);
        place.acc = vec![self.k.value(sum)];
        let mut body = unrolled(y, self.groups(), self.finish(&place));
        for (v, n) in [positions, channel].into_iter().flatten() {
            body = serial(Dim::count(v, n), vec![body]);
        }
        body
    }

    /// A product of what the channels pick and of what the positions pick. The fewer of them are held in
    /// registers; the others pass by, and the last multiply-add with one overwrites it, which costs no copy.
    pub(super) fn products(
        &mut self,
        place: &Place,
        acc: RegId,
        index: &[At],
        channels: &[(Var, i64)],
        positions: &[(Var, i64)],
    ) -> Option<Products> {
        let s = place.stage;
        let Expr::Binary(Binary::Mul, a, b) = &s.exprs[s.body.0 as usize] else {
            return None;
        };
        let (Expr::Load(a), Expr::Load(b)) = (&s.exprs[a.0 as usize], &s.exprs[b.0 as usize])
        else {
            return None;
        };
        let moves = |at: At| positions.iter().any(|p| at.uses(p.0));
        if self.selects(place) {
            return None;
        }
        if s.combine != Combine::Sum || moves(self.address(place, a)) {
            return None;
        }
        let count = |l: &[(Var, i64)]| l.iter().map(|x| x.1).product::<i64>();
        let held = count(channels) <= count(positions);
        let dims = |own: &[(Var, i64)], held: bool| -> (Vec<At>, Vec<u32>) {
            let own = own.iter().filter(|_| held);
            own.map(|&(v, n)| (Affine::var(v), n as u32)).unzip()
        };
        let [(factor, x), (term, y)] = [
            ("f", a, dims(channels, held)),
            ("t", b, dims(positions, !held)),
        ]
        .map(|(name, access, (index, dims))| {
            let (reg, load) = (self.k.reg(name, &dims), self.load(place, access));
            let value = self.k.value(load);
            let read = self.k.get(reg, &index);
            (Stmt::Set { reg, index, value }, read)
        });
        let old = self.k.get(acc, index);
        let value = self.k.value(V::Fma(y, x, old));
        let sum = Stmt::Set {
            reg: acc,
            index: index.to_vec(),
            value,
        };
        Some(Products {
            factor,
            term,
            sum,
            held,
        })
    }

    /// Combines one more element.
    pub(super) fn step(&mut self, place: &Place, acc: &[RegId], index: &[At]) -> Vec<Stmt> {
        let s = place.stage;
        let set = |reg: RegId, value| Stmt::Set {
            reg,
            index: index.to_vec(),
            value,
        };
        if let (Combine::Sum, Expr::Binary(Binary::Mul, a, b), false) =
            (s.combine, &s.exprs[s.body.0 as usize], self.selects(place))
        {
            let (a, b) = (self.value(place, *a), self.value(place, *b));
            let old = self.k.get(acc[0], index);
            let fma = self.k.value(V::Fma(a, b, old));
            return vec![set(acc[0], fma)];
        }
        let mut x = self.value(place, s.body);
        if self.selects(place) {
            x = match &place.row {
                None => self.valid(place, x),
                Some(row) => self.within(row, x),
            };
        }
        let old: Vec<ValueId> = acc.iter().map(|&r| self.k.get(r, index)).collect();
        let here = (acc.len() > 1).then(|| self.position(place));
        let new = combine::step(&mut self.k, s.combine, x, &old, here);
        // Positions first: they depend on the old values.
        let sets = acc.iter().zip(new).rev();
        sets.map(|(&reg, value)| set(reg, value)).collect()
    }

    /// Whether a sum has terms that are not 0 in lanes which take no part: beyond the last image, or where a row of an
    /// image ends.
    fn selects(&self, place: &Place) -> bool {
        let s = place.stage;
        let Some(row) = &place.row else {
            return self.options.beyond.terms && self.sums_images(s);
        };
        // What differs from lane to lane is not read there, and counts as 0.
        let read = |a: &Access| row.varies(&self.address(place, a));
        let all = row.conditions().count() == 0;
        s.combine == Combine::Sum && !all && !vanishes(s, s.body, false, &read)
    }

    /// The value in the lanes that take part, 0 in the others.
    fn within(&mut self, row: &InRow, value: ValueId) -> ValueId {
        let conditions: Vec<At> = row.conditions().cloned().collect();
        let zero = self.k.constant(0.0);
        let lane = self.k.value(V::Lane(Affine::constant(0)));
        conditions.iter().fold(value, |value, at| {
            let start = self.k.value(V::Number(row.start(at)));
            let step = self.k.constant(row.step(at) as f32);
            let beside = self.k.binary(Binary::Mul, lane, step);
            let here = self.k.binary(Binary::Add, beside, start);
            let out = [here, zero, zero, value];
            self.k.value(V::Select(Compare::Lt, out))
        })
    }

    /// The position of an element, counted row-major over the reduction axes.
    fn position(&mut self, place: &Place) -> ValueId {
        let flat = place.stage.reduce.iter().fold(Affine::constant(0), |p, a| {
            p * self.n.size(*a) + place.axes[a].clone()
        });
        self.k.value(V::Number(flat))
    }

    /// Stores the finished results, or adds them to those of the images before.
    pub(super) fn finish(&mut self, place: &Place) -> Vec<Stmt> {
        let s = place.stage;
        let summed = self.sums_images(s);
        let mut out = Vec::new();
        let mut stores = Vec::new();
        // Several results of parameters may lie where the operands do: none is stored before all are computed.
        let images = self.n.shared.iter().chain(&s.own).any(|a| self.is_batch(a));
        let in_place = s.outs.len() > 1 && !images && !summed;
        for (access, &value) in s.outs.iter().zip(&s.finish) {
            let mut v = self.value(place, value);
            if in_place {
                v = self.kept_value(access, value, v, &mut out);
            }
            match self.tensors[access.tensor.0 as usize] {
                Home::Register(reg) => out.push(Stmt::Set {
                    reg,
                    index: vec![],
                    value: v,
                }),
                Home::Memory(buf) => {
                    if summed {
                        v = self.added(place, access, v);
                    } else if place.row.is_none() && self.stores_zeros() {
                        v = self.valid(place, v);
                    }
                    stores.push(self.stored(place, access, buf, v));
                }
            }
        }
        out.extend(stores);
        self.kept.clear();
        out
    }

    /// Computes the formula of a result into a register, from which it and the formulas that read it take the value.
    fn kept_value(
        &mut self,
        result: &Access,
        formula: ExprId,
        value: ValueId,
        out: &mut Vec<Stmt>,
    ) -> ValueId {
        let name = &self.n.tensors[result.tensor.0 as usize].name;
        let reg = self.k.reg(name, &[]);
        out.push(Stmt::Set {
            reg,
            index: vec![],
            value,
        });
        let kept = self.k.get(reg, &[]);
        self.kept.insert(formula, kept);
        kept
    }

    /// The value added to what is there; images in lanes are summed first.
    fn added(&mut self, place: &Place, a: &Access, value: ValueId) -> ValueId {
        let value = match place.row {
            None => self.k.value(V::ReduceLanes(value)),
            Some(_) => value,
        };
        let old = self.load(place, a);
        let old = self.k.value(old);
        self.k.binary(Binary::Add, old, value)
    }

    /// Whether results are 0 beyond the last image: where that is asked for, or the nest has a number for each image.
    fn stores_zeros(&self) -> bool {
        if self.options.beyond.results {
            return true;
        }
        let single = |t: &Tensor| t.ty.is_batch() && t.ty.dims.is_empty();
        let mut tensors = self.n.tensors.iter();
        tensors.any(|t| single(t) && t.role != TensorRole::Temp)
    }

    /// The value in the lanes of images, 0 beyond the last one.
    fn valid(&mut self, place: &Place, value: ValueId) -> ValueId {
        let lane = self.k.value(V::Lane(place.image.clone()));
        let valid = self.k.value(V::Uniform(Uniform::Valid));
        let zero = self.k.constant(0.0);
        self.k
            .value(V::Select(Compare::Lt, [lane, valid, value, zero]))
    }

    /// Stores a value where the lanes' results lie.
    fn stored(&self, place: &Place, a: &Access, buf: BufId, value: ValueId) -> Stmt {
        let at = self.address(place, a);
        let (at, how) = match &place.row {
            Some(row) => row.written(&at),
            None if self.sums_images(place.stage) => (at, Write::First),
            None => (at, Write::Vector),
        };
        Stmt::Store {
            buf,
            at,
            how,
            value,
        }
    }
}

/// The statements of a product: what sets a channel's factor and a position's term, and what adds their product.
pub(super) struct Products {
    factor: Stmt,
    term: Stmt,
    sum: Stmt,
    /// The factors of all channels are held, rather than the terms of all positions.
    held: bool,
}

impl Products {
    pub(super) fn body(
        self,
        channels: &[Trips],
        positions: &[Trips],
        guarded: impl Fn(Vec<Stmt>) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let over = |loops: &[Trips], body: Vec<Stmt>| {
            let each = |body, &(v, n): &Trips| vec![unrolled(v, n, body)];
            loops.iter().rev().fold(body, each)
        };
        if self.held {
            let mut step = vec![self.term];
            step.extend(over(channels, vec![self.sum]));
            let mut body = over(channels, vec![self.factor]);
            body.extend(over(positions, guarded(step)));
            return body;
        }
        let mut step = vec![self.factor];
        step.extend(over(positions, guarded(vec![self.sum])));
        let mut body = over(positions, guarded(vec![self.term]));
        body.extend(over(channels, step));
        body
    }
}

/// The last reduction variable, if its loop would be short of work: accumulators change registers from round to
/// round, and a round of a few multiply-adds spends as many moves on that.
fn long(p: &Piece, columns: &[Trips]) -> Option<Trips> {
    let taps: i64 = columns.iter().map(|c| c.1).product();
    let last = p.reduce.iter().rev().find(|r| !columns.contains(r))?;
    let free = !p.conditions.iter().any(|c| c.uses(last.0));
    (free && taps < MOST_TAPS && last.1 >= ROUNDS).then_some(*last)
}

/// The loops of a reduction. Of a long variable several values are written out, the rest of them afterwards.
fn rounds(mut dims: Vec<Dim>, long: Option<(Trips, Var)>, body: Vec<Stmt>) -> Vec<Stmt> {
    let Some(((v, n), u)) = long else {
        return run(dims, body);
    };
    let full = n - n % ROUNDS;
    let others = dims.iter().filter(|d| d.var != v).cloned().collect();
    for d in dims.iter_mut().filter(|d| d.var == v) {
        *d = Dim::range(v, 0, full, ROUNDS);
    }
    let mut out = run(dims, vec![unrolled(u, ROUNDS, body.clone())]);
    if full < n {
        let rest = Stmt::For {
            dims: vec![Dim::range(v, full, n, 1)],
            kind: Kind::Unrolled,
            body: vec![unrolled(u, 1, body)],
        };
        out.extend(run(others, vec![rest]));
    }
    out
}

pub(super) fn run(dims: Vec<Dim>, body: Vec<Stmt>) -> Vec<Stmt> {
    if dims.is_empty() {
        return body;
    }
    vec![Stmt::For {
        dims,
        kind: Kind::Serial,
        body,
    }]
}
