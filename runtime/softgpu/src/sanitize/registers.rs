//! Which registers of which lanes have been written since the block began, byte by byte: compilers pack bytes together with
//! some that nothing uses, and pick the others out again.

use super::Finding;
use crate::exec::lanes::Instr;
use crate::exec::program::{Bytes, Info};
use crate::exec::warp::Cx;

pub struct Registers {
    /// For each word of each warp's register file, lanes: at a row's first four words, those that wrote the bytes 0 to 3 of
    /// its register; in rows of 64 bits all four are the same. At a predicate's word, those that wrote it.
    written: Vec<Vec<u32>>,
}

/// Lanes for each byte of a register.
type ByteLanes = [u32; 4];

impl Registers {
    pub fn new(warps: usize, file_bytes: usize) -> Self {
        Self {
            written: vec![vec![0; file_bytes / 4]; warps],
        }
    }

    pub fn block_start(&mut self) {
        self.written.iter_mut().for_each(|words| words.fill(0));
    }

    /// Checks what the instruction reads and notes what it writes.
    pub fn instruction(
        &mut self,
        cx: &Cx<'_>,
        ins: &Instr,
        info: &Info,
        active: u32,
    ) -> Result<(), (usize, Finding)> {
        let written = &mut self.written[cx.warp as usize];
        for &(offset, is_pred) in &info.uses {
            let lanes = if offset == ins.guard { active } else { cx.mask };
            let bytes = looked_at(ins, info, offset);
            let has = bytes_of(written, offset, is_pred);
            let all = (0..4)
                .filter(|k| bytes >> k & 1 != 0)
                .fold(u32::MAX, |all, k| all & has[k]);
            let missing = lanes & !all;
            if missing != 0 {
                let detail = "a read of a register that was never written".to_string();
                let finding = Finding {
                    kind: "uninitialised",
                    address: 0,
                    detail,
                };
                return Err((missing.trailing_zeros() as usize, finding));
            }
        }
        let result = result(written, cx, ins, info);
        for (k, &offset) in ins.d.iter().enumerate() {
            if ins.defs >> k & 1 == 0 {
                continue;
            }
            let at = offset as usize / 4;
            let is_pred = info.pred_defs >> k & 1 != 0;
            let words = &mut written[at..at + if is_pred { 1 } else { 4 }];
            for (word, lanes) in words.iter_mut().zip(result) {
                *word = (*word & !cx.mask) | (cx.mask & lanes);
            }
        }
        Ok(())
    }
}

fn bytes_of(written: &[u32], offset: u32, is_pred: bool) -> ByteLanes {
    let at = offset as usize / 4;
    if is_pred {
        [written[at]; 4]
    } else {
        std::array::from_fn(|k| written[at + k])
    }
}

/// The bytes of a register, as bits, that must have been written.
fn looked_at(ins: &Instr, info: &Info, offset: u32) -> u8 {
    const ALL: u8 = 0b1111;
    let is_moved = offset == ins.a || offset == ins.b;
    if offset == ins.guard || offset == ins.c || !is_moved {
        return ALL;
    }
    match info.bytes {
        // What is only moved on may hold nothing.
        _ if info.selects => 0,
        Bytes::Moved(_) => 0,
        Bytes::OfB(bytes) if offset != ins.a => bytes,
        Bytes::OfB(_) | Bytes::All => ALL,
    }
}

/// Lanes whose result holds something, by byte.
fn result(written: &[u32], cx: &Cx<'_>, ins: &Instr, info: &Info) -> ByteLanes {
    let operand = |offset: u32| match info.uses.iter().find(|(used, _)| *used == offset) {
        Some(&(offset, is_pred)) => bytes_of(written, offset, is_pred),
        None => [u32::MAX; 4],
    };
    let (a, b) = (operand(ins.a), operand(ins.b));
    if info.selects {
        let first = cx.pred(ins.c) ^ ins.extra;
        return std::array::from_fn(|k| first & a[k] | !first & b[k]);
    }
    match info.bytes {
        Bytes::Moved(from) => from.map(|k| {
            if k < 4 {
                a[k as usize]
            } else {
                b[k as usize - 4]
            }
        }),
        Bytes::All | Bytes::OfB(_) => [u32::MAX; 4],
    }
}
