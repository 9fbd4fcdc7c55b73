//! Which values of a kernel its text gives a name, and the order in which it lists them.
//!
//! A kernel lists values in the order in which a schedule made them, and some twice or for nothing. Its text has them
//! as formulas, where a value that several read is named once. *Compact* is a kernel that lists its values as its
//! text does: what reading the text back gives.

use super::{Expr, Kernel, Stmt, ValueId};

/// Levels of a formula that are written without a name for its inner part.
const MOST_LEVELS: u32 = 24;

/// The values that are read by an expression.
pub(super) fn operands(e: &Expr) -> Vec<ValueId> {
    match e {
        Expr::Const(_)
        | Expr::Uniform(_)
        | Expr::Number(_)
        | Expr::Lane(_)
        | Expr::Random(_)
        | Expr::Reg(..)
        | Expr::Load(..) => vec![],
        Expr::Unary(_, x) | Expr::ReduceLanes(x) | Expr::Within(_, x) => vec![*x],
        Expr::Binary(_, a, b) | Expr::Split(_, a, b) => vec![*a, *b],
        Expr::Fma(a, b, c) => vec![*a, *b, *c],
        Expr::Select(_, xs) => xs.to_vec(),
        Expr::Transposed(xs, _) => xs.clone(),
    }
}

/// The same expression of other values, which `of` gives.
fn renumbered(e: &Expr, mut of: impl FnMut(ValueId) -> ValueId) -> Expr {
    match e {
        Expr::Unary(f, x) => Expr::Unary(*f, of(*x)),
        Expr::ReduceLanes(x) => Expr::ReduceLanes(of(*x)),
        Expr::Within(conditions, x) => Expr::Within(conditions.clone(), of(*x)),
        Expr::Binary(f, a, b) => Expr::Binary(*f, of(*a), of(*b)),
        Expr::Split(n, a, b) => Expr::Split(n.clone(), of(*a), of(*b)),
        Expr::Fma(a, b, c) => Expr::Fma(of(*a), of(*b), of(*c)),
        Expr::Select(c, xs) => Expr::Select(*c, xs.map(of)),
        Expr::Transposed(xs, lane) => Expr::Transposed(xs.iter().copied().map(of).collect(), *lane),
        leaf => leaf.clone(),
    }
}

/// What costs nothing to write twice.
fn is_plain(e: &Expr) -> bool {
    matches!(
        e,
        Expr::Const(_) | Expr::Uniform(_) | Expr::Number(_) | Expr::Lane(_) | Expr::Reg(..)
    )
}

/// The value that a statement stores or sets.
fn root(s: &Stmt) -> Option<ValueId> {
    match s {
        Stmt::Set { value, .. } | Stmt::Store { value, .. } => Some(*value),
        _ => None,
    }
}

/// The values that statements store or set, in the order of the text.
fn roots(stmts: &[Stmt], out: &mut Vec<ValueId>) {
    for s in stmts {
        match s {
            Stmt::For { body, .. } | Stmt::If { body, .. } => roots(body, out),
            s => out.extend(root(s)),
        }
    }
}

/// The values that the text names: those read more than once, and those deep within a formula.
pub(super) fn named(k: &Kernel) -> Vec<bool> {
    let mut reads = vec![0u32; k.exprs.len()];
    let mut all = Vec::new();
    roots(&k.body, &mut all);
    for v in all {
        reads[v.0 as usize] = reads[v.0 as usize].saturating_add(1);
    }
    // Operands stand before what reads them.
    for at in (0..k.exprs.len()).rev() {
        let read = reads[at] > 0;
        for o in operands(&k.exprs[at]).into_iter().filter(|_| read) {
            reads[o.0 as usize] = reads[o.0 as usize].saturating_add(1);
        }
    }
    let mut named = vec![false; k.exprs.len()];
    let mut levels = vec![0u32; k.exprs.len()];
    for (at, e) in k.exprs.iter().enumerate() {
        let below = operands(e).into_iter().map(|o| levels[o.0 as usize]).max();
        let level = below.unwrap_or(0) + 1;
        named[at] = !is_plain(e) && (reads[at] > 1 || level >= MOST_LEVELS);
        levels[at] = if named[at] { 0 } else { level };
    }
    named
}

/// The named values that a value needs and that are not defined yet, each after those that it reads itself.
pub(super) fn undefined(
    k: &Kernel,
    named: &[bool],
    defined: &mut [bool],
    value: ValueId,
    out: &mut Vec<ValueId>,
) {
    let at = value.0 as usize;
    if named[at] && std::mem::replace(&mut defined[at], true) {
        return;
    }
    for o in operands(&k.exprs[at]) {
        undefined(k, named, defined, o, out);
    }
    if named[at] {
        out.push(value);
    }
}

/// The same kernel with its values listed as its text has them.
pub fn compact(k: &Kernel) -> Kernel {
    let mut c = Compactor {
        from: k,
        named: named(k),
        defined: vec![false; k.exprs.len()],
        known: vec![None; k.exprs.len()],
        exprs: vec![],
    };
    let body = c.body(&k.body);
    Kernel {
        exprs: c.exprs,
        body,
        ..k.clone()
    }
}

struct Compactor<'a> {
    from: &'a Kernel,
    named: Vec<bool>,
    defined: Vec<bool>,
    /// The new number of each named value.
    known: Vec<Option<ValueId>>,
    exprs: Vec<Expr>,
}

impl Compactor<'_> {
    fn body(&mut self, stmts: &[Stmt]) -> Vec<Stmt> {
        let mut out = stmts.to_vec();
        for s in &mut out {
            match s {
                Stmt::For { body, .. } | Stmt::If { body, .. } => *body = self.body(body),
                Stmt::Set { value, .. } | Stmt::Store { value, .. } => {
                    let mut list = Vec::new();
                    undefined(self.from, &self.named, &mut self.defined, *value, &mut list);
                    for v in list {
                        self.value(v);
                    }
                    *value = self.value(*value);
                }
                _ => {}
            }
        }
        out
    }

    fn value(&mut self, v: ValueId) -> ValueId {
        let at = v.0 as usize;
        if let Some(known) = self.known[at] {
            return known;
        }
        let from = self.from;
        let e = renumbered(&from.exprs[at], |o| self.value(o));
        self.exprs.push(e);
        let new = ValueId(self.exprs.len() as u32 - 1);
        if self.named[at] {
            self.known[at] = Some(new);
        }
        new
    }
}
