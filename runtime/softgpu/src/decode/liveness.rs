//! How many 32-bit registers hold values that are still needed, at the worst place. The real assembler works on its own
//! code and may need more or fewer; this is what can be derived from PTX.

use super::registers::{NONE, Origin, Virtual, Width, uses};
use crate::exec::lanes::{Instr, Kind};
use std::collections::BTreeMap;

/// A set of virtual registers.
#[derive(Clone, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, register: u32) {
        self.0[register as usize / 64] |= 1 << (register % 64);
    }

    fn remove(&mut self, register: u32) {
        self.0[register as usize / 64] &= !(1 << (register % 64));
    }

    fn extend(&mut self, other: &Set) {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, more)| *word |= more);
    }

    fn members(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 != 0);
        self.0
            .iter()
            .enumerate()
            .flat_map(move |(k, &word)| bits(word).map(move |bit| k * 64 + bit))
    }
}

fn size(register: &Virtual) -> u32 {
    match (register.origin, register.width) {
        (Origin::Plain, Width::Narrow) => 1,
        (Origin::Plain, Width::Wide) => 2,
        _ => 0,
    }
}

/// Instructions that may come after the one at `index`.
fn successors(
    code: &[Instr],
    index: usize,
    targets: &BTreeMap<usize, usize>,
) -> impl Iterator<Item = usize> {
    let target = targets.get(&index).copied();
    let falls_through = code[index].kind != Kind::Branch || code[index].guard != NONE;
    target
        .into_iter()
        .chain((falls_through && index + 1 < code.len()).then_some(index + 1))
}

/// The most 32-bit registers live before any instruction. `targets` are those of branches, by instruction.
pub fn pressure(code: &[Instr], registers: &[Virtual], targets: &BTreeMap<usize, usize>) -> u32 {
    let mut live = vec![Set(vec![0; registers.len().div_ceil(64)]); code.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for index in (0..code.len()).rev() {
            let before = live_before(code, index, targets, &live);
            if before != live[index] {
                live[index] = before;
                changed = true;
            }
        }
    }
    let weigh = |set: &Set| {
        set.members()
            .map(|register| size(&registers[register]))
            .sum()
    };
    live.iter().map(weigh).max().unwrap_or(0)
}

fn live_before(
    code: &[Instr],
    index: usize,
    targets: &BTreeMap<usize, usize>,
    live: &[Set],
) -> Set {
    let instruction = &code[index];
    let mut set = Set(vec![0; live[index].0.len()]);
    for next in successors(code, index, targets) {
        set.extend(&live[next]);
    }
    // A guarded instruction leaves its target as it was in the other lanes.
    if instruction.guard == NONE {
        for (k, &register) in instruction.d.iter().enumerate() {
            if instruction.defs >> k & 1 != 0 {
                set.remove(register);
            }
        }
    }
    uses(instruction).for_each(|register| set.insert(register));
    set
}
