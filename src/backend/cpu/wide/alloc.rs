//! Machine registers for the values of a vector program, by regalloc2.
//!
//! Knows which registers there are and what each operation asks of its operands, but no encodings.

use regalloc2::{
    Algorithm, Allocation, Block as RBlock, Edit, Function as RFunction, Inst as RInst, InstRange,
    MachineEnv, Operand, Output, PReg, PRegSet, RegClass, RegallocOptions, VReg,
};

use super::ir::{Base, Class, End, Form, Function, Op, Right, Value};

/// rsp and rbp hold the stack.
const INTS: [usize; 14] = [0, 1, 2, 6, 7, 8, 9, 10, 11, 3, 12, 13, 14, 15];
/// Those of them that a function may change: the others come last.
const CALLERS: usize = 9;
/// The pointers, the numbers and the tile: rdi, rsi, rdx.
const ARGUMENTS: [usize; 3] = [7, 6, 2];

/// What each instruction's operands got, and the moves between instructions.
pub struct Allocated {
    pub output: Output,
    program: Program,
    /// Moves in innermost loops: there should be none.
    pub inner_edits: usize,
    /// Moves to and from the stack.
    pub spills: usize,
}

/// The numbers of the first instruction of each block and after the last.
struct Program {
    starts: Vec<usize>,
    operands: Vec<Vec<Operand>>,
    ends: Vec<Ending>,
    preds: Vec<Vec<RBlock>>,
    succs: Vec<Vec<RBlock>>,
    params: Vec<Vec<VReg>>,
    values: usize,
    vector_slots: usize,
}

/// How a block ends: what is passed on.
struct Ending {
    returns: bool,
    args: Vec<VReg>,
}

/// Allocates; `avx512` says that there are 32 vectors and masks of their own.
pub fn run(f: &mut Function, avx512: bool) -> Result<Allocated, String> {
    let program = Program::new(f, avx512);
    let options = RegallocOptions {
        verbose_log: false,
        validate_ssa: cfg!(debug_assertions),
        algorithm: Algorithm::Ion,
    };
    let output =
        regalloc2::run(&program, &environment(avx512), &options).map_err(|e| format!("{e:?}"))?;
    let block_of = |inst: usize| program.starts.partition_point(|&s| s <= inst) - 1;
    let (mut inner_edits, mut spills) = (0, 0);
    for (at, Edit::Move { from, to }) in &output.edits {
        let block = block_of(at.inst().index());
        inner_edits += usize::from(f.blocks[block].innermost);
        spills += usize::from(from.is_stack() || to.is_stack());
    }
    Ok(Allocated {
        output,
        program,
        inner_edits,
        spills,
    })
}

/// Follows every value through the registers, and says where an instruction would read another one.
#[cfg(test)]
pub fn check(a: &Allocated, avx512: bool) -> Result<(), String> {
    let environment = environment(avx512);
    let mut checker = regalloc2::checker::Checker::new(&a.program, &environment);
    checker.prepare(&a.output);
    checker.run().map_err(|e| format!("{e:?}"))
}

impl Allocated {
    /// The operands' registers, as `operands` listed them.
    pub fn registers(&self, block: usize, inst: usize) -> &[Allocation] {
        self.output
            .inst_allocs(RInst::new(self.program.starts[block] + inst))
    }

    /// Instructions (by their number in the block) and moves, in order.
    pub fn block(&self, block: usize) -> impl Iterator<Item = Step> {
        let start = self.program.starts[block];
        self.output
            .block_insts_and_edits(&self.program, RBlock::new(block))
            .map(move |x| match x {
                regalloc2::InstOrEdit::Inst(i) => Step::Inst(i.index() - start),
                regalloc2::InstOrEdit::Edit(Edit::Move { from, to }) => Step::Move(*from, *to),
            })
    }
}

/// A step of a block.
pub enum Step {
    Inst(usize),
    Move(Allocation, Allocation),
}

fn class(c: Class) -> RegClass {
    match c {
        Class::Int => RegClass::Int,
        Class::Vector => RegClass::Float,
        Class::Mask => RegClass::Vector,
    }
}

fn environment(avx512: bool) -> MachineEnv {
    let set =
        |class, regs: &[usize]| -> PRegSet { regs.iter().map(|&r| PReg::new(r, class)).collect() };
    let vectors: Vec<usize> = (0..if avx512 { 32 } else { 16 }).collect();
    let masks: &[usize] = if avx512 { &[2, 3, 4, 5, 6, 7] } else { &[] };
    MachineEnv {
        preferred_regs_by_class: [
            set(RegClass::Int, &INTS[..CALLERS]),
            set(RegClass::Float, &vectors),
            set(RegClass::Vector, masks),
        ],
        non_preferred_regs_by_class: [
            set(RegClass::Int, &INTS[CALLERS..]),
            PRegSet::empty(),
            PRegSet::empty(),
        ],
        scratch_by_class: [None; 3],
        fixed_stack_slots: vec![],
    }
}

impl Program {
    fn new(f: &mut Function, avx512: bool) -> Self {
        let mut p = Self {
            starts: vec![],
            operands: vec![],
            ends: vec![],
            preds: vec![vec![]; f.blocks.len()],
            succs: vec![],
            params: vec![],
            values: 0,
            vector_slots: f.lanes as usize / 2,
        };
        for b in 0..f.blocks.len() {
            p.starts.push(p.operands.len());
            for i in 0..f.blocks[b].insts.len() {
                let operands = operands(f, b, i, avx512);
                p.operands.push(operands);
            }
            let block = &f.blocks[b];
            let vreg = |v: &Value| VReg::new(v.0 as usize, class(f.class(*v)));
            p.params.push(block.params.iter().map(vreg).collect());
            let (reads, args, succs) = match &block.end {
                End::Jump(to, args) => (vec![], args.clone(), vec![*to]),
                End::Less(left, right, yes, no) => {
                    let mut reads = vec![*left];
                    if let Right::Value(v) = right {
                        reads.push(*v);
                    }
                    (reads, vec![], vec![*yes, *no])
                }
                End::Return => (vec![], vec![], vec![]),
            };
            p.operands
                .push(reads.iter().map(|v| Operand::reg_use(vreg(v))).collect());
            p.ends.push(Ending {
                returns: succs.is_empty(),
                args: args.iter().map(vreg).collect(),
            });
            for s in &succs {
                p.preds[s.0 as usize].push(RBlock::new(b));
            }
            p.succs
                .push(succs.iter().map(|s| RBlock::new(s.0 as usize)).collect());
        }
        p.starts.push(p.operands.len());
        p.values = f.classes.len();
        p
    }

    fn block_of(&self, inst: usize) -> usize {
        self.starts.partition_point(|&s| s <= inst) - 1
    }

    fn is_end(&self, inst: RInst) -> Option<&Ending> {
        let b = self.block_of(inst.index());
        (self.starts[b + 1] == inst.index() + 1).then(|| &self.ends[b])
    }
}

/// Arguments, the address's base, results: in this order. The encoder reads them by it.
fn operands(f: &mut Function, block: usize, inst: usize, avx512: bool) -> Vec<Operand> {
    let i = f.blocks[block].insts[inst].clone();
    let vreg = |f: &Function, v: Value| VReg::new(v.0 as usize, class(f.class(v)));
    let mut out: Vec<Operand> = i
        .args
        .iter()
        .map(|&v| Operand::reg_use(vreg(f, v)))
        .collect();
    if let Some(Base::Value(base)) = i.mem.map(|m| m.base) {
        out.push(Operand::reg_use(vreg(f, base)));
    }
    match i.op {
        Op::Entry => {
            for (&v, &r) in i.defs.iter().zip(&ARGUMENTS) {
                let fixed = PReg::new(r, RegClass::Int);
                out.push(Operand::reg_fixed_def(vreg(f, v), fixed));
            }
        }
        Op::FmaForm(Form::F132 | Form::F213 | Form::F231)
        | Op::Least
        | Op::Greatest
        | Op::ShiftRight(_) => out.push(Operand::reg_reuse_def(vreg(f, i.defs[0]), 0)),
        // The machine wants the result, the offsets and the mask apart.
        Op::Gather => {
            out.push(Operand::reg_def_at_start(vreg(f, i.defs[0])));
            if !avx512 {
                let mask = f.value(Class::Vector);
                out.push(Operand::reg_temp(vreg(f, mask)));
            }
        }
        _ => out.extend(i.defs.iter().map(|&v| Operand::reg_def(vreg(f, v)))),
    }
    out
}

impl RFunction for Program {
    fn num_insts(&self) -> usize {
        self.operands.len()
    }
    fn num_blocks(&self) -> usize {
        self.ends.len()
    }
    fn entry_block(&self) -> RBlock {
        RBlock::new(0)
    }
    fn block_insns(&self, block: RBlock) -> InstRange {
        let b = block.index();
        InstRange::new(RInst::new(self.starts[b]), RInst::new(self.starts[b + 1]))
    }
    fn block_succs(&self, block: RBlock) -> &[RBlock] {
        &self.succs[block.index()]
    }
    fn block_preds(&self, block: RBlock) -> &[RBlock] {
        &self.preds[block.index()]
    }
    fn block_params(&self, block: RBlock) -> &[VReg] {
        &self.params[block.index()]
    }
    fn is_ret(&self, inst: RInst) -> bool {
        self.is_end(inst).is_some_and(|e| e.returns)
    }
    fn is_branch(&self, inst: RInst) -> bool {
        self.is_end(inst).is_some_and(|e| !e.returns)
    }
    fn branch_blockparams(&self, block: RBlock, _: RInst, _: usize) -> &[VReg] {
        &self.ends[block.index()].args
    }
    fn inst_operands(&self, inst: RInst) -> &[Operand] {
        &self.operands[inst.index()]
    }
    fn inst_clobbers(&self, _: RInst) -> PRegSet {
        PRegSet::empty()
    }
    fn num_vregs(&self) -> usize {
        self.values
    }
    fn spillslot_size(&self, class: RegClass) -> usize {
        match class {
            RegClass::Float => self.vector_slots,
            _ => 1,
        }
    }
}
