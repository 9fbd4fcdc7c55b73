//! A launch's time: its blocks, in their order, on the multiprocessors of a card. Each multiprocessor takes the next
//! block where one ends; it is done when its last block is, and not before its pipes have done the work of all. The L2
//! and memory deliver to all of them together.

use super::cache::MemoryTraffic;
use super::plan::PIPES;
use super::rates::CardRates;
use super::ready::BlockTime;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What can bound a launch: the pipes in their order, then the L2, memory, and latency.
pub const BOUNDS: [&str; PIPES + 3] = [
    "issue",
    "f32",
    "integer",
    "special",
    "f64",
    "shared memory",
    "L2 port",
    "barriers",
    "L2",
    "memory",
    "latency",
];
const L2: usize = PIPES;
const MEMORY: usize = PIPES + 1;
const LATENCY: usize = PIPES + 2;

/// How a launch lies on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub multiprocessors: u32,
    /// Blocks on one of them at once.
    pub resident: u32,
}

/// Seconds of launches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Time {
    pub seconds: f64,
    /// What each bound alone would take.
    pub bounds: [f64; BOUNDS.len()],
}

impl Time {
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        for (sum, bound) in self.bounds.iter_mut().zip(other.bounds) {
            *sum += bound;
        }
    }

    /// The name of the slowest bound.
    pub fn bound(&self) -> &'static str {
        let bounds = self.bounds.iter().zip(BOUNDS);
        bounds
            .max_by(|x, y| x.0.total_cmp(y.0))
            .map_or("", |(_, name)| name)
    }
}

/// Of one multiprocessor.
#[derive(Clone, Default)]
struct Multiprocessor {
    end: f64,
    work: [f64; PIPES],
}

/// `first_answer`: cycles until the first bytes come, which no traffic hides.
pub fn time(
    blocks: &[BlockTime],
    place: Place,
    l2_bytes: u64,
    memory: MemoryTraffic,
    first_answer: f32,
    rates: &CardRates,
) -> Time {
    let mut bounds = [0.0; BOUNDS.len()];
    for multiprocessor in run(blocks, place) {
        for (bound, work) in bounds.iter_mut().zip(multiprocessor.work) {
            *bound = f64::max(*bound, work / rates.clock);
        }
        bounds[LATENCY] = bounds[LATENCY].max(multiprocessor.end / rates.clock);
    }
    let first = if l2_bytes > 0 {
        f64::from(first_answer) / rates.clock
    } else {
        0.0
    };
    bounds[L2] = first + l2_bytes as f64 / rates.l2;
    bounds[MEMORY] = first + (memory.read + memory.written) as f64 / rates.memory;
    let slowest = bounds.iter().copied().fold(0.0, f64::max);
    Time {
        seconds: slowest + rates.launch,
        bounds,
    }
}

/// Spreads blocks over the multiprocessors.
fn run(blocks: &[BlockTime], place: Place) -> Vec<Multiprocessor> {
    let count = place.multiprocessors.max(1) as usize;
    let mut all = vec![Multiprocessor::default(); count];
    // Times as bits order like the times, which are not negative; ties go to the lower number, round by round.
    let mut free: BinaryHeap<Reverse<(u64, u32, u32)>> = (0..place.resident.max(1))
        .flat_map(|round| (0..count as u32).map(move |k| Reverse((0, round, k))))
        .collect();
    for block in blocks {
        let Some(Reverse((at, round, k))) = free.pop() else {
            break;
        };
        let end = f64::from_bits(at) + block.span;
        let multiprocessor = &mut all[k as usize];
        multiprocessor.end = multiprocessor.end.max(end);
        for (sum, work) in multiprocessor.work.iter_mut().zip(block.work) {
            *sum += work;
        }
        free.push(Reverse((end.to_bits(), round, k)));
    }
    all
}
