//! Elements of one image as four lanes: read and written one by one where not all take part or they lie apart.
//!
//! Does not know which axis of an image the lanes run along.

use cranelift::prelude::*;

use super::{Emitter, Index, memory, vectors};
use crate::ir::DType;
use crate::nest::loops::{At, BufId, Entry, Row};

const LANES: u32 = 4;

impl Emitter<'_> {
    /// An index whose variables are those of unrolled loops.
    pub(super) fn constant(&self, at: &At) -> Option<i64> {
        at.terms
            .iter()
            .try_fold(at.constant, |sum, (v, c)| match self.vars[v] {
                Index::Known(i) => Some(sum + c * i),
                Index::Run(_) => None,
            })
    }

    pub(super) fn row(&mut self, buf: BufId, at: &At, row: &Row) -> Value {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        let size = dtype.size_bytes() as i64;
        let (mut base, offset) = self.address(buf, at);
        if let Some(e) = &row.entry {
            let skip = self.entry(e, size);
            base = self.b.ins().iadd(base, skip);
        }
        let read = row.lanes(LANES, |a| self.constant(a));
        let read = read.expect("edges are constants once loops are written out");
        if row.step == 0 {
            let x = self.element(dtype, base, offset);
            return self.b.ins().splat(types::F32X4, x);
        }
        if dtype == DType::F32 && row.step == 1 && read.iter().all(|r| *r) {
            return self.b.ins().load(types::F32X4, memory(), base, offset);
        }
        let mut out = vectors::splat(&mut self.b, 0.0);
        for (l, _) in read.iter().enumerate().filter(|r| *r.1) {
            let skip = (row.step * size) as i32 * l as i32;
            let x = self.element(dtype, base, offset + skip);
            out = self.b.ins().insertlane(out, x, l as u8);
        }
        out
    }

    /// The first lanes of the one and the rest of the other.
    pub(super) fn split(&mut self, first: &At, x: Value, y: Value) -> Value {
        let first = self.constant(first);
        let first = first.expect("lanes are constants once loops are written out");
        let taken = 0..first.clamp(0, i64::from(LANES)) as u8;
        taken.fold(y, |out, l| {
            let element = self.b.ins().extractlane(x, l);
            self.b.ins().insertlane(out, element, l)
        })
    }

    /// Bytes from the start of a data set to the entry.
    fn entry(&mut self, e: &Entry, size: i64) -> Value {
        let (base, offset) = self.address(e.index, &e.at);
        let index = self.b.ins().sload32(memory(), base, offset);
        self.b.ins().imul_imm_s(index, e.stride * size)
    }

    /// Writes so many of the first lanes, so many elements apart.
    pub(super) fn store_row(
        &mut self,
        buf: BufId,
        at: &At,
        (lanes, step): (&At, i64),
        value: Value,
    ) {
        let lanes = self.constant(lanes);
        let lanes = lanes.expect("the lanes of a row are a constant once loops are written out");
        let (base, offset) = self.address(buf, at);
        if lanes >= i64::from(LANES) && step == 1 {
            self.b.ins().store(memory(), value, base, offset);
            return;
        }
        for l in 0..lanes.min(i64::from(LANES)) as u8 {
            let x = self.b.ins().extractlane(value, l);
            let skip = i32::from(l) * 4 * step as i32;
            self.b.ins().store(memory(), x, base, offset + skip);
        }
    }
}
