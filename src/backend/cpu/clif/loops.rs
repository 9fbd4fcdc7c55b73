//! Loops and tests as Cranelift blocks: counters, bounds, and the pointers that follow from them.
//!
//! Does not know what a loop computes.

use cranelift::codegen::ir::BlockArg;
use cranelift::prelude::*;

use super::{Emitter, Index};
use crate::backend::cpu::pointer::{self, Pointer};
use crate::nest::Affine;
use crate::nest::loops::{At, Dim, Quotient, Stmt};

impl Emitter<'_> {
    /// Bounds are constants: the verifier holds that.
    pub(super) fn unrolled(&mut self, d: &Dim, body: &[Stmt]) {
        let known = |q: &Quotient| q.num.as_constant().map_or(0, |c| c.div_euclid(q.div));
        let lower = d.lower.iter().map(known).max().unwrap_or(0);
        let upper = d.upper.iter().map(known).min().unwrap_or(0);
        for i in (lower..upper).step_by(d.step as usize) {
            self.vars.insert(d.var, Index::Known(i));
            self.body(body);
        }
        self.vars.remove(&d.var);
    }

    /// One loop over the product of the dimensions: counters carry over like those of an odometer, so that
    /// accumulators pass through one loop only and stay in machine registers.
    ///
    /// Tested at its head, so that what a round leaves in an accumulator has one use, the next round. With a
    /// second one, after the loop, Cranelift would take all that the accumulator is computed from for shared,
    /// and would not read an element straight from memory into all lanes.
    ///
    /// The next round's counters and pointers are computed first: its loads then wait for nothing at the end of
    /// this round, when the multiply-adds fill the machine's window.
    pub(super) fn serial(&mut self, dims: &[Dim], body: &[Stmt]) {
        let lower: Vec<Value> = dims
            .iter()
            .map(|d| self.bound(&d.lower, IntCC::SignedGreaterThan))
            .collect();
        let upper: Vec<Value> = dims
            .iter()
            .map(|d| self.bound(&d.upper, IntCC::SignedLessThan))
            .collect();
        let [head, inside, exit] = [(); 3].map(|()| self.b.create_block());
        let pointers = pointer::carried(self.k, dims, body, |v| {
            matches!(self.vars.get(&v), Some(Index::Run(_)))
        });
        let steps: Vec<Vec<Value>> = pointers
            .iter()
            .map(|p| self.steps(p, dims, &lower, &upper))
            .collect();
        // Where the pointers start is of no use to a later loop over the same variables.
        let outer = self.pointers.clone();
        self.count(dims, &lower);
        let mut start: Vec<BlockArg> = lower.iter().map(|&v| v.into()).collect();
        start.extend(pointers.iter().map(|p| BlockArg::from(self.place(p))));
        let some = self.not_empty(&lower, &upper);
        self.b.ins().brif(some, head, &start, exit, &[]);
        self.b.switch_to_block(head);
        let mut param = || self.b.append_block_param(head, types::I64);
        let counters: Vec<Value> = dims.iter().map(|_| param()).collect();
        let here: Vec<Value> = pointers.iter().map(|_| param()).collect();
        let less = IntCC::SignedLessThan;
        let more = self.b.ins().icmp(less, counters[0], upper[0]);
        self.b.ins().brif(more, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let next = self.advance(dims, &counters, &here, &steps, [&lower, &upper]);
        self.count(dims, &counters);
        self.pointers.extend(pointers.iter().cloned().zip(here));
        self.body(body);
        self.pointers = outer;
        self.vars.retain(|v, _| dims.iter().all(|d| d.var != *v));
        self.b.ins().jump(head, &next);
        self.b.seal_block(head);
        self.b.seal_block(exit);
        self.b.switch_to_block(exit);
    }

    fn count(&mut self, dims: &[Dim], counters: &[Value]) {
        let runs = counters.iter().map(|&i| Index::Run(i));
        self.vars.extend(dims.iter().map(|d| d.var).zip(runs));
    }

    fn place(&mut self, p: &Pointer) -> Value {
        let at = Affine {
            terms: p.terms.clone(),
            constant: 0,
        };
        self.pointer(p.buf, &at).0
    }

    /// Bytes by which a pointer moves when dimension k steps and all later ones start anew, for each k.
    fn steps(&mut self, p: &Pointer, dims: &[Dim], lower: &[Value], upper: &[Value]) -> Vec<Value> {
        let size = self.size(p.buf);
        let mut steps = Vec::new();
        let mut back = self.b.ins().iconst(types::I64, 0);
        for (k, d) in dims.iter().enumerate().rev() {
            let term = p.terms.iter().find(|t| t.0 == d.var);
            let scale = term.map_or(0, |t| t.1) * size;
            steps.push(self.b.ins().iadd_imm_s(back, scale * d.step));
            // The last value is lower + ⌊(upper − 1 − lower) / step⌋ · step.
            let span = self.b.ins().isub(upper[k], lower[k]);
            let span = self.b.ins().iadd_imm_s(span, -1);
            let rounds = if d.step == 1 {
                span
            } else {
                self.b.ins().sdiv_imm_s(span, d.step)
            };
            let way = self.b.ins().imul_imm_s(rounds, scale * d.step);
            back = self.b.ins().isub(back, way);
        }
        steps.reverse();
        steps
    }

    fn not_empty(&mut self, lower: &[Value], upper: &[Value]) -> Value {
        let tests: Vec<Value> = lower
            .iter()
            .zip(upper)
            .map(|(&l, &u)| self.b.ins().icmp(IntCC::SignedLessThan, l, u))
            .collect();
        tests[1..]
            .iter()
            .fold(tests[0], |all, &t| self.b.ins().band(all, t))
    }

    /// Counters and pointers of the next round.
    fn advance(
        &mut self,
        dims: &[Dim],
        counters: &[Value],
        pointers: &[Value],
        steps: &[Vec<Value>],
        [lower, upper]: [&[Value]; 2],
    ) -> Vec<BlockArg> {
        let last = dims.len() - 1;
        let mut next = counters.to_vec();
        let mut step: Vec<Value> = steps.iter().map(|s| s[last]).collect();
        next[last] = self.b.ins().iadd_imm_s(counters[last], dims[last].step);
        for k in (0..last).rev() {
            let i = next[k + 1];
            let over = IntCC::SignedGreaterThanOrEqual;
            let over = self.b.ins().icmp(over, i, upper[k + 1]);
            next[k + 1] = self.b.ins().select(over, lower[k + 1], i);
            let stepped = self.b.ins().iadd_imm_s(counters[k], dims[k].step);
            next[k] = self.b.ins().select(over, stepped, counters[k]);
            for (step, steps) in step.iter_mut().zip(steps) {
                *step = self.b.ins().select(over, steps[k], *step);
            }
        }
        let moved = pointers.iter().zip(step);
        let moved: Vec<Value> = moved.map(|(&p, s)| self.b.ins().iadd(p, s)).collect();
        let args = next.into_iter().chain(moved);
        args.map(BlockArg::from).collect()
    }

    fn bound(&mut self, qs: &[Quotient], better: IntCC) -> Value {
        let mut best = None;
        for q in qs {
            let v = self.quotient(q);
            best = Some(best.map_or(v, |b| {
                let c = self.b.ins().icmp(better, v, b);
                self.b.ins().select(c, v, b)
            }));
        }
        best.expect("a loop has bounds")
    }

    /// ⌊num / div⌋, while the instruction rounds to zero.
    fn quotient(&mut self, q: &Quotient) -> Value {
        let (sum, constant) = self.affine(&q.num, 1);
        let num = match sum {
            None => return self.b.ins().iconst(types::I64, constant.div_euclid(q.div)),
            Some(sum) => self.b.ins().iadd_imm_s(sum, constant),
        };
        if q.div == 1 {
            return num;
        }
        let quotient = self.b.ins().sdiv_imm_s(num, q.div);
        let rest = self.b.ins().srem_imm_s(num, q.div);
        let sign = self.b.ins().sshr_imm_s(rest, 63);
        self.b.ins().iadd(quotient, sign)
    }

    pub(super) fn guard(&mut self, conditions: &[At], body: &[Stmt]) {
        let mut test = None;
        for c in conditions {
            match self.affine(c, 1) {
                (None, constant) if constant < 0 => return,
                (None, _) => {}
                (Some(sum), constant) => {
                    let v = self.b.ins().iadd_imm_s(sum, constant);
                    let holds = self
                        .b
                        .ins()
                        .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, v, 0);
                    test = Some(test.map_or(holds, |t| self.b.ins().band(t, holds)));
                }
            }
        }
        let Some(test) = test else {
            return self.body(body);
        };
        let [inside, exit] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(test, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let outer = self.pointers.clone();
        self.body(body);
        self.pointers = outer;
        self.b.ins().jump(exit, &[]);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }
}
