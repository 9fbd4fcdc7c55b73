//! Instructions that lanes of a warp execute together: shuffles, votes, reductions and `bar.warp.sync`. They wait for the
//! lanes that their member mask names, as far as these can still come.

use super::lanes::{Instr, LANES, Lane, Step, write_row};
use super::warp::Cx;

/// Whether lanes that a member mask names are still on their way; `offset` is the masks' row.
fn must_wait(cx: &Cx<'_>, offset: u32) -> bool {
    if cx.elsewhere == 0 || cx.mask == 0 {
        return false;
    }
    let members = cx
        .lanes()
        .fold(0, |all, lane| all | members_of(cx, offset, lane));
    members & cx.elsewhere != 0
}

/// The member mask that a lane gives.
fn members_of(cx: &Cx<'_>, offset: u32, lane: usize) -> u32 {
    // SAFETY: the decoder gives a row of 32-bit cells.
    unsafe { u32::get(cx.row(offset), lane) }
}

/// `bar.warp.sync`: member mask `b`. Groups of lanes may give masks of their own.
///
/// # Safety
/// Handlers' promises, here and below.
pub unsafe fn warp_sync(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    if must_wait(cx, ins.b) {
        return Step::Wait;
    }
    let mut left = if cx.probing { cx.mask } else { 0 };
    while left != 0 {
        let members = members_of(cx, ins.b, left.trailing_zeros() as usize);
        let same = |lane: &usize| members_of(cx, ins.b, *lane) == members;
        let group = cx.lanes().filter(same).fold(0, |all, lane| all | 1 << lane);
        cx.probe_warp_sync(members & group);
        left &= !group;
    }
    Step::Next
}

/// Modes of `shfl`.
pub const SHUFFLE_UP: u32 = 0;
pub const SHUFFLE_DOWN: u32 = 1;
pub const SHUFFLE_BUTTERFLY: u32 = 2;
pub const SHUFFLE_INDEX: u32 = 3;

/// The lane that `lane` reads, and whether it is in range; `clamp` is the operand that holds segment mask and bound.
pub fn shuffle_source(mode: u32, lane: u32, operand: u32, clamp: u32) -> (u32, bool) {
    let (operand, bound) = (operand & 31, clamp & 31);
    let segment = clamp >> 8 & 31;
    let max = lane & segment | bound & !segment;
    let min = lane & segment;
    let (source, in_range) = match mode {
        SHUFFLE_UP => (
            lane.wrapping_sub(operand),
            lane as i32 - operand as i32 >= max as i32,
        ),
        SHUFFLE_DOWN => (lane + operand, lane + operand <= max),
        SHUFFLE_BUTTERFLY => (lane ^ operand, lane ^ operand <= max),
        _ => (min | operand & !segment, min | operand & !segment <= max),
    };
    if in_range {
        (source & 31, true)
    } else {
        (lane, false)
    }
}

/// `shfl.sync`: value `a`, lane operand `b`, clamp `c`, member mask `d[2]`; `d[1]` tells whether the source was in range.
///
/// # Safety
/// As above.
pub unsafe fn shuffle(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    if must_wait(cx, ins.d[2]) {
        return Step::Wait;
    }
    // SAFETY: the decoder gives rows of 32-bit cells, here and below.
    let cell = |cx: &Cx<'_>, offset: u32, lane: usize| unsafe { u32::get(cx.row(offset), lane) };
    let mut values = [0; LANES];
    let mut valid = 0;
    for (lane, value) in values.iter_mut().enumerate() {
        let (source, in_range) = shuffle_source(
            ins.extra,
            lane as u32,
            cell(cx, ins.b, lane),
            cell(cx, ins.c, lane),
        );
        *value = cell(cx, ins.a, source as usize);
        valid |= u32::from(in_range) << lane;
        if cx.probing
            && cx.mask >> lane & 1 != 0
            && !cx.probe_shuffle(lane, source, cell(cx, ins.d[2], lane))
        {
            return Step::Fault;
        }
    }
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], values) };
    if ins.defs & 2 != 0 {
        cx.write_pred(ins.d[1], valid);
    }
    Step::Next
}

pub const VOTE_ALL: u32 = 0;
pub const VOTE_ANY: u32 = 1;
pub const VOTE_UNIFORM: u32 = 2;
pub const VOTE_BALLOT: u32 = 3;

/// `vote.sync`: predicate `a`, member mask `b`. Bit 8 of `extra` negates the predicate.
///
/// # Safety
/// As above.
pub unsafe fn vote(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    if cx.mask == 0 {
        return Step::Next;
    }
    if must_wait(cx, ins.b) {
        return Step::Wait;
    }
    let lane = cx.mask.trailing_zeros() as usize;
    // SAFETY: the decoder gives a row of 32-bit cells.
    let members = unsafe { u32::get(cx.row(ins.b), lane) } & cx.mask;
    let votes = if ins.extra >> 8 & 1 != 0 {
        !cx.pred(ins.a)
    } else {
        cx.pred(ins.a)
    } & members;
    let holds = match ins.extra & 255 {
        VOTE_ALL => votes == members,
        VOTE_ANY => votes != 0,
        VOTE_UNIFORM => votes == members || votes == 0,
        _ => {
            // SAFETY: as above.
            unsafe { write_row(cx, ins.d[0], [votes; LANES]) };
            return Step::Next;
        }
    };
    cx.write_pred(ins.d[0], if holds { u32::MAX } else { 0 });
    Step::Next
}

/// `activemask`: waits for all lanes that may still come, since a device brings lanes together again where their ways
/// join, and programs lean on that.
///
/// # Safety
/// As above.
pub unsafe fn active_mask(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    if cx.elsewhere != 0 && cx.mask != 0 {
        return Step::Wait;
    }
    let mask = cx.mask;
    // SAFETY: the decoder gives a row of 32-bit cells.
    unsafe { write_row(cx, ins.d[0], [mask; LANES]) };
    Step::Next
}

pub const REDUX_ADD: u32 = 0;
pub const REDUX_AND: u32 = 1;
pub const REDUX_OR: u32 = 2;
pub const REDUX_XOR: u32 = 3;
pub const REDUX_MIN: u32 = 4;
pub const REDUX_MAX: u32 = 5;

/// `redux.sync`: value `a`, member mask `b`. Bit 8 of `extra`: signed.
///
/// # Safety
/// As above.
pub unsafe fn redux(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    if must_wait(cx, ins.b) {
        return Step::Wait;
    }
    let row = cx.row(ins.a);
    // SAFETY: the decoder gives a row of 32-bit cells.
    let values: Vec<u32> = cx
        .lanes()
        .map(|lane| unsafe { u32::get(row, lane) })
        .collect();
    let is_signed = ins.extra >> 8 & 1 != 0;
    let fold = |left: u32, right: u32| match ins.extra & 255 {
        REDUX_ADD => left.wrapping_add(right),
        REDUX_AND => left & right,
        REDUX_OR => left | right,
        REDUX_XOR => left ^ right,
        REDUX_MIN if is_signed => (left as i32).min(right as i32) as u32,
        REDUX_MIN => left.min(right),
        _ if is_signed => (left as i32).max(right as i32) as u32,
        _ => left.max(right),
    };
    let Some(result) = values.into_iter().reduce(fold) else {
        return Step::Next;
    };
    // SAFETY: as above.
    unsafe { write_row(cx, ins.d[0], [result; LANES]) };
    Step::Next
}
