//! Which registers of which lanes have been written since the block began.

use super::Finding;
use crate::exec::lanes::Instr;
use crate::exec::program::Info;
use crate::exec::warp::Cx;

pub struct Registers {
    /// For each word of each warp's register file, the lanes that wrote the register that begins there.
    written: Vec<Vec<u32>>,
}

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
        // Compilers select a value that was never written where nothing uses the result.
        let mut result = u32::MAX;
        if info.selects {
            let first = cx.pred(ins.c) ^ ins.extra;
            for (operand, lanes) in [(ins.a, first), (ins.b, !first)] {
                if info.uses.iter().any(|u| u.0 == operand) {
                    result &= !lanes | written[operand as usize / 4];
                }
            }
        }
        for &(offset, _) in &info.uses {
            if info.selects && offset != ins.c && offset != ins.guard {
                continue;
            }
            let lanes = if offset == ins.guard { active } else { cx.mask };
            let missing = lanes & !written[offset as usize / 4];
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
        for (_, offset) in ins
            .d
            .iter()
            .enumerate()
            .filter(|(k, _)| ins.defs >> k & 1 != 0)
        {
            let at = &mut written[*offset as usize / 4];
            *at = (*at & !cx.mask) | (cx.mask & result);
        }
        Ok(())
    }
}
