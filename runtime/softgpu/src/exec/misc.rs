//! Instructions that are not one operation of one lane on rows: control, predicates, selection, bit tricks with four
//! operands, carries and asynchronous copies.

use super::fault;
use super::integer::{Int, insert, lop3, permute};
use super::lanes::{Instr, LANES, Lane, Step, by_level, write_row};
use super::warp::Cx;
use std::time::Instant;

/// # Safety
/// Handlers' promises, here and below; those that touch no row have them only to be handlers.
pub unsafe fn branch(_: &mut Cx<'_>, _: &Instr) -> Step {
    Step::Branch
}

/// # Safety
/// As above.
pub unsafe fn exit(_: &mut Cx<'_>, _: &Instr) -> Step {
    Step::Exit
}

/// # Safety
/// As above.
pub unsafe fn barrier(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    for lane in cx.lanes() {
        // SAFETY: the decoder gives rows of 32-bit cells.
        let cell = |offset: u32| unsafe { u32::get(cx.row(offset), lane) };
        let id = cell(ins.a);
        let threads = (ins.imm & 1 != 0).then(|| cell(ins.b));
        if let Some(reason) = wrong_barrier(id, threads) {
            let code = fault::ILLEGAL_INSTRUCTION;
            let fault = fault::at(cx, lane, code, "wrong_barrier", 0, reason);
            return cx.fail(fault);
        }
    }
    Step::Barrier
}

/// Barriers of a block.
const BARRIERS: u32 = 16;

/// What is wrong with a barrier's number or the number of threads that it waits for.
pub fn wrong_barrier(id: u32, threads: Option<u32>) -> Option<String> {
    if id >= BARRIERS {
        return Some(format!("barrier {id}: a block has 0 to {}", BARRIERS - 1));
    }
    let count = threads.filter(|count| !count.is_multiple_of(LANES as u32))?;
    Some(format!(
        "a barrier of {count} threads: only whole warps wait"
    ))
}

/// What `Instr::imm` holds for a fence that orders memory for other blocks.
pub const FENCE: i64 = 1;

/// Fences, hints and waits: every access is complete when its instruction is.
///
/// # Safety
/// As above.
pub unsafe fn nothing(_: &mut Cx<'_>, _: &Instr) -> Step {
    Step::Next
}

/// # Safety
/// As above.
pub unsafe fn trap(cx: &mut Cx<'_>, _: &Instr) -> Step {
    if cx.mask == 0 {
        return Step::Next;
    }
    let lane = cx.mask.trailing_zeros() as usize;
    let fault = fault::at(
        cx,
        lane,
        fault::LAUNCH_FAILED,
        "trap",
        0,
        "the kernel stopped itself".to_string(),
    );
    cx.fail(fault)
}

/// Predicate logic: `extra` is the truth table of `a` and `b`.
///
/// # Safety
/// As above.
pub unsafe fn pred_logic(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let flip = |flag: u32, bits: u32| {
        if ins.extra >> flag & 1 != 0 {
            !bits
        } else {
            bits
        }
    };
    let (a, b) = (flip(8, cx.pred(ins.a)), flip(9, cx.pred(ins.b)));
    let minterms = [!a & !b, !a & b, a & !b, a & b];
    let bits = minterms.iter().enumerate().fold(0, |bits, (k, term)| {
        bits | if ins.extra >> k & 1 != 0 { *term } else { 0 }
    });
    cx.write_pred(ins.d[0], bits);
    Step::Next
}

#[inline(always)]
unsafe fn run_select<T: Lane>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (a, b) = (cx.row(ins.a), cx.row(ins.b));
    let bits = cx.pred(ins.c) ^ ins.extra;
    let mut results = [T::default(); LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gives rows of this type.
        let (x, y) = unsafe { (T::get(a, lane), T::get(b, lane)) };
        *result = if bits >> lane & 1 != 0 { x } else { y };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

by_level!(pub fn select [T: Lane] [T] run_select);

#[inline(always)]
unsafe fn run_lop3(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (a, b, c) = (cx.row(ins.a), cx.row(ins.b), cx.row(ins.c));
    let mut results = [0u32; LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gives rows of 32-bit cells.
        *result = unsafe {
            lop3(
                u32::get(a, lane),
                u32::get(b, lane),
                u32::get(c, lane),
                ins.extra,
            )
        };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

by_level!(pub fn lop3_handler [] [] run_lop3);

#[inline(always)]
unsafe fn run_permute(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (a, b, c) = (cx.row(ins.a), cx.row(ins.b), cx.row(ins.c));
    let mut results = [0u32; LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gives rows of 32-bit cells.
        *result = unsafe {
            permute(
                u32::get(a, lane),
                u32::get(b, lane),
                u32::get(c, lane),
                ins.extra,
            )
        };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

by_level!(pub fn permute_handler [] [] run_permute);

/// `bfi`: position in `c`, length in `d[1]`.
///
/// # Safety
/// As above.
pub unsafe fn bit_insert<T: Int>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    for lane in cx.lanes() {
        // SAFETY: the decoder gives rows of these types.
        unsafe {
            let (a, b) = (T::get(cx.row(ins.a), lane), T::get(cx.row(ins.b), lane));
            let (position, len) = (
                u32::get(cx.row(ins.c), lane) & 255,
                u32::get(cx.row(ins.d[1]), lane) & 255,
            );
            let value = insert(a.to_u64(), b.to_u64(), position, len, T::BITS);
            T::put(cx.row(ins.d[0]), lane, T::from_u64(value));
        }
    }
    Step::Next
}

pub const CARRY_IN: u32 = 1;
pub const CARRY_OUT: u32 = 2;
pub const CARRY_SUBTRACT: u32 = 4;

/// `add.cc`, `addc` and their like; the carry is the predicate `c` and `d[1]`. For a subtraction it is the borrow.
///
/// # Safety
/// As above.
pub unsafe fn carry<T: Int>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let carries = if ins.extra & CARRY_IN != 0 {
        cx.pred(ins.c)
    } else {
        0
    };
    let mut out = 0;
    for lane in cx.lanes() {
        // SAFETY: the decoder gives rows of this type.
        unsafe {
            let (a, b) = (
                T::get(cx.row(ins.a), lane).to_u64(),
                T::get(cx.row(ins.b), lane).to_u64(),
            );
            let carry = i128::from(carries >> lane & 1);
            let (a, b) = (i128::from(a), i128::from(b));
            let result = if ins.extra & CARRY_SUBTRACT != 0 {
                a - b - carry
            } else {
                a + b + carry
            };
            out |= u32::from(result < 0 || result >> T::BITS != 0) << lane;
            T::put(cx.row(ins.d[0]), lane, T::from_u64(result as u64));
        }
    }
    if ins.extra & CARRY_OUT != 0 {
        cx.write_pred(ins.d[1], out);
    }
    Step::Next
}

/// `testp`; `extra` is the property.
///
/// # Safety
/// As above.
pub unsafe fn test_float(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let mut bits = 0;
    for lane in cx.lanes() {
        // SAFETY: the decoder gives a row of this width.
        let (value, is_subnormal) = unsafe {
            if ins.width == 8 {
                let value = f64::get(cx.row(ins.a), lane);
                (value, value.is_subnormal())
            } else {
                let value = f32::get(cx.row(ins.a), lane);
                (f64::from(value), value.is_subnormal())
            }
        };
        bits |= u32::from(super::float::test(
            value,
            is_subnormal,
            i64::from(ins.extra),
        )) << lane;
    }
    cx.write_pred(ins.d[0], bits);
    Step::Next
}

/// Elements of `extra` bits from `a`, `b`, `c`, `d[1]`, the first lowest, into one register.
///
/// # Safety
/// As above.
pub unsafe fn pack(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let parts = [ins.a, ins.b, ins.c, ins.d[1]];
    for lane in cx.lanes() {
        let mut value = 0u64;
        for (k, part) in parts.iter().take(usize::from(ins.count)).enumerate() {
            // SAFETY: the decoder gives rows of 32-bit cells.
            let bits = u64::from(unsafe { u32::get(cx.row(*part), lane) });
            let ones = (1u64 << ins.extra) - 1;
            value |= (bits & ones) << (ins.extra as usize * k);
        }
        // SAFETY: the decoder gives a row of this width.
        unsafe {
            if ins.width == 8 {
                u64::put(cx.row(ins.d[0]), lane, value)
            } else {
                u32::put(cx.row(ins.d[0]), lane, value as u32)
            }
        }
    }
    Step::Next
}

/// The opposite of `pack`; targets at offset zero are left out.
///
/// # Safety
/// As above.
pub unsafe fn unpack(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    for lane in cx.lanes() {
        // SAFETY: the decoder gives a row of this width.
        let value = unsafe {
            if ins.width == 8 {
                u64::get(cx.row(ins.a), lane)
            } else {
                u64::from(u32::get(cx.row(ins.a), lane))
            }
        };
        for (k, part) in ins
            .d
            .iter()
            .take(usize::from(ins.count))
            .enumerate()
            .filter(|(_, part)| **part != 0)
        {
            let bits = value >> (ins.extra as usize * k) & ((1u64 << ins.extra) - 1);
            // SAFETY: the decoder gives rows of 32-bit cells.
            unsafe { u32::put(cx.row(*part), lane, bits as u32) };
        }
    }
    Step::Next
}

/// `%clock`, `%clock64` and `%globaltimer`: nanoseconds since the launch began to be watched.
///
/// # Safety
/// As above.
pub unsafe fn clock(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let now = START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
    for lane in cx.lanes() {
        // SAFETY: the decoder gives a row of this width.
        unsafe {
            if ins.width == 8 {
                u64::put(cx.row(ins.d[0]), lane, now)
            } else {
                u32::put(cx.row(ins.d[0]), lane, now as u32)
            }
        }
    }
    Step::Next
}

/// `cp.async`: copies `extra` bytes from global address `b` to shared address `a`, at once. `c` says how many of them are
/// read, the rest is zero. `imm` holds the two offsets, that of the source above.
///
/// # Safety
/// As above.
pub unsafe fn copy_async(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    use super::access::{Global, Place, Shared};
    let len = ins.extra as usize;
    // SAFETY: the decoder gives rows of 64-bit cells.
    let address = |cx: &Cx<'_>, offset: u32, lane: usize| unsafe { u64::get(cx.row(offset), lane) };
    for lane in cx.lanes() {
        let (to, from) = (address(cx, ins.a, lane), address(cx, ins.b, lane));
        let copied = if ins.c == 0 {
            len
        } else {
            // SAFETY: the decoder gives a row of 32-bit cells.
            unsafe { u32::get(cx.row(ins.c), lane) as usize }.min(len)
        };
        let target_address = to.wrapping_add(ins.imm as i32 as u64);
        let source_address = from.wrapping_add((ins.imm >> 32) as u64);
        if cx.probing
            && !cx.probe_copy(
                lane,
                target_address,
                source_address,
                len as u64,
                copied as u64,
            )
        {
            return Step::Fault;
        }
        let target = match Shared::resolve(cx, lane, target_address, len as u64) {
            Ok(target) => target,
            Err(fault) => return cx.fail(fault),
        };
        // SAFETY: `resolve` checked the target's bytes.
        unsafe { target.write_bytes(0, len) };
        if copied == 0 {
            continue;
        }
        match Global::resolve(cx, lane, source_address, len as u64) {
            // SAFETY: as above; shared memory and the heap do not overlap.
            Ok(source) => unsafe { target.copy_from_nonoverlapping(source, copied) },
            Err(fault) => return cx.fail(fault),
        }
    }
    Step::Next
}
