//! A launch: the blocks of a grid, shared out among the machine's cores. Knows nothing of streams or of the driver.

use super::block::Block;
use super::fault::{self, Fault};
use super::heap::Heap;
use super::probe::Probe;
use super::program::{Program, Special};
use super::rng::Rng;
use super::warp::Cx;
use rayon::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub struct Launch<'a> {
    pub program: &'a Program,
    pub heap: &'a Heap,
    pub params: &'a [u8],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Static and dynamic.
    pub shared_len: u32,
    pub warp_order: u32,
    pub deadline: Option<Instant>,
    /// Whether lanes of a warp go their own ways, or in lockstep.
    pub has_independent_lanes: bool,
}

impl Launch<'_> {
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub fn blocks(&self) -> u64 {
        self.grid.iter().map(|&size| u64::from(size)).product()
    }

    pub fn block_index(&self, block: u64) -> [u32; 3] {
        let (x, y) = (u64::from(self.grid[0]), u64::from(self.grid[1]));
        [
            (block % x) as u32,
            (block / x % y) as u32,
            (block / x / y) as u32,
        ]
    }

    pub fn thread_index(&self, thread: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [thread % x, thread / x % y, thread / x / y]
    }

    pub fn special(&self, special: Special, block: u64, thread: u32) -> u32 {
        let lane = thread % 32;
        match special {
            Special::Tid(k) => self.thread_index(thread)[usize::from(k)],
            Special::Ntid(k) => self.block[usize::from(k)],
            Special::Ctaid(k) => self.block_index(block)[usize::from(k)],
            Special::Nctaid(k) => self.grid[usize::from(k)],
            Special::LaneId => lane,
            Special::WarpId => thread / 32,
            Special::WarpCount => self.threads().div_ceil(32),
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => (1 << lane) - 1 + (1 << lane),
            Special::LaneMaskGt => !((1 << lane) - 1 + (1 << lane)),
            Special::LaneMaskGe => !((1 << lane) - 1),
            Special::DynamicShared => self.shared_len - self.program.shared_static,
            Special::TotalShared => self.shared_len,
            Special::Zero => 0,
            Special::One => 1,
        }
    }

    /// A fault when the launch has run for longer than it may.
    pub fn check_watchdog(&self, cx: &Cx<'_>) -> Result<(), Box<Fault>> {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline)
        {
            let detail = "the kernel ran longer than the watchdog allows".to_string();
            return Err(fault::at(
                cx,
                0,
                fault::LAUNCH_TIMEOUT,
                "timeout",
                0,
                detail,
            ));
        }
        Ok(())
    }

    /// Runs all blocks with the probe, one after the other, on this thread.
    pub fn run_probed(&self, probe: Box<Probe>) -> (Box<Probe>, Result<(), Box<Fault>>) {
        let mut state = Block::new(self, Some(probe));
        let order = BlockOrder::new(self.warp_order, self.blocks());
        let result = (0..self.blocks()).try_for_each(|turn| state.run(order.at(turn)));
        (
            state
                .cx
                .probe
                .take()
                .unwrap_or_else(|| unreachable!("put there above")),
            result,
        )
    }

    /// Runs all blocks, several at a time. A fault stops the launch; which of several is reported is open.
    pub fn run(&self) -> Result<(), Box<Fault>> {
        let blocks = self.blocks();
        let order = BlockOrder::new(self.warp_order, blocks);
        let workers = (rayon::current_num_threads() as u64).min(blocks) as usize;
        let next = AtomicU64::new(0);
        let stopped = AtomicBool::new(false);
        let first_fault = Mutex::new(None);
        let work = |_| {
            let mut state = Block::new(self, None);
            while !stopped.load(Ordering::Relaxed) {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= blocks {
                    break;
                }
                if let Err(fault) = state.run(order.at(turn)) {
                    stopped.store(true, Ordering::Relaxed);
                    first_fault
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .get_or_insert(fault);
                }
            }
        };
        if workers <= 1 {
            work(0);
        } else {
            (0..workers).into_par_iter().with_max_len(1).for_each(work);
        }
        match first_fault
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
        {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }
}

pub fn deadline(watchdog: Option<Duration>) -> Option<Instant> {
    watchdog.map(|duration| Instant::now() + duration)
}

/// A permutation of the blocks: in order, reversed, or scattered by a seed.
pub struct BlockOrder {
    count: u64,
    first: u64,
    stride: u64,
}

impl BlockOrder {
    pub fn new(order: u32, count: u64) -> Self {
        let (first, stride) = match order {
            0 => (0, 1),
            1 => (count - 1, count - 1),
            seed => {
                let mut rng = Rng::new(u64::from(seed));
                let first = rng.below(count);
                let coprime = |stride: &u64| gcd(*stride, count) == 1;
                let stride = std::iter::repeat_with(|| 1 + rng.below(count))
                    .find(coprime)
                    .unwrap_or(1);
                (first, stride)
            }
        };
        Self {
            count,
            first,
            stride,
        }
    }

    pub fn at(&self, turn: u64) -> u64 {
        ((u128::from(self.first) + u128::from(turn) * u128::from(self.stride))
            % u128::from(self.count)) as u64
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
