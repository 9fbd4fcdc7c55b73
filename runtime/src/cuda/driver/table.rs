//! The driver's functions that lenetc calls, under the names that a library exports: those of cuda.h for CUDA 12, where
//! a function's versions have suffixes. CUDA 12.0 has them all.

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};
use std::ptr::NonNull;

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction, CUgraph,
    CUgraphExec, CUjit_option, CUmodule, CUresult, CUstream, CUstreamCaptureMode,
};

/// Declares [`Table`]. Behind `as` stands a function as cudarc declares it, which the compiler compares.
macro_rules! table {
    ($($name:ident($($argument:ty),*) $(as $declared:path)?;)*) => {
        /// Addresses of functions, each with its type; all return a code.
        #[allow(non_snake_case, reason = "fields have the names of the driver's functions")]
        pub(in crate::cuda) struct Table {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> c_uint,)*
        }

        impl Table {
            /// From what finds a function by its name; the first name that it does not find is the error.
            ///
            /// # Safety
            /// What `find` returns is the driver's function of that name, for as long as the process runs.
            pub unsafe fn new(
                find: impl Fn(&'static str) -> Option<NonNull<c_void>>,
            ) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        let address = find(stringify!($name)).ok_or(stringify!($name))?;
                        // SAFETY: the caller promises that the address is this function's, and its type is that of
                        // cuda.h.
                        unsafe {
                            std::mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) -> c_uint,
                            >(address)
                        }
                    },)*
                })
            }
        }

        $(same!([$($argument),*] $($declared)?);)*
    };
}

/// Compares a type with a declaration, when it is compiled.
macro_rules! same {
    ([$($argument:ty),*]) => {};
    ([$($argument:ty),*] $declared:path) => {
        const _: unsafe fn($($argument),*) -> CUresult = $declared;
    };
}

table! {
    cuInit(c_uint) as sys::cuInit;
    cuDriverGetVersion(*mut c_int) as sys::cuDriverGetVersion;
    // Declared with the enum that cannot hold every code.
    cuGetErrorName(c_uint, *mut *const c_char);
    cuDeviceGet(*mut CUdevice, c_int) as sys::cuDeviceGet;
    cuDeviceGetAttribute(*mut c_int, CUdevice_attribute, CUdevice) as sys::cuDeviceGetAttribute;
    cuDeviceGetCount(*mut c_int) as sys::cuDeviceGetCount;
    cuDeviceGetName(*mut c_char, c_int, CUdevice) as sys::cuDeviceGetName;
    cuDeviceGetPCIBusId(*mut c_char, c_int, CUdevice) as sys::cuDeviceGetPCIBusId;
    cuDeviceTotalMem_v2(*mut usize, CUdevice) as sys::cuDeviceTotalMem_v2;
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice) as sys::cuDevicePrimaryCtxRetain;
    cuDevicePrimaryCtxRelease_v2(CUdevice) as sys::cuDevicePrimaryCtxRelease_v2;
    cuCtxSetCurrent(CUcontext) as sys::cuCtxSetCurrent;
    cuMemAllocAsync(*mut CUdeviceptr, usize, CUstream) as sys::cuMemAllocAsync;
    cuMemAlloc_v2(*mut CUdeviceptr, usize) as sys::cuMemAlloc_v2;
    cuMemFreeAsync(CUdeviceptr, CUstream) as sys::cuMemFreeAsync;
    cuMemFree_v2(CUdeviceptr) as sys::cuMemFree_v2;
    cuMemGetInfo_v2(*mut usize, *mut usize) as sys::cuMemGetInfo_v2;
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream) as sys::cuMemcpyDtoHAsync_v2;
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream) as sys::cuMemcpyHtoDAsync_v2;
    cuMemsetD8Async(CUdeviceptr, c_uchar, usize, CUstream) as sys::cuMemsetD8Async;
    cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char) as sys::cuModuleGetFunction;
    cuModuleLoadData(*mut CUmodule, *const c_void) as sys::cuModuleLoadData;
    cuModuleLoadDataEx(*mut CUmodule, *const c_void, c_uint, *mut CUjit_option, *mut *mut c_void)
        as sys::cuModuleLoadDataEx;
    cuModuleUnload(CUmodule) as sys::cuModuleUnload;
    cuLaunchKernel(
        CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream,
        *mut *mut c_void, *mut *mut c_void
    ) as sys::cuLaunchKernel;
    cuStreamBeginCapture_v2(CUstream, CUstreamCaptureMode) as sys::cuStreamBeginCapture_v2;
    cuStreamCreate(*mut CUstream, c_uint) as sys::cuStreamCreate;
    cuStreamDestroy_v2(CUstream) as sys::cuStreamDestroy_v2;
    cuStreamEndCapture(CUstream, *mut CUgraph) as sys::cuStreamEndCapture;
    cuStreamSynchronize(CUstream) as sys::cuStreamSynchronize;
    cuEventCreate(*mut CUevent, c_uint) as sys::cuEventCreate;
    cuEventDestroy_v2(CUevent) as sys::cuEventDestroy_v2;
    cuEventRecord(CUevent, CUstream) as sys::cuEventRecord;
    cuEventSynchronize(CUevent) as sys::cuEventSynchronize;
    cuGraphDestroy(CUgraph) as sys::cuGraphDestroy;
    cuGraphExecDestroy(CUgraphExec) as sys::cuGraphExecDestroy;
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, c_ulonglong)
        as sys::cuGraphInstantiateWithFlags;
    cuGraphLaunch(CUgraphExec, CUstream) as sys::cuGraphLaunch;
    cuGraphUpload(CUgraphExec, CUstream) as sys::cuGraphUpload;
}

impl Table {
    /// Starts the driver; all but [`Table::version`] and [`Table::error_name`] need that.
    pub fn init(&self) -> Result<(), super::DriverError> {
        // SAFETY: the table's promise; there are no flags.
        super::done(unsafe { (self.cuInit)(0) })
    }

    /// The CUDA version that the driver is made for, as 12090; 0 where it does not say.
    pub fn version(&self) -> i32 {
        version(self.cuDriverGetVersion)
    }

    /// The driver's name of a code, where it knows the code.
    pub fn error_name(&self, code: u32) -> Option<String> {
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the table's promise; the driver takes any number, and does not set the name of one that it does not
        // know.
        unsafe { (self.cuGetErrorName)(code, &mut name) };
        if name.is_null() {
            return None;
        }
        // SAFETY: a name is static, and ends with zero.
        let name = unsafe { std::ffi::CStr::from_ptr(name) };
        Some(name.to_string_lossy().into_owned())
    }
}

/// What `cuDriverGetVersion` says; it may be called before `cuInit`. For libraries that lack a function, too.
pub(in crate::cuda) fn version(get: unsafe extern "C" fn(*mut c_int) -> c_uint) -> i32 {
    let mut version = 0;
    // SAFETY: the function is the driver's, and writes one number.
    match unsafe { get(&mut version) } {
        0 => version,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_missing_is_the_error() {
        extern "C" fn any() {}
        let here = NonNull::new(any as *mut c_void);
        // SAFETY: no function of the table is called.
        let of = |missing| unsafe { Table::new(|name| here.filter(|_| name != missing)) };
        assert!(of("cuNothing").is_ok());
        assert_eq!(of("cuInit").err(), Some("cuInit"));
        assert_eq!(of("cuGraphUpload").err(), Some("cuGraphUpload"));
    }
}
