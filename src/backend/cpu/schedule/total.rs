//! The sum of a formula over all elements of a parameter, as the squares of a gradient.
//!
//! Neighbouring elements lie in the lanes, each of which adds up its own; runs of elements have a sum of their own, so that
//! the error grows with a run's terms and the runs, not with all elements. At the end the lanes are added up. Does not
//! know what is summed.

use std::collections::BTreeMap;

use super::{Home, Lanes, Place, Scheduler, serial};
use crate::nest::loops::{At, Dim, Expr as V, Quotient, RegId, Stmt, ValueId, Write};
use crate::nest::{Affine, Binary, Combine, Expr, Stage};

/// Elements of a run.
const RUN: i64 = 1 << 12;

impl Scheduler<'_> {
    /// A stage that sums over all of its axes, without images. Panics where it does something else.
    pub(super) fn total(&mut self, s: &Stage) -> Vec<Stmt> {
        let whole_sum = s.combine == Combine::Sum && s.own.is_empty() && s.domain.is_empty();
        assert!(whole_sum, "parameters are summed whole");
        assert_eq!(
            s.exprs[s.finish[0].0 as usize],
            Expr::Acc(0),
            "a sum stays as it is"
        );
        let Home::Memory(buf) = self.tensors[s.outs[0].tensor.0 as usize] else {
            panic!("a sum of parameters lies in memory")
        };
        self.note(Lanes::Total, None, vec![]);
        let lanes = i64::from(self.options.lanes);
        let len: i64 = s.reduce.iter().map(|&a| self.n.size(a)).product();
        let rest = len % lanes;
        let [all, run] = ["acc", "run"].map(|name| self.k.reg(name, &[]));
        let [first, element] = ["r", "e"].map(|name| self.k.var(name));
        let zero = self.k.constant(0.0);
        let [old, part] = [all, run].map(|reg| self.k.get(reg, &[]));
        let next = self.added_term(s, Affine::var(element), part);
        let ends = [Affine::var(first) + RUN, Affine::constant(len - rest)];
        let quotient = |num| Quotient { num, div: 1 };
        let elements = Dim {
            var: element,
            lower: vec![quotient(Affine::var(first))],
            upper: ends.map(quotient).to_vec(),
            step: lanes,
        };
        let sum = self.k.binary(Binary::Add, old, part);
        let body = vec![
            set(run, zero),
            serial(elements, vec![set(run, next)]),
            set(all, sum),
        ];
        let mut out = vec![set(all, zero)];
        if len > rest {
            out.push(serial(Dim::range(first, 0, len - rest, RUN), body));
        }
        if rest > 0 {
            let next = self.added_term(s, Affine::constant(len - rest), old);
            let next = self.k.value(V::Split(Affine::constant(rest), next, old));
            out.push(set(all, next));
        }
        let value = self.k.value(V::ReduceLanes(old));
        out.push(Stmt::Store {
            buf,
            at: Affine::constant(0),
            how: Write::First,
            value,
        });
        out
    }

    /// A sum with the terms from an element on.
    fn added_term(&mut self, s: &Stage, from: At, sum: ValueId) -> ValueId {
        let place = Place {
            stage: s,
            axes: BTreeMap::new(),
            image: from,
            acc: vec![],
            row: None,
        };
        if let Expr::Binary(Binary::Mul, a, b) = s.exprs[s.body.0 as usize] {
            let [a, b] = [a, b].map(|x| self.value(&place, x));
            return self.k.value(V::Fma(a, b, sum));
        }
        let term = self.value(&place, s.body);
        self.k.binary(Binary::Add, sum, term)
    }
}

fn set(reg: RegId, value: ValueId) -> Stmt {
    Stmt::Set {
        reg,
        index: vec![],
        value,
    }
}
