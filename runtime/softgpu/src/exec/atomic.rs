//! `atom` and `red`: lane after lane, each a compare-and-swap on the host, so that blocks on several cores agree.

use super::access::{Place, addresses};
use super::lanes::{Instr, Step};
use super::warp::Cx;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AtomicOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
    /// Counts up to a bound and then from zero.
    Increment,
    /// Counts down, from a bound when at zero or above it.
    Decrement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AtomicType {
    U32,
    S32,
    F32,
    U64,
    S64,
    F64,
}

const OPS: [AtomicOp; 10] = [
    AtomicOp::Add,
    AtomicOp::Min,
    AtomicOp::Max,
    AtomicOp::And,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::Exchange,
    AtomicOp::CompareAndSwap,
    AtomicOp::Increment,
    AtomicOp::Decrement,
];
const TYPES: [AtomicType; 6] = [
    AtomicType::U32,
    AtomicType::S32,
    AtomicType::F32,
    AtomicType::U64,
    AtomicType::S64,
    AtomicType::F64,
];

/// What `Instr::extra` holds.
pub fn describe(op: AtomicOp, kind: AtomicType) -> u32 {
    op as u32 | (kind as u32) << 8
}

/// The new value.
pub fn apply(op: AtomicOp, kind: AtomicType, old: u64, operand: u64, second: u64) -> u64 {
    let single = |bits: u64| f32::from_bits(bits as u32);
    match (op, kind) {
        (AtomicOp::Add, AtomicType::F32) => u64::from((single(old) + single(operand)).to_bits()),
        (AtomicOp::Add, AtomicType::F64) => {
            (f64::from_bits(old) + f64::from_bits(operand)).to_bits()
        }
        (AtomicOp::Add, _) => old.wrapping_add(operand),
        (AtomicOp::Min, AtomicType::S32) => u64::from((old as i32).min(operand as i32) as u32),
        (AtomicOp::Max, AtomicType::S32) => u64::from((old as i32).max(operand as i32) as u32),
        (AtomicOp::Min, AtomicType::S64) => (old as i64).min(operand as i64) as u64,
        (AtomicOp::Max, AtomicType::S64) => (old as i64).max(operand as i64) as u64,
        (AtomicOp::Min, _) => old.min(operand),
        (AtomicOp::Max, _) => old.max(operand),
        (AtomicOp::And, _) => old & operand,
        (AtomicOp::Or, _) => old | operand,
        (AtomicOp::Xor, _) => old ^ operand,
        (AtomicOp::Exchange, _) => operand,
        (AtomicOp::CompareAndSwap, _) if old == operand => second,
        (AtomicOp::CompareAndSwap, _) => old,
        (AtomicOp::Increment, _) => {
            if old >= operand {
                0
            } else {
                old + 1
            }
        }
        (AtomicOp::Decrement, _) => {
            if old == 0 || old > operand {
                operand
            } else {
                old - 1
            }
        }
    }
}

/// `d[0]` gets the old value, unless it is zero; `b` and `c` are the operands.
///
/// # Safety
/// Handlers' promises.
pub unsafe fn atomic<S: Place>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (op, kind) = (
        OPS[(ins.extra & 255) as usize],
        TYPES[(ins.extra >> 8) as usize],
    );
    let is_wide = ins.width == 8;
    // SAFETY: the decoder gives rows of these cells.
    let cell = |cx: &Cx<'_>, offset: u32, lane: usize| unsafe {
        if is_wide {
            *cx.row(offset).cast::<u64>().add(lane)
        } else {
            u64::from(*cx.row(offset).cast::<u32>().add(lane))
        }
    };
    // SAFETY: as above.
    let addresses = unsafe { addresses(cx, ins) };
    if cx.probing && !cx.probe_atomic(ins, &addresses, S::NAME) {
        return Step::Fault;
    }
    for lane in cx.lanes() {
        let operand = cell(cx, ins.b, lane);
        let second = if ins.c == 0 { 0 } else { cell(cx, ins.c, lane) };
        let pointer = match S::resolve(cx, lane, addresses[lane], u64::from(ins.width)) {
            Ok(pointer) => pointer,
            Err(fault) => return cx.fail(fault),
        };
        let next = |old: u64| apply(op, kind, old, operand, second);
        // SAFETY: `resolve` checked the bounds and the alignment; other threads use these bytes as atomics too, or race
        // as they would on a device.
        unsafe {
            if is_wide {
                let target = AtomicU64::from_ptr(pointer.cast());
                let swapped =
                    target.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(next(old)));
                if ins.d[0] != 0 {
                    *cx.row(ins.d[0]).cast::<u64>().add(lane) = swapped.unwrap_or_else(|old| old);
                }
            } else {
                let target = AtomicU32::from_ptr(pointer.cast());
                let update = |old: u32| Some(next(u64::from(old)) as u32);
                let swapped = target.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
                if ins.d[0] != 0 {
                    *cx.row(ins.d[0]).cast::<u32>().add(lane) = swapped.unwrap_or_else(|old| old);
                }
            }
        }
    }
    Step::Next
}
