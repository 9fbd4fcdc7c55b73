//! From Loops to a vector program: statements, loops, and the pointers and counters that follow them.
//!
//! Register arrays become values, loops' registers become parameters of blocks. An address is a pointer, made
//! of a buffer and the terms of loop variables, and a displacement: a pointer that depends on a loop's variable
//! is carried by that loop and grows in each round, so no round multiplies. Does not know how values compute,
//! machine registers or encodings.

use std::collections::{BTreeMap, HashMap};

use super::ir::{Base, BlockId, Class, End, Function, Inst, Mem, Op, Value};
use crate::nest::loops::{
    At, BufId, Dim, Kernel, Kind, Quotient, RegId, Space, Stmt, ValueId, Var, Write,
};

/// Why a kernel has no vector program. The other emitter takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined(pub &'static str);

/// What a loop variable is.
#[derive(Clone, Copy)]
pub(super) enum Index {
    Known(i64),
    /// Of the loop at this depth, with the least and the greatest value that it can have.
    Run(usize, i64, i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Known(i64),
    Run(Value),
}

/// A pointer (or, without a buffer, a number) up to a constant: terms by the depth of their loops, in bytes.
pub(super) type Moving = (Option<BufId>, Vec<(usize, i64)>);

pub(super) struct Loop {
    pub(super) before: BlockId,
    pub(super) header: BlockId,
    pub(super) lower: Bound,
    pub(super) step: i64,
    /// What grows by a constant each round: its first value is passed by `before`.
    pub(super) moving: Vec<(Moving, Value)>,
}

pub(super) struct Builder<'a> {
    pub(super) k: &'a Kernel,
    pub(super) f: Function,
    pub(super) here: BlockId,
    pub(super) regs: Vec<Vec<Option<Value>>>,
    pub(super) vars: BTreeMap<Var, Index>,
    pub(super) loops: Vec<Loop>,
    pub(super) entry: BlockId,
    bases: Vec<Option<Value>>,
    table: Value,
    pub(super) uniforms: Value,
    /// Loops begun so far: tells whether one began within another.
    pub(super) begun: usize,
    /// What this statement computed already.
    pub(super) known: HashMap<Inst, Value>,
    /// The last words that were gathered from a data set, which no kernel writes: in which block, from where, by which
    /// index.
    pub(super) gathered: Option<((BlockId, Mem, Mem), Value)>,
    /// Masks by their bits, kept from the entry on.
    pub(super) masks: Vec<(u32, Value)>,
    /// The last transposition: its rows and its columns.
    pub(super) transposed: Option<(Vec<ValueId>, Vec<Value>)>,
}

/// The vector program of a kernel.
pub fn function(k: &Kernel) -> Result<Function, Declined> {
    if k.valid.is_some() {
        return Err(Declined("counts of images are run-time arguments"));
    }
    let mut f = Function::new(k.lanes);
    let entry = f.block();
    let args = [(); 3].map(|()| f.value(Class::Int));
    f.at(entry).insts.push(Inst {
        op: Op::Entry,
        defs: args.to_vec(),
        args: vec![],
        mem: None,
    });
    let regs = k.regs.iter();
    let regs = regs.map(|r| vec![None; r.dims.iter().product::<u32>() as usize]);
    let mut b = Builder {
        k,
        here: entry,
        regs: regs.collect(),
        vars: BTreeMap::new(),
        loops: vec![],
        entry,
        bases: vec![None; k.buffers.len()],
        table: args[0],
        uniforms: args[1],
        begun: 0,
        known: HashMap::new(),
        gathered: None,
        masks: vec![],
        transposed: None,
        f,
    };
    b.body(&k.body)?;
    b.f.sweep();
    Ok(b.f)
}

impl Builder<'_> {
    pub(super) fn body(&mut self, stmts: &[Stmt]) -> Result<(), Declined> {
        for s in stmts {
            self.known.clear();
            match s {
                Stmt::For { dims, kind, body } => match kind {
                    Kind::Unrolled => self.unrolled(&dims[0], body)?,
                    Kind::Serial => self.serial(dims, body)?,
                    _ => return Err(Declined("blocks of threads")),
                },
                Stmt::If { conditions, body } => self.guard(conditions, body)?,
                Stmt::Set { reg, index, value } => {
                    let value = self.value(*value)?;
                    let slot = self.slot(*reg, index)?;
                    self.regs[reg.0 as usize][slot] = Some(value);
                }
                Stmt::Store {
                    buf,
                    at,
                    how,
                    value,
                } => {
                    let value = self.value(*value)?;
                    let mem = self.address(*buf, at)?;
                    let op = match how {
                        Write::Vector => Op::Store,
                        Write::First => Op::StoreFirst,
                        Write::Row(lanes, step) => {
                            self.store_row(value, mem, lanes, *step)?;
                            continue;
                        }
                    };
                    self.store(op, &[value], mem);
                }
                Stmt::Note(_) => {}
                Stmt::SetRow { .. } | Stmt::StoreRow { .. } | Stmt::Barrier => {
                    return Err(Declined("rows and barriers"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn store(&mut self, op: Op, args: &[Value], mem: Mem) {
        self.push(Inst {
            op,
            defs: vec![],
            args: args.to_vec(),
            mem: Some(mem),
        });
    }

    pub(super) fn push(&mut self, i: Inst) {
        let here = self.here;
        self.f.at(here).insts.push(i);
    }

    /// An integer in a block.
    pub(super) fn integer(
        &mut self,
        block: BlockId,
        op: Op,
        args: &[Value],
        mem: Option<Mem>,
    ) -> Value {
        let v = self.f.value(Class::Int);
        self.f.at(block).insts.push(Inst {
            op,
            defs: vec![v],
            args: args.to_vec(),
            mem,
        });
        v
    }

    pub(super) fn register(&self, reg: RegId, index: &[At]) -> Result<Value, Declined> {
        let slot = self.slot(reg, index)?;
        self.regs[reg.0 as usize][slot].ok_or(Declined("a register is read before it is set"))
    }

    fn slot(&self, reg: RegId, index: &[At]) -> Result<usize, Declined> {
        let dims = &self.k.regs[reg.0 as usize].dims;
        let mut slot = 0;
        for (i, &d) in index.iter().zip(dims) {
            let at = self
                .known(i)
                .ok_or(Declined("a register is indexed by a loop's variable"))?;
            slot = slot * d as usize + at as usize;
        }
        Ok(slot)
    }

    /// The index as a constant.
    pub(super) fn known(&self, a: &At) -> Option<i64> {
        a.terms
            .iter()
            .try_fold(a.constant, |sum, (v, c)| match self.vars[v] {
                Index::Known(i) => Some(sum + c * i),
                Index::Run(..) => None,
            })
    }

    /// The least and the greatest value that an index can have, each variable taken on its own.
    pub(super) fn interval(&self, a: &At) -> (i64, i64) {
        a.terms
            .iter()
            .fold((a.constant, a.constant), |(low, high), (v, c)| {
                let (l, h) = match self.vars[v] {
                    Index::Known(i) => (i, i),
                    Index::Run(_, l, h) => (l, h),
                };
                (low + (c * l).min(c * h), high + (c * l).max(c * h))
            })
    }

    /// The terms whose variables run, by depth, and the constant; both `scale` times.
    fn split(&self, a: &At, scale: i64) -> (Vec<(usize, i64)>, i64) {
        let mut terms: Vec<(usize, i64)> = Vec::new();
        let mut constant = a.constant;
        for (v, c) in &a.terms {
            match self.vars[v] {
                Index::Known(i) => constant += c * i,
                Index::Run(depth, ..) => terms.push((depth, c * scale)),
            }
        }
        terms.retain(|t| t.1 != 0);
        terms.sort_unstable();
        (terms, constant * scale)
    }

    /// What every value of the index that varies is a multiple of; the rest is returned as a constant.
    pub(super) fn residue(&self, a: &At, modulus: i64) -> Option<i64> {
        let (terms, constant) = self.split(a, 1);
        let whole = |&(depth, c): &(usize, i64)| {
            let l = &self.loops[depth];
            let first = match l.lower {
                Bound::Known(x) => x,
                Bound::Run(_) => 1,
            };
            c * l.step % modulus == 0 && c * first % modulus == 0
        };
        terms
            .iter()
            .all(whole)
            .then(|| constant.rem_euclid(modulus))
    }

    pub(super) fn address(&mut self, buf: BufId, at: &At) -> Result<Mem, Declined> {
        let size = self.k.buffers[buf.0 as usize].dtype.size_bytes() as i64;
        let (terms, constant) = self.split(at, size);
        let far = Declined("an address is further than a displacement reaches");
        if self.k.buffers[buf.0 as usize].space != Space::Global {
            return Err(Declined("memory of a block of threads"));
        }
        let base = self.moving(&(Some(buf), terms))?;
        Ok(Mem {
            base: Base::Value(base),
            disp: i32::try_from(constant).map_err(|_| far)?,
            broadcast: false,
        })
    }

    /// An index as an integer.
    pub(super) fn index(&mut self, at: &At) -> Result<Result<i64, Value>, Declined> {
        let (terms, constant) = self.split(at, 1);
        if terms.is_empty() {
            return Ok(Ok(constant));
        }
        let v = self.moving(&(None, terms))?;
        let here = self.here;
        Ok(Err(match constant {
            0 => v,
            c => self.integer(here, Op::Sum(small(c)?), &[v], None),
        }))
    }

    /// A pointer or number, carried by the innermost loop that it depends on.
    pub(super) fn moving(&mut self, m: &Moving) -> Result<Value, Declined> {
        let Some((&(depth, scale), rest)) = m.1.split_last() else {
            return Ok(self.start(m.0));
        };
        if let Some((_, v)) = self.loops[depth].moving.iter().find(|x| x.0 == *m) {
            return Ok(*v);
        }
        let start = match (m.0, rest) {
            (None, []) => None,
            (buf, rest) => Some(self.moving(&(buf, rest.to_vec()))?),
        };
        let (before, header) = (self.loops[depth].before, self.loops[depth].header);
        let first = match (self.loops[depth].lower, start) {
            (Bound::Known(l), None) => self.integer(before, Op::Integer(l * scale), &[], None),
            (Bound::Known(0), Some(s)) => s,
            (Bound::Known(l), Some(s)) => {
                self.integer(before, Op::Sum(small(l * scale)?), &[s], None)
            }
            (Bound::Run(l), start) => {
                let way = self.integer(before, Op::Times(small(scale)?), &[l], None);
                match start {
                    None => way,
                    Some(s) => self.integer(before, Op::Sum(0), &[s, way], None),
                }
            }
        };
        let v = self.f.value(Class::Int);
        self.f.at(header).params.push(v);
        if let End::Jump(_, args) = &mut self.f.at(before).end {
            args.push(first);
        }
        self.loops[depth].moving.push((m.clone(), v));
        Ok(v)
    }

    /// Where a buffer starts: read once, at the entry.
    fn start(&mut self, buf: Option<BufId>) -> Value {
        let (entry, table) = (self.entry, self.table);
        let Some(buf) = buf else {
            return self.integer(entry, Op::Integer(0), &[], None);
        };
        if let Some(v) = self.bases[buf.0 as usize] {
            return v;
        }
        let slot = Mem {
            base: Base::Value(table),
            disp: buf.0 as i32 * 8,
            broadcast: false,
        };
        let v = self.integer(entry, Op::LoadPointer, &[], Some(slot));
        self.bases[buf.0 as usize] = Some(v);
        v
    }

    fn unrolled(&mut self, d: &Dim, body: &[Stmt]) -> Result<(), Declined> {
        let known = |q: &Quotient| q.num.as_constant().map_or(0, |c| c.div_euclid(q.div));
        let lower = d.lower.iter().map(known).max().unwrap_or(0);
        let upper = d.upper.iter().map(known).min().unwrap_or(0);
        for i in (lower..upper).step_by(d.step as usize) {
            self.vars.insert(d.var, Index::Known(i));
            self.transposed = None;
            self.body(body)?;
        }
        self.vars.remove(&d.var);
        self.transposed = None;
        Ok(())
    }
}

/// A constant as instructions hold it.
pub(super) fn small(x: i64) -> Result<i32, Declined> {
    i32::try_from(x).map_err(|_| Declined("a constant is longer than an instruction holds"))
}
