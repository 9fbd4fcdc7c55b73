//! What a card does in a cycle, and how long it takes to answer. Knows no kernels.
//!
//! Rates of a multiprocessor by capability: the CUDA C++ programming guide's table of arithmetic throughput, and the
//! diagrams of multiprocessors in NVIDIA's white papers (load and store units, L1). Latencies: microbenchmarks, of
//! which docs/cuda.md names the sources.

use crate::card::{Capability, Card};

/// Of one multiprocessor, in lanes or bytes a cycle, and latencies in cycles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    pub schedulers: f32,
    pub fma_lanes: f32,
    pub alu_lanes: f32,
    pub special_lanes: f32,
    pub double_lanes: f32,
    /// Load and store units: a warp's access takes 32 over them, or as long as its banks and lines need.
    pub memory_lanes: f32,
    /// Threads that arrive at barriers.
    pub barrier_lanes: f32,
    /// Bytes from the L2.
    pub port_bytes: f32,
    pub l1_bytes: u32,
    /// Whether shared memory is a part of the L1.
    pub l1_has_shared: bool,
    /// Machine instructions for a multiplication of integers.
    pub multiplication: f32,
    pub latency: Latency,
}

/// In cycles, from issue to use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    pub arithmetic: f32,
    pub special: f32,
    pub double: f32,
    pub shared: f32,
    pub l1: f32,
    pub l2: f32,
    pub memory: f32,
    /// From the last arrival to the first issue behind it.
    pub barrier: f32,
}

struct Line {
    capability: Capability,
    /// Lanes of multiply-add, logic, special, f64, load and store; KiB of L1 and shared memory.
    lanes: [u32; 6],
    /// Cycles of arithmetic, special, f64, shared memory, L1, L2, memory.
    cycles: [u32; 7],
}

#[rustfmt::skip]
const LINES: [Line; 9] = [
    Line { capability: (6, 0),  lanes: [ 64,  64, 16, 32, 16,  24], cycles: [6, 18,  8, 24, 82, 234, 450] },
    Line { capability: (6, 1),  lanes: [128, 128, 32,  4, 32,  48], cycles: [6, 18, 48, 24, 82, 216, 450] },
    Line { capability: (7, 0),  lanes: [ 64,  64, 16, 32, 32, 128], cycles: [4, 18,  8, 19, 36, 221, 460] },
    Line { capability: (7, 5),  lanes: [ 64,  64, 16,  2, 16,  96], cycles: [4, 18, 48, 22, 32, 212, 450] },
    Line { capability: (8, 0),  lanes: [ 64,  64, 16, 32, 32, 192], cycles: [4, 18,  8, 29, 38, 262, 466] },
    Line { capability: (8, 6),  lanes: [128,  64, 16,  2, 16, 128], cycles: [4, 18, 48, 29, 38, 262, 500] },
    Line { capability: (8, 9),  lanes: [128,  64, 16,  2, 16, 128], cycles: [4, 18, 48, 30, 40, 296, 636] },
    Line { capability: (9, 0),  lanes: [128,  64, 16, 64, 32, 256], cycles: [4, 18,  8, 29, 40, 281, 690] },
    Line { capability: (12, 0), lanes: [128, 128, 16,  2, 16, 128], cycles: [4, 18, 48, 30, 44, 360, 936] },
];

/// Warps wait about as long for a barrier as for shared memory: both are answered outside of the schedulers.
const BARRIER: f32 = 20.0;

impl Rates {
    /// Of the newest line that is not above the capability, else of the oldest.
    pub fn of(capability: Capability) -> Self {
        let fitting = LINES
            .iter()
            .rev()
            .find(|line| line.capability <= capability);
        let line = fitting.unwrap_or(&LINES[0]);
        let [fma, alu, special, double, memory, l1_kib] = line.lanes;
        let [
            arithmetic,
            special_cycles,
            double_cycles,
            shared,
            l1,
            l2,
            memory_cycles,
        ] = line.cycles.map(|cycles| cycles as f32);
        let is_old = line.capability < (7, 0);
        Self {
            schedulers: if line.capability == (6, 0) { 2.0 } else { 4.0 },
            fma_lanes: fma as f32,
            alu_lanes: alu as f32,
            special_lanes: special as f32,
            double_lanes: double as f32,
            memory_lanes: memory as f32,
            barrier_lanes: if is_old { 32.0 } else { 16.0 },
            port_bytes: 64.0,
            l1_bytes: l1_kib << 10,
            l1_has_shared: !is_old,
            multiplication: if is_old { 3.0 } else { 1.0 },
            latency: Latency {
                arithmetic,
                special: special_cycles,
                double: double_cycles,
                shared,
                l1,
                l2,
                memory: memory_cycles,
                barrier: BARRIER,
            },
        }
    }
}

impl Rates {
    /// Bytes of the L1 for each of so many blocks that have `shared` bytes of shared memory each.
    pub fn l1_of_block(&self, shared: u32, blocks: u32) -> u64 {
        let taken = if self.l1_has_shared {
            shared.saturating_mul(blocks)
        } else {
            0
        };
        u64::from(self.l1_bytes.saturating_sub(taken) / blocks.max(1))
    }
}

/// Of the peak of its pins, what memory delivers to a stream of reads and writes.
const MEMORY_SHARE: f64 = 0.92;

/// Of a whole card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CardRates {
    /// Cycles a second.
    pub clock: f64,
    /// Bytes a second.
    pub l2: f64,
    pub memory: f64,
    /// Seconds from the end of a launch to the first instruction of the next within a graph.
    pub launch: f64,
}

impl CardRates {
    pub fn of(card: &Card) -> Self {
        let clock = f64::from(card.clock_khz) * 1e3;
        let pins = f64::from(card.memory_clock_khz) * 1e3 * 2.0 * f64::from(card.bus_bits) / 8.0;
        Self {
            clock,
            l2: f64::from(card.l2_cycle_bytes) * clock,
            memory: pins * MEMORY_SHARE,
            launch: 1.5e-6,
        }
    }
}
