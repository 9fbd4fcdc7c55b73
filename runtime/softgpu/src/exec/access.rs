//! Loads and stores: 32 addresses to host pointers, with the bounds checked for all lanes at once, and short ways for
//! lanes that read one element or a row of neighbours. A failed check goes lane by lane to find out who failed.

use super::fault::{self, Fault};
use super::heap::{DEVICE_BASE, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, WINDOW_LEN};
use super::lanes::{FULL, Instr, LANES, Lane, Step, by_level, write_row};
use super::warp::Cx;

/// What `Instr::extra` holds for a load of memory that nobody writes during the launch.
pub const READ_ONLY: u32 = 1;

/// The allocation that an instruction touched last.
#[derive(Clone, Copy)]
pub struct Cached {
    pub start: u64,
    pub len: u64,
    pub delta: usize,
}

impl Cached {
    pub const EMPTY: Self = Self {
        start: 0,
        len: 0,
        delta: 0,
    };
}

/// A state space with its way from an address to the host's bytes.
pub trait Place {
    const NAME: &'static str;
    /// All bytes lie in one buffer in which an address is an index: its first address, length and delta.
    fn buffer(cx: &Cx<'_>) -> Option<Cached>;
    fn resolve(cx: &mut Cx<'_>, lane: usize, address: u64, len: u64)
    -> Result<*mut u8, Box<Fault>>;
}

pub struct Global;
pub struct Shared;
pub struct Local;
pub struct Param;
pub struct Generic;

impl Place for Global {
    const NAME: &'static str = "global";
    #[inline(always)]
    fn buffer(cx: &Cx<'_>) -> Option<Cached> {
        Some(cx.caches[cx.pc as usize])
    }
    fn resolve(
        cx: &mut Cx<'_>,
        lane: usize,
        address: u64,
        len: u64,
    ) -> Result<*mut u8, Box<Fault>> {
        if !address.is_multiple_of(len) {
            return Err(fault::misaligned(cx, lane, Self::NAME, address, len));
        }
        match cx.launch.heap.find_range(address, len) {
            Some(span) => {
                let cached = Cached {
                    start: span.start,
                    len: span.len,
                    delta: span.delta(),
                };
                let host = span.host_at(address);
                cx.caches[cx.pc as usize] = cached;
                Ok(host)
            }
            None => Err(fault::out_of_bounds(cx, lane, Self::NAME, address, len)),
        }
    }
}

fn resolve_in(
    cx: &Cx<'_>,
    buffer: Cached,
    name: &'static str,
    lane: usize,
    address: u64,
    len: u64,
) -> Result<*mut u8, Box<Fault>> {
    if !address.is_multiple_of(len) {
        return Err(fault::misaligned(cx, lane, name, address, len));
    }
    if address.checked_add(len).is_none_or(|end| end > buffer.len) {
        return Err(fault::out_of_bounds(cx, lane, name, address, len));
    }
    Ok(buffer.delta.wrapping_add(address as usize) as *mut u8)
}

impl Place for Shared {
    const NAME: &'static str = "shared";
    #[inline(always)]
    fn buffer(cx: &Cx<'_>) -> Option<Cached> {
        Some(Cached {
            start: 0,
            len: cx.shared_len,
            delta: cx.shared as usize,
        })
    }
    fn resolve(
        cx: &mut Cx<'_>,
        lane: usize,
        address: u64,
        len: u64,
    ) -> Result<*mut u8, Box<Fault>> {
        let buffer = Cached {
            start: 0,
            len: cx.shared_len,
            delta: cx.shared as usize,
        };
        resolve_in(cx, buffer, Self::NAME, lane, address, len)
    }
}

impl Place for Param {
    const NAME: &'static str = "param";
    #[inline(always)]
    fn buffer(_: &Cx<'_>) -> Option<Cached> {
        None
    }
    fn resolve(
        cx: &mut Cx<'_>,
        lane: usize,
        address: u64,
        len: u64,
    ) -> Result<*mut u8, Box<Fault>> {
        let params = cx.launch.params;
        let buffer = Cached {
            start: 0,
            len: params.len() as u64,
            delta: params.as_ptr() as usize,
        };
        resolve_in(cx, buffer, Self::NAME, lane, address, len)
    }
}

impl Place for Local {
    const NAME: &'static str = "local";
    #[inline(always)]
    fn buffer(_: &Cx<'_>) -> Option<Cached> {
        None
    }
    fn resolve(
        cx: &mut Cx<'_>,
        lane: usize,
        address: u64,
        len: u64,
    ) -> Result<*mut u8, Box<Fault>> {
        let delta = cx.local.wrapping_add(lane * cx.local_len as usize) as usize;
        resolve_in(
            cx,
            Cached {
                start: 0,
                len: cx.local_len,
                delta,
            },
            Self::NAME,
            lane,
            address,
            len,
        )
    }
}

impl Place for Generic {
    const NAME: &'static str = "generic";
    #[inline(always)]
    fn buffer(cx: &Cx<'_>) -> Option<Cached> {
        Some(cx.caches[cx.pc as usize])
    }
    fn resolve(
        cx: &mut Cx<'_>,
        lane: usize,
        address: u64,
        len: u64,
    ) -> Result<*mut u8, Box<Fault>> {
        let inside = |window: u64| address.wrapping_sub(window) < WINDOW_LEN;
        if address >= DEVICE_BASE {
            Global::resolve(cx, lane, address, len)
        } else if inside(SHARED_WINDOW) {
            Shared::resolve(cx, lane, address - SHARED_WINDOW, len)
        } else if inside(LOCAL_WINDOW) {
            Local::resolve(cx, lane, address - LOCAL_WINDOW, len)
        } else if inside(PARAM_WINDOW) {
            Param::resolve(cx, lane, address - PARAM_WINDOW, len)
        } else {
            Global::resolve(cx, lane, address, len)
        }
    }
}

/// # Safety
/// Handlers' promises; `a` is a row of 64-bit addresses.
#[inline(always)]
pub unsafe fn addresses(cx: &Cx<'_>, ins: &Instr) -> [u64; LANES] {
    let row = cx.row(ins.a);
    let mut result = [0; LANES];
    for (lane, address) in result.iter_mut().enumerate() {
        // SAFETY: the caller says that it is such a row.
        *address = unsafe { u64::get(row, lane) }.wrapping_add(ins.imm as u64);
    }
    result
}

/// The delta for all active lanes, if they all lie in the buffer and are aligned.
#[inline(always)]
fn common_delta<S: Place>(cx: &Cx<'_>, addresses: &[u64; LANES], len: u64) -> Option<usize> {
    let buffer = S::buffer(cx)?;
    let room = buffer.len.checked_sub(len)?;
    let mut outside = 0;
    for (lane, address) in addresses.iter().enumerate() {
        let wrong = (address.wrapping_sub(buffer.start) > room) | (address & (len - 1) != 0);
        outside |= if wrong { 1u32 << lane } else { 0 };
    }
    (outside & cx.mask == 0).then_some(buffer.delta)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Same,
    Neighbours,
    Other,
}

#[inline(always)]
fn pattern(addresses: &[u64; LANES], len: u64) -> Pattern {
    let first = addresses[0];
    let (mut other, mut apart) = (0, 0);
    for (lane, address) in addresses.iter().enumerate() {
        other |= address ^ first;
        apart |= address.wrapping_sub(first) ^ (lane as u64 * len);
    }
    match (other, apart) {
        (0, _) => Pattern::Same,
        (_, 0) => Pattern::Neighbours,
        _ => Pattern::Other,
    }
}

#[inline(always)]
unsafe fn load<S: Place, E: Lane, const N: usize>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let size = size_of::<E>();
    let len = (size * N) as u64;
    // SAFETY: the caller keeps the promises of handlers.
    let addresses = unsafe { addresses(cx, ins) };
    if cx.probing && !cx.probe_access(ins, &addresses, S::NAME, false) {
        return Step::Fault;
    }
    let Some(delta) = common_delta::<S>(cx, &addresses, len) else {
        // SAFETY: as above.
        return unsafe { slow_load::<S, E, N>(cx, ins, &addresses) };
    };
    let at = |address: u64| delta.wrapping_add(address as usize) as *const E;
    let mut results = [[E::default(); LANES]; N];
    // SAFETY: the addresses of all active lanes lie inside the buffer and are aligned.
    unsafe {
        if cx.mask != FULL {
            for lane in 0..LANES {
                if cx.mask >> lane & 1 != 0 {
                    for (k, row) in results.iter_mut().enumerate() {
                        row[lane] = *at(addresses[lane]).add(k);
                    }
                }
            }
        } else {
            match pattern(&addresses, len) {
                Pattern::Same => {
                    for (k, row) in results.iter_mut().enumerate() {
                        *row = [*at(addresses[0]).add(k); LANES];
                    }
                }
                Pattern::Neighbours if N == 1 => {
                    results[0] = *at(addresses[0]).cast::<[E; LANES]>()
                }
                _ => gather::<E, N>(&addresses, delta, &mut results),
            }
        }
        for (k, row) in results.into_iter().enumerate() {
            write_row(cx, ins.d[k], row);
        }
    }
    Step::Next
}

/// Loads from addresses without a common pattern, eight lanes at a time: tiles of 8 or 16 threads give each such group
/// one address or a row of neighbours.
#[inline(always)]
unsafe fn gather<E: Lane, const N: usize>(
    addresses: &[u64; LANES],
    delta: usize,
    results: &mut [[E; LANES]; N],
) {
    const GROUP: usize = 8;
    let at = |address: u64| delta.wrapping_add(address as usize) as *const E;
    for start in (0..LANES).step_by(GROUP) {
        let first = addresses[start];
        let (mut other, mut apart) = (0, 0);
        for k in 0..GROUP {
            other |= addresses[start + k] ^ first;
            apart |= addresses[start + k].wrapping_sub(first) ^ (k * size_of::<E>()) as u64;
        }
        // SAFETY: the caller checked all addresses, with the length of N elements.
        unsafe {
            if other == 0 {
                for (k, row) in results.iter_mut().enumerate() {
                    row[start..start + GROUP].fill(*at(first).add(k));
                }
            } else if N == 1 && apart == 0 {
                let values = *at(first).cast::<[E; GROUP]>();
                results[0][start..start + GROUP].copy_from_slice(&values);
            } else {
                for lane in start..start + GROUP {
                    for (k, row) in results.iter_mut().enumerate() {
                        row[lane] = *at(addresses[lane]).add(k);
                    }
                }
            }
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn slow_load<S: Place, E: Lane, const N: usize>(
    cx: &mut Cx<'_>,
    ins: &Instr,
    addresses: &[u64; LANES],
) -> Step {
    let len = (size_of::<E>() * N) as u64;
    for lane in cx.lanes() {
        let pointer = match S::resolve(cx, lane, addresses[lane], len) {
            Ok(pointer) => pointer.cast::<E>(),
            Err(fault) => return cx.fail(fault),
        };
        for (k, row) in ins.d.iter().take(N).enumerate() {
            // SAFETY: resolved with the length of the whole access; the rows are the decoder's.
            unsafe { E::put(cx.row(*row), lane, *pointer.add(k)) };
        }
    }
    Step::Next
}

#[inline(always)]
unsafe fn store<S: Place, E: Lane, const N: usize>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    let size = size_of::<E>();
    let len = (size * N) as u64;
    // SAFETY: the caller keeps the promises of handlers.
    let addresses = unsafe { addresses(cx, ins) };
    if cx.probing && !cx.probe_access(ins, &addresses, S::NAME, true) {
        return Step::Fault;
    }
    let Some(delta) = common_delta::<S>(cx, &addresses, len) else {
        // SAFETY: as above.
        return unsafe { slow_store::<S, E, N>(cx, ins, &addresses) };
    };
    let at = |address: u64| delta.wrapping_add(address as usize) as *mut E;
    // SAFETY: the addresses of all active lanes lie inside the buffer and are aligned.
    unsafe {
        if N == 1 && cx.mask == FULL && pattern(&addresses, len) == Pattern::Neighbours {
            let row = cx.row(ins.d[0]);
            let mut values = [E::default(); LANES];
            for (lane, value) in values.iter_mut().enumerate() {
                *value = E::get(row, lane);
            }
            *at(addresses[0]).cast::<[E; LANES]>() = values;
            return Step::Next;
        }
        for (lane, &address) in addresses.iter().enumerate() {
            if cx.mask >> lane & 1 != 0 {
                for (k, row) in ins.d.iter().take(N).enumerate() {
                    *at(address).add(k) = E::get(cx.row(*row), lane);
                }
            }
        }
    }
    Step::Next
}

#[cold]
#[inline(never)]
unsafe fn slow_store<S: Place, E: Lane, const N: usize>(
    cx: &mut Cx<'_>,
    ins: &Instr,
    addresses: &[u64; LANES],
) -> Step {
    let len = (size_of::<E>() * N) as u64;
    for lane in cx.lanes() {
        let pointer = match S::resolve(cx, lane, addresses[lane], len) {
            Ok(pointer) => pointer.cast::<E>(),
            Err(fault) => return cx.fail(fault),
        };
        for (k, row) in ins.d.iter().take(N).enumerate() {
            // SAFETY: resolved with the length of the whole access; the rows are the decoder's.
            unsafe { *pointer.add(k) = E::get(cx.row(*row), lane) };
        }
    }
    Step::Next
}

/// `ld.param` at a fixed offset: one value for all lanes.
#[inline(always)]
unsafe fn load_param<E: Lane>(cx: &mut Cx<'_>, ins: &Instr) -> Step {
    // SAFETY: the decoder checked the offset against the kernel's parameters, which every launch has in full; parameters
    // are aligned in their buffer, and it is not: so an unaligned read.
    let value = unsafe {
        cx.launch
            .params
            .as_ptr()
            .add(ins.imm as usize)
            .cast::<E>()
            .read_unaligned()
    };
    // SAFETY: the decoder gave a row of this type.
    unsafe { write_row(cx, ins.d[0], [value; LANES]) };
    Step::Next
}

by_level!(pub fn load_handler [S: Place, E: Lane, const N: usize] [S, E, N] load);
by_level!(pub fn store_handler [S: Place, E: Lane, const N: usize] [S, E, N] store);
by_level!(pub fn param_handler [E: Lane] [E] load_param);
