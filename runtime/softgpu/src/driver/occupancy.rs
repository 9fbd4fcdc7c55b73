//! How many blocks fit on a multiprocessor: from threads, shared memory and the estimate of registers.

use super::device::REGISTERS;
use super::errors::{INVALID_VALUE, Result};
use super::module::Kernel;
use super::state::{Gate, Handle, State, enter, put};
use std::ffi::{c_int, c_uint, c_void};

/// Shared bytes of a block of that many threads.
type DynamicShared = Option<unsafe extern "C" fn(c_int) -> usize>;

impl State {
    pub fn active_blocks(
        &self,
        kernel: &Kernel,
        threads: c_int,
        dynamic_shared: usize,
    ) -> Result<i32> {
        if threads <= 0 {
            return Err(INVALID_VALUE);
        }
        if threads as u32 > kernel.max_threads() {
            return Ok(0);
        }
        let limits = &self.config.card.limits;
        let warps = (threads + 31) / 32;
        let by_threads = limits.threads as i32 / (warps * 32);
        let registers = kernel.registers().next_multiple_of(8).max(16) as i32 * 32 * warps;
        let shared = kernel.program.shared_static as usize + dynamic_shared;
        let by_shared = if shared == 0 {
            limits.blocks
        } else {
            let taken = shared + limits.shared_reserved_bytes as usize;
            (limits.shared_multiprocessor_bytes as usize / taken) as u32
        };
        Ok(by_shared
            .min(limits.blocks)
            .cast_signed()
            .min(by_threads)
            .min(REGISTERS / registers))
    }

    /// # Safety
    /// `shared_of` is none or may be called.
    unsafe fn best_block(
        &self,
        kernel: &Kernel,
        shared_of: DynamicShared,
        fixed: usize,
        limit: c_int,
    ) -> Result<(i32, i32)> {
        let most = kernel.max_threads() as i32;
        let most = if limit > 0 { limit.min(most) } else { most };
        let mut best = (0, 0, 0);
        for threads in (1..=most)
            .rev()
            .filter(|threads| threads % 32 == 0 || *threads == most)
        {
            // SAFETY: the caller's promise.
            let shared = shared_of.map_or(fixed, |of| unsafe { of(threads) });
            let blocks = self.active_blocks(kernel, threads, shared)?;
            if blocks * threads > best.0 {
                best = (blocks * threads, blocks, threads);
            }
        }
        Ok((best.1 * self.config.card.multiprocessors as i32, best.2))
    }
}

fn max_active(
    symbol: &str,
    count: *mut c_int,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
) -> u32 {
    enter(symbol, Gate::Context, |state| {
        let kernel = state.function(function)?;
        let found = state.active_blocks(&kernel, threads, dynamic_shared)?;
        // SAFETY: the caller's promise.
        unsafe { put(count, found) }
    })
}

/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    count: *mut c_int,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
) -> u32 {
    max_active(
        "cuOccupancyMaxActiveBlocksPerMultiprocessor",
        count,
        function,
        threads,
        dynamic_shared,
    )
}

/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    count: *mut c_int,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
    _flags: c_uint,
) -> u32 {
    max_active(
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
        count,
        function,
        threads,
        dynamic_shared,
    )
}

/// # Safety
/// `bytes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    bytes: *mut usize,
    function: Handle,
    blocks: c_int,
    _threads: c_int,
) -> u32 {
    enter(
        "cuOccupancyAvailableDynamicSMemPerBlock",
        Gate::Context,
        |state| {
            let kernel = state.function(function)?;
            if blocks <= 0 {
                return Err(INVALID_VALUE);
            }
            let limits = &state.config.card.limits;
            let part = limits.shared_multiprocessor_bytes as usize / blocks as usize;
            let share = part.saturating_sub(limits.shared_reserved_bytes as usize) & !255;
            let room = share.saturating_sub(kernel.program.shared_static as usize);
            // SAFETY: the caller's promise.
            unsafe { put(bytes, room.min(kernel.max_dynamic_shared() as usize)) }
        },
    )
}

fn potential(
    symbol: &str,
    (grid, block): (*mut c_int, *mut c_int),
    function: Handle,
    shared_of: DynamicShared,
    fixed: usize,
    limit: c_int,
) -> u32 {
    enter(symbol, Gate::Context, |state| {
        let kernel = state.function(function)?;
        // SAFETY: the caller's promise.
        let (grid_size, block_size) =
            unsafe { state.best_block(&kernel, shared_of, fixed, limit) }?;
        // SAFETY: the caller's promise.
        unsafe {
            put(grid, grid_size)?;
            put(block, block_size)
        }
    })
}

/// # Safety
/// The results are null or may be written; `shared_of` is null or may be called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: *mut c_int,
    block: *mut c_int,
    function: Handle,
    shared_of: DynamicShared,
    fixed: usize,
    limit: c_int,
) -> u32 {
    potential(
        "cuOccupancyMaxPotentialBlockSize",
        (grid, block),
        function,
        shared_of,
        fixed,
        limit,
    )
}

/// # Safety
/// The results are null or may be written; `shared_of` is null or may be called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: *mut c_int,
    block: *mut c_int,
    function: Handle,
    shared_of: DynamicShared,
    fixed: usize,
    limit: c_int,
    _flags: c_uint,
) -> u32 {
    potential(
        "cuOccupancyMaxPotentialBlockSizeWithFlags",
        (grid, block),
        function,
        shared_of,
        fixed,
        limit,
    )
}

/// There are no clusters: one block makes one.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveClusters(
    count: *mut c_int,
    function: Handle,
    _config: *const c_void,
) -> u32 {
    enter("cuOccupancyMaxActiveClusters", Gate::Context, |state| {
        state.function(function)?;
        // SAFETY: the caller's promise.
        unsafe { put(count, 0) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStart() -> u32 {
    enter("cuProfilerStart", Gate::Context, |_| Ok(()))
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuProfilerStop() -> u32 {
    enter("cuProfilerStop", Gate::Context, |_| Ok(()))
}
