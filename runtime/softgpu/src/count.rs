//! Counters: what kernels execute and how they touch memory, for each kernel and in total. Knows no driver and no PTX.

use crate::exec::lanes::{KIND_NAMES, KINDS};
use crate::time::launch::Time;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// What the instructions of kernels did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub blocks: u64,
    pub warp_instructions: [u64; KINDS],
    pub lane_instructions: [u64; KINDS],
    /// Bytes that active lanes read and wrote in global memory, each lane's counted.
    pub global_bytes_read: u64,
    pub global_bytes_written: u64,
    /// Sectors of 32 bytes touched by loads and stores of warps, and how few would do for the distinct bytes.
    pub global_sectors: u64,
    pub global_sectors_ideal: u64,
    /// Of these sectors, those that went on to the L2, and bytes between the L2 and memory, as the model of time says.
    pub l2_sectors: u64,
    pub memory_bytes_read: u64,
    pub memory_bytes_written: u64,
    /// Loads that an assembler makes one of count once.
    pub shared_accesses: u64,
    pub shared_wavefronts: u64,
    /// Wavefronts of shared accesses beyond the one, two or four that their width needs.
    pub bank_conflicts: u64,
    /// Instructions that warps issue, as the model of time says.
    pub issues: u64,
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.blocks += other.blocks;
        for k in 0..KINDS {
            self.warp_instructions[k] += other.warp_instructions[k];
            self.lane_instructions[k] += other.lane_instructions[k];
        }
        self.global_bytes_read += other.global_bytes_read;
        self.global_bytes_written += other.global_bytes_written;
        self.global_sectors += other.global_sectors;
        self.global_sectors_ideal += other.global_sectors_ideal;
        self.l2_sectors += other.l2_sectors;
        self.memory_bytes_read += other.memory_bytes_read;
        self.memory_bytes_written += other.memory_bytes_written;
        self.shared_accesses += other.shared_accesses;
        self.shared_wavefronts += other.shared_wavefronts;
        self.bank_conflicts += other.bank_conflicts;
        self.issues += other.issues;
    }
}

impl Counts {
    /// Names and values, in a fixed order.
    pub fn list(&self) -> Vec<(String, u64)> {
        let mut list = vec![("blocks".to_string(), self.blocks)];
        for (k, name) in KIND_NAMES.iter().enumerate() {
            list.push((format!("warp_{name}"), self.warp_instructions[k]));
            list.push((format!("lane_{name}"), self.lane_instructions[k]));
        }
        let rest = [
            ("global_bytes_read", self.global_bytes_read),
            ("global_bytes_written", self.global_bytes_written),
            ("global_sectors", self.global_sectors),
            ("global_sectors_ideal", self.global_sectors_ideal),
            ("l2_sectors", self.l2_sectors),
            ("memory_bytes_read", self.memory_bytes_read),
            ("memory_bytes_written", self.memory_bytes_written),
            ("shared_accesses", self.shared_accesses),
            ("shared_wavefronts", self.shared_wavefronts),
            ("bank_conflicts", self.bank_conflicts),
            ("issues", self.issues),
        ];
        list.extend(rest.map(|(name, value)| (name.to_string(), value)));
        list
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    Set,
}

pub const COPY_NAMES: [&str; 4] = [
    "host_to_device",
    "device_to_host",
    "device_to_device",
    "memset",
];

#[derive(Debug, Clone, Default)]
pub struct KernelCounts {
    pub launches: u64,
    pub counts: Counts,
    /// What the card that is meant would take, where counting is on.
    pub time: Time,
    /// Blocks on a multiprocessor at once, of the last launch.
    pub resident: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Total {
    pub launches: u64,
    pub graph_launches: u64,
    /// Modules loaded, by what was given.
    pub modules_cubin: u64,
    pub modules_ptx: u64,
    pub counts: Counts,
    /// How many and how many bytes, in the order of `Copied`.
    pub copies: [(u64, u64); 4],
}

/// Launches and copies are always counted, the rest where counting is on.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub total: Total,
    pub kernels: BTreeMap<String, KernelCounts>,
}

impl Counters {
    pub fn copied(&mut self, direction: Copied, len_bytes: u64) {
        let (count, bytes) = &mut self.total.copies[direction as usize];
        *count += 1;
        *bytes += len_bytes;
    }

    pub fn launched(&mut self, kernel: &str) {
        self.total.launches += 1;
        match self.kernels.get_mut(kernel) {
            Some(known) => known.launches += 1,
            None => {
                self.kernels.insert(
                    kernel.to_string(),
                    KernelCounts {
                        launches: 1,
                        ..KernelCounts::default()
                    },
                );
            }
        }
    }

    pub fn executed(&mut self, kernel: &str, counts: &Counts) {
        self.total.counts += counts;
        if let Some(known) = self.kernels.get_mut(kernel) {
            known.counts += counts;
        }
    }

    pub fn timed(&mut self, kernel: &str, time: &Time, resident: u32) {
        if let Some(known) = self.kernels.get_mut(kernel) {
            known.time.add(time);
            known.resident = resident;
        }
    }
}
