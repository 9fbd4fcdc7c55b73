//! Memory that `ld.global.nc` and its like read: no thread of the launch may write it, whatever orders the two, since such
//! a load may come from a cache that knows of no writes.

use super::{Finding, How};
use crate::exec::warp::Cx;
use std::collections::BTreeMap;

const PAGE_BYTES: u64 = 256;

/// Instructions that touched a byte first, counting from one; zero is none.
#[derive(Clone, Copy, Default)]
struct Cell {
    read: u32,
    written: u32,
}

#[derive(Default)]
pub struct ConstantReads {
    pages: BTreeMap<u64, Box<[Cell]>>,
}

impl ConstantReads {
    /// An access of global memory; `is_constant` where it takes the memory for read-only.
    pub fn access(
        &mut self,
        address: u64,
        len: u64,
        how: How,
        is_constant: bool,
        cx: &Cx<'_>,
    ) -> Result<(), Finding> {
        if how == How::Read && !is_constant {
            return Ok(());
        }
        let page = self.pages.entry(address / PAGE_BYTES);
        let cells = page.or_insert_with(|| vec![Cell::default(); PAGE_BYTES as usize].into());
        let start = (address % PAGE_BYTES) as usize;
        // Only a misaligned access crosses a page, and that is the handler's to report.
        let touched = cells
            .get_mut(start..start + len as usize)
            .unwrap_or_default();
        for (at, cell) in (address..).zip(touched) {
            let (own, other, verb) = match how {
                How::Read => (&mut cell.read, cell.written, "writes"),
                _ => (&mut cell.written, cell.read, "reads as read-only"),
            };
            if let Some(pc) = other.checked_sub(1) {
                let memory = cx.launch.heap.describe(at);
                return Err(Finding {
                    kind: "read_only",
                    address: at,
                    detail: format!("{memory}: the same launch {verb} it at @{pc}"),
                });
            }
            if *own == 0 {
                *own = cx.pc + 1;
            }
        }
        Ok(())
    }
}
