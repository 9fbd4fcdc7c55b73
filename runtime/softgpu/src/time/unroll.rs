//! Loops that an assembler writes out: straight bodies that run a number of times which stands in the code. Written out, what
//! follows from the counter becomes a part of addresses, and neither it nor the branch is executed. Knows no costs.

use crate::exec::lanes::{Instr, Kind};
use crate::exec::program::Program;
use std::collections::BTreeSet;
use std::ops::Range;

/// Most instructions of a loop that is written out.
const MOST_WRITTEN: u64 = 1024;

/// A loop that is written out.
pub struct Unrolled {
    /// From its first instruction to behind its branch.
    pub body: Range<usize>,
    /// Instructions of it that nothing is left of.
    pub gone: Vec<usize>,
}

/// All of a kernel's.
pub fn loops(program: &Program) -> Vec<Unrolled> {
    let branches = (0..program.code.len()).filter_map(|pc| {
        let target = program.infos[pc].target? as usize;
        (target <= pc).then_some(target..pc + 1)
    });
    branches
        .filter_map(|body| unrolled(program, body))
        .collect()
}

fn unrolled(program: &Program, body: Range<usize>) -> Option<Unrolled> {
    let last = body.end - 1;
    let is_straight = |ins: &Instr| !matches!(ins.kind, Kind::Branch | Kind::Barrier);
    if program.code[last].guard == 0 || !program.code[body.start..last].iter().all(is_straight) {
        return None;
    }
    let rounds = rounds(program, &body)?;
    if rounds.saturating_mul(body.len() as u64) > MOST_WRITTEN {
        return None;
    }
    let gone = gone(program, &body);
    Some(Unrolled { body, gone })
}

/// The words of an instruction as it is written: `add.s32`, `%r1`, `%r1`, `4`.
fn words(program: &Program, pc: usize) -> Vec<String> {
    let (_, text) = program.source_line(pc as u32);
    let separators = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
    text.split(separators)
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect()
}

/// How often the body runs, where a comparison of a counter with a number at its end tells.
fn rounds(program: &Program, body: &Range<usize>) -> Option<u64> {
    let inside: Vec<Vec<String>> = body.clone().map(|pc| words(program, pc)).collect();
    let guard = inside.last()?.first()?.trim_start_matches('@').to_string();
    let [how, _, counter, limit] = find(&inside, |words| words.get(1) == Some(&guard))?;
    let is_below = ["setp.ne.", "setp.lt."]
        .iter()
        .any(|kind| how.starts_with(kind));
    let limit: i64 = limit.parse().ok().filter(|_| is_below)?;
    let [how, _, from, step] = find(&inside, |words| words.get(1) == Some(&counter))?;
    let step: i64 = step
        .parse()
        .ok()
        .filter(|_| how.starts_with("add.") && from == counter)?;
    let first = start(program, body.start, &counter)?;
    let distance = u64::try_from(limit - first).ok()?;
    Some(distance.div_ceil(u64::try_from(step).ok().filter(|&step| step > 0)?))
}

/// The only instruction that fits, if it has four words.
fn find(all: &[Vec<String>], fits: impl Fn(&Vec<String>) -> bool) -> Option<[String; 4]> {
    let mut found = all.iter().filter(|words| fits(words));
    let first = found.next()?.clone();
    if found.next().is_some() {
        None
    } else {
        first.try_into().ok()
    }
}

/// The number that a register holds before an instruction, where copies of numbers tell.
fn start(program: &Program, before: usize, register: &str) -> Option<i64> {
    let defines = |pc: &usize| {
        words(program, *pc)
            .get(1)
            .is_some_and(|word| word == register)
    };
    let pc = (0..before).rev().find(defines)?;
    let words = words(program, pc);
    let [how, _, from] = words.as_slice() else {
        return None;
    };
    if !how.starts_with("mov.") {
        return None;
    }
    from.parse().ok().or_else(|| start(program, pc, from))
}

/// Registers that an instruction writes.
fn defined(ins: &Instr) -> impl Iterator<Item = u32> + '_ {
    (0..4).filter(|k| ins.defs >> k & 1 != 0).map(|k| ins.d[k])
}

/// The branch, and integer arithmetic on nothing but what is the same in all rounds and what counts them.
fn gone(program: &Program, body: &Range<usize>) -> Vec<usize> {
    let code = &program.code;
    let mut changing: BTreeSet<u32> = body.clone().flat_map(|pc| defined(&code[pc])).collect();
    let is_known = |pc: usize, changing: &BTreeSet<u32>| {
        let mut uses = program.infos[pc].uses.iter().map(|&(register, _)| register);
        let own: Vec<u32> = defined(&code[pc]).collect();
        uses.all(|register| !changing.contains(&register) || own.contains(&register))
    };
    let is_index =
        |pc: &usize| matches!(code[*pc].kind, Kind::Integer | Kind::Move) && code[*pc].guard == 0;
    let mut gone = vec![body.end - 1];
    // What follows from the known is known: until no more does.
    loop {
        let more = |pc: &usize| is_index(pc) && !gone.contains(pc) && is_known(*pc, &changing);
        let found: Vec<usize> = body.clone().filter(more).collect();
        if found.is_empty() {
            return gone;
        }
        for &pc in &found {
            for register in defined(&code[pc]) {
                let others = body.clone().any(|other| {
                    other != pc
                        && !gone.contains(&other)
                        && defined(&code[other]).any(|d| d == register)
                });
                if !others {
                    changing.remove(&register);
                }
            }
        }
        gone.extend(found);
    }
}
