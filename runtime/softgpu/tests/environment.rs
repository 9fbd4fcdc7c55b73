//! Settings from the environment: a program of its own, since they are read once.

mod common;

use common::{library, report};
use cudarc::driver::CudaContext;
use cudarc::driver::sys;

#[test]
fn settings_are_read_from_the_environment() {
    // SAFETY: this is the only test of the program, and nothing else runs yet.
    unsafe {
        std::env::set_var(
            "LENETC_SOFTGPU",
            "devices=3; compute=9.0; fault=cuMemAlloc_v2:1:2",
        )
    };
    library();
    assert_eq!(CudaContext::device_count().unwrap(), 3);
    let context = CudaContext::new(2).unwrap();
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    let mut address = 0;
    // SAFETY: the result may be written.
    let code = unsafe { sys::cuMemAlloc_v2(&mut address, 64) };
    assert_eq!(code, sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    assert_eq!(
        report()["last_error"],
        "cuMemAlloc_v2: injected CUDA_ERROR_OUT_OF_MEMORY"
    );
}
