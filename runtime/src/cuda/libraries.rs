//! Finds the CUDA driver, the software GPU and NVRTC, and loads them once for the process.
//!
//! cudarc opens `libcuda.so` by name at its first call and panics where it or a symbol is missing. So the library is
//! opened here first, and every symbol that cudarc will ask for is looked up. The software GPU is named `libcuda.so`
//! inside: once it is loaded by its path, cudarc's search by name yields it. It is loaded only when asked for.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use libloading::Library;

use super::compile::Image;
use super::error::CudaError;
use super::nvrtc::Nvrtc;
use crate::cache::{is_private_to_us, variable};

/// What cudarc calls on the way of [`Engine`](super::Engine). CUDA 12.0 has them all.
const SYMBOLS: [&str; 38] = [
    "cuInit",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamIsCapturing",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuEventRecord",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuGetErrorName",
    "cuGetErrorString",
];

/// A driver that this process has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Nvidia,
    Software,
}

/// The driver of the process: cudarc keeps the first that it finds, so there is one.
static LOADED: Mutex<Option<(Driver, &'static Library)>> = Mutex::new(None);

/// Loads a driver, or says that it is loaded already.
pub(super) fn load(wanted: Driver) -> Result<(), CudaError> {
    let mut loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    match *loaded {
        Some((have, _)) if have == wanted => return Ok(()),
        Some(_) => {
            let asked = match wanted {
                Driver::Nvidia => "N",
                Driver::Software => "software",
            };
            return Err(CudaError::OtherDriver {
                asked: asked.into(),
            });
        }
        None => {}
    }
    let library = match wanted {
        Driver::Nvidia => nvidia()?,
        Driver::Software => load_software()?,
    };
    if let Some(missing) = SYMBOLS.iter().find(|name| !has(&library, name)) {
        return Err(CudaError::OldDriver {
            driver: version(&library),
            reason: format!("it lacks {missing}"),
        });
    }
    // cudarc keeps a handle of its own; this one keeps the name resolved until it has one.
    *loaded = Some((wanted, Box::leak(Box::new(library))));
    Ok(())
}

/// Tells the software GPU the PTX of the source that machine code was made from, since it runs that. False where none
/// is loaded.
pub(super) fn software_source(code: &[u8], ptx: &str) -> bool {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let (Some((Driver::Software, library)), Ok(text)) = (*loaded, CString::new(ptx)) else {
        return false;
    };
    type Source = unsafe extern "C" fn(*const c_void, usize, *const c_char) -> c_int;
    // SAFETY: the software GPU declares it so, and copies what it reads.
    unsafe {
        let source = library.get::<Source>("lenetc_softgpu_source");
        source.is_ok_and(|f| f(code.as_ptr().cast(), code.len(), text.as_ptr()) == 0)
    }
}

/// What the driver's compiler says when it translates PTX that it has refused; nothing for machine code.
pub(super) fn translation_log(image: &Image) -> String {
    /// `CU_JIT_ERROR_LOG_BUFFER` and its size in bytes.
    const OPTIONS: [c_int; 2] = [5, 6];
    const MOST_BYTES: usize = 4096;
    type Load = unsafe extern "C" fn(
        *mut *mut c_void,
        *const c_void,
        c_uint,
        *const c_int,
        *const *mut c_void,
    ) -> u32;
    let Image::Ptx(text) = image else {
        return String::new();
    };
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let (Some((_, library)), Ok(text)) = (*loaded, CString::new(text.as_str())) else {
        return String::new();
    };
    let mut log = vec![0u8; MOST_BYTES];
    let values = [log.as_mut_ptr().cast(), MOST_BYTES as *mut c_void];
    let mut module = std::ptr::null_mut();
    // SAFETY: the driver interface declares it so; the text ends with zero, and the log has the size that is said. What
    // was refused before is refused again, so there is no module to unload.
    unsafe {
        if let Ok(load) = library.get::<Load>("cuModuleLoadDataEx") {
            let options = (OPTIONS.as_ptr(), values.as_ptr());
            load(&mut module, text.as_ptr().cast(), 2, options.0, options.1);
        }
    }
    let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_string()
}

/// Whether the software GPU is the driver of this process.
pub(super) fn is_software() -> bool {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    matches!(*loaded, Some((Driver::Software, _)))
}

/// The CUDA version that the loaded driver is made for, as 12090; 0 where it does not say.
pub(super) fn driver_version() -> i32 {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    loaded.map_or(0, |(_, library)| version(library))
}

/// The loaded driver's name of an error code.
pub(super) fn error_name(code: u32) -> Option<String> {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let (_, library) = (*loaded)?;
    let mut name = std::ptr::null();
    // SAFETY: the driver interface declares it so; the name is static, ends with zero, and is not set for a code that
    // the driver does not know.
    unsafe {
        let f =
            library.get::<unsafe extern "C" fn(u32, *mut *const c_char) -> u32>("cuGetErrorName");
        f.ok()?(code, &mut name);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

fn has(library: &Library, symbol: &str) -> bool {
    // SAFETY: the symbol is only looked up.
    unsafe { library.get::<unsafe extern "C" fn()>(symbol).is_ok() }
}

fn version(library: &Library) -> i32 {
    let mut version = 0;
    // SAFETY: the driver interface declares it so, and it may be called before cuInit.
    unsafe {
        if let Ok(f) = library.get::<unsafe extern "C" fn(*mut i32) -> u32>("cuDriverGetVersion") {
            f(&mut version);
        }
    }
    version
}

/// Where the driver lies on systems that leave it out of the loader's path: NixOS, Kubernetes, WSL2.
const ELSEWHERE: [&str; 3] = [
    "/run/opengl-driver/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
];

/// The driver: the library that cudarc will open, the same names in the same order; else one that lies elsewhere, which
/// cudarc then finds by its name, since it is loaded.
fn nvidia() -> Result<Library, CudaError> {
    let named = ["cuda", "nvcuda"]
        .into_iter()
        .flat_map(cudarc::get_lib_name_candidates);
    named
        .chain(ELSEWHERE.map(String::from))
        // SAFETY: a library of the driver's name in the loader's path, or where its packages put it, is the driver.
        .find_map(|name| unsafe { Library::new(name) }.ok())
        .ok_or(CudaError::NoDriver)
}

fn load_software() -> Result<Library, CudaError> {
    let path = software()?;
    let wrong = |reason: String| CudaError::Software {
        path: path.clone(),
        reason,
    };
    // SAFETY: the library is part of this project and runs no code when it is loaded.
    let library = unsafe { Library::new(&path) }.map_err(|e| wrong(why(&e)))?;
    Ok(library)
}

/// The loader's own words, which libloading has as the source of its error.
pub(super) fn why(e: &libloading::Error) -> String {
    std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string)
}

/// Where the software GPU lies: `LENETC_SOFTGPU_LIB`, or beside this program.
pub fn software() -> Result<PathBuf, CudaError> {
    const NAME: &str = "liblenetc_softgpu.so";
    if let Some(path) = variable("LENETC_SOFTGPU_LIB") {
        // A path without a slash would be looked for in the loader's path.
        return path.canonicalize().map_err(|_| CudaError::NoSoftware {
            searched: vec![path],
        });
    }
    let own = env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent);
    let searched: Vec<PathBuf> = folder
        .into_iter()
        .flat_map(|f| [f.into(), f.join("deps")])
        .collect();
    let found = searched.iter().map(|f| f.join(NAME)).find(|p| p.is_file());
    found.ok_or(CudaError::NoSoftware { searched })
}

/// Changes the software GPU's settings, as `key=value;key=value`; false where none is loaded or it refuses.
pub fn software_configure(settings: &str) -> bool {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let (Some((Driver::Software, library)), Ok(text)) = (*loaded, CString::new(settings)) else {
        return false;
    };
    // SAFETY: the software GPU declares it so, and reads a text that ends with zero.
    unsafe {
        type Configure = unsafe extern "C" fn(*const c_char) -> c_int;
        let configure = library.get::<Configure>("lenetc_softgpu_configure");
        configure.is_ok_and(|f| f(text.as_ptr()) == 0)
    }
}

/// Sets the software GPU's counters to zero; false where none is loaded.
pub fn software_reset_counters() -> bool {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let Some((Driver::Software, library)) = *loaded else {
        return false;
    };
    // SAFETY: the software GPU declares it so.
    unsafe {
        let reset = library.get::<unsafe extern "C" fn()>("lenetc_softgpu_reset_counters");
        reset.map(|f| f()).is_ok()
    }
}

/// What the software GPU has found and counted, as JSON; `None` where none is loaded.
pub fn software_report() -> Option<String> {
    let loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    let (Driver::Software, library) = (*loaded)? else {
        return None;
    };
    // SAFETY: the software GPU declares both so; the text ends with zero, and is given back once.
    unsafe {
        let report = library.get::<unsafe extern "C" fn() -> *mut c_char>("lenetc_softgpu_report");
        let free = library.get::<unsafe extern "C" fn(*mut c_char)>("lenetc_softgpu_free");
        let (report, free) = (report.ok()?, free.ok()?);
        let text = report();
        let copy = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
        free(text);
        copy
    }
}

/// The newest NVRTC.
pub fn nvrtc() -> Result<&'static Nvrtc, CudaError> {
    let all = nvrtcs()?;
    // The list is never empty.
    Ok(&all[0])
}

/// Every NVRTC that can be used, the newest first and never none: looked for once, in the loader's path, in toolkits,
/// in Python's environments; or the one that `LENETC_NVRTC` names.
pub(super) fn nvrtcs() -> Result<&'static [Nvrtc], CudaError> {
    static FOUND: OnceLock<Result<Vec<Nvrtc>, CudaError>> = OnceLock::new();
    let found = FOUND.get_or_init(find_nvrtcs).as_ref();
    found.map(Vec::as_slice).map_err(Clone::clone)
}

fn find_nvrtcs() -> Result<Vec<Nvrtc>, CudaError> {
    if let Some(path) = variable("LENETC_NVRTC") {
        let wrong = |reason: &str| CudaError::Nvrtc {
            path: path.clone(),
            reason: reason.into(),
        };
        // A path without a slash would be looked for in the loader's path.
        let path = path.canonicalize();
        let path = path.map_err(|_| wrong("LENETC_NVRTC names no file"))?;
        return Nvrtc::open(&path).map(|n| vec![n]);
    }
    const NAMES: [&str; 4] = [
        "libnvrtc.so.12",
        "libnvrtc.so.13",
        "libnvrtc.so",
        "libnvrtc.so.11.2",
    ];
    let searched = nvrtc_folders();
    let folders = expand(&searched);
    let files = folders.iter().flat_map(|f| NAMES.map(|n| f.join(n)));
    let files = files.filter(|p| p.is_file());
    let (mut found, mut unusable): (Vec<Nvrtc>, _) = (vec![], None);
    for path in NAMES.map(PathBuf::from).into_iter().chain(files) {
        match Nvrtc::open(&path) {
            // A link or another name of one that is there is no other.
            Ok(n) if found.iter().any(|f| f.identity == n.identity) => {}
            Ok(n) => found.push(n),
            Err(e @ CudaError::Nvrtc { .. }) => unusable = unusable.or(Some(e)),
            Err(_) => {}
        }
    }
    // Stable: among equals the loader's path comes first.
    found.sort_by_key(|n| std::cmp::Reverse(n.version));
    match found.is_empty() {
        true => Err(unusable.unwrap_or(CudaError::NoNvrtc { searched })),
        false => Ok(found),
    }
}

/// Folders that NVRTC's installers use, with `*` for a part of any name.
fn nvrtc_folders() -> Vec<PathBuf> {
    const WHEELS: &str = "nvidia/*/lib";
    let site = |e: PathBuf| e.join("lib/python3*/site-packages").join(WHEELS);
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable);
    let usual = ["/usr/local/cuda", "/usr/local/cuda-*", "/opt/cuda"];
    let toolkits = toolkits.chain(usual.map(PathBuf::from));
    let mut folders: Vec<PathBuf> = toolkits
        .flat_map(|t| [t.join("lib64"), t.join("targets/*/lib")])
        .collect();
    let conda = variable("CONDA_PREFIX").into_iter();
    for environment in conda.chain([PathBuf::from("/opt/conda")]) {
        folders.push(environment.join("lib"));
        folders.push(site(environment));
    }
    let here = Path::new(".venv");
    // A library of a folder that others can write to would run their code.
    let ours = env::current_dir()
        .ok()
        .map(|d| d.join(here))
        .filter(|v| is_private_to_us(v, 0o022));
    let user = variable("HOME").map(|h| h.join(".local"));
    let environments = [variable("VIRTUAL_ENV"), ours, user];
    folders.extend(environments.into_iter().flatten().map(site));
    let system = [
        "/usr/local/lib/python3*/dist-packages",
        "/usr/lib/python3/dist-packages",
    ];
    folders.extend(system.map(|f| Path::new(f).join(WHEELS)));
    folders
}

/// Replaces each part that has a `*` by the entries that match it, in their order.
fn expand(patterns: &[PathBuf]) -> Vec<PathBuf> {
    patterns.iter().flat_map(|p| matching(p)).collect()
}

fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
        let star = part.to_str().and_then(|p| p.split_once('*'));
        found = match star {
            None => found.into_iter().map(|f| f.join(part)).collect(),
            Some(ends) => found.iter().flat_map(|f| entries(f, ends)).collect(),
        };
    }
    found
}

/// Entries of a folder whose names start and end as given, sorted.
fn entries(folder: &Path, (start, end): (&str, &str)) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = all
        .filter(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .map(|e| e.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_name() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["python3.11", "python3.9", "ruby"] {
            std::fs::create_dir_all(dir.path().join(name).join("x/lib")).expect("writable");
        }
        let found = matching(&dir.path().join("python3*/*/lib"));
        let expected: Vec<PathBuf> = ["python3.11/x/lib", "python3.9/x/lib"]
            .map(|p| dir.path().join(p))
            .into();
        assert_eq!(found, expected);
    }
}
