//! Which sectors of 32 bytes the caches hold. A cache of so many bytes holds what was touched while not more than
//! that many other bytes were: so nothing is evicted one by one. Knows neither sets nor policies nor hashing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub const SECTOR_BYTES: u64 = 32;
const LINE_BYTES: u64 = 128;
const PAGE_SECTORS: u64 = 128;

/// For keys that are small numbers.
#[derive(Default)]
pub struct Scatter(u64);

impl Hasher for Scatter {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<Scatter>>;

#[derive(Clone, Copy)]
struct Line {
    /// Lines touched for the first time before this one was last touched.
    age: u64,
    /// Its sectors that are there.
    sectors: u8,
}

/// A block's share of a multiprocessor's L1. Stores go through it.
pub struct L1 {
    lines: Map<Line>,
    touched: u64,
    capacity: u64,
}

impl L1 {
    pub fn new(bytes: u64) -> Self {
        Self {
            lines: Map::default(),
            touched: 0,
            capacity: bytes / LINE_BYTES,
        }
    }

    pub fn clear(&mut self) {
        self.lines.clear();
        self.touched = 0;
    }

    /// Whether the sector is there; after the access it is.
    pub fn load(&mut self, sector: u64) -> bool {
        let (line, bit) = (
            sector / (LINE_BYTES / SECTOR_BYTES),
            1u8 << (sector % (LINE_BYTES / SECTOR_BYTES)),
        );
        let new = Line { age: 0, sectors: 0 };
        let entry = self.lines.entry(line).or_insert(new);
        if entry.sectors == 0 || self.touched - entry.age > self.capacity {
            self.touched += 1;
            entry.sectors = 0;
        }
        let is_there = entry.sectors & bit != 0;
        entry.sectors |= bit;
        entry.age = self.touched;
        is_there
    }
}

/// Bytes between the L2 and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryTraffic {
    pub read: u64,
    pub written: u64,
}

/// A wave of blocks, which run at once: what one of them brings is there for all.
#[derive(Clone, Copy, Default)]
struct Wave {
    /// Bytes touched first, of all waves before it.
    before: u64,
    /// Sectors last touched in it that memory does not have yet.
    dirty: u64,
}

/// The L2 of a card, through all launches.
pub struct L2 {
    /// Of each sector the wave that touched it last, times two, plus one if it was written; 0 for none.
    pages: Map<Box<[u32; PAGE_SECTORS as usize]>>,
    waves: Vec<Wave>,
    /// The oldest wave whose sectors are all there.
    oldest: usize,
    bytes: u64,
    capacity: u64,
    traffic: MemoryTraffic,
}

impl L2 {
    pub fn new(capacity: u64) -> Self {
        Self {
            pages: Map::default(),
            // The first number means that no wave touched a sector.
            waves: vec![Wave::default()],
            oldest: 1,
            bytes: 0,
            capacity,
            traffic: MemoryTraffic::default(),
        }
    }

    /// Bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn start_wave(&mut self) {
        self.waves.push(Wave {
            before: self.bytes,
            dirty: 0,
        });
        // A wave that has left the cache wrote what was dirty of it to memory.
        while self.oldest + 1 < self.waves.len()
            && self.bytes - self.waves[self.oldest + 1].before > self.capacity
        {
            self.traffic.written +=
                std::mem::take(&mut self.waves[self.oldest].dirty) * SECTOR_BYTES;
            self.oldest += 1;
        }
    }

    /// Whether the sector is there. `is_write`: the sector is overwritten, so memory is not read for it.
    pub fn touch(&mut self, sector: u64, is_write: bool) -> bool {
        let page = self
            .pages
            .entry(sector / PAGE_SECTORS)
            .or_insert_with(|| Box::new([0; PAGE_SECTORS as usize]));
        let cell = &mut page[(sector % PAGE_SECTORS) as usize];
        let (last, was_dirty) = (*cell as usize / 2, *cell & 1 != 0);
        let now = self.waves.len() - 1;
        let is_there = last >= self.oldest;
        let mut is_dirty = is_write;
        if last != now {
            self.bytes += SECTOR_BYTES;
            if is_there && was_dirty {
                // A part of them may be with memory already.
                let dirty = &mut self.waves[last].dirty;
                *dirty = dirty.saturating_sub(1);
                is_dirty = true;
            }
        } else {
            is_dirty |= was_dirty;
        }
        if is_dirty && !(last == now && was_dirty) {
            self.waves[now].dirty += 1;
        }
        *cell = (now as u32) << 1 | u32::from(is_dirty);
        if !is_there && !is_write {
            self.traffic.read += SECTOR_BYTES;
        }
        is_there
    }

    /// The traffic since the end of the last launch. A wave that touched more than there is room for has already lost a
    /// part of what it wrote.
    pub fn end_launch(&mut self) -> MemoryTraffic {
        if let Some(wave) = self.waves.last_mut() {
            let own = self.bytes - wave.before;
            let lost = own.saturating_sub(self.capacity);
            let left = (u128::from(wave.dirty) * u128::from(lost) / u128::from(own.max(1))) as u64;
            wave.dirty -= left;
            self.traffic.written += left * SECTOR_BYTES;
        }
        std::mem::take(&mut self.traffic)
    }
}
