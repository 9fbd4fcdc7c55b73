//! How many blocks of a kernel a multiprocessor holds at once, and what keeps it from more.
//!
//! Figures: the limits of capabilities that the software GPU has, and the units of allocation of NVIDIA's occupancy
//! calculator. Does not ask a device, nor know what a kernel computes.

use lenetc_softgpu::card::Limits;

use super::Resources;

/// Threads of a warp.
const WARP: u32 = 32;
/// Registers of a multiprocessor, and those that a warp gets at a time.
const REGISTERS: u32 = 64 << 10;
const REGISTER_UNIT: u32 = 256;

/// What bounds the blocks of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its warps.
    Warps,
    Registers,
    SharedMemory,
    /// Its blocks, whatever they hold.
    Blocks,
    /// The launch, which has no more of them.
    Grid,
}

impl Bound {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warps => "warps",
            Self::Registers => "registers",
            Self::SharedMemory => "shared",
            Self::Blocks => "blocks",
            Self::Grid => "grid",
        }
    }
}

/// A launch, as far as its place on a multiprocessor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub blocks: u32,
    /// Of a block.
    pub threads: u32,
    /// Of a thread.
    pub registers: u32,
    /// Of a block.
    pub shared_bytes: u32,
}

impl Shape {
    /// That of a kernel with these resources.
    pub fn new(blocks: u32, threads: u32, resources: &Resources) -> Self {
        Self {
            blocks,
            threads,
            registers: resources.registers,
            shared_bytes: resources.shared_bytes,
        }
    }
}

/// What a multiprocessor holds of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks at once.
    pub blocks: u32,
    /// Their warps.
    pub warps: u32,
    /// Warps that a multiprocessor holds at most.
    pub most_warps: u32,
    pub bound: Bound,
}

impl Occupancy {
    /// Warps that are there of those that could be, from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.warps) / f64::from(self.most_warps)
    }
}

/// Shared memory comes in units of so many bytes.
fn shared_unit(capability: u32) -> u32 {
    if capability >= 80 { 128 } else { 256 }
}

/// Parts of a multiprocessor that have registers of their own.
fn parts(capability: u32) -> u32 {
    if capability == 60 { 2 } else { 4 }
}

/// The blocks of a launch that a multiprocessor holds, of a device of this capability with so many multiprocessors.
///
/// `None` where not even one fits.
pub fn occupancy(capability: u32, multiprocessors: u32, shape: Shape) -> Option<Occupancy> {
    let limits = Limits::nearest((capability / 10, capability % 10));
    let parts = parts(capability);
    let warps = shape.threads.div_ceil(WARP).max(1);
    let most_warps = limits.threads / WARP;
    let of_warp = (shape.registers.max(1) * WARP).next_multiple_of(REGISTER_UNIT);
    let held = REGISTERS / parts / of_warp * parts;
    let shared = shape.shared_bytes.next_multiple_of(shared_unit(capability));
    let taken = shared + limits.shared_reserved_bytes;
    let by_shared = limits.shared_multiprocessor_bytes.checked_div(taken);
    let grid = shape.blocks.div_ceil(multiprocessors.max(1));
    let all = [
        (most_warps / warps, Bound::Warps),
        (held / warps, Bound::Registers),
        (by_shared.unwrap_or(u32::MAX), Bound::SharedMemory),
        (limits.blocks, Bound::Blocks),
        (grid, Bound::Grid),
    ];
    let (blocks, bound) = all.into_iter().min_by_key(|b| b.0)?;
    (blocks > 0).then_some(Occupancy {
        blocks,
        warps: blocks * warps,
        most_warps,
        bound,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(capability: u32, threads: u32, registers: u32, shared_bytes: u32) -> (u32, Bound) {
        let shape = Shape {
            blocks: 1 << 20,
            threads,
            registers,
            shared_bytes,
        };
        let found = occupancy(capability, 100, shape).expect("a block fits");
        assert_eq!(found.warps, found.blocks * threads.div_ceil(32));
        assert!(found.share() > 0.0 && found.share() <= 1.0);
        (found.blocks, found.bound)
    }

    /// As NVIDIA's calculator has them.
    #[test]
    fn blocks_are_bound_by_what_runs_out_first() {
        for (capability, threads, registers, shared, expected) in [
            (80, 256, 32, 0, (8, Bound::Warps)),
            (80, 256, 33, 0, (6, Bound::Registers)),
            (80, 256, 97, 0, (2, Bound::Registers)),
            (80, 256, 255, 0, (1, Bound::Registers)),
            (80, 32, 16, 0, (32, Bound::Blocks)),
            // 20 KiB and the one that the system takes, of 164.
            (80, 64, 32, 20 << 10, (7, Bound::SharedMemory)),
            (75, 64, 32, 20 << 10, (3, Bound::SharedMemory)),
            (75, 256, 32, 0, (4, Bound::Warps)),
            (75, 32, 32, 0, (16, Bound::Blocks)),
            (86, 512, 40, 0, (3, Bound::Warps)),
            (90, 1024, 64, 0, (1, Bound::Registers)),
            (90, 64, 32, 48 << 10, (4, Bound::SharedMemory)),
            (61, 128, 16, 48 << 10, (2, Bound::SharedMemory)),
            (120, 33, 32, 0, (24, Bound::Warps)),
        ] {
            let found = of(capability, threads, registers, shared);
            assert_eq!(found, expected, "{capability}, {threads}, {registers}");
        }
    }

    #[test]
    fn a_small_launch_leaves_multiprocessors_with_less_than_they_hold() {
        let shape = Shape {
            blocks: 128,
            threads: 256,
            registers: 32,
            shared_bytes: 0,
        };
        let found = occupancy(90, 132, shape).expect("a block fits");
        assert_eq!((found.blocks, found.bound), (1, Bound::Grid));
        assert_eq!(found.share(), 0.125);
    }

    #[test]
    fn what_does_not_fit_at_all_is_said_to() {
        let shape = Shape {
            blocks: 1,
            threads: 1024,
            registers: 128,
            shared_bytes: 0,
        };
        assert_eq!(occupancy(80, 1, shape), None);
    }
}
