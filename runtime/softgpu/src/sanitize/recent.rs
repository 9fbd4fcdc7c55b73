//! What a block did with one byte since its last barrier, and whether what comes next is ordered behind it: between warps
//! by barriers alone, between lanes of one warp also by `bar.warp.sync`. The same for shared and for global memory.

use super::warp::{WarpOrder, lanes};
use super::{Access, How, Party};

/// Accesses of one kind. Epochs count barriers and blocks; zero is before all of them.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    epoch: u32,
    /// Warps that did it in that epoch.
    warps: u32,
    /// The last to do it, and those lanes of its warp that no later one of them comes after.
    last: Party,
    lanes: u32,
    /// The latest of these lanes' times.
    time: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    read: Seen,
    written: Seen,
    atomic: Seen,
}

/// An access now, and when it is.
#[derive(Clone, Copy)]
pub struct Now<'a> {
    pub access: Access,
    pub party: Party,
    pub epoch: u32,
    pub order: &'a WarpOrder,
}

/// The other side of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    pub verb: &'static str,
    pub other: Party,
    /// The lane that does the access now.
    pub lane: usize,
    pub is_same_warp: bool,
}

impl Conflict {
    /// What would have kept the two apart.
    pub fn missing(&self) -> &'static str {
        if self.is_same_warp {
            "with no bar.warp.sync or barrier between, in one warp"
        } else {
            "with no barrier between"
        }
    }
}

impl Recent {
    /// Reads agree with reads, and atomics with atomics.
    pub fn conflict(&self, now: &Now<'_>) -> Option<Conflict> {
        let how = now.access.how;
        let written = self.written.conflict(now, "wrote");
        let atomic = || match how {
            How::Atomic => None,
            _ => self.atomic.conflict(now, "wrote"),
        };
        let read = || match how {
            How::Read => None,
            _ => self.read.conflict(now, "read"),
        };
        written.or_else(atomic).or_else(read)
    }

    pub fn note(&mut self, now: &Now<'_>) {
        match now.access.how {
            How::Read => self.read.note(now),
            How::Write => self.written.note(now),
            How::Atomic => self.atomic.note(now),
        }
    }
}

impl Seen {
    fn conflict(&self, now: &Now<'_>, verb: &'static str) -> Option<Conflict> {
        if self.epoch != now.epoch {
            return None;
        }
        let warp = warp(now.party);
        if self.warps != 1 << warp {
            return Some(Conflict {
                verb,
                other: self.last,
                lane: now.access.lane,
                is_same_warp: false,
            });
        }
        let is_after = |lane, earlier| now.order.is_after(warp, lane, earlier, self.time);
        let race = |lane| lanes(self.lanes).find(|&earlier| !is_after(lane, earlier));
        let (lane, earlier) = lanes(now.access.lanes).find_map(|lane| Some((lane, race(lane)?)))?;
        Some(Conflict {
            verb,
            other: Party {
                pc: self.last.pc,
                thread: warp * 32 + earlier,
            },
            lane: lane as usize,
            is_same_warp: true,
        })
    }

    fn note(&mut self, now: &Now<'_>) {
        let Access {
            lane, lanes: done, ..
        } = now.access;
        let (warp_now, time) = (warp(now.party), now.order.time(warp(now.party)));
        let has_own = self.epoch == now.epoch && warp(self.last) == warp_now;
        let mut kept = if has_own { self.lanes } else { 0 };
        if kept != 0 && self.time != time {
            // Whatever comes after this access comes after those that come before it.
            let is_before = |l: &u32| now.order.is_after(warp_now, lane as u32, *l, self.time);
            kept = lanes(kept)
                .filter(|l| !is_before(l))
                .fold(0, |all, l| all | 1 << l);
        }
        let others = if self.epoch == now.epoch {
            self.warps
        } else {
            0
        };
        *self = Self {
            epoch: now.epoch,
            warps: others | 1 << warp_now,
            last: now.party,
            lanes: kept | done,
            time,
        };
    }
}

/// The warp of the block; a block has up to 32.
fn warp(party: Party) -> u32 {
    party.thread / 32
}
