//! A block's shared memory and its threads' local memory: bytes never written, and bytes that two warps touch without a
//! barrier between them. Races inside one warp are not looked for, and a barrier of a part of the block does not count as
//! one.

use super::{Access, Finding, How, Party};
use crate::config::Sanitize;
use crate::exec::warp::Cx;

/// The last accesses of one byte. Epochs count barriers and blocks; zero is before all of them.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// The block, by serial number, that wrote it.
    written_in: u32,
    write_epoch: u32,
    write_warp: u32,
    write: Party,
    write_is_atomic: bool,
    read_epoch: u32,
    /// Warps that read it in that epoch.
    readers: u32,
    read: Party,
}

pub struct Shared {
    cells: Vec<Cell>,
    block: u32,
    epoch: u32,
}

impl Shared {
    pub fn new(len: usize) -> Self {
        Self {
            cells: vec![Cell::default(); len],
            block: 0,
            epoch: 0,
        }
    }

    pub fn block_start(&mut self) {
        self.block += 1;
        self.epoch += 1;
    }

    pub fn barrier(&mut self) {
        self.epoch += 1;
    }

    pub fn access(
        &mut self,
        warp: u32,
        access: Access,
        sanitize: Sanitize,
        party: Party,
    ) -> Result<(), Finding> {
        let (from, to) = (
            access.address as usize,
            access.address.saturating_add(access.len) as usize,
        );
        // Accesses out of bounds are the handler's to report.
        let Some(cells) = self.cells.get_mut(from..to) else {
            return Ok(());
        };
        for (k, cell) in cells.iter_mut().enumerate() {
            let address = access.address + k as u64;
            if sanitize.init && access.how != How::Write && cell.written_in != self.block {
                let detail = "a read of shared memory that the block never wrote".to_string();
                return Err(Finding {
                    kind: "uninitialised",
                    address,
                    detail,
                });
            }
            if sanitize.race_shared
                && let Some((verb, other)) = cell.conflict(warp, self.epoch, access.how)
            {
                return Err(race(address, verb, other));
            }
            cell.note(warp, self.epoch, self.block, access.how, party);
        }
        Ok(())
    }
}

impl Cell {
    fn conflict(&self, warp: u32, epoch: u32, how: How) -> Option<(&'static str, Party)> {
        let both_atomic = how == How::Atomic && self.write_is_atomic;
        if self.write_epoch == epoch && self.write_warp != warp && !both_atomic {
            return Some(("wrote", self.write));
        }
        let others = self.readers & !(1 << (warp & 31));
        (how != How::Read && self.read_epoch == epoch && others != 0).then_some(("read", self.read))
    }

    fn note(&mut self, warp: u32, epoch: u32, block: u32, how: How, party: Party) {
        if how == How::Read {
            if self.read_epoch != epoch {
                (self.read_epoch, self.readers) = (epoch, 0);
            }
            self.readers |= 1 << (warp & 31);
            self.read = party;
            return;
        }
        let is_atomic = how == How::Atomic;
        // A plain write weighs more than an atomic one of the same warp after it.
        let keeps = is_atomic
            && self.write_epoch == epoch
            && self.write_warp == warp
            && !self.write_is_atomic;
        if !keeps {
            (self.write_epoch, self.write_warp, self.write) = (epoch, warp, party);
            self.write_is_atomic = is_atomic;
        }
        self.written_in = block;
    }
}

/// The other party's line is put in by whoever knows the program.
fn race(address: u64, verb: &str, other: Party) -> Finding {
    let detail = format!(
        "thread {} {verb} it at @{} with no barrier between",
        other.thread, other.pc
    );
    Finding {
        kind: "race_shared",
        address,
        detail,
    }
}

/// Puts the PTX line in the place of `@pc`.
pub fn name_line(cx: &Cx<'_>, detail: &str) -> String {
    let Some((before, rest)) = detail.split_once('@') else {
        return detail.to_string();
    };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (line, text) = cx
        .launch
        .program
        .source_line(rest[..len].parse().unwrap_or(0));
    format!("{before}line {line} (`{text}`){}", &rest[len..])
}

/// Local memory: which bytes were written in this block, lane after lane.
pub struct Local {
    written_in: Vec<u32>,
    len: usize,
    block: u32,
}

impl Local {
    pub fn new(warps: usize, len: usize) -> Self {
        Self {
            written_in: vec![0; warps * 32 * len],
            len,
            block: 0,
        }
    }

    pub fn block_start(&mut self) {
        self.block += 1;
    }

    pub fn access(&mut self, warp: u32, access: Access) -> Result<(), Finding> {
        if access.address.saturating_add(access.len) > self.len as u64 {
            return Ok(());
        }
        let from = (warp as usize * 32 + access.lane) * self.len + access.address as usize;
        let bytes = &mut self.written_in[from..from + access.len as usize];
        if access.how == How::Write {
            bytes.fill(self.block);
            return Ok(());
        }
        match bytes.iter().position(|block| *block != self.block) {
            None => Ok(()),
            Some(k) => {
                let detail = "a read of local memory that the thread never wrote".to_string();
                Err(Finding {
                    kind: "uninitialised",
                    address: access.address + k as u64,
                    detail,
                })
            }
        }
    }
}
