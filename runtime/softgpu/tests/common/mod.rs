//! What the tests share: the library loaded as a driver, NVRTC, and the report.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod fill;
pub mod lanes;
pub mod machine;

use cudarc::driver::CudaContext;
use cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts};
use libloading::{Library, Symbol};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// The library that cargo built beside the tests.
pub fn library_path() -> PathBuf {
    let exe = std::env::current_exe().expect("a test has a path");
    let folder = exe.parent().expect("it lies in a folder");
    // Examples lie beside the folder of the tests.
    let candidates = [folder.to_path_buf(), folder.join("../deps")]
        .map(|folder| folder.join("liblenetc_softgpu.so"));
    candidates
        .into_iter()
        .find(|path| path.exists())
        .expect("cargo builds the library with the tests")
}

/// Loads the software GPU by its path, before cudarc looks for a driver by its name.
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library's initialisers do nothing of note.
    LIBRARY.get_or_init(|| {
        unsafe { Library::new(library_path()) }.expect("the software GPU is built with the tests")
    })
}

fn nvrtc_folders() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    let pythons = std::fs::read_dir(root).into_iter().flatten().flatten();
    pythons
        .map(|python| python.path().join("site-packages/nvidia/cuda_nvrtc/lib"))
        .collect()
}

/// Loads NVRTC: from `LENETC_NVRTC`, from the loader's path, or from the workspace's virtual environment.
pub fn load_nvrtc() {
    static NVRTC: OnceLock<Library> = OnceLock::new();
    NVRTC.get_or_init(|| {
        let named = std::env::var_os("LENETC_NVRTC").map(PathBuf::from);
        let in_folders = nvrtc_folders().into_iter().map(|folder| folder.join("libnvrtc.so.12"));
        let mut candidates = named.into_iter().chain([PathBuf::from("libnvrtc.so.12")]).chain(in_folders);
        // SAFETY: the library's initialisers do nothing of note.
        candidates
            .find_map(|path| unsafe { Library::new(path) }.ok())
            .expect("NVRTC is missing: run tests/run, which installs it, or set LENETC_NVRTC to libnvrtc.so.12")
    });
}

/// CUDA to PTX for `compute_80`.
pub fn compile(source: &str) -> Ptx {
    compile_for(source, "compute_80", &[])
}

pub fn compile_for(source: &str, arch: &'static str, options: &[&str]) -> Ptx {
    load_nvrtc();
    let options = CompileOptions {
        arch: Some(arch),
        options: options.iter().map(|option| option.to_string()).collect(),
        ..CompileOptions::default()
    };
    compile_ptx_with_opts(source, options).unwrap_or_else(|error| panic!("{error:?}"))
}

/// One test at a time uses the device.
pub struct Session {
    pub context: Arc<CudaContext>,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// A fresh device with these settings, for this test alone.
pub fn session(settings: &str) -> Session {
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    library();
    configure(&format!("{DEFAULTS};{settings};reset=1")).expect("settings are understood");
    let context = CudaContext::new(0).expect("there is a device");
    // SAFETY: tests use one stream or order several themselves.
    unsafe { context.disable_event_tracking() };
    Session {
        context,
        _turn: turn,
    }
}

/// The turn alone, for tests that make no context or a broken one.
pub fn turn(settings: &str) -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    library();
    configure(&format!("{DEFAULTS};{settings};reset=1")).expect("settings are understood");
    turn
}

const DEFAULTS: &str = "sanitize=none;warp_order=0;card=software;devices=1;max_ptx=8.8;driver=12090;\
                        fault=;count=0;pageable=sync;watchdog=60;simd=auto";

/// The error text where the settings are refused.
pub fn configure(settings: &str) -> Result<(), String> {
    // SAFETY: the function has this type.
    let function: Symbol<'_, unsafe extern "C" fn(*const c_char) -> c_int> =
        unsafe { library().get(b"lenetc_softgpu_configure") }.expect("exported");
    // Later settings win over earlier ones.
    let text = CString::new(settings).expect("no zero byte");
    // SAFETY: the text ends with a zero byte.
    match unsafe { function(text.as_ptr()) } {
        0 => Ok(()),
        _ => Err(report()["last_error"].as_str().unwrap_or("").to_string()),
    }
}

pub fn report() -> serde_json::Value {
    type Report = unsafe extern "C" fn() -> *mut c_char;
    type Free = unsafe extern "C" fn(*mut c_char);
    // SAFETY: the functions have these types, and the text ends with a zero byte.
    unsafe {
        let report: Symbol<'_, Report> = library().get(b"lenetc_softgpu_report").expect("exported");
        let free: Symbol<'_, Free> = library().get(b"lenetc_softgpu_free").expect("exported");
        let text = report();
        let value = serde_json::from_str(&CStr::from_ptr(text).to_string_lossy()).expect("JSON");
        free(text);
        value
    }
}
