//! Global memory that two blocks of one launch touch, or two warps of a block without a barrier between them, or two lanes
//! of a warp without a `bar.warp.sync`, one of them writing. Nothing orders the blocks of a launch except atomics after a
//! fence: what a block wrote before a fence and an atomic on some word is seen, in order, by whoever uses an atomic on that
//! word later. How fences order the threads of one block is not looked into: from a block's first fence on, only other
//! blocks count.

use super::recent::{Now, Recent};
use super::{Finding, How, Party};
use crate::exec::warp::Cx;
use std::collections::{BTreeMap, BTreeSet};

const PAGE_BYTES: u64 = 256;

/// The last accesses of one byte; blocks count from one, zero is nobody.
#[derive(Clone, Copy, Default)]
struct Cell {
    writer: u32,
    write: Party,
    write_is_atomic: bool,
    reader: u32,
    read: Party,
    /// Blocks other than `reader` read it too.
    has_more_readers: bool,
    /// By the block at hand.
    within: Recent,
}

#[derive(Default)]
pub struct GlobalRaces {
    pages: BTreeMap<u64, Box<[Cell]>>,
    /// Blocks that have executed a fence.
    fenced: BTreeSet<u32>,
    /// For each word used by atomics, the blocks whose writes it orders.
    released: BTreeMap<u64, BTreeSet<u32>>,
    /// For each block, those whose writes come before what it does.
    before: BTreeMap<u32, BTreeSet<u32>>,
}

impl GlobalRaces {
    pub fn fence(&mut self, block: u64) {
        self.fenced.insert(block as u32 + 1);
    }

    /// Fails with the lane that should not have done this.
    pub fn access(&mut self, now: &Now<'_>, cx: &Cx<'_>) -> Result<(), (usize, Finding)> {
        let (access, block) = (now.access, cx.block as u32 + 1);
        if access.how == How::Atomic {
            self.order(block, access.address);
        }
        let barriers_only = !self.fenced.contains(&block);
        let earlier = self.before.get(&block);
        let is_ordered = |other: u32| earlier.is_some_and(|blocks| blocks.contains(&other));
        let page = self.pages.entry(access.address / PAGE_BYTES);
        let cells = page.or_insert_with(|| vec![Cell::default(); PAGE_BYTES as usize].into());
        let start = (access.address % PAGE_BYTES) as usize;
        // Only a misaligned access crosses a page, and that is the handler's to report.
        let touched = cells
            .get_mut(start..start + access.len as usize)
            .unwrap_or_default();
        let race = |address, detail: String| Finding {
            kind: "race_global",
            address,
            detail: format!("{}: {detail}", cx.launch.heap.describe(address)),
        };
        for (address, cell) in (access.address..).zip(touched) {
            if let Some((verb, other, party)) = cell.conflict(block, access.how, is_ordered) {
                let who = describe(cx, block, other, party);
                let detail = format!("{who} {verb} it at @{}", party.pc);
                return Err((access.lane, race(address, detail)));
            }
            let conflict = cell.within.conflict(now);
            if let Some(conflict) = conflict.filter(|_| barriers_only) {
                let thread = cx.launch.thread_index(conflict.other.thread);
                let (verb, pc, missing) = (conflict.verb, conflict.other.pc, conflict.missing());
                let detail = format!("thread {thread:?} of the block {verb} it at @{pc} {missing}");
                return Err((conflict.lane, race(address, detail)));
            }
            cell.note(block, access.how, now.party);
            cell.within.note(now);
        }
        Ok(())
    }

    /// An atomic takes over what earlier ones on the word released, and releases in turn if a fence came before.
    fn order(&mut self, block: u32, word: u64) {
        let released = self.released.entry(word).or_default();
        let before = self.before.entry(block).or_default();
        before.extend(released.iter());
        if self.fenced.contains(&block) {
            released.insert(block);
            released.extend(before.iter());
        }
    }
}

impl Cell {
    fn conflict(
        &self,
        block: u32,
        how: How,
        is_ordered: impl Fn(u32) -> bool,
    ) -> Option<(&'static str, u32, Party)> {
        let both_atomic = how == How::Atomic && self.write_is_atomic;
        let foreign = |other: u32| other != 0 && other != block && !is_ordered(other);
        if foreign(self.writer) && !both_atomic {
            return Some(("wrote", self.writer, self.write));
        }
        if how == How::Read {
            return None;
        }
        let is_read = foreign(self.reader) || self.has_more_readers && !is_ordered(self.reader);
        is_read.then_some(("read", self.reader, self.read))
    }

    fn note(&mut self, block: u32, how: How, party: Party) {
        if how == How::Read {
            if self.reader != 0 && self.reader != block {
                self.has_more_readers = true;
            } else {
                (self.reader, self.read) = (block, party);
            }
            return;
        }
        let is_atomic = how == How::Atomic;
        // A plain write weighs more than an atomic one of the same block after it.
        if !(is_atomic && self.writer == block && !self.write_is_atomic) {
            (self.writer, self.write, self.write_is_atomic) = (block, party, is_atomic);
        }
    }
}

/// The other block and thread of a race.
fn describe(cx: &Cx<'_>, block: u32, other: u32, party: Party) -> String {
    if other == block {
        return "another block".to_string();
    }
    let place = cx.launch.block_index(u64::from(other - 1));
    let thread = cx.launch.thread_index(party.thread);
    format!("block {place:?} thread {thread:?}")
}
