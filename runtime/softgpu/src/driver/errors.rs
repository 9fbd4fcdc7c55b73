//! The driver's result codes: numbers, names, and what they mean here. Names and numbers are those of the driver API.

use super::state::{Gate, enter, put};
use std::ffi::{CStr, c_char};

/// A result other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

pub type Result<T = ()> = std::result::Result<T, Code>;

pub const INVALID_VALUE: Code = Code(1);
pub const OUT_OF_MEMORY: Code = Code(2);
pub const NOT_INITIALIZED: Code = Code(3);
pub const NO_DEVICE: Code = Code(100);
pub const INVALID_DEVICE: Code = Code(101);
pub const INVALID_IMAGE: Code = Code(200);
pub const INVALID_CONTEXT: Code = Code(201);
pub const NO_BINARY_FOR_GPU: Code = Code(209);
pub const UNSUPPORTED_LIMIT: Code = Code(215);
pub const INVALID_PTX: Code = Code(218);
pub const UNSUPPORTED_PTX_VERSION: Code = Code(222);
pub const FILE_NOT_FOUND: Code = Code(301);
pub const INVALID_HANDLE: Code = Code(400);
pub const NOT_FOUND: Code = Code(500);
pub const NOT_READY: Code = Code(600);
pub const COOPERATIVE_LAUNCH_TOO_LARGE: Code = Code(720);
pub const NOT_PERMITTED: Code = Code(800);
pub const NOT_SUPPORTED: Code = Code(801);
pub const CAPTURE_UNSUPPORTED: Code = Code(900);
pub const CAPTURE_INVALIDATED: Code = Code(901);
pub const CAPTURE_UNMATCHED: Code = Code(903);
pub const CAPTURE_UNJOINED: Code = Code(904);
pub const CAPTURE_ISOLATION: Code = Code(905);
pub const CAPTURED_EVENT: Code = Code(907);
pub const UNKNOWN: u32 = 999;

impl Code {
    /// Whether a context is lost once it has met this error.
    pub fn is_sticky(self) -> bool {
        matches!(self.0, 700 | 702 | 710 | 714..=719 | 999)
    }
}

/// Number, name, meaning.
const TABLE: [(u32, &CStr, &CStr); 87] = [
    (0, c"CUDA_SUCCESS", c"no error"),
    (
        1,
        c"CUDA_ERROR_INVALID_VALUE",
        c"an argument is out of its range",
    ),
    (
        2,
        c"CUDA_ERROR_OUT_OF_MEMORY",
        c"the device's memory is used up",
    ),
    (
        3,
        c"CUDA_ERROR_NOT_INITIALIZED",
        c"cuInit has not been called",
    ),
    (
        4,
        c"CUDA_ERROR_DEINITIALIZED",
        c"the driver is shutting down",
    ),
    (
        5,
        c"CUDA_ERROR_PROFILER_DISABLED",
        c"an error that this library reports only when told to",
    ),
    (
        6,
        c"CUDA_ERROR_PROFILER_NOT_INITIALIZED",
        c"an error that this library reports only when told to",
    ),
    (
        7,
        c"CUDA_ERROR_PROFILER_ALREADY_STARTED",
        c"an error that this library reports only when told to",
    ),
    (
        8,
        c"CUDA_ERROR_PROFILER_ALREADY_STOPPED",
        c"an error that this library reports only when told to",
    ),
    (34, c"CUDA_ERROR_STUB_LIBRARY", c"the library is a stub"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"there is no device"),
    (
        101,
        c"CUDA_ERROR_INVALID_DEVICE",
        c"there is no such device",
    ),
    (
        102,
        c"CUDA_ERROR_DEVICE_NOT_LICENSED",
        c"an error that this library reports only when told to",
    ),
    (200, c"CUDA_ERROR_INVALID_IMAGE", c"the image is no module"),
    (
        201,
        c"CUDA_ERROR_INVALID_CONTEXT",
        c"there is no such context, or none is current",
    ),
    (
        202,
        c"CUDA_ERROR_CONTEXT_ALREADY_CURRENT",
        c"an error that this library reports only when told to",
    ),
    (
        205,
        c"CUDA_ERROR_MAP_FAILED",
        c"an error that this library reports only when told to",
    ),
    (
        206,
        c"CUDA_ERROR_UNMAP_FAILED",
        c"an error that this library reports only when told to",
    ),
    (
        207,
        c"CUDA_ERROR_ARRAY_IS_MAPPED",
        c"an error that this library reports only when told to",
    ),
    (
        208,
        c"CUDA_ERROR_ALREADY_MAPPED",
        c"an error that this library reports only when told to",
    ),
    (
        209,
        c"CUDA_ERROR_NO_BINARY_FOR_GPU",
        c"no code for this device",
    ),
    (
        210,
        c"CUDA_ERROR_ALREADY_ACQUIRED",
        c"an error that this library reports only when told to",
    ),
    (
        211,
        c"CUDA_ERROR_NOT_MAPPED",
        c"an error that this library reports only when told to",
    ),
    (
        212,
        c"CUDA_ERROR_NOT_MAPPED_AS_ARRAY",
        c"an error that this library reports only when told to",
    ),
    (
        213,
        c"CUDA_ERROR_NOT_MAPPED_AS_POINTER",
        c"an error that this library reports only when told to",
    ),
    (
        214,
        c"CUDA_ERROR_ECC_UNCORRECTABLE",
        c"an error that this library reports only when told to",
    ),
    (
        215,
        c"CUDA_ERROR_UNSUPPORTED_LIMIT",
        c"there is no such limit",
    ),
    (
        216,
        c"CUDA_ERROR_CONTEXT_ALREADY_IN_USE",
        c"an error that this library reports only when told to",
    ),
    (
        217,
        c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
        c"an error that this library reports only when told to",
    ),
    (
        218,
        c"CUDA_ERROR_INVALID_PTX",
        c"the PTX cannot be executed; lenetc_softgpu_report gives the line",
    ),
    (
        219,
        c"CUDA_ERROR_INVALID_GRAPHICS_CONTEXT",
        c"an error that this library reports only when told to",
    ),
    (
        220,
        c"CUDA_ERROR_NVLINK_UNCORRECTABLE",
        c"an error that this library reports only when told to",
    ),
    (
        221,
        c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
        c"an error that this library reports only when told to",
    ),
    (
        222,
        c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        c"the PTX is newer than this driver",
    ),
    (
        223,
        c"CUDA_ERROR_JIT_COMPILATION_DISABLED",
        c"an error that this library reports only when told to",
    ),
    (
        224,
        c"CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY",
        c"an error that this library reports only when told to",
    ),
    (
        300,
        c"CUDA_ERROR_INVALID_SOURCE",
        c"the source is not valid",
    ),
    (301, c"CUDA_ERROR_FILE_NOT_FOUND", c"there is no such file"),
    (
        302,
        c"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND",
        c"an error that this library reports only when told to",
    ),
    (
        303,
        c"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED",
        c"an error that this library reports only when told to",
    ),
    (
        304,
        c"CUDA_ERROR_OPERATING_SYSTEM",
        c"an error that this library reports only when told to",
    ),
    (
        400,
        c"CUDA_ERROR_INVALID_HANDLE",
        c"there is no such object",
    ),
    (
        401,
        c"CUDA_ERROR_ILLEGAL_STATE",
        c"the object is not in the right state",
    ),
    (
        500,
        c"CUDA_ERROR_NOT_FOUND",
        c"there is nothing of this name",
    ),
    (600, c"CUDA_ERROR_NOT_READY", c"the work is not done yet"),
    (
        700,
        c"CUDA_ERROR_ILLEGAL_ADDRESS",
        c"a kernel touched memory that is not its own",
    ),
    (
        701,
        c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
        c"the launch needs more than the device has",
    ),
    (
        702,
        c"CUDA_ERROR_LAUNCH_TIMEOUT",
        c"a kernel ran for too long",
    ),
    (
        703,
        c"CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING",
        c"an error that this library reports only when told to",
    ),
    (
        704,
        c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED",
        c"an error that this library reports only when told to",
    ),
    (
        705,
        c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED",
        c"an error that this library reports only when told to",
    ),
    (
        708,
        c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE",
        c"an error that this library reports only when told to",
    ),
    (
        709,
        c"CUDA_ERROR_CONTEXT_IS_DESTROYED",
        c"an error that this library reports only when told to",
    ),
    (710, c"CUDA_ERROR_ASSERT", c"a kernel's assertion failed"),
    (
        711,
        c"CUDA_ERROR_TOO_MANY_PEERS",
        c"an error that this library reports only when told to",
    ),
    (
        712,
        c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
        c"an error that this library reports only when told to",
    ),
    (
        713,
        c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
        c"an error that this library reports only when told to",
    ),
    (
        714,
        c"CUDA_ERROR_HARDWARE_STACK_ERROR",
        c"an error that this library reports only when told to",
    ),
    (
        715,
        c"CUDA_ERROR_ILLEGAL_INSTRUCTION",
        c"a kernel met an illegal instruction",
    ),
    (
        716,
        c"CUDA_ERROR_MISALIGNED_ADDRESS",
        c"a kernel touched a misaligned address",
    ),
    (
        717,
        c"CUDA_ERROR_INVALID_ADDRESS_SPACE",
        c"an address belongs to another space",
    ),
    (
        718,
        c"CUDA_ERROR_INVALID_PC",
        c"an error that this library reports only when told to",
    ),
    (
        719,
        c"CUDA_ERROR_LAUNCH_FAILED",
        c"a kernel failed; lenetc_softgpu_report says why",
    ),
    (
        720,
        c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        c"a cooperative launch has too many blocks",
    ),
    (
        800,
        c"CUDA_ERROR_NOT_PERMITTED",
        c"the operation is not permitted here",
    ),
    (
        801,
        c"CUDA_ERROR_NOT_SUPPORTED",
        c"the operation is not supported",
    ),
    (
        802,
        c"CUDA_ERROR_SYSTEM_NOT_READY",
        c"an error that this library reports only when told to",
    ),
    (
        803,
        c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        c"an error that this library reports only when told to",
    ),
    (
        804,
        c"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        c"an error that this library reports only when told to",
    ),
    (
        805,
        c"CUDA_ERROR_MPS_CONNECTION_FAILED",
        c"an error that this library reports only when told to",
    ),
    (
        806,
        c"CUDA_ERROR_MPS_RPC_FAILURE",
        c"an error that this library reports only when told to",
    ),
    (
        807,
        c"CUDA_ERROR_MPS_SERVER_NOT_READY",
        c"an error that this library reports only when told to",
    ),
    (
        808,
        c"CUDA_ERROR_MPS_MAX_CLIENTS_REACHED",
        c"an error that this library reports only when told to",
    ),
    (
        809,
        c"CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED",
        c"an error that this library reports only when told to",
    ),
    (
        900,
        c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        c"the operation is not permitted while a stream is being captured",
    ),
    (
        901,
        c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        c"the capture was spoilt by an earlier error",
    ),
    (
        902,
        c"CUDA_ERROR_STREAM_CAPTURE_MERGE",
        c"two captures would become one",
    ),
    (
        903,
        c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
        c"the capture did not begin on this stream",
    ),
    (
        904,
        c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
        c"the capture has branches that were not joined",
    ),
    (
        905,
        c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
        c"a capture would depend on work outside it",
    ),
    (
        906,
        c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        c"a capture would depend on the legacy stream",
    ),
    (
        907,
        c"CUDA_ERROR_CAPTURED_EVENT",
        c"the event belongs to a capture",
    ),
    (
        908,
        c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
        c"an error that this library reports only when told to",
    ),
    (
        909,
        c"CUDA_ERROR_TIMEOUT",
        c"an error that this library reports only when told to",
    ),
    (
        910,
        c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
        c"an error that this library reports only when told to",
    ),
    (
        911,
        c"CUDA_ERROR_EXTERNAL_DEVICE",
        c"an error that this library reports only when told to",
    ),
    (999, c"CUDA_ERROR_UNKNOWN", c"an internal error"),
];

fn entry(code: u32) -> Option<&'static (u32, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|(number, _, _)| *number == code)
}

pub fn name(code: u32) -> String {
    entry(code).map_or_else(
        || format!("code {code}"),
        |(_, name, _)| name.to_string_lossy().into_owned(),
    )
}

/// # Safety
/// `text` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: u32, text: *mut *const c_char) -> u32 {
    enter("cuGetErrorName", Gate::Always, |_| {
        let found = entry(code).map_or(std::ptr::null(), |(_, name, _)| name.as_ptr());
        // SAFETY: the caller's promise.
        unsafe { put(text, found) }?;
        if found.is_null() {
            Err(INVALID_VALUE)
        } else {
            Ok(())
        }
    })
}

/// # Safety
/// `text` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: u32, text: *mut *const c_char) -> u32 {
    enter("cuGetErrorString", Gate::Always, |_| {
        let found = entry(code).map_or(std::ptr::null(), |(_, _, meaning)| meaning.as_ptr());
        // SAFETY: the caller's promise.
        unsafe { put(text, found) }?;
        if found.is_null() {
            Err(INVALID_VALUE)
        } else {
            Ok(())
        }
    })
}
