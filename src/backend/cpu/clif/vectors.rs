//! Operations on vectors in Cranelift.
//!
//! Knows neither kernels nor how elementary functions are made of these.

use cranelift::prelude::*;

use super::{Emitter, cast_flags, memory};
use crate::backend::cpu::math::{self, Bits, Vectors};
use crate::nest::{Binary, Compare};

type B<'a> = FunctionBuilder<'a>;

/// True where the target multiplies and adds f32 vectors with one rounding.
pub(super) fn has_fma(isa: &dyn codegen::isa::TargetIsa) -> bool {
    let x86 = isa.triple().architecture.to_string() == "x86_64";
    !x86 || isa
        .isa_flags()
        .iter()
        .any(|f| f.name == "has_fma" && f.as_bool() == Some(true))
}

/// A number in all lanes.
pub(super) fn splat(b: &mut B, x: f32) -> Value {
    let x = b.ins().f32const(x);
    b.ins().splat(types::F32X4, x)
}

/// The same integer in all lanes, plus `step` for each lane.
pub(super) fn integers(b: &mut B, first: Value, step: i64) -> Value {
    let mut out = b.ins().splat(types::I32X4, first);
    for l in (1..4u8).filter(|_| step != 0) {
        let x = b
            .ins()
            .iadd_imm_s(first, i64::from((step * i64::from(l)) as i32));
        out = b.ins().insertlane(out, x, l);
    }
    b.ins().bitcast(types::F32X4, cast_flags(), out)
}

/// 0, 1, 2, 3
pub(super) fn lanes(b: &mut B) -> Value {
    let mut out = splat(b, 0.0);
    for l in 1..4u8 {
        let x = b.ins().f32const(f32::from(l));
        out = b.ins().insertlane(out, x, l);
    }
    out
}

/// (x₀ + x₂) + (x₁ + x₃)
pub(super) fn reduce(b: &mut B, x: Value) -> Value {
    let [a, c, d, e] = [0, 1, 2, 3].map(|l| b.ins().extractlane(x, l));
    let (low, high) = (b.ins().fadd(a, d), b.ins().fadd(c, e));
    b.ins().fadd(low, high)
}

/// Element `lane` of each of four vectors, by interleaving pairs and then pairs of pairs. What the lanes have in
/// common is left to the optimiser.
pub(super) fn transposed(b: &mut B, rows: &[Value], lane: u8) -> Value {
    let (half, pair) = (lane / 2 * 2, lane % 2 * 2);
    let front = shuffle(b, rows[0], rows[1], [half, half + 4, half + 1, half + 5]);
    let back = shuffle(b, rows[2], rows[3], [half, half + 4, half + 1, half + 5]);
    shuffle(b, front, back, [pair, pair + 1, pair + 4, pair + 5])
}

/// Elements of two vectors, counted through both.
fn shuffle(b: &mut B, x: Value, y: Value, elements: [u8; 4]) -> Value {
    let mask: Vec<u8> = elements.iter().flat_map(|e| 4 * e..4 * e + 4).collect();
    let mask = b.func.dfg.immediates.push(mask.into());
    let [x, y] = [x, y].map(|v| b.ins().bitcast(types::I8X16, cast_flags(), v));
    let out = b.ins().shuffle(x, y, mask);
    b.ins().bitcast(types::F32X4, cast_flags(), out)
}

impl Vectors for Emitter<'_> {
    type V = Value;

    fn splat(&mut self, x: f32) -> Value {
        splat(&mut self.b, x)
    }

    fn uniform(&mut self, offset: i32) -> Value {
        let (flags, load) = (memory().with_readonly(), self.b.ins());
        let x = load.load(types::F32, flags, self.uniforms, offset);
        self.b.ins().splat(types::F32X4, x)
    }

    fn negative(&mut self, x: Value) -> Value {
        self.b.ins().fneg(x)
    }

    fn sqrt(&mut self, x: Value) -> Value {
        self.b.ins().sqrt(x)
    }

    fn binary(&mut self, f: Binary, x: Value, y: Value) -> Value {
        match f {
            Binary::Max | Binary::Min => math::binary(self, f, x, y, false),
            Binary::Add => self.b.ins().fadd(x, y),
            Binary::Sub => self.b.ins().fsub(x, y),
            Binary::Mul => self.b.ins().fmul(x, y),
            Binary::Div => self.b.ins().fdiv(x, y),
        }
    }

    fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        if self.fma {
            return self.b.ins().fma(x, y, z);
        }
        let product = self.b.ins().fmul(x, y);
        self.b.ins().fadd(product, z)
    }

    fn select(&mut self, c: Compare, x: Value, y: Value, yes: Value, no: Value) -> Value {
        let c = match c {
            Compare::Lt => FloatCC::LessThan,
            Compare::Gt => FloatCC::GreaterThan,
            Compare::Eq => FloatCC::Equal,
            Compare::Ne => FloatCC::NotEqual,
        };
        let mask = self.b.ins().fcmp(c, x, y);
        let mask = self.b.ins().bitcast(types::F32X4, cast_flags(), mask);
        self.b.ins().bitselect(mask, yes, no)
    }

    fn bits(&mut self, f: Bits, x: Value, y: Value) -> Value {
        let whole = |b: &mut B, v| b.ins().bitcast(types::I32X4, cast_flags(), v);
        let out = match f {
            Bits::And => return self.b.ins().band(x, y),
            Bits::Or => return self.b.ins().bor(x, y),
            Bits::Xor => return self.b.ins().bxor(x, y),
            Bits::Add => {
                let (x, y) = (whole(&mut self.b, x), whole(&mut self.b, y));
                self.b.ins().iadd(x, y)
            }
            Bits::Sub => {
                let (x, y) = (whole(&mut self.b, x), whole(&mut self.b, y));
                self.b.ins().isub(x, y)
            }
            Bits::Left(n) => {
                let x = whole(&mut self.b, x);
                self.b.ins().ishl_imm_s(x, i64::from(n))
            }
            Bits::Right(n) => {
                let x = whole(&mut self.b, x);
                self.b.ins().sshr_imm_s(x, i64::from(n))
            }
            Bits::RightZeros(n) => {
                let x = whole(&mut self.b, x);
                self.b.ins().ushr_imm_u(x, i64::from(n))
            }
        };
        self.b.ins().bitcast(types::F32X4, cast_flags(), out)
    }

    fn number(&mut self, x: Value) -> Value {
        let x = self.b.ins().bitcast(types::I32X4, cast_flags(), x);
        self.b.ins().fcvt_from_sint(types::F32X4, x)
    }

    fn products(&mut self, x: Value, factor: u32) -> [Value; 2] {
        let x = self.b.ins().bitcast(types::I32X4, cast_flags(), x);
        let factor = self.b.ins().iconst(types::I32, i64::from(factor));
        let factor = self.b.ins().splat(types::I32X4, factor);
        let [front, back] = [x, factor].map(|v| self.b.ins().uwiden_low(v));
        let front = self.b.ins().imul(front, back);
        let [last, back] = [x, factor].map(|v| self.b.ins().uwiden_high(v));
        let last = self.b.ins().imul(last, back);
        [[0, 2, 4, 6], [1, 3, 5, 7]].map(|words| shuffle(&mut self.b, front, last, words))
    }
}
