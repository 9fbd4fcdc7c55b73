//! Sums of the first factor alone, beside a sum of products over images: a layer's bias gradient beside its
//! weights'.
//!
//! Both sum the gradient of the layer's result over the same images and positions, and a block of the product has it in
//! shared memory, chunk by chunk: its threads add up the rows there, so that memory is read once for both. Does not know
//! which operators these are.

use super::contraction::{Side, Tiles};
use super::{Builder, THREADS, around, between, when};
use crate::nest::loops::{At, BufId, Dim, Expr as V, Kind, Read, RegId, Stmt, Var, Write};
use crate::nest::{Affine, Binary, Expr, Index};

/// What is added to the loops of a product.
pub(super) struct RowSums {
    /// Before the first chunk.
    pub clear: Vec<Stmt>,
    /// While a chunk is in shared memory.
    pub add: Vec<Stmt>,
    /// After the last one.
    pub store: Vec<Stmt>,
}

/// Threads by part and row, and what they add up.
struct Parts {
    part: Var,
    row: Var,
    parts: i64,
    rows: i64,
    sum: RegId,
}

impl Parts {
    fn threads(&self, body: Vec<Stmt>) -> Vec<Stmt> {
        let dims = vec![
            Dim::count(self.part, self.parts),
            Dim::count(self.row, self.rows),
        ];
        around(dims, Kind::Threads, body)
    }
    fn set(&self, value: crate::nest::loops::ValueId) -> Stmt {
        Stmt::Set {
            reg: self.sum,
            index: vec![],
            value,
        }
    }
}

impl Builder<'_> {
    /// The sums of the first factor's rows into `to`; `None` where the factor is more than an element, or its other
    /// indices are not those that are summed.
    pub(super) fn row_sums(&mut self, t: &Tiles, to: BufId, shard: Var) -> Option<RowSums> {
        let plain = matches!(t.p.stage.exprs[t.p.a.expr.0 as usize], Expr::Load(_));
        let m = t.p.m?;
        let last =
            t.a.sides
                .iter()
                .position(|s| s.local.uses(t.cut(m.0).inner))?;
        let variable = |i: &Index| match i {
            Index::Affine(i) => i.as_var().and_then(|x| t.p.axes[&x].as_var()),
            Index::Lookup(..) => None,
        };
        let index = t.p.a.access.index.iter().enumerate();
        let others: Option<Vec<Var>> = index
            .filter(|i| i.0 != last)
            .map(|i| variable(i.1))
            .collect();
        let mut others = others?;
        others.sort();
        let mut summed: Vec<Var> = t.p.k.iter().map(|k| k.0).collect();
        summed.sort();
        if !plain || others != summed {
            return None;
        }
        let rows = t.t.tm * t.t.mg;
        let elements: i64 = sides(t, last).map(|s| s.extent).product();
        let pitch = sides(t, last).map(|s| s.stride).min()?;
        let p = Parts {
            part: self.k.var("part"),
            row: self.k.var("row"),
            parts: (i64::from(THREADS) / rows).clamp(1, elements),
            rows,
            sum: self.k.reg("sum", &[]),
        };
        let q = self.k.var("q");
        let zero = self.k.constant(0.0);
        let old = self.k.get(p.sum, &[]);
        let at = Affine::var(q) * pitch + Affine::var(p.row);
        let x = self.k.value(V::Load(t.a.buf, at, Read::Splat));
        let add = p.set(self.k.binary(Binary::Add, old, x));
        let over = between(
            q,
            Affine::var(p.part),
            vec![Affine::constant(elements)],
            p.parts,
        );
        let add = p.threads(around(vec![over], Kind::Serial, vec![add]));
        // Blocks of other columns have the same rows.
        let first: Vec<At> = t.column_starts().map(|v| Affine::var(v) * -1).collect();
        let side = &t.a.sides[last];
        let channel = side.start.clone() + Affine::var(p.row);
        let at = Affine::var(shard) * side.size? + channel;
        let store = self.row_totals(&p, to, at, t.row_guard(&Affine::var(p.row)));
        Some(RowSums {
            clear: p.threads(vec![p.set(zero)]),
            add: when(first.clone(), add),
            store: when(first, store),
        })
    }

    /// Adds up the parts of each row, in their order.
    fn row_totals(&mut self, p: &Parts, to: BufId, at: At, guard: Vec<At>) -> Vec<Stmt> {
        self.shared = 0;
        let buf = self.share("row_sums", p.parts * p.rows);
        let place = Affine::var(p.part) * p.rows + Affine::var(p.row);
        let value = self.k.get(p.sum, &[]);
        let mut out = p.threads(vec![Stmt::Store {
            buf,
            at: place.clone(),
            how: Write::First,
            value,
        }]);
        out.push(Stmt::Barrier);
        let x = self.k.value(V::Load(buf, place, Read::Splat));
        let zero = self.k.constant(0.0);
        let add = p.set(self.k.binary(Binary::Add, value, x));
        let mut body = vec![p.set(zero)];
        let parts = vec![Dim::count(p.part, p.parts)];
        body.extend(around(parts, Kind::Serial, vec![add]));
        let store = Stmt::Store {
            buf: to,
            at,
            how: Write::First,
            value,
        };
        body.extend(when(guard, vec![store]));
        out.extend(around(vec![Dim::count(p.row, p.rows)], Kind::Threads, body));
        out.push(Stmt::Barrier);
        out
    }
}

/// The dimensions of the first factor's box but that of its rows.
fn sides<'a>(t: &'a Tiles, last: usize) -> impl Iterator<Item = &'a Side> {
    let all = t.a.sides.iter().enumerate();
    all.filter(move |s| s.0 != last).map(|s| s.1)
}
