//! A block: its warps take turns until all are done, and barriers hold them together. The order of turns is a setting, so
//! that programs which depend on one order fail in another.

use super::fault::{self, Fault};
use super::grid::Launch;
use super::lanes::FULL;
use super::probe::Probe;
use super::program::Special;
use super::rng::Rng;
use super::warp::{Arrival, Cx, Stop, Warp};

/// Instructions until a warp must give way even in the plain orders, so that warps can wait for one another.
const LONG_TURN: u64 = 1 << 16;
/// Turns where warps are counted: short, as schedulers change between warps, so that they share what caches hold.
const COUNTED_TURN: u64 = 64;
/// Longest turn in the random orders.
const SHORT_TURN: u64 = 48;

/// Bytes aligned for vector loads.
pub struct Buffer(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Buffer {
    pub fn new(len: usize) -> Self {
        Self(vec![Line([0; 64]); len.div_ceil(64).max(1)])
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    pub fn fill(&mut self, byte: u8) {
        self.0.fill(Line([byte; 64]));
    }
}

/// The memory and warps of one block, used for block after block by one thread.
pub struct Block<'a> {
    pub cx: Cx<'a>,
    warps: Vec<Warp>,
    shared: Buffer,
    /// Owns what the warps point to.
    _files: Buffer,
    _locals: Buffer,
}

impl<'a> Block<'a> {
    pub fn new(launch: &'a Launch<'a>, probe: Option<Box<Probe>>) -> Self {
        let count = launch.threads().div_ceil(32);
        let program = launch.program;
        let mut files = Buffer::new(program.file_bytes as usize * count as usize);
        let mut locals = Buffer::new(program.local_len as usize * 32 * count as usize);
        let mut shared = Buffer::new(launch.shared_len as usize);
        let (file_base, local_base) = (files.as_mut_ptr(), locals.as_mut_ptr());
        let warps = (0..count)
            .map(|index| {
                let regs = file_base.wrapping_add((program.file_bytes * index) as usize);
                Warp::new(
                    index,
                    regs,
                    local_base.wrapping_add((program.local_len * 32 * index) as usize),
                )
            })
            .collect();
        let cx = Cx::new(launch, shared.as_mut_ptr(), probe);
        let mut block = Self {
            cx,
            warps,
            shared,
            _files: files,
            _locals: locals,
        };
        block.write_constants();
        block
    }

    fn write_constants(&mut self) {
        let launch = self.cx.launch;
        for warp in &self.warps {
            // SAFETY: the first word of the file is the predicate that is always true.
            unsafe { *warp.regs().cast::<u32>() = FULL };
            for &(offset, bits, is_wide) in &launch.program.constants {
                for lane in 0..32 {
                    write_cell(warp, offset, lane, bits, is_wide);
                }
            }
            for &(offset, special) in &launch.program.specials {
                for lane in 0..32 {
                    let value = launch.special(special, 0, warp.index * 32 + lane as u32);
                    write_cell(warp, offset, lane, u64::from(value), false);
                }
            }
        }
    }

    fn write_block_index(&mut self, block: u64) {
        let launch = self.cx.launch;
        for &(offset, special) in &launch.program.specials {
            if let Special::Ctaid(_) = special {
                let value = launch.special(special, block, 0);
                for warp in &self.warps {
                    for lane in 0..32 {
                        write_cell(warp, offset, lane, u64::from(value), false);
                    }
                }
            }
        }
    }

    /// Runs one block to its end.
    pub fn run(&mut self, block: u64) -> Result<(), Box<Fault>> {
        let launch = self.cx.launch;
        self.cx.block = block;
        self.write_block_index(block);
        self.shared.fill(0xff);
        for warp in &mut self.warps {
            let lanes = launch.threads() - warp.index * 32;
            warp.reset(if lanes >= 32 { FULL } else { (1 << lanes) - 1 });
        }
        self.cx.probe_block_start();
        match launch.warp_order {
            0 | 1 => self.run_in_order(launch.warp_order == 1),
            seed => self.run_shuffled(Rng::new(
                u64::from(seed) ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            )),
        }
    }

    fn run_in_order(&mut self, reverse: bool) -> Result<(), Box<Fault>> {
        let count = self.warps.len();
        let budget = if self.cx.counting {
            COUNTED_TURN
        } else {
            LONG_TURN
        };
        loop {
            let mut progress = false;
            for turn in 0..count {
                let index = if reverse { count - 1 - turn } else { turn };
                if self.warps[index].has_runnable() {
                    progress = true;
                    self.turn(index, budget)?;
                }
            }
            if self.release_barriers()? {
                continue;
            }
            if !progress {
                return self.finish();
            }
        }
    }

    fn run_shuffled(&mut self, mut rng: Rng) -> Result<(), Box<Fault>> {
        loop {
            let runnable: Vec<usize> = (0..self.warps.len())
                .filter(|&index| self.warps[index].has_runnable())
                .collect();
            if runnable.is_empty() {
                if self.release_barriers()? {
                    continue;
                }
                return self.finish();
            }
            let index = runnable[rng.below(runnable.len() as u64) as usize];
            let budget = 1 + rng.below(SHORT_TURN);
            self.turn(index, budget)?;
            self.release_barriers()?;
        }
    }

    fn turn(&mut self, index: usize, budget: u64) -> Result<(), Box<Fault>> {
        let warp = &mut self.warps[index];
        self.cx.select(warp);
        // SAFETY: the warp was made for this launch's program and is selected.
        let stop = unsafe {
            if self.cx.probing {
                warp.run::<true>(&mut self.cx, budget)
            } else {
                warp.run::<false>(&mut self.cx, budget)
            }
        };
        match stop {
            Stop::Fault => Err(self
                .cx
                .fault
                .take()
                .unwrap_or_else(|| unreachable!("a handler that fails says why"))),
            Stop::Quantum => self.cx.launch.check_watchdog(&self.cx),
            Stop::Blocked | Stop::Done => Ok(()),
        }
    }

    /// Lets go on whoever waits at a barrier that is complete; whether there was one.
    fn release_barriers(&mut self) -> Result<bool, Box<Fault>> {
        let Some(id) = self.complete_barrier() else {
            return Ok(false);
        };
        let mut released: Vec<(usize, Arrival)> = Vec::new();
        for (index, warp) in self.warps.iter_mut().enumerate() {
            released.extend(
                warp.arrivals
                    .iter()
                    .filter(|arrival| arrival.id == id)
                    .map(|&arrival| (index, arrival)),
            );
            warp.arrivals.retain(|arrival| arrival.id != id);
        }
        self.reduce(&released);
        let whole_block = released[0]
            .1
            .threads
            .is_none_or(|threads| threads >= self.cx.launch.threads());
        for &(index, arrival) in &released {
            self.warps[index].release(arrival);
        }
        let lanes: Vec<(u32, Arrival)> = released
            .iter()
            .map(|&(index, arrival)| (index as u32, arrival))
            .collect();
        let alive = self.warps.iter().map(|warp| warp.alive.count_ones()).sum();
        self.cx.probe_barrier(&lanes, whole_block, alive)?;
        Ok(true)
    }

    /// The number of a barrier at which all threads that it waits for have arrived.
    fn complete_barrier(&self) -> Option<u32> {
        let alive: u32 = self.warps.iter().map(|warp| warp.alive.count_ones()).sum();
        let first = |warp: &Warp| {
            warp.arrivals
                .iter()
                .map(|arrival| arrival.id)
                .collect::<Vec<_>>()
        };
        let mut ids: Vec<u32> = self.warps.iter().flat_map(first).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().find(|&id| {
            let arrivals = self
                .warps
                .iter()
                .flat_map(|warp| &warp.arrivals)
                .filter(|arrival| arrival.id == id);
            let (mut arrived, mut needed) = (0, alive);
            for arrival in arrivals {
                arrived += arrival.mask.count_ones();
                needed = arrival.threads.unwrap_or(needed).min(alive);
            }
            arrived >= needed
        })
    }

    /// `bar.red`: writes the count, conjunction or disjunction of all votes to all that arrived.
    fn reduce(&mut self, released: &[(usize, Arrival)]) {
        let ins = &self.cx.launch.program.code[released[0].1.pc as usize];
        if ins.defs == 0 {
            return;
        }
        let count: u32 = released
            .iter()
            .map(|(_, arrival)| (arrival.votes & arrival.mask).count_ones())
            .sum();
        let total: u32 = released
            .iter()
            .map(|(_, arrival)| arrival.mask.count_ones())
            .sum();
        for &(index, arrival) in released {
            let ins = &self.cx.launch.program.code[arrival.pc as usize];
            self.cx.select(&self.warps[index]);
            self.cx.mask = arrival.mask;
            match ins.imm >> 2 {
                0 => {
                    for lane in self.cx.lanes() {
                        write_cell(&self.warps[index], ins.d[0], lane, u64::from(count), false);
                    }
                }
                1 => self
                    .cx
                    .write_pred(ins.d[0], if count == total { FULL } else { 0 }),
                _ => self
                    .cx
                    .write_pred(ins.d[0], if count > 0 { FULL } else { 0 }),
            }
        }
    }

    /// Nobody can run: right if all are done, a deadlock if somebody waits.
    fn finish(&mut self) -> Result<(), Box<Fault>> {
        let waiting = self
            .warps
            .iter()
            .find_map(|warp| warp.arrivals.first().map(|&arrival| (warp.index, arrival)));
        let Some((warp, arrival)) = waiting else {
            return Ok(());
        };
        self.cx.pc = arrival.pc;
        self.cx.warp = warp;
        let arrived: u32 = self
            .warps
            .iter()
            .flat_map(|warp| &warp.arrivals)
            .filter(|other| other.id == arrival.id)
            .map(|a| a.mask.count_ones())
            .sum();
        let alive: u32 = self.warps.iter().map(|warp| warp.alive.count_ones()).sum();
        let detail = format!(
            "{arrived} of {alive} threads wait at barrier {} for ever",
            arrival.id
        );
        let lane = arrival.mask.trailing_zeros() as usize;
        Err(fault::at(
            &self.cx,
            lane,
            fault::LAUNCH_FAILED,
            "deadlock",
            0,
            detail,
        ))
    }
}

fn write_cell(warp: &Warp, offset: u32, lane: usize, bits: u64, is_wide: bool) {
    let row = warp.regs().wrapping_add(offset as usize);
    // SAFETY: the decoder gives offsets of rows inside the register file.
    unsafe {
        if is_wide {
            *row.cast::<u64>().add(lane) = bits;
        } else {
            *row.cast::<u32>().add(lane) = bits as u32;
        }
    }
}
