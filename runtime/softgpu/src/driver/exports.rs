//! The driver's functions by name, for a program that the software GPU is built into: it needs no library, and the names
//! that such a program has inside are not visible to a driver's library that it loads.

use super::errors::{cuGetErrorName, cuGetErrorString};
use super::*;
use std::ffi::c_void;
use std::ptr::NonNull;

macro_rules! table {
    ($($name:ident)*) => {
        /// The address of a function of the driver API under its exported name, as `cuMemAlloc_v2`; `None` where there
        /// is none. Its type is that of cuda.h.
        pub fn symbol(name: &str) -> Option<NonNull<c_void>> {
            let address = match name {
                $(stringify!($name) => $name as *const c_void,)*
                _ => return None,
            };
            NonNull::new(address.cast_mut())
        }
    };
}

table! {
    cuCtxCreate_v2
    cuCtxCreate_v3
    cuCtxCreate_v4
    cuCtxDestroy_v2
    cuCtxGetApiVersion
    cuCtxGetCacheConfig
    cuCtxGetCurrent
    cuCtxGetDevice
    cuCtxGetFlags
    cuCtxGetLimit
    cuCtxGetStreamPriorityRange
    cuCtxSetCacheConfig
    cuCtxSetCurrent
    cuCtxSetFlags
    cuCtxSetLimit
    cuCtxSynchronize
    cuDeviceComputeCapability
    cuDeviceGet
    cuDeviceGetAttribute
    cuDeviceGetCount
    cuDeviceGetDefaultMemPool
    cuDeviceGetMemPool
    cuDeviceGetName
    cuDeviceGetPCIBusId
    cuDeviceGetUuid
    cuDeviceGetUuid_v2
    cuDevicePrimaryCtxGetState
    cuDevicePrimaryCtxRelease_v2
    cuDevicePrimaryCtxReset_v2
    cuDevicePrimaryCtxRetain
    cuDevicePrimaryCtxSetFlags_v2
    cuDeviceSetMemPool
    cuDeviceTotalMem_v2
    cuDriverGetVersion
    cuEventCreate
    cuEventDestroy_v2
    cuEventElapsedTime
    cuEventElapsedTime_v2
    cuEventQuery
    cuEventRecord
    cuEventRecordWithFlags
    cuEventSynchronize
    cuFuncGetAttribute
    cuFuncSetAttribute
    cuFuncSetCacheConfig
    cuGetErrorName
    cuGetErrorString
    cuGraphDestroy
    cuGraphExecDestroy
    cuGraphGetNodes
    cuGraphInstantiateWithFlags
    cuGraphLaunch
    cuGraphNodeGetType
    cuGraphUpload
    cuInit
    cuLaunchCooperativeKernel
    cuLaunchHostFunc
    cuLaunchKernel
    cuLaunchKernelEx
    cuMemAllocAsync
    cuMemAllocFromPoolAsync
    cuMemAllocHost_v2
    cuMemAllocManaged
    cuMemAlloc_v2
    cuMemFreeAsync
    cuMemFreeHost
    cuMemFree_v2
    cuMemGetAddressRange_v2
    cuMemGetInfo_v2
    cuMemHostAlloc
    cuMemHostGetDevicePointer_v2
    cuMemHostRegister_v2
    cuMemHostUnregister
    cuMemPoolCreate
    cuMemPoolDestroy
    cuMemPoolGetAttribute
    cuMemPoolSetAttribute
    cuMemPoolTrimTo
    cuMemcpyDtoDAsync_v2
    cuMemcpyDtoD_v2
    cuMemcpyDtoHAsync_v2
    cuMemcpyDtoH_v2
    cuMemcpyHtoDAsync_v2
    cuMemcpyHtoD_v2
    cuMemcpyPeerAsync
    cuMemsetD16Async
    cuMemsetD16_v2
    cuMemsetD2D32Async
    cuMemsetD2D8Async
    cuMemsetD32Async
    cuMemsetD32_v2
    cuMemsetD8Async
    cuMemsetD8_v2
    cuModuleGetFunction
    cuModuleGetGlobal_v2
    cuModuleGetLoadingMode
    cuModuleLoad
    cuModuleLoadData
    cuModuleLoadDataEx
    cuModuleLoadFatBinary
    cuModuleUnload
    cuOccupancyAvailableDynamicSMemPerBlock
    cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
    cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags
    cuProfilerStart
    cuProfilerStop
    cuStreamAttachMemAsync
    cuStreamBeginCapture_v2
    cuStreamCreate
    cuStreamCreateWithPriority
    cuStreamDestroy_v2
    cuStreamEndCapture
    cuStreamGetCaptureInfo_v2
    cuStreamGetCtx
    cuStreamGetFlags
    cuStreamGetPriority
    cuStreamIsCapturing
    cuStreamQuery
    cuStreamSynchronize
    cuStreamWaitEvent
}
