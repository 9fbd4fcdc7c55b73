//! A warp: 32 lanes that run one instruction at a time. Where lanes part, the group with the lowest program counter runs
//! first, so that groups meet again at the first instruction that both reach. Instructions that lanes execute together wait
//! for those that are elsewhere. Knows of barriers only that lanes arrive.

use super::access::Cached;
use super::fault::Fault;
use super::grid::Launch;
use super::lanes::{FULL, Instr, Step};
use super::probe::Probe;

/// What handlers see: the warp that runs, its block's memory and the launch.
///
/// Handlers are unsafe functions. Their callers promise that `regs` points to a register file laid out for
/// `launch.program`, whose code the instruction belongs to, and that `shared` and `local` have the stated lengths.
pub struct Cx<'a> {
    regs: *mut u8,
    /// Lanes that execute the current instruction.
    pub mask: u32,
    /// Lanes that are at other instructions and may come to the current one.
    pub elsewhere: u32,
    pub pc: u32,
    pub shared: *mut u8,
    pub shared_len: u64,
    /// Lane after lane, `local_len` bytes each.
    pub local: *mut u8,
    pub local_len: u64,
    /// By program counter.
    pub caches: Vec<Cached>,
    pub launch: &'a Launch<'a>,
    pub block: u64,
    pub warp: u32,
    pub fault: Option<Box<Fault>>,
    /// Whether `probe` wants to see every instruction.
    pub probing: bool,
    /// Whether it counts.
    pub counting: bool,
    pub probe: Option<Box<Probe>>,
}

impl<'a> Cx<'a> {
    pub fn new(launch: &'a Launch<'a>, shared: *mut u8, probe: Option<Box<Probe>>) -> Self {
        Self {
            regs: std::ptr::null_mut(),
            mask: 0,
            elsewhere: 0,
            pc: 0,
            shared,
            shared_len: u64::from(launch.shared_len),
            local: std::ptr::null_mut(),
            local_len: u64::from(launch.program.local_len),
            caches: vec![Cached::EMPTY; launch.program.code.len()],
            launch,
            block: 0,
            warp: 0,
            fault: None,
            probing: probe.is_some(),
            counting: probe.as_ref().is_some_and(|probe| probe.counts()),
            probe,
        }
    }

    /// Points to the register file and the local memory of a warp.
    pub fn select(&mut self, warp: &Warp) {
        self.regs = warp.regs;
        self.local = warp.local;
        self.warp = warp.index;
    }

    #[inline(always)]
    pub fn row(&self, offset: u32) -> *mut u8 {
        self.regs.wrapping_add(offset as usize)
    }

    #[inline(always)]
    pub fn pred(&self, offset: u32) -> u32 {
        // SAFETY: the decoder gives offsets of predicates, which lie in the register file.
        unsafe { *self.row(offset).cast::<u32>() }
    }

    /// Sets the predicate in the lanes of the mask.
    #[inline(always)]
    pub fn write_pred(&mut self, offset: u32, bits: u32) {
        let merged = self.pred(offset) & !self.mask | bits & self.mask;
        // SAFETY: as in `pred`.
        unsafe { *self.row(offset).cast::<u32>() = merged };
    }

    /// The lanes that execute the current instruction.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + use<> {
        let mask = self.mask;
        (0..32).filter(move |lane| mask >> lane & 1 != 0)
    }

    #[cold]
    pub fn fail(&mut self, fault: Box<Fault>) -> Step {
        self.fault = Some(fault);
        Step::Fault
    }
}

/// Lanes that wait at a barrier.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Of the barrier instruction.
    pub pc: u32,
    pub mask: u32,
    pub id: u32,
    /// Threads that the barrier waits for; none for all of the block.
    pub threads: Option<u32>,
    /// The lanes' predicate, for barriers that reduce it.
    pub votes: u32,
}

/// Why `run` returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The instructions granted are used up.
    Quantum,
    /// All lanes that are left wait at barriers.
    Blocked,
    Done,
    Fault,
}

const NOWHERE: u32 = u32::MAX;

pub struct Warp {
    regs: *mut u8,
    local: *mut u8,
    pub index: u32,
    pub pc: u32,
    pub active: u32,
    /// Lanes that exist and have not exited.
    pub alive: u32,
    /// Other groups: program counter and lanes.
    pending: Vec<(u32, u32)>,
    /// Groups that wait, at an instruction for several lanes, for lanes of other groups.
    parked: Vec<(u32, u32)>,
    /// Lowest program counter of both.
    join: u32,
    /// Lanes of the pending groups; none where the active group must not wait for them.
    elsewhere: u32,
    pub arrivals: Vec<Arrival>,
}

impl Warp {
    pub fn new(index: u32, regs: *mut u8, local: *mut u8) -> Self {
        Self {
            regs,
            local,
            index,
            pc: 0,
            active: 0,
            alive: 0,
            pending: Vec::new(),
            parked: Vec::new(),
            join: NOWHERE,
            elsewhere: 0,
            arrivals: Vec::new(),
        }
    }

    pub fn regs(&self) -> *mut u8 {
        self.regs
    }

    /// Back to the first instruction.
    pub fn reset(&mut self, lanes: u32) {
        self.pc = 0;
        self.active = lanes;
        self.alive = lanes;
        self.pending.clear();
        self.parked.clear();
        self.join = NOWHERE;
        self.elsewhere = 0;
        self.arrivals.clear();
    }

    /// Lets the lanes of an arrival go on behind its barrier.
    pub fn release(&mut self, arrival: Arrival) {
        self.push(arrival.pc + 1, arrival.mask);
    }

    fn push(&mut self, pc: u32, mask: u32) {
        if mask != 0 {
            self.pending.push((pc, mask));
            self.join = self.join.min(pc);
            self.elsewhere |= mask;
        }
    }

    /// Makes the group with the lowest program counter the active one; those that wait join it where it meets them. When
    /// only such are left, nobody else will come, and they go on as they are.
    #[cold]
    fn regroup(&mut self, pc: u32, active: u32) -> (u32, u32) {
        self.push(pc, active);
        let must_go_on = self.pending.is_empty();
        if must_go_on {
            self.pending.append(&mut self.parked);
        }
        let lowest = self
            .pending
            .iter()
            .map(|(pc, _)| *pc)
            .min()
            .unwrap_or(NOWHERE);
        let mut mask = 0;
        for groups in [&mut self.pending, &mut self.parked] {
            groups.retain(|&(pc, lanes)| {
                mask |= if pc == lowest { lanes } else { 0 };
                pc != lowest
            });
        }
        let others = self.pending.iter().chain(&self.parked);
        self.join = others.map(|(pc, _)| *pc).min().unwrap_or(NOWHERE);
        let lanes = self.pending.iter().fold(0, |all, (_, lanes)| all | lanes);
        self.elsewhere = if must_go_on { 0 } else { lanes };
        (lowest, mask)
    }

    pub fn has_runnable(&self) -> bool {
        self.active != 0 || !self.pending.is_empty() || !self.parked.is_empty()
    }

    /// Runs at most `budget` instructions.
    ///
    /// # Safety
    /// `cx` has this warp selected, and its launch is of the program that the register file was laid out for.
    pub unsafe fn run<const PROBE: bool>(&mut self, cx: &mut Cx<'_>, mut budget: u64) -> Stop {
        let code: *const Instr = cx.launch.program.code.as_ptr();
        let (mut pc, mut active) = (self.pc, self.active);
        cx.elsewhere = self.elsewhere;
        let stop = loop {
            if pc >= self.join || active == 0 {
                if active == 0 && self.pending.is_empty() && self.parked.is_empty() {
                    break if self.arrivals.is_empty() {
                        Stop::Done
                    } else {
                        Stop::Blocked
                    };
                }
                (pc, active) = self.regroup(pc, active);
                cx.elsewhere = self.elsewhere;
            }
            if budget == 0 {
                break Stop::Quantum;
            }
            budget -= 1;
            // SAFETY: the decoder checked all targets, and the last instruction exits whatever lanes reach it.
            let ins = unsafe { &*code.add(pc as usize) };
            cx.pc = pc;
            cx.mask = active & (cx.pred(ins.guard) ^ ins.guard_flip);
            if PROBE && !cx.probe_instruction(ins, active) {
                break Stop::Fault;
            }
            // SAFETY: the caller keeps the promises of handlers.
            let step = unsafe { (ins.exec)(cx, ins) };
            if PROBE && step != Step::Wait {
                cx.probe_executed(ins, active);
            }
            match step {
                Step::Next => pc += 1,
                Step::Branch => {
                    let taken = cx.mask;
                    let target = ins.imm as u32;
                    if taken == active {
                        pc = target;
                    } else {
                        self.push(target, taken);
                        cx.elsewhere = self.elsewhere;
                        active &= !taken;
                        pc += 1;
                    }
                }
                Step::Exit => {
                    self.alive &= !cx.mask;
                    active &= !cx.mask;
                    pc += 1;
                }
                Step::Barrier => {
                    if cx.mask != 0 {
                        self.arrivals.push(arrival(cx, ins));
                    }
                    active &= !cx.mask;
                    pc += 1;
                }
                Step::Wait => {
                    self.parked.push((pc, active));
                    self.join = self.join.min(pc);
                    active = 0;
                }
                Step::Fault => break Stop::Fault,
            }
        };
        self.pc = pc;
        self.active = active;
        stop
    }
}

/// `a` is the barrier's number, `b` the number of threads where `imm` says so, `c` a predicate.
fn arrival(cx: &Cx<'_>, ins: &Instr) -> Arrival {
    let lane = cx.mask.trailing_zeros() as usize;
    // SAFETY: the decoder gives rows of 32-bit cells, and the mask is not empty where a barrier is reached by lanes; an
    // empty mask has 32 trailing zeros and reads the first lane instead.
    let read = |offset: u32| unsafe { *cx.row(offset).cast::<u32>().add(lane % 32) };
    Arrival {
        pc: cx.pc,
        mask: cx.mask,
        id: read(ins.a),
        // Zero threads are all of them.
        threads: (ins.imm & 1 != 0)
            .then(|| read(ins.b))
            .filter(|&count| count != 0),
        votes: if ins.c != 0 {
            cx.pred(ins.c) ^ if ins.imm & 2 != 0 { FULL } else { 0 }
        } else {
            0
        },
    }
}
