//! Sums over all elements of a parameter, as of the squares of a gradient.
//!
//! Blocks share out the entries of the first axis, each a shard of the sum; the threads of a block take its elements in
//! turn, and a tree over the threads adds up. Does not know what is summed.

use std::collections::BTreeMap;

use super::{Builder, Place, THREADS, around, when};
use crate::backend::pieces::Piece;
use crate::nest::loops::{Dim, Expr as V, Kind, Read, Stmt, Write};
use crate::nest::{Affine, Binary, Combine, Expr, Stage};

/// Shards of a sum at most: who reads it adds them up one by one.
const MOST_SHARDS: i64 = 32;

impl<'a> Builder<'a> {
    /// Whether a stage sums over all of its axes, without images.
    pub(super) fn is_total(&self, s: &Stage) -> bool {
        let images = s.reduce.iter().any(|&a| self.is_batch(a));
        s.combine == Combine::Sum && s.own.is_empty() && !images && self.n.shared.is_empty()
    }

    /// Such a stage. Panics where what it stores is more than the sum.
    pub(super) fn total(&mut self, s: &'a Stage, p: &Piece) {
        assert_eq!(
            s.exprs[s.finish[0].0 as usize],
            Expr::Acc(0),
            "a sum stays as it is"
        );
        let entries = self.n.size(s.reduce[0]);
        let each = (entries + MOST_SHARDS - 1) / MOST_SHARDS;
        let shards = (entries + each - 1) / each;
        self.summed_in(s, shards);
        let [shard, entry, t] = ["shard", "i", "t"].map(|name| self.k.var(name));
        let at = Affine::var(shard) * each + Affine::var(entry);
        let mut place = Place {
            stage: s,
            axes: p.axes.clone(),
            acc: vec![],
            sums: BTreeMap::new(),
        };
        place.axes.insert(s.reduce[0], at.clone());
        let acc = self.k.reg("acc", &[]);
        let set = |value| Stmt::Set {
            reg: acc,
            index: vec![],
            value,
        };
        let clear = set(self.k.constant(0.0));
        let old = self.k.get(acc, &[]);
        let mut add = self.whole_sums(&mut place);
        let x = self.value(&place, s.body);
        add.push(set(self.k.binary(Binary::Add, old, x)));
        let exists = Affine::constant(entries - 1) - at;
        let guards = if entries % each == 0 {
            vec![]
        } else {
            vec![exists]
        };
        let mut loops = vec![Dim::count(entry, each)];
        let others = s.reduce[1..].iter().map(|a| {
            let var = place.axes[a]
                .as_var()
                .expect("an axis of a parameter is a loop");
            Dim::count(var, self.n.size(*a))
        });
        loops.extend(others);
        let width = i64::from(THREADS);
        let threads = |body| around(vec![Dim::count(t, width)], Kind::Threads, body);
        let mut body = threads(vec![clear]);
        body.extend(around(loops, Kind::Threads, when(guards, add)));
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
        let store = self.finish(&place, Some(&Affine::var(shard)));
        body.extend(around(vec![Dim::count(t, 1)], Kind::Threads, store));
        self.push(vec![Dim::count(shard, shards)], Kind::Grid, body);
    }
}
