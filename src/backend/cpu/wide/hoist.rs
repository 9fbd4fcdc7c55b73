//! Constants of innermost loops in registers that the loops leave free.
//!
//! A constant is a memory operand otherwise, and a round of an elementary function has as many of them as operations:
//! it would wait for loads. Knows loops of one block only; others have no room for constants.

use std::collections::{BTreeMap, BTreeSet};

use super::ir::{Base, Block, BlockId, Class, End, Function, Inst, Op, Value};

/// Moves constants before their loops while there are registers, those that are read most often first.
pub fn run(f: &mut Function, registers: usize) {
    for b in 0..f.blocks.len() as u32 {
        if let Some(before) = entered_from(f, BlockId(b)) {
            hoist(f, BlockId(b), before, registers);
        }
    }
}

/// The block before a loop that is this block alone.
fn entered_from(f: &Function, b: BlockId) -> Option<BlockId> {
    let block = &f.blocks[b.0 as usize];
    let End::Less(_, _, latch, _) = block.end else {
        return None;
    };
    let jumps = |k: &Block| matches!(k.end, End::Jump(to, _) if to == b);
    let returns = block.innermost && jumps(&f.blocks[latch.0 as usize]);
    let before = (0..b.0).rev().find(|&k| jumps(&f.blocks[k as usize]))?;
    returns.then_some(BlockId(before))
}

fn literal(i: &Inst) -> Option<u32> {
    match i.mem.map(|m| m.base) {
        Some(Base::Literal(l)) if i.op == Op::Load => Some(l),
        _ => None,
    }
}

fn hoist(f: &mut Function, b: BlockId, before: BlockId, registers: usize) {
    let block = f.at(b).clone();
    let names: BTreeMap<Value, u32> = block
        .insts
        .iter()
        .filter_map(|i| Some((*i.defs.first()?, literal(i)?)))
        .collect();
    let mut reads: BTreeMap<u32, usize> = BTreeMap::new();
    for v in block.insts.iter().flat_map(Inst::reads) {
        if let Some(&l) = names.get(&v) {
            *reads.entry(l).or_default() += 1;
        }
    }
    let free = registers.saturating_sub(1 + most_alive(f, &block, &names));
    let mut order: Vec<(u32, usize)> = reads.into_iter().collect();
    order.sort_by_key(|&(l, n)| (std::cmp::Reverse(n), l));
    let mut held: BTreeMap<u32, Value> = BTreeMap::new();
    for &(l, _) in order.iter().take(free) {
        let v = f.value(Class::Vector);
        let found = block.insts.iter().find(|i| literal(i) == Some(l));
        let load = found.cloned().map(|i| Inst { defs: vec![v], ..i });
        f.at(before).insts.extend(load);
        held.insert(l, v);
    }
    let insts = &mut f.at(b).insts;
    insts.retain(|i| literal(i).is_none_or(|l| !held.contains_key(&l)));
    let renamed = names.iter().filter_map(|(v, l)| Some((*v, *held.get(l)?)));
    rename(f, &renamed.collect());
}

/// Reads values under other names wherever they are read: a loop passes some of its constants on.
fn rename(f: &mut Function, names: &BTreeMap<Value, Value>) {
    for block in &mut f.blocks {
        let passed = match &mut block.end {
            End::Jump(_, args) => args.as_mut_slice(),
            End::Less(..) | End::Return => &mut [],
        };
        let read = block.insts.iter_mut().flat_map(|i| &mut i.args);
        for v in read.chain(passed) {
            *v = names.get(v).copied().unwrap_or(*v);
        }
    }
}

/// Vectors that are alive at once, constants aside.
fn most_alive(f: &Function, block: &Block, constants: &BTreeMap<Value, u32>) -> usize {
    let counts = |v: &Value| f.class(*v) == Class::Vector && !constants.contains_key(v);
    let mine: BTreeSet<Value> = {
        let defs = block.insts.iter().flat_map(|i| i.defs.iter().copied());
        defs.chain(block.params.iter().copied()).collect()
    };
    let reads = block.insts.iter().flat_map(Inst::reads);
    // What comes from outside is alive throughout, and so is what the next round gets.
    let mut alive: BTreeSet<Value> = reads.filter(|v| counts(v) && !mine.contains(v)).collect();
    if let End::Less(_, _, latch, _) = block.end
        && let End::Jump(_, args) = &f.blocks[latch.0 as usize].end
    {
        alive.extend(args.iter().copied().filter(|v| counts(v)));
    }
    let mut most = alive.len();
    for i in block.insts.iter().rev() {
        alive.extend(i.reads().into_iter().filter(|v| counts(v)));
        most = most.max(alive.len());
        for d in &i.defs {
            alive.remove(d);
        }
    }
    most + block.params.iter().filter(|v| counts(v)).count()
}
