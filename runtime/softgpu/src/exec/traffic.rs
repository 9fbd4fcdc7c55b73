//! How well the lanes of a warp share memory transactions: sectors of global memory and banks of shared memory.

use super::lanes::LANES;
use crate::count::Counts;
use crate::sanitize::How;

const SECTOR_BYTES: u64 = 32;
/// Sectors of a line.
const LINE_SECTORS: u64 = 4;
const BANKS: u64 = 32;
const BANK_BYTES: u64 = 4;

/// The addresses of the lanes that access memory, and how many bytes each one does.
#[derive(Clone, Copy)]
pub struct Lanes<'a> {
    pub addresses: &'a [u64; LANES],
    pub mask: u32,
    pub len: u64,
}

/// Distinct sectors of an access, in order.
pub struct Sectors {
    list: [u64; 2 * LANES],
    count: usize,
}

impl Sectors {
    /// Accesses have at most 16 bytes, so each lies in two sectors at most.
    fn new(starts: &[u64], len: u64) -> Self {
        let mut sectors = Self {
            list: [0; 2 * LANES],
            count: 0,
        };
        for start in starts {
            for sector in start / SECTOR_BYTES..=(start + len - 1) / SECTOR_BYTES {
                if sectors.list().last().is_none_or(|&last| sector > last) {
                    sectors.list[sectors.count] = sector;
                    sectors.count += 1;
                }
            }
        }
        sectors
    }

    pub fn list(&self) -> &[u64] {
        &self.list[..self.count]
    }

    /// Distinct lines of 128 bytes.
    pub fn lines(&self) -> usize {
        self.list()
            .chunk_by(|a, b| a / LINE_SECTORS == b / LINE_SECTORS)
            .count()
    }
}

impl Lanes<'_> {
    fn active(&self) -> impl Iterator<Item = usize> + use<'_> {
        (0..LANES).filter(|lane| self.mask >> lane & 1 != 0)
    }

    /// Whether all addresses are multiples.
    pub fn are_aligned(&self, bytes: u64) -> bool {
        self.active()
            .all(|lane| self.addresses[lane].is_multiple_of(bytes))
    }

    /// Counts an access of global memory.
    pub fn count_global(&self, counts: &mut Counts, how: How) -> Sectors {
        let bytes = u64::from(self.mask.count_ones()) * self.len;
        if how != How::Write {
            counts.global_bytes_read += bytes;
        }
        if how != How::Read {
            counts.global_bytes_written += bytes;
        }
        let mut starts = [0; LANES];
        let mut count = 0;
        for lane in self.active() {
            starts[count] = self.addresses[lane];
            count += 1;
        }
        let starts = &mut starts[..count];
        starts.sort_unstable();
        let distinct = starts.chunk_by(|a, b| a == b).count() as u64;
        let sectors = Sectors::new(starts, self.len);
        counts.global_sectors += sectors.count as u64;
        counts.global_sectors_ideal += (distinct * self.len).div_ceil(SECTOR_BYTES);
        sectors
    }

    /// Counts an access of shared memory; its wavefronts.
    pub fn count_shared(&self, counts: &mut Counts) -> u64 {
        let groups = self.groups();
        let lanes_in_group = LANES / groups;
        let mut wavefronts = 0;
        for group in 0..groups {
            let lanes = group * lanes_in_group..(group + 1) * lanes_in_group;
            let in_group = self.active().filter(|lane| lanes.contains(lane));
            let taken = self.wavefronts(in_group);
            wavefronts += taken;
            counts.bank_conflicts += taken.saturating_sub(1);
        }
        counts.shared_accesses += 1;
        counts.shared_wavefronts += wavefronts;
        wavefronts
    }

    /// Into how many groups of lanes an access falls: words go at once, eight bytes by halves and sixteen by quarters of
    /// a warp; two of these go together where neighbouring lanes, or those two apart, read the same.
    fn groups(&self) -> usize {
        let groups = (self.len / BANK_BYTES).max(1) as usize;
        let same = |apart: usize| {
            self.active().all(|lane| {
                let other = lane ^ apart;
                self.mask >> other & 1 == 0 || self.addresses[other] == self.addresses[lane]
            })
        };
        if groups > 1 && (same(1) || same(2)) {
            return groups / 2;
        }
        groups
    }

    /// How often the busiest bank must deliver: once for each distinct word.
    fn wavefronts(&self, lanes: impl Iterator<Item = usize>) -> u64 {
        let mut words = [0; 4 * LANES];
        let mut count = 0;
        for lane in lanes {
            let start = self.addresses[lane];
            for word in start / BANK_BYTES..(start + self.len).div_ceil(BANK_BYTES) {
                words[count] = word;
                count += 1;
            }
        }
        let words = &mut words[..count];
        words.sort_unstable();
        let mut in_bank = [0u64; BANKS as usize];
        for same in words.chunk_by(|a, b| a == b) {
            in_bank[(same[0] % BANKS) as usize] += 1;
        }
        in_bank.into_iter().max().unwrap_or(0)
    }
}
