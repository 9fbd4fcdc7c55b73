//! Machine code from NVRTC, and the two calls that load it: handing over its PTX, and the driver's own.

use super::{compile_for, library, load_nvrtc};
use cudarc::nvrtc::{result, sys};
use libloading::Symbol;
use std::ffi::{CString, c_char, c_int, c_void};

/// What NVRTC makes of a source for an architecture, as `sm_80`.
pub fn cubin(source: &str, arch: &str) -> Vec<u8> {
    load_nvrtc();
    let source = CString::new(source).expect("no zero byte");
    let options = [format!("--gpu-architecture={arch}")];
    // SAFETY: the program lives until it is destroyed, and the buffer is as long as NVRTC says.
    unsafe {
        let program = result::create_program(&source, None).expect("a program");
        result::compile_program(program, &options).expect("the source is right");
        let mut len = 0;
        let told = sys::nvrtcGetCUBINSize(program, &mut len);
        let mut bytes = vec![0u8; len];
        let made = sys::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast());
        let good = sys::nvrtcResult::NVRTC_SUCCESS;
        assert_eq!((told, made), (good, good));
        result::destroy_program(program).expect("destroyed");
        bytes
    }
}

pub fn ptx(source: &str, arch: &'static str) -> String {
    compile_for(source, arch, &[]).to_src()
}

/// Hands over PTX for a CUBIN; whether it was kept.
pub fn hand_over(cubin: &[u8], ptx: &str) -> bool {
    type Source = unsafe extern "C" fn(*const c_void, usize, *const c_char) -> c_int;
    let ptx = CString::new(ptx).expect("no zero byte");
    // SAFETY: the function has this type; the CUBIN has its length, and the PTX ends with a zero byte.
    unsafe {
        let source: Symbol<'_, Source> = library().get(b"lenetc_softgpu_source").expect("exported");
        source(cubin.as_ptr().cast(), cubin.len(), ptx.as_ptr()) == 0
    }
}

/// `cuModuleLoadData`: a module, or the code of an error.
pub fn load(image: &[u8]) -> Result<usize, u32> {
    type Load = unsafe extern "C" fn(*mut usize, *const c_void) -> u32;
    let mut module = 0;
    // SAFETY: the function has this type. A file that is cut off is what tests are about: the library reads with care.
    let code = unsafe {
        let load: Symbol<'_, Load> = library().get(b"cuModuleLoadData").expect("exported");
        load(&mut module, image.as_ptr().cast())
    };
    if code == 0 { Ok(module) } else { Err(code) }
}

pub fn unload(module: usize) {
    type Unload = unsafe extern "C" fn(usize) -> u32;
    // SAFETY: the function has this type.
    let code = unsafe {
        let unload: Symbol<'_, Unload> = library().get(b"cuModuleUnload").expect("exported");
        unload(module)
    };
    assert_eq!(code, 0);
}
