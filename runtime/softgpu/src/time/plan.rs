//! A kernel's code as the model of time reads it: of each instruction its work by pipe, its latency, its registers by
//! number, whether straight code starts there, and which loads of shared memory an assembler makes one of. Knows no
//! values.

use super::cost::Cost;
use super::rates::Rates;
use super::unroll;
use crate::exec::access::READ_ONLY;
use crate::exec::lanes::{Instr, Kind};
use crate::exec::program::Program;
use std::collections::BTreeMap;

/// Pipes of a multiprocessor, in whose cycles work is counted.
pub const PIPES: usize = 8;
pub const ISSUE: usize = 0;
pub const FMA: usize = 1;
pub const ALU: usize = 2;
pub const SPECIAL: usize = 3;
pub const DOUBLE: usize = 4;
pub const MEMORY_UNIT: usize = 5;
pub const PORT: usize = 6;
pub const BARRIER: usize = 7;
/// The first so many belong to schedulers, of which a warp uses one.
pub const OF_SCHEDULER: usize = 5;

/// Instructions that a forward branch may skip and still become a condition of theirs, without a branch.
const CONDITIONAL: u32 = 8;

/// What accesses must not move over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Free,
    /// It stays behind earlier stores to the space of this number.
    Load(usize),
    /// It stays behind earlier loads and stores.
    Store(usize),
}

/// Spaces whose accesses keep their order.
pub const SPACES: usize = 2;

fn order(ins: &Instr) -> Order {
    const GLOBAL: usize = 0;
    const SHARED: usize = 1;
    match ins.kind {
        Kind::LoadGlobal if ins.extra != READ_ONLY => Order::Load(GLOBAL),
        Kind::StoreGlobal | Kind::Atomic => Order::Store(GLOBAL),
        Kind::LoadShared => Order::Load(SHARED),
        Kind::StoreShared => Order::Store(SHARED),
        _ => Order::Free,
    }
}

/// How a load goes together with its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    Alone,
    /// The first of so many, which become one.
    Leads(u8),
    /// The one that leads it.
    Follows(u32),
}

#[derive(Debug, Clone)]
pub struct Step {
    /// Instructions that a warp issues.
    pub issues: u32,
    /// Cycles of each pipe of a multiprocessor, without what accesses take.
    pub work: [f32; PIPES],
    /// Cycles to the result, without what accesses take.
    pub latency: f32,
    pub order: Order,
    /// Straight code starts here.
    pub starts: bool,
    pub merge: Merge,
    /// Numbers of registers.
    pub reads: Vec<u32>,
    pub writes: Vec<u32>,
}

impl Step {
    /// Nothing is executed for it.
    fn vanish(&mut self) {
        self.issues = 0;
        self.work = [0.0; PIPES];
        self.latency = 0.0;
    }
}

pub struct Plan {
    pub steps: Vec<Step>,
    pub registers: usize,
}

impl Plan {
    pub fn new(program: &Program, rates: &Rates) -> Self {
        let mut numbers = BTreeMap::new();
        let mut number = |offset: u32| {
            let next = numbers.len() as u32;
            *numbers.entry(offset).or_insert(next)
        };
        let code = program.code.iter().zip(&program.infos);
        let mut steps: Vec<Step> = code
            .map(|(ins, info)| {
                let reads = info
                    .uses
                    .iter()
                    .map(|&(offset, _)| number(offset))
                    .collect();
                let writes = defined(ins).map(&mut number).collect();
                let mut step = step(&info.cost, rates, reads, writes);
                step.order = order(ins);
                if ins.kind == Kind::Barrier {
                    step.work[BARRIER] = 32.0 / rates.barrier_lanes;
                }
                step
            })
            .collect();
        for (step, starts) in steps.iter_mut().zip(starts(program)) {
            step.starts = starts;
        }
        for unrolled in unroll::loops(program) {
            steps[unrolled.body.start].starts = false;
            for pc in unrolled.gone {
                steps[pc].vanish();
            }
        }
        merge(program, &mut steps);
        Self {
            steps,
            registers: numbers.len(),
        }
    }
}

fn defined(ins: &Instr) -> impl Iterator<Item = u32> + '_ {
    (0..4).filter(|k| ins.defs >> k & 1 != 0).map(|k| ins.d[k])
}

fn step(cost: &Cost, rates: &Rates, reads: Vec<u32>, writes: Vec<u32>) -> Step {
    let more = f32::from(cost.multiplications) * (rates.multiplication - 1.0);
    let issues = cost.issues() + more as u32;
    let cycles = |count: u8, lanes: f32| f32::from(count) * 32.0 / lanes;
    let mut work = [0.0; PIPES];
    work[ISSUE] = issues as f32 / rates.schedulers;
    work[FMA] = cycles(cost.fma, rates.fma_lanes) + more * 32.0 / rates.fma_lanes;
    work[ALU] = cycles(cost.alu, rates.alu_lanes);
    work[SPECIAL] = cycles(cost.special, rates.special_lanes);
    work[DOUBLE] = cycles(cost.double, rates.double_lanes);
    let is_access = cost.is_memory;
    work[MEMORY_UNIT] = if is_access {
        32.0 / rates.memory_lanes
    } else {
        0.0
    };
    Step {
        issues,
        work,
        latency: f32::from(cost.steps) * rates.latency.arithmetic
            + f32::from(cost.special_steps) * rates.latency.special
            + f32::from(cost.double_steps) * rates.latency.double
            + if is_access { rates.latency.shared } else { 0.0 },
        order: Order::Free,
        starts: false,
        merge: Merge::Alone,
        reads,
        writes,
    }
}

/// Where straight code starts: at targets of branches and behind branches, but for those that only make a few
/// instructions conditional.
fn starts(program: &Program) -> Vec<bool> {
    let code = &program.code;
    let mut starts = vec![false; code.len() + 1];
    for (pc, ins) in code.iter().enumerate() {
        if ins.kind == Kind::Barrier {
            starts[pc + 1] = true;
        }
        let Some(target) = program.infos[pc].target.map(|target| target as usize) else {
            continue;
        };
        let skipped = code.get(pc + 1..target.max(pc + 1)).unwrap_or(&[]);
        let is_condition = target > pc
            && skipped.len() as u32 <= CONDITIONAL
            && !skipped
                .iter()
                .any(|ins| matches!(ins.kind, Kind::Barrier | Kind::Branch));
        if !is_condition {
            starts[pc + 1] = true;
            if let Some(start) = starts.get_mut(target) {
                *start = true;
            }
        }
    }
    starts.pop();
    starts
}

/// A load of one 32-bit value of shared memory, as far as it may become one with others.
#[derive(Clone, Copy)]
struct Load {
    pc: usize,
    base: u32,
    offset: i64,
}

/// Finds loads of neighbouring words off one register within straight code, with no store between them.
fn merge(program: &Program, steps: &mut [Step]) {
    let mut loads: Vec<Load> = Vec::new();
    for (pc, (ins, info)) in program.code.iter().zip(&program.infos).enumerate() {
        let writes_memory = matches!(
            ins.kind,
            Kind::StoreShared | Kind::Atomic | Kind::Barrier | Kind::Branch
        );
        if steps[pc].starts || writes_memory {
            join(&mut loads, steps);
        }
        let is_word =
            ins.kind == Kind::LoadShared && ins.width == 4 && ins.count == 1 && ins.guard == 0;
        if is_word && info.cost.can_merge {
            let (base, offset) = (base_of(program, pc), ins.imm);
            loads.push(Load { pc, base, offset });
        }
        // Loads off a register that changes do not go with those behind the change.
        if defined(ins).any(|offset| loads.iter().any(|load| load.base == offset)) {
            join(&mut loads, steps);
        }
    }
    join(&mut loads, steps);
}

/// The register that an access takes its address from; the decoder widens 32-bit ones just before.
fn base_of(program: &Program, pc: usize) -> u32 {
    let base = program.code[pc].a;
    let helper = pc.checked_sub(1).map(|before| &program.code[before]);
    let helper = helper
        .filter(|ins| !program.infos[pc].is_first && ins.kind == Kind::Move && ins.d[0] == base);
    helper.map_or(base, |ins| ins.a)
}

/// Makes fours, then twos, of the loads, and forgets them.
fn join(loads: &mut Vec<Load>, steps: &mut [Step]) {
    loads.sort_by_key(|load| (load.base, load.offset, load.pc));
    let mut rest = loads.as_slice();
    while let [first, ..] = rest {
        let follows = |k: usize| {
            rest.get(k).is_some_and(|load| {
                load.base == first.base && load.offset == first.offset + 4 * k as i64
            })
        };
        let fits = |count: i64| {
            first.offset.rem_euclid(4 * count) == 0 && (1..count as usize).all(follows)
        };
        let count = [4, 2].into_iter().find(|&count| fits(count)).unwrap_or(1) as usize;
        if count > 1 {
            let group = &rest[..count];
            let leader = group.iter().map(|load| load.pc).min().unwrap_or(first.pc);
            for load in group {
                steps[load.pc].merge = Merge::Follows(leader as u32);
            }
            steps[leader].merge = Merge::Leads(count as u8);
        }
        rest = &rest[count..];
    }
    loads.clear();
}
