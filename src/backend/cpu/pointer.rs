//! Which pointers a loop carries from round to round.
//!
//! A pointer is a buffer and the terms of an address that are known at run time only; what unrolled loops add
//! becomes the displacement of an instruction. Does not know Cranelift.

use crate::nest::loops::{At, BufId, Dim, Expr, Kernel, Kind, Read, Stmt, ValueId, Var};

/// Pointers beyond these are computed where they are used: there are few machine registers.
const MOST: usize = 4;

/// A place in a buffer, up to a constant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    pub buf: BufId,
    pub terms: Vec<(Var, i64)>,
}

impl Pointer {
    /// The part of an address whose variables are known when the kernel runs.
    pub fn new(buf: BufId, at: &At, run: impl Fn(Var) -> bool) -> Self {
        let terms = at.terms.iter().copied().filter(|t| run(t.0)).collect();
        Self { buf, terms }
    }
}

/// The pointers that change with these dimensions, if no serial loop is within; `outer` tells the variables of
/// the loops around.
pub fn carried(
    k: &Kernel,
    dims: &[Dim],
    body: &[Stmt],
    outer: impl Fn(Var) -> bool,
) -> Vec<Pointer> {
    let mut accesses = Vec::new();
    if !collect(k, body, &mut accesses) {
        return vec![];
    }
    let own = |v: Var| dims.iter().any(|d| d.var == v);
    let mut out: Vec<Pointer> = Vec::new();
    for (buf, at) in accesses {
        let p = Pointer::new(buf, at, |v| own(v) || outer(v));
        if p.terms.iter().any(|t| own(t.0)) && !out.contains(&p) && out.len() < MOST {
            out.push(p);
        }
    }
    out
}

/// False where there is a serial loop.
fn collect<'a>(k: &'a Kernel, body: &'a [Stmt], out: &mut Vec<(BufId, &'a At)>) -> bool {
    body.iter().all(|s| match s {
        Stmt::For {
            kind: Kind::Serial, ..
        } => false,
        Stmt::For { body, .. } | Stmt::If { body, .. } => collect(k, body, out),
        Stmt::Set { value, .. } => {
            reads(k, *value, out);
            true
        }
        Stmt::Store { buf, at, value, .. } => {
            out.push((*buf, at));
            reads(k, *value, out);
            true
        }
        Stmt::SetRow { .. } | Stmt::StoreRow { .. } | Stmt::Barrier | Stmt::Note(_) => true,
    })
}

fn reads<'a>(k: &'a Kernel, v: ValueId, out: &mut Vec<(BufId, &'a At)>) {
    match &k.exprs[v.0 as usize] {
        Expr::Load(buf, at, how) => {
            out.push((*buf, at));
            match how {
                Read::Lookup {
                    index, index_at, ..
                } => out.push((*index, index_at)),
                Read::Row(row) => out.extend(row.entry.iter().map(|e| (e.index, &e.at))),
                Read::Vector | Read::Splat => {}
            }
        }
        Expr::Unary(_, x) | Expr::ReduceLanes(x) => reads(k, *x, out),
        Expr::Binary(_, x, y) => [x, y].iter().for_each(|x| reads(k, **x, out)),
        Expr::Fma(x, y, z) => [x, y, z].iter().for_each(|x| reads(k, **x, out)),
        Expr::Split(_, x, y) => [x, y].iter().for_each(|x| reads(k, **x, out)),
        Expr::Select(_, xs) => xs.iter().for_each(|x| reads(k, *x, out)),
        Expr::Transposed(xs, _) => xs.iter().for_each(|x| reads(k, *x, out)),
        Expr::Within(_, x) => reads(k, *x, out),
        Expr::Const(_)
        | Expr::Uniform(_)
        | Expr::Number(_)
        | Expr::Lane(_)
        | Expr::Random(_)
        | Expr::Reg(..) => {}
    }
}
