//! NVRTC's functions, from the library that was found.
//!
//! cudarc has bindings too, but looks NVRTC up by name alone, not past version 12, and panics where a symbol is
//! missing. These eleven functions are all that is needed.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::null;

use libloading::Library;

use super::choose::{Compiler, Version};
use super::error::CudaError;

/// An `nvrtcProgram`.
type Handle = *mut c_void;
/// `NVRTC_SUCCESS`; a plain number, since a later version may return what no enum of today has.
const SUCCESS: c_int = 0;
/// `NVRTC_ERROR_COMPILATION`.
const COMPILATION: c_int = 6;

type Create = unsafe extern "C" fn(
    *mut Handle,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Handle, *mut c_char) -> c_int;
type Numbers = unsafe extern "C" fn(*mut c_int) -> c_int;

/// A loaded NVRTC.
pub struct Nvrtc {
    /// Where it lies; a bare name is in the loader's path.
    pub path: PathBuf,
    pub version: Version,
    /// What tells its file from another, a later one at the same place included.
    pub(super) identity: Identity,
    /// Compute capabilities that it compiles for, ascending, as 80 for 8.0.
    pub architectures: Vec<u32>,
    create: Create,
    compile: Compile,
    destroy: unsafe extern "C" fn(*mut Handle) -> c_int,
    log: (Size, Get),
    ptx: (Size, Get),
    cubin: (Size, Get),
    _library: Library,
}

/// A file's place, length and time of change, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub path: PathBuf,
    pub text: String,
}

impl Identity {
    /// Of the file at a path as it is now.
    pub fn of(path: &Path) -> Self {
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        let text = std::fs::metadata(&path).map_or(String::new(), |m| {
            format!("{} {}.{}", m.len(), m.mtime(), m.mtime_nsec())
        });
        let text = format!("{} {text}", path.display());
        Self { path, text }
    }
}

/// The file that holds loaded code; `path` where the system does not say.
fn loaded_from(address: usize, path: &Path) -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let holds = |line: &&str| {
        let range = line.split(' ').next().and_then(|r| r.split_once('-'));
        let bound = |text: &str| usize::from_str_radix(text, 16).ok();
        range.is_some_and(|(from, to)| {
            bound(from).is_some_and(|b| b <= address) && bound(to).is_some_and(|b| address < b)
        })
    };
    let line = maps.lines().find(holds);
    let file = line.and_then(|l| l.find('/').map(|at| &l[at..]));
    file.map_or_else(|| path.into(), PathBuf::from)
}

/// A program that is destroyed at the end.
struct Compilation<'a> {
    nvrtc: &'a Nvrtc,
    handle: Handle,
}

impl Drop for Compilation<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and destroyed once. What it returns could only be about the handle.
        unsafe { (self.nvrtc.destroy)(&mut self.handle) };
    }
}

impl Nvrtc {
    /// Loads a library, which goes with the value. [`CudaError::NoNvrtc`] where there is none at `path`.
    pub fn open(path: &Path) -> Result<Self, CudaError> {
        let wrong = |reason: String| CudaError::Nvrtc {
            path: path.into(),
            reason,
        };
        // SAFETY: a library of NVRTC's name, from the places of its installers, is NVRTC.
        let library = match unsafe { Library::new(path) } {
            Ok(library) => library,
            // A bare name is looked for by the loader, not in the current folder.
            Err(e) if path.is_absolute() && path.is_file() => {
                return Err(wrong(super::libraries::why(&e)));
            }
            Err(_) => return Err(CudaError::NoNvrtc { searched: vec![] }),
        };
        // SAFETY: the types are those of nvrtc.h, which has not changed them since CUDA 11.2; the pointers stay
        // valid because the library is kept beside them.
        unsafe {
            Self::bind(path, library)
                .map_err(|symbol| wrong(format!("it is too old and lacks {symbol}")))
        }
    }

    /// # Safety
    /// `library` is NVRTC.
    unsafe fn bind(path: &Path, library: Library) -> Result<Self, &'static str> {
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the caller promises that the library has NVRTC's functions under their names.
                *unsafe { library.get($name) }.map_err(|_| $name)?
            };
        }
        let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int =
            symbol!("nvrtcVersion");
        let (count, list): (Numbers, Numbers) = (
            symbol!("nvrtcGetNumSupportedArchs"),
            symbol!("nvrtcGetSupportedArchs"),
        );
        let (mut major, mut minor, mut len) = (0, 0, 0);
        // SAFETY: they are NVRTC's, each writes one number through its pointer, and the list has as many as `count` says.
        let architectures = unsafe {
            version(&mut major, &mut minor);
            count(&mut len);
            let mut all = vec![0; usize::try_from(len).unwrap_or(0)];
            list(all.as_mut_ptr());
            all.sort_unstable();
            all.iter().filter_map(|&a| u32::try_from(a).ok()).collect()
        };
        Ok(Self {
            path: path.into(),
            version: Version {
                major: major.unsigned_abs(),
                minor: minor.unsigned_abs(),
            },
            identity: Identity::of(&loaded_from(version as *const () as usize, path)),
            architectures,
            create: symbol!("nvrtcCreateProgram"),
            compile: symbol!("nvrtcCompileProgram"),
            destroy: symbol!("nvrtcDestroyProgram"),
            log: (
                symbol!("nvrtcGetProgramLogSize"),
                symbol!("nvrtcGetProgramLog"),
            ),
            ptx: (symbol!("nvrtcGetPTXSize"), symbol!("nvrtcGetPTX")),
            cubin: (symbol!("nvrtcGetCUBINSize"), symbol!("nvrtcGetCUBIN")),
            _library: library,
        })
    }

    /// What decides whether it is of use for a device.
    pub(super) fn compiler(&self) -> Compiler {
        Compiler {
            version: self.version,
            architectures: self.architectures.clone(),
        }
    }

    /// Compiles CUDA C: the machine code or the PTX text, and the log.
    pub(super) fn run(
        &self,
        source: &str,
        options: &[String],
        cubin: bool,
    ) -> Result<(Vec<u8>, String), CudaError> {
        let text = |s: &str| CString::new(s).map_err(|_| self.failed("a text with a zero byte"));
        let source = text(source)?;
        let options = options
            .iter()
            .map(|o| text(o))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut handle = std::ptr::null_mut();
        // SAFETY: the strings end with zero and live through the call, and there are no headers.
        let made = unsafe {
            (self.create)(
                &mut handle,
                source.as_ptr(),
                c"lenetc.cu".as_ptr(),
                0,
                null(),
                null(),
            )
        };
        if made != SUCCESS {
            return Err(self.failed(&format!("nvrtcCreateProgram returns {made}")));
        }
        let program = Compilation {
            nvrtc: self,
            handle,
        };
        // SAFETY: as many options as are counted, all alive.
        let done =
            unsafe { (self.compile)(program.handle, pointers.len() as c_int, pointers.as_ptr()) };
        let log = String::from_utf8_lossy(&program.get(self.log)?)
            .trim_end_matches('\0')
            .to_string();
        match done {
            SUCCESS => Ok((program.get(if cubin { self.cubin } else { self.ptx })?, log)),
            COMPILATION => Err(CudaError::Compile { log }),
            code => Err(self.failed(&format!("nvrtcCompileProgram returns {code}: {log}"))),
        }
    }

    fn failed(&self, reason: &str) -> CudaError {
        CudaError::Nvrtc {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}

impl Compilation<'_> {
    /// One of the program's outputs.
    fn get(&self, (size, get): (Size, Get)) -> Result<Vec<u8>, CudaError> {
        let mut len = 0;
        // SAFETY: the handle is alive.
        let code = unsafe { size(self.handle, &mut len) };
        let mut out = vec![0u8; len];
        let code = if code == SUCCESS {
            // SAFETY: `out` has the size that NVRTC asked for.
            unsafe { get(self.handle, out.as_mut_ptr().cast()) }
        } else {
            code
        };
        match code {
            SUCCESS => Ok(out),
            _ => Err(self
                .nvrtc
                .failed(&format!("it does not give its result ({code})"))),
        }
    }
}
