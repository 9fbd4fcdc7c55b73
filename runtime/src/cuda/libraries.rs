//! Finds the CUDA driver, the software GPU and NVRTC, and loads them once for the process.
//!
//! The software GPU is part of the program. A library is asked for every function before any is called but the first,
//! so one that is too old is an error and not a surprise. NVIDIA's toolkit has a stub of the driver's library, for
//! linking; where the loader finds that one, the search goes on.

use std::env;
use std::ffi::{c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

use libloading::Library;

use super::compile::Image;
use super::driver::{self, DriverError, Table};
use super::error::{CudaError, is_stub};
use super::nvrtc::Nvrtc;
use super::software;
use crate::cache::{is_private_to_us, variable};

/// A driver that this process can load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Nvidia,
    Software,
}

/// A driver that is loaded, for as long as the process runs.
#[derive(Clone, Copy)]
pub(super) struct Loaded {
    driver: Driver,
    pub table: &'static Table,
    /// What it said when it was first started.
    pub started: Result<(), DriverError>,
}

/// The driver of the process. There is one, since errors are called as it calls them.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

fn loaded() -> Option<Loaded> {
    *LOADED.lock().unwrap_or_else(|e| e.into_inner())
}

/// Loads a driver, or says that it is loaded already.
pub(super) fn load(wanted: Driver) -> Result<Loaded, CudaError> {
    let mut loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    match *loaded {
        Some(have) if have.driver == wanted => return Ok(have),
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
    let (table, started) = match wanted {
        Driver::Nvidia => {
            let opened = nvidia()?;
            // Its functions are called until the process ends.
            std::mem::forget(opened.library);
            (opened.table, opened.started)
        }
        Driver::Software => (software::table()?, Ok(())),
    };
    let new = Loaded {
        driver: wanted,
        table: Box::leak(Box::new(table)),
        started,
    };
    *loaded = Some(new);
    Ok(new)
}

/// What the driver's compiler says when it translates PTX that it has refused; nothing for machine code.
pub(super) fn translation_log(image: &Image) -> String {
    match (image, loaded()) {
        (Image::Ptx(text), Some(loaded)) => driver::translation_log(loaded.table, text),
        _ => String::new(),
    }
}

/// Whether the software GPU is the driver of this process.
pub(super) fn is_software() -> bool {
    loaded().is_some_and(|l| l.driver == Driver::Software)
}

/// The CUDA version that the loaded driver is made for, as 12090; 0 where it does not say.
pub(super) fn driver_version() -> i32 {
    loaded().map_or(0, |l| l.table.version())
}

/// The loaded driver's name of an error code.
pub(super) fn error_name(code: u32) -> Option<String> {
    loaded()?.table.error_name(code)
}

/// The address of a function; `None` also where a symbol has none.
fn find(library: &Library, symbol: &str) -> Option<NonNull<c_void>> {
    // SAFETY: the symbol is only looked up; what it stands for is an address.
    let address = unsafe { library.get::<*mut c_void>(symbol) };
    NonNull::new(*address.ok()?)
}

/// The functions of a driver's library, which it must outlive.
fn table(library: &Library) -> Result<Table, CudaError> {
    // SAFETY: a library of the driver's name has the driver's functions under their names; the caller keeps it.
    let table = unsafe { Table::new(|name| find(library, name)) };
    table.map_err(|missing| CudaError::OldDriver {
        driver: version(library),
        reason: format!("it lacks {missing}"),
    })
}

fn version(library: &Library) -> i32 {
    // SAFETY: the driver interface declares it so.
    let get =
        unsafe { library.get::<unsafe extern "C" fn(*mut c_int) -> u32>("cuDriverGetVersion") };
    get.map_or(0, |get| driver::version(*get))
}

/// The name that programs load; `libcuda.so` is for linking, and mostly a stub where a toolkit has put it.
const NAME: &str = "libcuda.so.1";
const LINK_NAME: &str = "libcuda.so";

/// Where the driver lies on systems that leave it out of the loader's path: NixOS, Kubernetes, WSL2.
const ELSEWHERE: [&str; 3] = [
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
];

/// A library of a driver with its functions, and what it says when it is started.
struct Opened {
    library: Library,
    table: Table,
    started: Result<(), DriverError>,
}

/// NVIDIA's driver: the first library that is neither a stub nor too old.
fn nvidia() -> Result<Opened, CudaError> {
    let mut refused = Vec::new();
    let elsewhere = ELSEWHERE.map(|f| Path::new(f).join(NAME));
    let usual = [PathBuf::from(NAME)].into_iter().chain(elsewhere);
    let usual = usual.chain([PathBuf::from(LINK_NAME)]);
    if let Some(found) = first_driver(usual, &mut refused) {
        return Ok(found);
    }
    // Where the loader finds a stub, it does not look further.
    let behind = loader_folders().into_iter().map(|f| f.join(NAME));
    let is_stub = |e: &CudaError| matches!(e, CudaError::Start { .. });
    if refused.iter().any(is_stub)
        && let Some(found) = first_driver(behind, &mut refused)
    {
        return Ok(found);
    }
    Err(refused.into_iter().next().unwrap_or(CudaError::NoDriver))
}

/// The first driver among libraries; why others are none goes to `refused`.
fn first_driver(
    mut paths: impl Iterator<Item = PathBuf>,
    refused: &mut Vec<CudaError>,
) -> Option<Opened> {
    paths.find_map(|path| {
        // SAFETY: a library of the driver's name in the loader's path, or where its packages put it, is the driver.
        let library = unsafe { Library::new(path) }.ok()?;
        let opened = open(library);
        opened.map_err(|e| refused.push(e)).ok()
    })
}

/// Starts a driver. An old toolkit's stub lacks functions too, so that it is one comes first.
fn open(library: Library) -> Result<Opened, CudaError> {
    // SAFETY: the driver interface declares it so.
    let init = unsafe { library.get::<unsafe extern "C" fn(c_uint) -> c_uint>("cuInit") };
    // SAFETY: there are no flags.
    let started = init.map_or(Ok(()), |init| driver::done(unsafe { init(0) }));
    if started.is_err_and(is_stub) {
        return Err(CudaError::stub());
    }
    match table(&library) {
        Ok(table) => Ok(Opened {
            library,
            table,
            started,
        }),
        Err(e) => {
            // What is started may have threads, so it stays.
            std::mem::forget(library);
            Err(e)
        }
    }
}

/// Where the loader looks for libraries, in its order: the variable's folders, and the usual ones of systems.
fn loader_folders() -> Vec<PathBuf> {
    let variable = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = env::split_paths(&variable).filter(|f| f.is_absolute());
    let architecture = env::consts::ARCH;
    let multiarch = format!("/usr/lib/{architecture}-linux-gnu");
    let usual = [&multiarch, "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    named.chain(usual.map(PathBuf::from)).collect()
}

/// The loader's own words, which libloading has as the source of its error.
pub(super) fn why(e: &libloading::Error) -> String {
    std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string)
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
