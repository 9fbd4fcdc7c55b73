//! Elements of memory as four lanes of f32: next to each other, one for all, or looked up in a data set.
//!
//! Does not know what is computed with them, nor where buffers lie.

use cranelift::prelude::*;

use super::{Emitter, memory};
use crate::ir::DType;
use crate::nest::loops::{At, BufId, Read};

impl Emitter<'_> {
    pub(super) fn load(&mut self, buf: BufId, at: &At, how: &Read) -> Value {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        match how {
            Read::Lookup {
                index,
                index_at,
                stride,
            } => self.lookup(buf, at, *index, index_at, *stride),
            Read::Row(row) => self.row(buf, at, row),
            Read::Vector => {
                let (base, offset) = self.address(buf, at);
                match dtype {
                    DType::F32 => self.b.ins().load(types::F32X4, memory(), base, offset),
                    DType::I32 => {
                        let v = self.b.ins().load(types::I32X4, memory(), base, offset);
                        self.b.ins().fcvt_from_sint(types::F32X4, v)
                    }
                    DType::U8 => {
                        let lanes: Vec<Value> = (0..4)
                            .map(|l| self.element(dtype, base, offset + l))
                            .collect();
                        self.gathered(&lanes)
                    }
                }
            }
            Read::Splat => {
                let (base, offset) = self.address(buf, at);
                let x = self.element(dtype, base, offset);
                self.b.ins().splat(types::F32X4, x)
            }
        }
    }

    /// One element as f32.
    pub(super) fn element(&mut self, dtype: DType, base: Value, offset: i32) -> Value {
        let flags = memory();
        match dtype {
            DType::F32 => self.b.ins().load(types::F32, flags, base, offset),
            DType::I32 => {
                let v = self.b.ins().load(types::I32, flags, base, offset);
                self.b.ins().fcvt_from_sint(types::F32, v)
            }
            DType::U8 => {
                let v = self.b.ins().uload8(types::I32, flags, base, offset);
                self.b.ins().fcvt_from_sint(types::F32, v)
            }
        }
    }

    fn gathered(&mut self, lanes: &[Value]) -> Value {
        let mut out = self.b.ins().splat(types::F32X4, lanes[0]);
        for (l, &x) in lanes.iter().enumerate().skip(1) {
            out = self.b.ins().insertlane(out, x, l as u8);
        }
        out
    }

    fn lookup(&mut self, buf: BufId, at: &At, index: BufId, index_at: &At, stride: i64) -> Value {
        let dtype = self.k.buffers[buf.0 as usize].dtype;
        let size = dtype.size_bytes() as i64;
        let (base, offset) = self.address(buf, at);
        let (rows, first) = self.address(index, index_at);
        let lanes: Vec<Value> = (0..4)
            .map(|l| {
                let row = self.b.ins().sload32(memory(), rows, first + 4 * l);
                let skip = self.b.ins().imul_imm_s(row, stride * size);
                let entry = self.b.ins().iadd(base, skip);
                self.element(dtype, entry, offset)
            })
            .collect();
        self.gathered(&lanes)
    }
}
