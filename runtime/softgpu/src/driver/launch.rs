//! Launches, checked against the kernel's and the device's limits, and the attributes of kernels.

use super::device::{MAX_BLOCK, MAX_GRID, MAX_THREADS, REGISTERS};
use super::errors::{Code, INVALID_VALUE, NOT_SUPPORTED, Result};
use super::module::Kernel;
use super::queue::{LaunchSpec, Work};
use super::state::{Gate, Handle, State, enter, put};
use crate::card::STATIC_SHARED_BYTES;
use std::ffi::{c_int, c_uint, c_void};

const LAUNCH_OUT_OF_RESOURCES: Code = Code(701);
const ATTRIBUTE_MAX_DYNAMIC_SHARED: u32 = 8;
const ATTRIBUTE_CARVEOUT: u32 = 9;

impl Kernel {
    /// Threads of a block that the kernel allows.
    pub fn max_threads(&self) -> u32 {
        self.program
            .max_threads
            .unwrap_or(MAX_THREADS)
            .min(MAX_THREADS)
    }

    /// Threads of a block for whose registers there is room. Only machine code says for certain how many it takes; a warp
    /// gets them for all its lanes, eight at a time.
    pub fn register_threads(&self) -> u32 {
        let Some(code) = &self.machine else {
            return MAX_THREADS;
        };
        let warp = code.registers.next_multiple_of(8).max(8).saturating_mul(32);
        (REGISTERS as u32 / warp * 32).min(MAX_THREADS)
    }

    pub fn max_dynamic_shared(&self) -> u32 {
        let set = self.attribute(ATTRIBUTE_MAX_DYNAMIC_SHARED);
        set.map_or(
            STATIC_SHARED_BYTES.saturating_sub(self.program.shared_static),
            |bytes| bytes as u32,
        )
    }
}

impl State {
    /// # Safety
    /// Exactly one of the two is not null, and describes as many arguments as the kernel has.
    unsafe fn launch(
        &mut self,
        function: Handle,
        (grid, block): ([u32; 3], [u32; 3]),
        dynamic_shared: u32,
        stream: Handle,
        (arguments, extra): (*const *const c_void, *const *const c_void),
    ) -> Result {
        let kernel = self.function(function)?;
        let stream = self.stream(stream)?;
        self.check_shape(&kernel, grid, block)?;
        if dynamic_shared > kernel.max_dynamic_shared() {
            return self.fail(
                INVALID_VALUE,
                format!("{dynamic_shared} bytes of dynamic shared memory"),
            );
        }
        let params = if kernel.program.params.is_empty() {
            Vec::new()
        } else if !arguments.is_null() {
            // SAFETY: the caller's promise.
            unsafe { read_arguments(&kernel, arguments) }?
        } else {
            // SAFETY: the caller's promise.
            unsafe { read_extra(&kernel, extra) }?
        };
        self.queue(
            stream,
            Work::Launch(LaunchSpec {
                kernel,
                grid,
                block,
                dynamic_shared,
                params,
            }),
        )
    }

    fn check_shape(&mut self, kernel: &Kernel, grid: [u32; 3], block: [u32; 3]) -> Result {
        let fits =
            |size: [u32; 3], limit: [u32; 3]| (0..3).all(|k| size[k] > 0 && size[k] <= limit[k]);
        let threads: u64 = block.iter().map(|&size| u64::from(size)).product();
        if !fits(grid, MAX_GRID)
            || !fits(block, MAX_BLOCK)
            || threads > u64::from(kernel.max_threads())
        {
            return self.fail(
                INVALID_VALUE,
                format!(
                    "kernel `{}`: grid {grid:?}, block {block:?}, at most {} threads",
                    kernel.name,
                    kernel.max_threads()
                ),
            );
        }
        if threads > u64::from(kernel.register_threads()) {
            let registers = kernel.registers();
            let reason = format!("{threads} threads of {registers} registers");
            return self.fail(LAUNCH_OUT_OF_RESOURCES, reason);
        }
        Ok(())
    }
}

/// # Safety
/// `arguments` has a pointer to each parameter's bytes.
unsafe fn read_arguments(kernel: &Kernel, arguments: *const *const c_void) -> Result<Vec<u8>> {
    let program = &kernel.program;
    let mut bytes = vec![0; program.param_bytes as usize];
    for (k, (param, &offset)) in program
        .params
        .iter()
        .zip(&program.param_offsets)
        .enumerate()
    {
        // SAFETY: the caller's promise.
        let argument = unsafe { *arguments.add(k) };
        if argument.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise; the layout's end is the buffer's.
        unsafe {
            bytes
                .as_mut_ptr()
                .add(offset as usize)
                .copy_from(argument.cast(), param.size_bytes as usize)
        };
    }
    Ok(bytes)
}

/// The list of options that ends with null: 1 is followed by a buffer, 2 by a pointer to its size.
///
/// # Safety
/// `extra` is null or such a list.
unsafe fn read_extra(kernel: &Kernel, extra: *const *const c_void) -> Result<Vec<u8>> {
    let (mut buffer, mut size) = (std::ptr::null(), 0);
    if extra.is_null() {
        return Err(INVALID_VALUE);
    }
    let mut at = 0;
    loop {
        // SAFETY: the caller's promise: the list goes on until null.
        let option = unsafe { *extra.add(at) } as usize;
        match option {
            0 => break,
            // SAFETY: as above.
            1 => buffer = unsafe { *extra.add(at + 1) },
            // SAFETY: as above.
            2 => size = unsafe { (*extra.add(at + 1)).cast::<usize>().read_unaligned() },
            _ => return Err(INVALID_VALUE),
        }
        at += 2;
    }
    let needed = kernel.program.param_bytes as usize;
    if buffer.is_null() || size < needed {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), needed) }.to_vec())
}

/// # Safety
/// `arguments` or `extra` describes as many arguments as the kernel has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: Handle,
    arguments: *const *const c_void,
    extra: *const *const c_void,
) -> u32 {
    enter("cuLaunchKernel", Gate::Context, |state| {
        let shape = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        // SAFETY: the caller's promise.
        unsafe { state.launch(function, shape, shared_bytes, stream, (arguments, extra)) }
    })
}

/// `CUlaunchConfig`.
#[repr(C)]
pub struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: Handle,
    attributes: *const c_void,
    attribute_count: c_uint,
}

/// Launch attributes are not supported, except that there may be none.
///
/// # Safety
/// `config` is null or may be read; otherwise as for `cuLaunchKernel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const LaunchConfig,
    function: Handle,
    arguments: *const *const c_void,
    extra: *const *const c_void,
) -> u32 {
    enter("cuLaunchKernelEx", Gate::Context, |state| {
        // SAFETY: the caller's promise.
        let Some(config) = (unsafe { config.as_ref() }) else {
            return Err(INVALID_VALUE);
        };
        if config.attribute_count != 0 {
            return state.fail(NOT_SUPPORTED, "launch attributes");
        }
        let shape = (config.grid, config.block);
        // SAFETY: the caller's promise.
        unsafe {
            state.launch(
                function,
                shape,
                config.shared_bytes,
                config.stream,
                (arguments, extra),
            )
        }
    })
}

/// Blocks do not all run at once here, so they cannot wait for one another.
///
/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchCooperativeKernel(
    _function: Handle,
    _grid_x: c_uint,
    _grid_y: c_uint,
    _grid_z: c_uint,
    _block_x: c_uint,
    _block_y: c_uint,
    _block_z: c_uint,
    _shared_bytes: c_uint,
    _stream: Handle,
    _arguments: *const *const c_void,
) -> u32 {
    enter("cuLaunchCooperativeKernel", Gate::Context, |_| {
        Err(NOT_SUPPORTED)
    })
}

fn attribute_of(kernel: &Kernel, attribute: u32) -> Result<i32> {
    let program = &kernel.program;
    let (major, minor) = kernel.ptx_version;
    Ok(match attribute {
        0 => kernel.max_threads().min(kernel.register_threads()) as i32,
        1 => program.shared_static as i32,
        2 => 0,
        3 => kernel.local_bytes() as i32,
        4 => kernel.registers() as i32,
        5 => (major * 10 + minor) as i32,
        6 => (kernel.capability.0 * 10 + kernel.capability.1) as i32,
        7 => 0,
        ATTRIBUTE_MAX_DYNAMIC_SHARED => kernel.max_dynamic_shared() as i32,
        ATTRIBUTE_CARVEOUT => kernel.attribute(ATTRIBUTE_CARVEOUT).unwrap_or(-1),
        10..=15 => 0,
        _ => return Err(INVALID_VALUE),
    })
}

/// # Safety
/// `value` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(
    value: *mut c_int,
    attribute: c_uint,
    function: Handle,
) -> u32 {
    enter("cuFuncGetAttribute", Gate::Context, |state| {
        let found = attribute_of(&*state.function(function)?, attribute)?;
        // SAFETY: the caller's promise.
        unsafe { put(value, found) }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(
    function: Handle,
    attribute: c_uint,
    value: c_int,
) -> u32 {
    enter("cuFuncSetAttribute", Gate::Context, |state| {
        let kernel = state.function(function)?;
        let limits = &state.config.card.limits;
        let room = limits
            .shared_block_bytes
            .saturating_sub(kernel.program.shared_static);
        let is_allowed = match attribute {
            ATTRIBUTE_MAX_DYNAMIC_SHARED => value >= 0 && value as u32 <= room,
            ATTRIBUTE_CARVEOUT => (-1..=100).contains(&value),
            _ => false,
        };
        if !is_allowed {
            return Err(INVALID_VALUE);
        }
        kernel
            .attributes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(attribute, value);
        Ok(())
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetCacheConfig(function: Handle, config: c_uint) -> u32 {
    enter("cuFuncSetCacheConfig", Gate::Context, |state| {
        state.function(function)?;
        if config > 3 {
            Err(INVALID_VALUE)
        } else {
            Ok(())
        }
    })
}
