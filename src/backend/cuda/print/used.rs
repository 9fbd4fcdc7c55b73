//! What statements touch: buffers, registers, variables. Does not know C.

use std::collections::BTreeSet;

use crate::nest::loops::{At, BufId, Expr, Kernel, Read, RegId, Stmt, ValueId, Var};

/// What statements read and write.
#[derive(Default)]
pub struct Used {
    pub buffers: BTreeSet<BufId>,
    pub regs: BTreeSet<RegId>,
    pub vars: BTreeSet<Var>,
}

impl Used {
    pub fn of(k: &Kernel, body: &[Stmt]) -> Self {
        let mut used = Self::default();
        used.body(k, body);
        used
    }

    fn at<'a>(&mut self, list: impl IntoIterator<Item = &'a At>) {
        for a in list {
            self.vars.extend(a.terms.iter().map(|t| t.0));
        }
    }

    fn body(&mut self, k: &Kernel, stmts: &[Stmt]) {
        for s in stmts {
            match s {
                Stmt::For { dims, body, .. } => {
                    let ends = dims.iter().flat_map(|d| d.lower.iter().chain(&d.upper));
                    self.at(ends.map(|q| &q.num));
                    self.body(k, body);
                }
                Stmt::If { conditions, body } => {
                    self.at(conditions);
                    self.body(k, body);
                }
                Stmt::Set { reg, index, value } => {
                    self.regs.insert(*reg);
                    self.at(index);
                    self.value(k, *value);
                }
                Stmt::Store { buf, at, value, .. } => {
                    self.buffers.insert(*buf);
                    self.at([at]);
                    self.value(k, *value);
                }
                Stmt::SetRow {
                    reg,
                    index,
                    buf,
                    at,
                    ..
                }
                | Stmt::StoreRow {
                    reg,
                    index,
                    buf,
                    at,
                    ..
                } => {
                    self.regs.insert(*reg);
                    self.buffers.insert(*buf);
                    self.at(index.iter().chain([at]));
                }
                Stmt::Barrier | Stmt::Note(_) => {}
            }
        }
    }

    fn value(&mut self, k: &Kernel, v: ValueId) {
        match &k.exprs[v.0 as usize] {
            Expr::Load(b, at, how) => {
                self.buffers.insert(*b);
                self.at([at]);
                if let Read::Lookup { index_at, .. } = how {
                    self.at([index_at]);
                }
            }
            Expr::Reg(r, index) => {
                self.regs.insert(*r);
                self.at(index);
            }
            Expr::Within(conditions, x) => {
                self.at(conditions);
                self.value(k, *x);
            }
            Expr::Unary(_, x) | Expr::ReduceLanes(x) => self.value(k, *x),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|x| self.value(k, *x)),
            Expr::Fma(a, b, c) => [a, b, c].into_iter().for_each(|x| self.value(k, *x)),
            Expr::Select(_, xs) => xs.iter().for_each(|x| self.value(k, *x)),
            Expr::Split(_, x, y) => [x, y].iter().for_each(|x| self.value(k, **x)),
            Expr::Transposed(xs, _) => xs.iter().for_each(|x| self.value(k, *x)),
            Expr::Number(at) | Expr::Lane(at) => self.at([at]),
            Expr::Random(draw) => self.at([&draw.element.at, &draw.image.at]),
            Expr::Const(_) | Expr::Uniform(_) => {}
        }
    }
}

/// Buffers that statements write.
pub fn stores(stmts: &[Stmt]) -> BTreeSet<BufId> {
    let mut out = BTreeSet::new();
    for s in stmts {
        match s {
            Stmt::For { body, .. } | Stmt::If { body, .. } => out.extend(stores(body)),
            Stmt::Store { buf, .. } | Stmt::StoreRow { buf, .. } => {
                out.insert(*buf);
            }
            Stmt::Set { .. } | Stmt::SetRow { .. } | Stmt::Barrier | Stmt::Note(_) => {}
        }
    }
    out
}
