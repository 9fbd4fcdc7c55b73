//! `cvt`: the common conversions as vectorised operations, and one general way, a lane at a time, for all others.

use super::float::{RM, RN, RP, RZ, round_exact};
use super::lanes::{Instr, Lane, Op1, Step};
use super::warp::Cx;
use crate::ptx::ast::Type;
use std::marker::PhantomData;

/// `a as D` for numbers: wraps integers, saturates floats.
pub struct As<A, D>(PhantomData<(A, D)>);

macro_rules! as_ops {
    ($($from:ident $to:ident)*) => {$(
        impl Op1 for As<$from, $to> {
            type A = $from;
            type D = $to;
            #[inline(always)]
            fn apply(a: $from) -> $to { a as $to }
        }
    )*};
}
as_ops! {
    u8 u32 i8 i32 u16 u32 i16 i32 i32 i64 u32 u64 u64 u32
    i32 f32 u32 f32 u16 f32 u8 f32 f32 f64 f64 f32 i32 f64
}

/// f32 to a 32-bit integer, rounded to zero or to nearest even.
pub struct ToInteger<D, const NEAREST: bool>(PhantomData<D>);

macro_rules! to_integer {
    ($($to:ident)*) => {$(
        impl<const NEAREST: bool> Op1 for ToInteger<$to, NEAREST> {
            type A = f32;
            type D = $to;
            #[inline(always)]
            fn apply(a: f32) -> $to { (if NEAREST { a.round_ties_even() } else { a }) as $to }
        }
    )*};
}
to_integer!(i32 u32);

/// How a conversion rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    /// One of `RN`, `RZ`, `RM`, `RP`.
    pub mode: u8,
    /// `.rni` and its like: to an integer value.
    pub to_integer: bool,
}

/// Everything that the general conversion must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    pub from: Type,
    pub to: Type,
    pub rounding: Rounding,
    pub saturate: bool,
    pub flush: bool,
    /// Whether the source register and the target register have 64-bit cells.
    pub wide_source: bool,
    pub wide_target: bool,
}

const TYPES: [Type; 15] = [
    Type::B8,
    Type::U8,
    Type::S8,
    Type::B16,
    Type::U16,
    Type::S16,
    Type::F16,
    Type::B32,
    Type::U32,
    Type::S32,
    Type::F32,
    Type::B64,
    Type::U64,
    Type::S64,
    Type::F64,
];

impl Conversion {
    pub fn pack(self) -> u32 {
        let number = |kind: Type| TYPES.iter().position(|&other| other == kind).unwrap_or(0) as u32;
        number(self.from)
            | number(self.to) << 4
            | u32::from(self.rounding.mode) << 8
            | u32::from(self.rounding.to_integer) << 10
            | u32::from(self.saturate) << 11
            | u32::from(self.flush) << 12
            | u32::from(self.wide_source) << 13
            | u32::from(self.wide_target) << 14
    }

    fn unpack(bits: u32) -> Self {
        let flag = |at: u32| bits >> at & 1 != 0;
        Self {
            from: TYPES[(bits & 15) as usize % TYPES.len()],
            to: TYPES[(bits >> 4 & 15) as usize % TYPES.len()],
            rounding: Rounding {
                mode: (bits >> 8 & 3) as u8,
                to_integer: flag(10),
            },
            saturate: flag(11),
            flush: flag(12),
            wide_source: flag(13),
            wide_target: flag(14),
        }
    }

    /// Converts the low bits of a cell; the result is extended to 64 bits by the sign of the target type.
    pub fn convert(self, bits: u64) -> u64 {
        if self.from.is_float() {
            let value = self.flushed(decode_float(self.from, bits));
            if self.to.is_float() {
                self.float_to_float(value)
            } else {
                self.float_to_integer(value)
            }
        } else {
            let value = decode_integer(self.from, bits);
            if self.to.is_float() {
                self.integer_to_float(value)
            } else {
                self.integer_to_integer(value)
            }
        }
    }

    fn flushed(self, value: f64) -> f64 {
        let is_subnormal =
            self.from == Type::F32 && value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
        if self.flush && is_subnormal {
            0f64.copysign(value)
        } else {
            value
        }
    }

    fn float_to_float(self, value: f64) -> u64 {
        let value = if self.rounding.to_integer {
            round(value, self.rounding.mode)
        } else {
            value
        };
        let value = match (self.saturate, value) {
            (false, _) => value,
            (true, _) if value.is_nan() || value <= 0.0 => 0.0,
            (true, _) => value.min(1.0),
        };
        match self.to {
            Type::F64 => value.to_bits(),
            Type::F32 => {
                let single = directed(value, 0.0, self.rounding.mode);
                u64::from(
                    if self.flush {
                        super::float::flush(single)
                    } else {
                        single
                    }
                    .to_bits(),
                )
            }
            _ => u64::from(encode_half(value, self.rounding.mode)),
        }
    }

    fn float_to_integer(self, value: f64) -> u64 {
        let value = if value.is_nan() {
            0.0
        } else {
            round(value, self.rounding.mode)
        };
        let (low, high) = range(self.to);
        ((value as i128).clamp(low, high)) as u64
    }

    fn integer_to_float(self, value: i128) -> u64 {
        let mode = self.rounding.mode;
        match self.to {
            Type::F64 => {
                let nearest = value as f64;
                let missing = value.cmp(&(nearest as i128));
                adjust64(nearest, missing, mode).to_bits()
            }
            // Both parts are exact: an i64 or u64 splits into two halves of at most 33 bits.
            Type::F32 => {
                let (high, low) = ((value >> 32 << 32) as f64, (value & 0xffff_ffff) as f64);
                let sum = high + low;
                let rest = low - (sum - high);
                if mode == RN {
                    u64::from((value as f32).to_bits())
                } else {
                    u64::from(directed(sum, rest, mode).to_bits())
                }
            }
            _ => u64::from(encode_half(value as f64, mode)),
        }
    }

    fn integer_to_integer(self, value: i128) -> u64 {
        let (low, high) = range(self.to);
        let value = if self.saturate {
            value.clamp(low, high)
        } else {
            value
        };
        decode_integer(self.to, value as u64) as u64
    }
}

fn directed(sum: f64, rest: f64, mode: u8) -> f32 {
    match mode {
        RZ => round_exact::<RZ>(sum, rest),
        RM => round_exact::<RM>(sum, rest),
        RP => round_exact::<RP>(sum, rest),
        _ => round_exact::<RN>(sum, rest),
    }
}

fn adjust64(nearest: f64, missing: std::cmp::Ordering, mode: u8) -> f64 {
    let down = mode == RM || mode == RZ && nearest > 0.0;
    let up = mode == RP || mode == RZ && nearest < 0.0;
    match missing {
        std::cmp::Ordering::Less if down => nearest.next_down(),
        std::cmp::Ordering::Greater if up => nearest.next_up(),
        _ => nearest,
    }
}

fn round(value: f64, mode: u8) -> f64 {
    match mode {
        RZ => value.trunc(),
        RM => value.floor(),
        RP => value.ceil(),
        _ => value.round_ties_even(),
    }
}

fn range(kind: Type) -> (i128, i128) {
    let bits = kind.size_bytes() * 8;
    match kind {
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        _ => (0, (1 << bits) - 1),
    }
}

fn decode_integer(kind: Type, bits: u64) -> i128 {
    match kind {
        Type::B8 | Type::U8 => i128::from(bits as u8),
        Type::S8 => i128::from(bits as i8),
        Type::B16 | Type::U16 => i128::from(bits as u16),
        Type::S16 => i128::from(bits as i16),
        Type::B32 | Type::U32 => i128::from(bits as u32),
        Type::S32 => i128::from(bits as i32),
        Type::S64 => i128::from(bits as i64),
        _ => i128::from(bits),
    }
}

fn decode_float(kind: Type, bits: u64) -> f64 {
    match kind {
        Type::F64 => f64::from_bits(bits),
        Type::F32 => f64::from(f32::from_bits(bits as u32)),
        _ => decode_half(bits as u16),
    }
}

fn decode_half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    match exponent {
        31 if fraction != 0.0 => f64::NAN,
        31 => sign * f64::INFINITY,
        0 => sign * fraction * 2f64.powi(-24),
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

fn encode_half(value: f64, mode: u8) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    if value.is_nan() {
        return 0x7fff;
    }
    let magnitude = value.abs();
    // Rounding of the magnitude: down and up swap for negative values.
    let mode = match (mode, sign != 0) {
        (RM, true) => RP,
        (RP, true) => RM,
        (mode, _) => mode,
    };
    if magnitude.is_infinite() {
        return sign | 0x7c00;
    }
    let exponent = (((magnitude.to_bits() >> 52) as i32) - 1023).max(-14);
    let unit = 2f64.powi(exponent - 10);
    let steps = round(magnitude / unit, mode);
    let (steps, exponent) = if steps >= 2048.0 {
        (1024.0, exponent + 1)
    } else {
        (steps, exponent)
    };
    if exponent > 15 {
        return sign
            | if mode == RZ || mode == RM {
                0x7bff
            } else {
                0x7c00
            };
    }
    let steps = steps as u16;
    sign | if steps < 1024 {
        steps
    } else {
        ((exponent + 15) as u16) << 10 | (steps - 1024)
    }
}

/// The general conversion; `extra` is a packed `Conversion`.
///
/// # Safety
/// Handlers' promises.
pub unsafe fn convert(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let conversion = Conversion::unpack(ins.extra);
    let (source, target) = (cx.row(ins.a), cx.row(ins.d[0]));
    for lane in cx.lanes() {
        // SAFETY: the decoder gives rows with these cells.
        unsafe {
            let bits = if conversion.wide_source {
                u64::get(source, lane)
            } else {
                u64::from(u32::get(source, lane))
            };
            let result = conversion.convert(bits);
            if conversion.wide_target {
                u64::put(target, lane, result);
            } else {
                u32::put(target, lane, result as u32);
            }
        }
    }
    Step::Next
}
