//! Puts the instructions of each block back into the order in which they were emitted.
//!
//! Cranelift's optimiser computes a value where it is first demanded. For a register tile this is the end of
//! its loop: all loads come first, then each accumulator's whole chain of multiply-adds, and with several times
//! more live vectors than there are registers, most of them are spilled. In emission order a loaded value is
//! used up before the next one is loaded.
//!
//! Does not know kernels or loops. Runs after the optimiser and moves nothing between blocks.

use cranelift::codegen::ir::{Block, Function, Inst, ValueDef};

/// Orders every block by the numbers of its instructions, which count up as they are emitted. An operand that
/// the optimiser made later goes before its first user; what touches memory keeps its order.
pub fn restore(f: &mut Function) {
    let blocks: Vec<Block> = f.layout.blocks().collect();
    for block in blocks {
        let old: Vec<Inst> = f.layout.block_insts(block).collect();
        let Some((&last, body)) = old.split_last() else {
            continue;
        };
        let new = ordered(f, block, body);
        if new == body {
            continue;
        }
        for &inst in body {
            f.layout.remove_inst(inst);
        }
        for inst in new {
            f.layout.insert_inst(inst, last);
        }
    }
}

fn ordered(f: &Function, block: Block, body: &[Inst]) -> Vec<Inst> {
    let effects = |insts: &[Inst]| -> Vec<Inst> {
        let touches = |i: &&Inst| {
            let op = f.dfg.insts[**i].opcode();
            op.can_load() || op.can_store() || op.other_side_effects() || op.is_call()
        };
        insts.iter().filter(touches).copied().collect()
    };
    let mut sorted = body.to_vec();
    sorted.sort();
    let mut placed = Placed {
        f,
        block,
        done: vec![false; f.dfg.num_insts()],
        out: Vec::with_capacity(body.len()),
    };
    for inst in sorted {
        placed.place(inst);
    }
    if effects(&placed.out) == effects(body) {
        placed.out
    } else {
        body.to_vec()
    }
}

struct Placed<'a> {
    f: &'a Function,
    block: Block,
    done: Vec<bool>,
    out: Vec<Inst>,
}

impl Placed<'_> {
    /// Operands of the same block first. Chains of new instructions are short, so the recursion is shallow.
    fn place(&mut self, inst: Inst) {
        let done = &mut self.done[inst.as_u32() as usize];
        if std::mem::replace(done, true) {
            return;
        }
        for value in self.f.dfg.inst_values(inst) {
            if let ValueDef::Result(operand, _) = self.f.dfg.value_def(value)
                && self.f.layout.inst_block(operand) == Some(self.block)
            {
                self.place(operand);
            }
        }
        self.out.push(inst);
    }
}
