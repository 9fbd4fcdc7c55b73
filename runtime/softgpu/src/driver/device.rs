//! The device: what it is called and what it says of itself. Its numbers are those of the card that the settings name,
//! where a compiler would ask for them; its speed is a host's.

use super::errors::{INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, Result};
use super::state::{Gate, State, enter, put};
use crate::card::STATIC_SHARED_BYTES;
use std::ffi::{c_char, c_int, c_uint};

pub const REGISTERS: i32 = 65536;
pub const MAX_THREADS: u32 = 1024;
pub const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
pub const MAX_GRID: [u32; 3] = [0x7fff_ffff, 65535, 65535];

impl State {
    pub fn device(&self, device: c_int) -> Result {
        if device >= 0 && (device as u32) < self.config.devices {
            Ok(())
        } else {
            Err(INVALID_DEVICE)
        }
    }

    /// By number, as in `CUdevice_attribute`; unknown ones are zero, which mostly says "not supported".
    fn attribute(&self, attribute: u32) -> i32 {
        let card = &self.config.card;
        let limits = &card.limits;
        match attribute {
            1 => MAX_THREADS as i32,
            2..=4 => MAX_BLOCK[attribute as usize - 2] as i32,
            5..=7 => MAX_GRID[attribute as usize - 5] as i32,
            8 => STATIC_SHARED_BYTES as i32,
            9 => 65536,
            10 => 32,
            11 => i32::MAX,
            12 | 82 => REGISTERS,
            13 => card.clock_khz as i32,
            14 => 512,
            15 | 31 | 40 | 41 | 78..=80 | 90 => 1,
            16 => card.multiprocessors as i32,
            34 => 1,
            36 => card.memory_clock_khz as i32,
            37 => card.bus_bits as i32,
            38 => card.l2_bytes as i32,
            39 => limits.threads as i32,
            51 => 32,
            75 => card.capability.0 as i32,
            76 => card.capability.1 as i32,
            81 => limits.shared_multiprocessor_bytes as i32,
            87 => 2,
            97 => limits.shared_block_bytes as i32,
            106 => limits.blocks as i32,
            111 => limits.shared_reserved_bytes as i32,
            115 => i32::from(self.config.pools),
            _ => 0,
        }
    }
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(flags: c_uint) -> u32 {
    enter("cuInit", Gate::Always, |state| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if state.config.devices == 0 {
            return Err(NO_DEVICE);
        }
        state.initialized = true;
        Ok(())
    })
}

/// # Safety
/// `version` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    enter("cuDriverGetVersion", Gate::Always, |state| {
        // SAFETY: the caller's promise.
        unsafe { put(version, state.config.driver_version) }
    })
}

/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    enter("cuDeviceGetCount", Gate::Initialized, |state| {
        // SAFETY: the caller's promise.
        unsafe { put(count, state.config.devices as c_int) }
    })
}

/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    enter("cuDeviceGet", Gate::Initialized, |state| {
        state.device(ordinal)?;
        // SAFETY: the caller's promise.
        unsafe { put(device, ordinal) }
    })
}

/// # Safety
/// `name` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> u32 {
    enter("cuDeviceGetName", Gate::Initialized, |state| {
        state.device(device)?;
        if name.is_null() || len <= 0 {
            return Err(INVALID_VALUE);
        }
        let text = state.config.card.name.as_bytes();
        let count = text.len().min(len as usize - 1);
        // SAFETY: the caller's promise; `count` leaves room for the zero.
        unsafe {
            name.cast::<u8>().copy_from(text.as_ptr(), count);
            *name.add(count) = 0;
        }
        Ok(())
    })
}

/// # Safety
/// `text` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetPCIBusId(text: *mut c_char, len: c_int, device: c_int) -> u32 {
    enter("cuDeviceGetPCIBusId", Gate::Initialized, |state| {
        state.device(device)?;
        // Devices stand on buses of their own, from 1 on, in the driver's form: a domain of four digits.
        let bus = device + 1;
        let id = format!("{:04x}:{:02x}:00.0\0", bus >> 8, bus & 0xff);
        if text.is_null() || len < id.len() as c_int {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise, and there is room.
        unsafe { text.cast::<u8>().copy_from(id.as_ptr(), id.len()) };
        Ok(())
    })
}

/// # Safety
/// `value` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_uint,
    device: c_int,
) -> u32 {
    enter("cuDeviceGetAttribute", Gate::Initialized, |state| {
        state.device(device)?;
        if attribute == 0 || attribute > 200 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(value, state.attribute(attribute)) }
    })
}

/// # Safety
/// `bytes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> u32 {
    enter("cuDeviceTotalMem_v2", Gate::Initialized, |state| {
        state.device(device)?;
        // SAFETY: the caller's promise.
        unsafe { put(bytes, state.config.card.memory_bytes as usize) }
    })
}

fn uuid(symbol: &str, target: *mut [u8; 16], device: c_int) -> u32 {
    enter(symbol, Gate::Initialized, |state| {
        state.device(device)?;
        let mut bytes = *b"lenetc softgpu \0";
        bytes[15] = device as u8;
        // SAFETY: the caller's promise.
        unsafe { put(target, bytes) }
    })
}

/// # Safety
/// `target` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(target: *mut [u8; 16], device: c_int) -> u32 {
    uuid("cuDeviceGetUuid", target, device)
}

/// # Safety
/// `target` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(target: *mut [u8; 16], device: c_int) -> u32 {
    uuid("cuDeviceGetUuid_v2", target, device)
}

/// # Safety
/// The results are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceComputeCapability(
    major: *mut c_int,
    minor: *mut c_int,
    device: c_int,
) -> u32 {
    enter("cuDeviceComputeCapability", Gate::Initialized, |state| {
        state.device(device)?;
        let (first, second) = state.config.card.capability;
        // SAFETY: the caller's promise.
        unsafe {
            put(major, first as c_int)?;
            put(minor, second as c_int)
        }
    })
}
