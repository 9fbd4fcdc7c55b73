//! The model of time of one launch, as the probe feeds it: accesses on their way through banks and caches, executed
//! instructions, barriers, the starts and ends of blocks. Knows no sanitizers.

use super::cache::{L1, L2, MemoryTraffic};
use super::launch::{Place, Time, time};
use super::plan::{Merge, Plan};
use super::rates::{CardRates, Rates};
use super::ready::{Accessed, BlockTime, Clock};
use crate::exec::grid::Launch;
use crate::exec::lanes::{Instr, Kind};
use crate::exec::traffic::Sectors;
use crate::sanitize::How;

/// What the driver knows of a launch's surroundings.
pub struct Surroundings {
    pub rates: Rates,
    pub card: CardRates,
    pub place: Place,
    /// Of each block.
    pub l1_bytes: u64,
    /// As earlier launches left it.
    pub l2: L2,
}

/// What is left when a launch is over.
pub struct Outcome {
    pub time: Time,
    pub l2_sectors: u64,
    pub memory: MemoryTraffic,
    pub l2: L2,
}

pub struct Model {
    clock: Clock,
    surroundings: Surroundings,
    l1: L1,
    l2_sectors: u64,
    blocks: Vec<BlockTime>,
    is_in_block: bool,
    /// Of the instruction that runs.
    accessed: Option<Accessed>,
    /// Of each load that leads others, whether they were one when it ran last.
    is_joined: Vec<bool>,
}

impl Model {
    pub fn new(surroundings: Surroundings, launch: &Launch<'_>) -> Self {
        let plan = Plan::new(launch.program, &surroundings.rates);
        let warps = launch.threads().div_ceil(32) as usize;
        Self {
            is_joined: vec![false; plan.steps.len()],
            clock: Clock::new(plan, surroundings.rates, warps),
            l1: L1::new(surroundings.l1_bytes),
            surroundings,
            l2_sectors: 0,
            blocks: Vec::new(),
            is_in_block: false,
            accessed: None,
        }
    }

    pub fn start_block(&mut self) {
        self.end_block();
        let Place {
            multiprocessors,
            resident,
        } = self.surroundings.place;
        let wave = u64::from(multiprocessors.max(1)) * u64::from(resident.max(1));
        if (self.blocks.len() as u64).is_multiple_of(wave) {
            self.surroundings.l2.start_wave();
        }
        self.l1.clear();
        self.is_in_block = true;
    }

    fn end_block(&mut self) {
        if std::mem::take(&mut self.is_in_block) {
            self.blocks.push(self.clock.finish());
        }
    }

    /// How many words of each lane a load of shared memory brings: more than its own where it leads others, and none
    /// where another one brings them.
    pub fn words(&mut self, pc: u32, is_aligned: impl Fn(u64) -> bool) -> u64 {
        match self.clock.plan.steps[pc as usize].merge {
            Merge::Alone => 1,
            Merge::Leads(count) => {
                let joined = is_aligned(4 * u64::from(count));
                self.is_joined[pc as usize] = joined;
                if joined { u64::from(count) } else { 1 }
            }
            Merge::Follows(leader) => u64::from(!self.is_joined[leader as usize]),
        }
    }

    /// An access of shared memory that takes so many wavefronts.
    pub fn access_shared(&mut self, wavefronts: u64) {
        let wait = wavefronts.saturating_sub(1) as f32;
        self.accessed = Some(Accessed {
            latency: self.surroundings.rates.latency.shared + wait,
            unit: wavefronts as f32,
            port_bytes: 0,
        });
    }

    /// An access of global memory. Each line of 128 bytes takes the load and store unit a cycle.
    pub fn access_global(&mut self, sectors: &Sectors, how: How) {
        let latency = self.surroundings.rates.latency;
        let mut wait = latency.l1;
        let mut missed = 0;
        for &sector in sectors.list() {
            if how == How::Read && self.l1.load(sector) {
                continue;
            }
            missed += 1;
            let l2 = &mut self.surroundings.l2;
            let is_there = l2.touch(sector, how == How::Write);
            if how == How::Atomic {
                l2.touch(sector, true);
            }
            wait = wait.max(if is_there { latency.l2 } else { latency.memory });
        }
        self.l2_sectors += missed;
        let lines = sectors.lines() as f32;
        self.accessed = Some(Accessed {
            latency: wait + lines - 1.0,
            unit: lines,
            port_bytes: 32 * missed,
        });
    }

    /// An instruction was executed. How many the machine issues for it.
    pub fn executed(&mut self, ins: &Instr, warp: u32, pc: u32) -> u32 {
        let issues = self.clock.step(warp, pc, self.accessed.take());
        if ins.kind == Kind::Barrier {
            self.clock.arrive(warp);
        }
        issues
    }

    pub fn release(&mut self, warps: impl Iterator<Item = u32>, is_whole_block: bool) {
        let mut warps: Vec<u32> = warps.collect();
        warps.dedup();
        self.clock.release(&warps, is_whole_block);
    }

    pub fn finish(mut self) -> Outcome {
        self.end_block();
        let Surroundings {
            rates,
            card,
            place,
            mut l2,
            ..
        } = self.surroundings;
        let memory = l2.end_launch();
        let l2_bytes = 32 * self.l2_sectors;
        let time = time(
            &self.blocks,
            place,
            l2_bytes,
            memory,
            rates.latency.l2,
            &card,
        );
        Outcome {
            time,
            l2_sectors: self.l2_sectors,
            memory,
            l2,
        }
    }
}
