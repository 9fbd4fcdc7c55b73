//! A kernel that fills an array, for tests of streams and graphs.

use super::{Session, compile};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg,
};
use std::sync::Arc;

pub const FILL: &str =
    "extern \"C\" __global__ void fill(float* out, float value) { out[threadIdx.x] = value; }";

pub fn fill_kernel(s: &Session) -> CudaFunction {
    s.context
        .load_module(compile(FILL))
        .unwrap()
        .load_function("fill")
        .unwrap()
}

pub fn fill(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    out: &mut CudaSlice<f32>,
    value: f32,
) -> Result<(), DriverError> {
    let shape = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (32, 1, 1),
        shared_mem_bytes: 0,
    };
    unsafe {
        stream
            .launch_builder(function)
            .arg(out)
            .arg(&value)
            .launch(shape)
    }
    .map(|_| ())
}

pub fn code(result: Result<impl Sized, DriverError>) -> CUresult {
    match result {
        Ok(_) => CUresult::CUDA_SUCCESS,
        Err(error) => error.0,
    }
}
