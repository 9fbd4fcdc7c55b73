//! Loops and tests of a kernel as blocks.
//!
//! A loop is tested before it, where it may be empty, and at the end of each round. Does not know what a loop
//! computes.

use super::build::{Bound, Builder, Declined, Index, Loop, small};
use super::ir::{BlockId, Class, End, Op, Right, Value};
use crate::nest::loops::{At, Dim, Quotient, Stmt};

/// An element of a register array.
type Slot = (usize, usize);

/// A quotient of numbers below this many times the divisor is taken by a multiplication and a shift.
const QUOTIENTS: i64 = 1 << 15;
const LARGEST_DIVISOR: i64 = 180;

impl Builder<'_> {
    /// Several dimensions are loops within each other: registers pass through all of them.
    pub(super) fn serial(&mut self, dims: &[Dim], body: &[Stmt]) -> Result<(), Declined> {
        let Some((d, rest)) = dims.split_first() else {
            return self.body(body);
        };
        let (lower, upper) = (self.bound(&d.lower, true)?, self.bound(&d.upper, false)?);
        if let (Bound::Known(l), Bound::Known(u)) = (lower, upper)
            && l >= u
        {
            return Ok(());
        }
        let slots = self.assigned(body);
        let old = self.values(&slots);
        let guard = (!self.certain(d)).then_some(self.here);
        if let Some(guard) = guard {
            let before = self.f.block();
            let left = self.bound_value(guard, lower);
            let right = self.right(upper)?;
            self.f.at(guard).end = End::Less(left, right, before, before);
            self.here = before;
        }
        self.enter(d, lower, &slots);
        let begun = self.begun;
        self.serial(rest, body)?;
        let leave = self.leave(&slots, upper, begun == self.begun)?;
        self.vars.remove(&d.var);
        self.here = leave;
        if let Some(guard) = guard {
            let new = self.values(&slots);
            let skip = self.f.block();
            if let End::Less(_, _, _, other) = &mut self.f.at(guard).end {
                *other = skip;
            }
            self.merge(&slots, vec![(leave, new), (skip, old)]);
            self.forget(body, &slots);
        }
        Ok(())
    }

    /// Starts a loop after this block.
    fn enter(&mut self, d: &Dim, lower: Bound, slots: &[Slot]) {
        let depth = self.loops.len();
        let before = self.here;
        let header = self.f.block();
        let args = self.values(slots);
        self.f.at(before).end = End::Jump(header, args);
        self.parameters(header, slots);
        let (low, high) = self.range(d);
        self.vars.insert(d.var, Index::Run(depth, low, high));
        self.loops.push(Loop {
            before,
            header,
            lower,
            step: d.step,
            moving: vec![],
        });
        self.begun += 1;
        self.transposed = None;
        self.here = header;
    }

    /// Ends the innermost loop, which has none within where `innermost`; the block after it.
    fn leave(
        &mut self,
        slots: &[Slot],
        upper: Bound,
        innermost: bool,
    ) -> Result<BlockId, Declined> {
        let depth = self.loops.len() - 1;
        let counter = self.moving(&(None, vec![(depth, 1)]))?;
        let bottom = self.here;
        let mut args = self.values(slots);
        let (header, step) = (self.loops[depth].header, self.loops[depth].step);
        let mut next = counter;
        for (m, v) in self.loops[depth].moving.clone() {
            let scale = m.1.last().map_or(0, |t| t.1);
            let grown = self.integer(bottom, Op::Sum(small(scale * step)?), &[v], None);
            if v == counter {
                next = grown;
            }
            args.push(grown);
        }
        let right = self.right(upper)?;
        let latch = self.f.block();
        self.f.at(latch).end = End::Jump(header, args);
        for b in header.0..=latch.0 {
            self.f.at(BlockId(b)).innermost |= innermost;
        }
        let after = self.f.block();
        self.f.at(bottom).end = End::Less(next, right, latch, after);
        self.loops.pop();
        self.transposed = None;
        Ok(after)
    }

    /// Runs the body where all conditions hold.
    pub(super) fn guard(&mut self, conditions: &[At], body: &[Stmt]) -> Result<(), Declined> {
        let mut tests = Vec::new();
        for c in conditions {
            match self.index(c)? {
                Ok(known) if known < 0 => return Ok(()),
                Ok(_) => {}
                Err(v) => tests.push(v),
            }
        }
        if tests.is_empty() {
            return self.body(body);
        }
        let slots = self.assigned(body);
        let old = self.values(&slots);
        let mut from = Vec::new();
        for v in tests {
            let (test, inside) = (self.here, self.f.block());
            self.f.at(test).end = End::Less(v, Right::Integer(0), inside, inside);
            from.push(test);
            self.here = inside;
        }
        self.transposed = None;
        self.body(body)?;
        self.transposed = None;
        let mut edges = vec![(self.here, self.values(&slots))];
        for test in from {
            let skip = self.f.block();
            if let End::Less(_, _, negative, _) = &mut self.f.at(test).end {
                *negative = skip;
            }
            edges.push((skip, old.clone()));
        }
        self.merge(&slots, edges);
        self.forget(body, &slots);
        Ok(())
    }

    /// Goes on in a block that these blocks jump to, each with its registers.
    fn merge(&mut self, slots: &[Slot], edges: Vec<(BlockId, Vec<Value>)>) {
        let after = self.f.block();
        for (b, args) in edges {
            self.f.at(b).end = End::Jump(after, args);
        }
        self.parameters(after, slots);
        self.here = after;
    }

    fn parameters(&mut self, block: BlockId, slots: &[Slot]) {
        for &(reg, slot) in slots {
            let v = self.f.value(Class::Vector);
            self.f.at(block).params.push(v);
            self.regs[reg][slot] = Some(v);
        }
    }

    /// Elements that statements set and that hold something already.
    fn assigned(&self, body: &[Stmt]) -> Vec<Slot> {
        let mut regs = Vec::new();
        collect(body, &mut regs);
        regs.sort_unstable();
        regs.dedup();
        let slots = regs
            .into_iter()
            .flat_map(|r| (0..self.regs[r].len()).map(move |s| (r, s)));
        slots.filter(|&(r, s)| self.regs[r][s].is_some()).collect()
    }

    fn values(&self, slots: &[Slot]) -> Vec<Value> {
        slots.iter().filter_map(|&(r, s)| self.regs[r][s]).collect()
    }

    /// What may not have been set holds nothing.
    fn forget(&mut self, body: &[Stmt], kept: &[Slot]) {
        let mut regs = Vec::new();
        collect(body, &mut regs);
        for r in regs {
            for s in 0..self.regs[r].len() {
                if !kept.contains(&(r, s)) {
                    self.regs[r][s] = None;
                }
            }
        }
    }

    /// The greatest of lower bounds, or the least of upper ones.
    fn bound(&mut self, qs: &[Quotient], lower: bool) -> Result<Bound, Declined> {
        let mut known: Option<i64> = None;
        let mut run: Option<Value> = None;
        let (here, op) = (self.here, if lower { Op::Greatest } else { Op::Least });
        for q in qs {
            match self.quotient(q)? {
                Bound::Known(x) => {
                    known = Some(known.map_or(x, |k| if lower { k.max(x) } else { k.min(x) }));
                }
                Bound::Run(v) => {
                    run = Some(run.map_or(v, |r| self.integer(here, op, &[r, v], None)));
                }
            }
        }
        Ok(match (known, run) {
            (Some(k), None) => Bound::Known(k),
            (None, Some(v)) => Bound::Run(v),
            (Some(k), Some(v)) => {
                let k = self.integer(here, Op::Integer(k), &[], None);
                Bound::Run(self.integer(here, op, &[v, k], None))
            }
            (None, None) => return Err(Declined("a loop without bounds")),
        })
    }

    /// ⌊num / div⌋: with m = ⌈2³¹ / div⌉ and num made positive, num · m / 2³¹ is off by less than 1 / div.
    fn quotient(&mut self, q: &Quotient) -> Result<Bound, Declined> {
        let v = match self.index(&q.num)? {
            Ok(num) => return Ok(Bound::Known(num.div_euclid(q.div))),
            Err(v) => v,
        };
        if q.div == 1 {
            return Ok(Bound::Run(v));
        }
        let (low, high) = self.interval(&q.num);
        let most = QUOTIENTS * q.div;
        if q.div > LARGEST_DIVISOR || low < -most || high >= most {
            return Err(Declined("a quotient of large numbers"));
        }
        let here = self.here;
        let v = self.integer(here, Op::Sum(small(most)?), &[v], None);
        let factor = ((1i64 << 31) + q.div - 1) / q.div;
        let v = self.integer(here, Op::Times(small(factor)?), &[v], None);
        let v = self.integer(here, Op::ShiftRight(31), &[v], None);
        Ok(Bound::Run(self.integer(
            here,
            Op::Sum(small(-QUOTIENTS)?),
            &[v],
            None,
        )))
    }

    fn bound_value(&mut self, block: BlockId, b: Bound) -> Value {
        match b {
            Bound::Known(k) => self.integer(block, Op::Integer(k), &[], None),
            Bound::Run(v) => v,
        }
    }

    fn right(&self, b: Bound) -> Result<Right, Declined> {
        Ok(match b {
            Bound::Known(k) => Right::Integer(small(k)?),
            Bound::Run(v) => Right::Value(v),
        })
    }

    /// Whether the loop surely has a round.
    fn certain(&self, d: &Dim) -> bool {
        d.lower.iter().all(|l| {
            d.upper.iter().all(|u| {
                if l.div == 1 && u.div == 1 {
                    return self.interval(&(u.num.clone() - l.num.clone())).0 > 0;
                }
                self.interval(&l.num).1.div_euclid(l.div)
                    < self.interval(&u.num).0.div_euclid(u.div)
            })
        })
    }

    /// The least and the greatest value of a loop's variable.
    fn range(&self, d: &Dim) -> (i64, i64) {
        let low = d
            .lower
            .iter()
            .map(|q| self.interval(&q.num).0.div_euclid(q.div));
        let high = d
            .upper
            .iter()
            .map(|q| self.interval(&q.num).1.div_euclid(q.div));
        (low.max().unwrap_or(0), high.min().unwrap_or(1) - 1)
    }
}

/// The register arrays that statements set.
fn collect(body: &[Stmt], out: &mut Vec<usize>) {
    for s in body {
        match s {
            Stmt::For { body, .. } | Stmt::If { body, .. } => collect(body, out),
            Stmt::Set { reg, .. } => out.push(reg.0 as usize),
            _ => {}
        }
    }
}
