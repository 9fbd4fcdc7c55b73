//! A block's shared memory and its threads' local memory: bytes never written, and bytes that two warps touch without a
//! barrier between them, or two lanes of one warp without a `bar.warp.sync`. A barrier of a part of the block orders the
//! lanes of a warp, but not warps.

use super::recent::{Conflict, Now, Recent};
use super::warp::WarpOrder;
use super::{Access, Finding, How, Party};
use crate::config::Sanitize;
use crate::exec::warp::Cx;

/// The last accesses of one byte.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// The block, by serial number, that wrote it.
    written_in: u32,
    recent: Recent,
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

    /// The barriers and blocks until now.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Fails with the lane that should not have done this.
    pub fn access(
        &mut self,
        access: Access,
        sanitize: Sanitize,
        party: Party,
        order: &WarpOrder,
    ) -> Result<(), (usize, Finding)> {
        let (from, to) = (
            access.address as usize,
            access.address.saturating_add(access.len) as usize,
        );
        let now = Now {
            access,
            party,
            epoch: self.epoch,
            order,
        };
        // Accesses out of bounds are the handler's to report.
        let Some(cells) = self.cells.get_mut(from..to) else {
            return Ok(());
        };
        for (address, cell) in (access.address..).zip(cells) {
            if sanitize.init && access.how != How::Write && cell.written_in != self.block {
                let detail = "a read of shared memory that the block never wrote".to_string();
                let finding = Finding {
                    kind: "uninitialised",
                    address,
                    detail,
                };
                return Err((access.lane, finding));
            }
            if sanitize.race_shared
                && let Some(conflict) = cell.recent.conflict(&now)
            {
                return Err((conflict.lane, race(address, conflict)));
            }
            cell.recent.note(&now);
            if access.how != How::Read {
                cell.written_in = self.block;
            }
        }
        Ok(())
    }
}

/// The other party's line is put in by whoever knows the program.
fn race(address: u64, conflict: Conflict) -> Finding {
    let (Party { pc, thread }, verb) = (conflict.other, conflict.verb);
    Finding {
        kind: "race_shared",
        address,
        detail: format!("thread {thread} {verb} it at @{pc} {}", conflict.missing()),
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
