//! Gives the operations of a vector program the forms that the machine has.
//!
//! Constants and values that are loaded for one use become memory operands; multiply-adds overwrite an operand
//! that nothing reads afterwards, or a copy. Does not know machine registers or encodings.

use super::ir::{Base, Block, Class, End, Form, Function, Inst, Mem, Op, Right, Value};

/// Legalises a program; `broadcasts` says that a memory operand can be one f32 for all lanes.
pub fn run(f: &mut Function, broadcasts: bool) {
    let mut uses = count(f);
    for b in &mut f.blocks {
        fold(b, broadcasts, &mut uses);
    }
    f.sweep();
    let last = LastUses::new(f);
    for b in 0..f.blocks.len() {
        forms(f, b, &last);
    }
}

fn count(f: &Function) -> Vec<u32> {
    let mut uses = vec![0; f.classes.len()];
    let mut use_of = |v: Value| uses[v.0 as usize] += 1;
    for b in &f.blocks {
        b.insts.iter().flat_map(Inst::reads).for_each(&mut use_of);
        end_reads(&b.end).into_iter().for_each(&mut use_of);
    }
    uses
}

fn end_reads(e: &End) -> Vec<Value> {
    match e {
        End::Jump(_, args) => args.clone(),
        End::Less(left, Right::Value(right), ..) => vec![*left, *right],
        End::Less(left, ..) => vec![*left],
        End::Return => vec![],
    }
}

/// A load that may become an operand.
struct Loaded {
    mem: Mem,
    /// Stores before it in the block.
    stores: usize,
}

struct Folder<'a> {
    loads: Vec<(Value, Loaded)>,
    stores: usize,
    uses: &'a mut [u32],
}

fn fold(b: &mut Block, broadcasts: bool, uses: &mut [u32]) {
    let mut folder = Folder {
        loads: vec![],
        stores: 0,
        uses,
    };
    for i in &mut b.insts {
        match i.op {
            Op::Store | Op::StoreMasked | Op::StoreLane(_) | Op::StoreFirst => folder.stores += 1,
            Op::Fma => folder.multiply_add(i),
            op if op.foldable() == Some(i.args.len()) => folder.operand(i),
            _ => {}
        }
        if let (Some(mem), Op::Load | Op::Splat) = (i.mem, i.op)
            && (i.op == Op::Load || broadcasts)
        {
            let loaded = Loaded {
                mem: Mem {
                    broadcast: i.op == Op::Splat,
                    ..mem
                },
                stores: folder.stores,
            };
            folder.loads.push((i.defs[0], loaded));
        }
    }
}

impl Folder<'_> {
    /// The operand's address, and whether it is a constant; `None` where it cannot lie in memory.
    fn place(&self, v: Value) -> Option<(Mem, bool)> {
        let found = self.loads.iter().rev().find(|l| l.0 == v)?;
        let literal = matches!(found.1.mem.base, Base::Literal(_));
        let once = self.uses[v.0 as usize] == 1 && found.1.stores == self.stores;
        (literal || once).then_some((found.1.mem, literal))
    }

    fn take(&mut self, i: &mut Inst, arg: usize, mem: Mem) {
        let v = i.args.remove(arg);
        self.uses[v.0 as usize] -= 1;
        if let Base::Value(base) = mem.base {
            self.uses[base.0 as usize] += 1;
        }
        i.mem = Some(mem);
    }

    fn operand(&mut self, i: &mut Inst) {
        let last = i.args.len() - 1;
        let wide = i.op == Op::RowTimes;
        let place = |s: &Self, k: usize| s.place(i.args[k]).filter(|p| !(wide && p.0.broadcast));
        if let Some((mem, _)) = place(self, last) {
            return self.take(i, last, mem);
        }
        if last != 1 {
            return;
        }
        if let Some((mem, _)) = place(self, 0) {
            match &mut i.op {
                op if op.commutes() => {}
                Op::Compare(0x11) => i.op = Op::Compare(0x1e),
                Op::Compare(0x1e) => i.op = Op::Compare(0x11),
                Op::Compare(_) => {}
                _ => return,
            }
            self.take(i, 0, mem);
        }
    }

    /// A constant term first: the other constants are then loaded to be overwritten.
    fn multiply_add(&mut self, i: &mut Inst) {
        if let Some((mem, true)) = self.place(i.args[2]) {
            i.op = Op::FmaForm(Form::F213);
            return self.take(i, 2, mem);
        }
        let places = [0, 1].map(|k| (k, self.place(i.args[k])));
        // A vector that is read once rather than a factor in all lanes.
        let mut found: Vec<(usize, Mem)> =
            places.iter().filter_map(|p| Some((p.0, p.1?.0))).collect();
        found.sort_by_key(|p| p.1.broadcast);
        if let Some(&(k, mem)) = found.first() {
            i.op = Op::FmaForm(Form::F231);
            i.args.swap(0, k);
            self.take(i, 0, mem);
            i.args.swap(0, 1);
        }
    }
}

/// Where a value is read for the last time.
struct LastUses {
    /// Of each value, the instruction of its own block; `None` where another block reads it or none does.
    at: Vec<Option<usize>>,
}

impl LastUses {
    fn new(f: &Function) -> Self {
        let mut home = vec![usize::MAX; f.classes.len()];
        let mut at = vec![None; f.classes.len()];
        let mut outside = vec![false; f.classes.len()];
        for (k, b) in f.blocks.iter().enumerate() {
            let defs = b.insts.iter().flat_map(|i| &i.defs);
            for v in b.params.iter().chain(defs) {
                home[v.0 as usize] = k;
            }
        }
        for (k, b) in f.blocks.iter().enumerate() {
            for (n, i) in b.insts.iter().enumerate() {
                for v in i.reads() {
                    at[v.0 as usize] = Some(n);
                    outside[v.0 as usize] |= home[v.0 as usize] != k;
                }
            }
            for v in end_reads(&b.end) {
                outside[v.0 as usize] = true;
            }
        }
        for (a, o) in at.iter_mut().zip(outside) {
            if o {
                *a = None;
            }
        }
        Self { at }
    }

    fn dies(&self, v: Value, at: usize) -> bool {
        self.at[v.0 as usize] == Some(at)
    }
}

/// Chooses which operand each multiply-add of a block overwrites.
fn forms(f: &mut Function, block: usize, last: &LastUses) {
    let insts = std::mem::take(&mut f.blocks[block].insts);
    let mut out = Vec::with_capacity(insts.len());
    for (at, mut i) in insts.into_iter().enumerate() {
        let dies = |k: usize| last.dies(i.args[k], at);
        match i.op {
            Op::Fma => {
                let (a, b, c) = (i.args[0], i.args[1], i.args[2]);
                let (form, args) = if !dies(2) && dies(0) {
                    (Form::F213, [a, b, c])
                } else if !dies(2) && dies(1) {
                    (Form::F213, [b, a, c])
                } else {
                    (Form::F231, [c, a, b])
                };
                i.op = Op::FmaForm(form);
                i.args = args.to_vec();
            }
            Op::FmaForm(Form::F213) if !dies(0) && dies(1) => i.args.swap(0, 1),
            Op::FmaForm(Form::F231) if !dies(0) && dies(1) => {
                i.op = Op::FmaForm(Form::F132);
                i.args.swap(0, 1);
            }
            _ => {}
        }
        if matches!(i.op, Op::FmaForm(_)) && !last.dies(i.args[0], at) {
            let copy = f.value(Class::Vector);
            out.push(Inst {
                op: Op::Copy,
                defs: vec![copy],
                args: vec![i.args[0]],
                mem: None,
            });
            i.args[0] = copy;
        }
        out.push(i);
    }
    f.blocks[block].insts = out;
}
