//! How well the lanes of a warp share memory transactions: sectors of global memory and banks of shared memory.

use super::lanes::LANES;
use crate::count::Counts;
use crate::sanitize::How;

const SECTOR_BYTES: u64 = 32;
const BANKS: u64 = 32;
const BANK_BYTES: u64 = 4;

/// Counts one access of a warp.
pub fn count(
    counts: &mut Counts,
    addresses: &[u64; LANES],
    mask: u32,
    len: u64,
    space: &str,
    how: How,
) {
    if mask == 0 {
        return;
    }
    let active = || (0..LANES).filter(|lane| mask >> lane & 1 != 0);
    match space {
        "global" | "generic" => {
            let bytes = u64::from(mask.count_ones()) * len;
            if how != How::Write {
                counts.global_bytes_read += bytes;
            }
            if how != How::Read {
                counts.global_bytes_written += bytes;
            }
            let mut starts: Vec<u64> = active().map(|lane| addresses[lane]).collect();
            starts.sort_unstable();
            starts.dedup();
            counts.global_sectors += sectors(&starts, len);
            counts.global_sectors_ideal += (starts.len() as u64 * len).div_ceil(SECTOR_BYTES);
        }
        "shared" => {
            counts.shared_accesses += 1;
            let groups = (len / BANK_BYTES).max(1) as usize;
            let lanes_in_group = LANES / groups;
            for group in 0..groups {
                let lanes = group * lanes_in_group..(group + 1) * lanes_in_group;
                let starts: Vec<u64> = active()
                    .filter(|lane| lanes.contains(lane))
                    .map(|lane| addresses[lane])
                    .collect();
                counts.bank_conflicts += wavefronts(&starts, len).saturating_sub(1);
            }
        }
        _ => {}
    }
}

/// Distinct sectors of accesses at sorted addresses.
fn sectors(starts: &[u64], len: u64) -> u64 {
    let (mut count, mut last) = (0, None);
    for start in starts {
        for sector in start / SECTOR_BYTES..=(start + len - 1) / SECTOR_BYTES {
            if last.is_none_or(|last| sector > last) {
                count += 1;
                last = Some(sector);
            }
        }
    }
    count
}

/// How often the busiest bank must deliver: once for each distinct word.
fn wavefronts(starts: &[u64], len: u64) -> u64 {
    let words = |start: &u64| *start / BANK_BYTES..(*start + len).div_ceil(BANK_BYTES);
    let mut all: Vec<u64> = starts.iter().flat_map(words).collect();
    all.sort_unstable();
    all.dedup();
    let mut in_bank = [0u64; BANKS as usize];
    for word in all {
        in_bank[(word % BANKS) as usize] += 1;
    }
    in_bank.into_iter().max().unwrap_or(0)
}
