//! How one instruction works on the 32 lanes of a warp: the decoded form, the context it runs in, and the loops over
//! register rows, compiled once for each instruction set of the host. Knows no particular operation.

use super::warp::Cx;

pub const LANES: usize = 32;
pub const FULL: u32 = u32::MAX;

/// What the interpreter's loop does after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Next,
    Branch,
    Exit,
    Barrier,
    /// Lanes that take part are still elsewhere: not yet.
    Wait,
    Fault,
}

pub type Handler = unsafe fn(&mut Cx<'_>, &Instr) -> Step;

/// Classes of instructions, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Fma,
    Float,
    Integer,
    Move,
    LoadGlobal,
    StoreGlobal,
    Atomic,
    LoadShared,
    StoreShared,
    Local,
    Param,
    Barrier,
    Branch,
    Special,
}

pub const KINDS: usize = 14;
pub const KIND_NAMES: [&str; KINDS] = [
    "fma",
    "float",
    "integer",
    "move",
    "ld_global",
    "st_global",
    "atomic",
    "ld_shared",
    "st_shared",
    "local",
    "param",
    "barrier",
    "branch",
    "special",
];

/// A decoded instruction. Register fields are byte offsets into the warp's register file; offset 0 is the predicate that
/// is always true, and stands in unused fields.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Instr {
    pub exec: Handler,
    /// Results; for stores and shuffles also further operands, as `defs` says.
    pub d: [u32; 4],
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub guard: u32,
    /// All ones where the guard is negated.
    pub guard_flip: u32,
    /// Bit k: `d[k]` is written.
    pub defs: u8,
    pub kind: Kind,
    /// Bytes of one element of a memory access.
    pub width: u8,
    /// Elements of a memory access.
    pub count: u8,
    /// A description of the operation, as the handler defines.
    pub extra: u32,
    /// Offset of an address, branch target, or what the handler defines.
    pub imm: i64,
}

/// Instruction sets of the host for which the hot loops are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Base,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Self {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match (avx512 && avx2, avx2) {
            (true, _) => Self::Avx512,
            (_, true) => Self::Avx2,
            _ => Self::Base,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Self {
        Self::Base
    }

    /// The host's level or the named one, whichever is lower; none for an unknown name.
    pub fn at_most(name: &str) -> Option<Self> {
        let limit = ["base", "avx2", "avx512", "auto"]
            .iter()
            .position(|known| *known == name)?;
        let found = Self::detect();
        #[cfg(target_arch = "x86_64")]
        let found = [Self::Base, Self::Avx2, Self::Avx512, found][limit.min(found as usize)];
        #[cfg(not(target_arch = "x86_64"))]
        let _ = limit;
        Some(found)
    }
}

/// Defines `$name::<..>(level)`, which gives the handler `$body::<..>` compiled for that level.
macro_rules! by_level {
    ($vis:vis fn $name:ident [$($generics:tt)*] [$($arguments:tt)*] $body:ident) => {
        $vis fn $name<$($generics)*>(level: $crate::exec::lanes::Level) -> $crate::exec::lanes::Handler {
            use $crate::exec::lanes::{Instr, Level, Step};
            use $crate::exec::warp::Cx;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
            unsafe fn avx2<$($generics)*>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
                // SAFETY: the caller keeps the promises of handlers.
                unsafe { $body::<$($arguments)*>(cx, ins) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
            unsafe fn avx512<$($generics)*>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
                // SAFETY: the caller keeps the promises of handlers.
                unsafe { $body::<$($arguments)*>(cx, ins) }
            }
            match level {
                Level::Base => $body::<$($arguments)*>,
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2::<$($arguments)*>,
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => avx512::<$($arguments)*>,
            }
        }
    };
}
pub(crate) use by_level;

/// A value that a lane of a register row holds. Rows of values up to 32 bits have 4-byte cells, those of 64 bits 8-byte
/// cells. The upper bits of a cell that holds 8 or 16 bits are not defined: readers cut them off.
pub trait Lane: Copy + Default {
    /// # Safety
    /// `row` points to a row of the register file with cells of this type's size, and `lane < LANES`.
    unsafe fn get(row: *const u8, lane: usize) -> Self;

    /// # Safety
    /// As for `get`.
    unsafe fn put(row: *mut u8, lane: usize, value: Self);
}

macro_rules! lane {
    ($($kind:ty, $cell:ty, |$raw:ident| $get:expr, |$value:ident| $put:expr;)*) => {$(
        impl Lane for $kind {
            #[inline(always)]
            unsafe fn get(row: *const u8, lane: usize) -> Self {
                // SAFETY: the caller says that the cell lies in the register file.
                let $raw = unsafe { *row.cast::<$cell>().add(lane) };
                $get
            }
            #[inline(always)]
            unsafe fn put(row: *mut u8, lane: usize, $value: Self) {
                // SAFETY: the caller says that the cell lies in the register file.
                unsafe { *row.cast::<$cell>().add(lane) = $put }
            }
        }
    )*};
}

lane! {
    u8, u32, |raw| raw as u8, |value| u32::from(value);
    i8, u32, |raw| raw as i8, |value| i32::from(value) as u32;
    u16, u32, |raw| raw as u16, |value| u32::from(value);
    i16, u32, |raw| raw as i16, |value| i32::from(value) as u32;
    u32, u32, |raw| raw, |value| value;
    i32, i32, |raw| raw, |value| value;
    f32, f32, |raw| raw, |value| value;
    u64, u64, |raw| raw, |value| value;
    i64, i64, |raw| raw, |value| value;
    f64, f64, |raw| raw, |value| value;
}

pub trait Op1 {
    type A: Lane;
    type D: Lane;
    fn apply(a: Self::A) -> Self::D;
}

pub trait Op2 {
    type A: Lane;
    type B: Lane;
    type D: Lane;
    fn apply(a: Self::A, b: Self::B) -> Self::D;
}

pub trait Op3 {
    type A: Lane;
    type B: Lane;
    type C: Lane;
    type D: Lane;
    fn apply(a: Self::A, b: Self::B, c: Self::C) -> Self::D;
}

/// A comparison of two lanes.
pub trait Compare {
    type A: Lane;
    fn apply(a: Self::A, b: Self::A) -> bool;
}

/// Writes 32 results into the row at `offset`, in the lanes of the mask.
///
/// # Safety
/// Handlers' promises; the row has cells of this type.
#[inline(always)]
pub unsafe fn write_row<D: Lane>(cx: &mut Cx<'_>, offset: u32, mut results: [D; LANES]) {
    let row = cx.row(offset);
    if cx.mask != FULL {
        for (lane, result) in results.iter_mut().enumerate() {
            // SAFETY: the decoder gave the offset of a row of this type.
            let old = unsafe { D::get(row, lane) };
            *result = if cx.mask >> lane & 1 != 0 {
                *result
            } else {
                old
            };
        }
    }
    for (lane, result) in results.iter().enumerate() {
        // SAFETY: as above.
        unsafe { D::put(row, lane, *result) };
    }
}

#[inline(always)]
unsafe fn run1<O: Op1>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let a = cx.row(ins.a);
    let mut results = [O::D::default(); LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gave offsets of rows of the operation's types.
        *result = unsafe { O::apply(O::A::get(a, lane)) };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

#[inline(always)]
unsafe fn run2<O: Op2>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (a, b) = (cx.row(ins.a), cx.row(ins.b));
    let mut results = [O::D::default(); LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gave offsets of rows of the operation's types.
        *result = unsafe { O::apply(O::A::get(a, lane), O::B::get(b, lane)) };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

#[inline(always)]
unsafe fn run3<O: Op3>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let (a, b, c) = (cx.row(ins.a), cx.row(ins.b), cx.row(ins.c));
    let mut results = [O::D::default(); LANES];
    for (lane, result) in results.iter_mut().enumerate() {
        // SAFETY: the decoder gave offsets of rows of the operation's types.
        *result = unsafe { O::apply(O::A::get(a, lane), O::B::get(b, lane), O::C::get(c, lane)) };
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], results) };
    Step::Next
}

/// One bit for each lane in which the comparison holds.
///
/// # Safety
/// Handlers' promises; `a` and `b` are rows of the comparison's type.
#[inline(always)]
pub unsafe fn compare_rows<C: Compare>(cx: &Cx<'_>, ins: &Instr) -> u32 {
    let (a, b) = (cx.row(ins.a), cx.row(ins.b));
    let mut bits = [0u32; LANES];
    for (lane, bit) in bits.iter_mut().enumerate() {
        // SAFETY: the decoder gave offsets of rows of the comparison's type.
        let holds = unsafe { C::apply(C::A::get(a, lane), C::A::get(b, lane)) };
        *bit = if holds { 1 << lane } else { 0 };
    }
    bits.iter().fold(0, |mask, bit| mask | bit)
}

/// How `setp` combines its comparison with a predicate: the low bits of `Instr::imm`; bit 2 negates that predicate.
pub const COMBINE_NONE: i64 = 0;
pub const COMBINE_AND: i64 = 1;
pub const COMBINE_OR: i64 = 2;
pub const COMBINE_XOR: i64 = 3;
pub const COMBINE_FLIP: i64 = 4;

pub fn combine(how: i64, left: u32, right: u32) -> u32 {
    match how & 3 {
        COMBINE_AND => left & right,
        COMBINE_OR => left | right,
        COMBINE_XOR => left ^ right,
        _ => left,
    }
}

#[inline(always)]
unsafe fn run_compare<C: Compare>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    // SAFETY: the caller keeps the promises of handlers.
    let holds = unsafe { compare_rows::<C>(cx, ins) };
    if ins.imm == COMBINE_NONE && ins.defs == 1 {
        cx.write_pred(ins.d[0], holds);
        return Step::Next;
    }
    let flip = if ins.imm & COMBINE_FLIP != 0 { FULL } else { 0 };
    let other = cx.pred(ins.c) ^ flip;
    cx.write_pred(ins.d[0], combine(ins.imm, holds, other));
    if ins.defs & 2 != 0 {
        cx.write_pred(ins.d[1], combine(ins.imm, !holds, other));
    }
    Step::Next
}

by_level!(pub fn op1 [O: Op1] [O] run1);
by_level!(pub fn op2 [O: Op2] [O] run2);
by_level!(pub fn op3 [O: Op3] [O] run3);
by_level!(pub fn setp [C: Compare] [C] run_compare);
