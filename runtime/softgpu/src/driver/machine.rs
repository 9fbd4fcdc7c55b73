//! Machine code. It cannot be executed here, so what runs is the PTX of the same source, which the program hands over
//! before it loads a CUBIN. All that a driver looks at is looked at: for which device and which driver the CUBIN is, and
//! that it has the kernels that the PTX has.

use super::errors::{INVALID_IMAGE, INVALID_VALUE, NO_BINARY_FOR_GPU, Result};
use super::image::ELF;
use super::state::{Gate, Handle, State, enter};
use crate::cubin::{self, Cubin, CubinKernel, Version};
use crate::exec::program::Program;
use crate::ptx::{ast, parse};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A CUBIN, by what its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageKey {
    len_bytes: u64,
    hash: u64,
}

impl ImageKey {
    /// The key of a file that may have other bytes behind it.
    fn of(bytes: &[u8]) -> std::result::Result<Self, String> {
        let part = |at: u64, len: usize| {
            let start = usize::try_from(at).ok()?;
            Some(bytes.get(start..start.checked_add(len)?)?.to_vec())
        };
        let len_bytes = cubin::len_bytes(part)?;
        let file = bytes.get(..len_bytes as usize);
        let file = file.ok_or_else(|| "the ELF file is cut off".to_string())?;
        let mut hasher = DefaultHasher::new();
        file.hash(&mut hasher);
        Ok(Self {
            len_bytes,
            hash: hasher.finish(),
        })
    }
}

/// The first driver that reads ABI 8.
const ABI_8_DRIVER: Version = (12, 8);

impl State {
    pub fn load_machine_code(&mut self, image: &[u8]) -> Result<Handle> {
        let cubin = match cubin::read(image) {
            Ok(cubin) => cubin,
            Err(reason) => return self.fail(INVALID_IMAGE, reason),
        };
        self.check_cubin(&cubin)?;
        let source = match ImageKey::of(image) {
            Ok(key) => self.sources.get(&key).cloned(),
            Err(reason) => return self.fail(INVALID_IMAGE, reason),
        };
        let Some(source) = source else {
            let reason = "machine code cannot be executed, and no PTX was handed over for it";
            return self.fail(INVALID_IMAGE, reason);
        };
        let lines = Arc::new(source.lines().map(str::to_string).collect::<Vec<_>>());
        let tree = match parse(&source) {
            Ok(tree) => tree,
            Err(error) => return self.refuse(&lines, &error),
        };
        if let Err(reason) = compare_entries(&cubin, &tree) {
            return self.fail(INVALID_IMAGE, reason);
        }
        let module = self.install(&tree, &lines, Some(&cubin))?;
        self.counters.total.modules_cubin += 1;
        Ok(module)
    }

    /// Whether this driver and this device take a CUBIN.
    fn check_cubin(&mut self, cubin: &Cubin) -> Result {
        let number = self.config.driver_version.unsigned_abs();
        let driver = (number / 1000, number % 1000 / 10);
        // Drivers take what any CUDA of their own major version made.
        if cubin.cuda.0 > driver.0 || cubin.abi >= 8 && driver < ABI_8_DRIVER {
            let ((major, minor), abi) = (cubin.cuda, cubin.abi);
            let reason = format!(
                "a CUBIN of CUDA {major}.{minor} with ABI {abi}: this driver is for CUDA {}.{}",
                driver.0, driver.1
            );
            return self.fail(INVALID_IMAGE, reason);
        }
        let ((major, minor), device) = (cubin.capability, self.config.card.capability);
        if major != device.0 || minor > device.1 || cubin.is_specific {
            let alone = if cubin.is_specific { "a" } else { "" };
            let reason = format!(
                "machine code for sm_{major}{minor}{alone}, and this device is sm_{}{}",
                device.0, device.1
            );
            return self.fail(NO_BINARY_FOR_GPU, reason);
        }
        Ok(())
    }
}

/// The same kernels, for no newer device than the machine code's.
fn compare_entries(cubin: &Cubin, tree: &ast::Module) -> std::result::Result<(), String> {
    let (major, minor) = cubin.capability;
    if tree.capability() > major * 10 + minor {
        let target = &tree.target;
        return Err(format!(
            "the PTX is for {target}, its CUBIN for sm_{major}{minor}"
        ));
    }
    let names: Vec<&str> = tree
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    if let Some(name) = names
        .iter()
        .find(|name| !cubin.kernels.contains_key(**name))
    {
        return Err(format!("the CUBIN lacks the kernel `{name}` of its PTX"));
    }
    match cubin
        .kernels
        .keys()
        .find(|name| !names.contains(&name.as_str()))
    {
        Some(name) => Err(format!("the CUBIN has a kernel `{name}`, its PTX has none")),
        None => Ok(()),
    }
}

/// Whether a kernel takes the same arguments and memory in machine code and in PTX.
pub fn compare(kernel: &CubinKernel, program: &Program) -> std::result::Result<(), String> {
    let name = &program.name;
    let params = program.params.iter().zip(&program.param_offsets);
    let mut same = kernel.params.len() == program.params.len();
    for (number, (param, &offset)) in (0..).zip(params) {
        let found = kernel.params.get(&number);
        same &= found.is_some_and(|p| p.offset == offset && p.size_bytes == param.size_bytes);
    }
    if !same || kernel.param_bytes != program.param_bytes {
        return Err(format!(
            "kernel `{name}` takes {} parameters of {} bytes in the CUBIN, {} of {} in its PTX",
            kernel.params.len(),
            kernel.param_bytes,
            program.params.len(),
            program.param_bytes
        ));
    }
    // The assembler orders variables in its own way, so gaps between them may differ.
    let sizes = program.shared_sizes;
    if !(sizes.packed..=sizes.loose).contains(&kernel.shared_bytes) {
        return Err(format!(
            "kernel `{name}` has {} bytes of shared memory in the CUBIN, {} in its PTX",
            kernel.shared_bytes, program.shared_static
        ));
    }
    if kernel.max_threads != program.max_threads {
        return Err(format!(
            "kernel `{name}` takes {:?} threads in the CUBIN, {:?} in its PTX",
            kernel.max_threads, program.max_threads
        ));
    }
    Ok(())
}

/// Keeps the PTX that was compiled from the source of a CUBIN, until a reset; a CUBIN that is loaded later runs as its
/// PTX. True if it was kept; otherwise the report's `last_error` says why not.
pub fn source(cubin: &[u8], ptx: &str) -> bool {
    let code = enter("lenetc_softgpu_source", Gate::Always, |state| {
        if !cubin.starts_with(ELF) {
            return state.fail(INVALID_VALUE, "a CUBIN is an ELF file");
        }
        match ImageKey::of(cubin) {
            Ok(key) => {
                state.sources.insert(key, ptx.into());
                Ok(())
            }
            Err(reason) => state.fail(INVALID_VALUE, reason),
        }
    });
    code == 0
}

/// Like [`source`], for C. Zero if it was kept.
///
/// # Safety
/// `cubin` has `len` bytes; `ptx` is a text that ends with a zero byte. Both may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lenetc_softgpu_source(
    cubin: *const c_void,
    len: usize,
    ptx: *const c_char,
) -> c_int {
    let refuse = |reason: &str| {
        enter("lenetc_softgpu_source", Gate::Always, |state| {
            state.fail(INVALID_VALUE, reason)
        });
        1
    };
    if cubin.is_null() || ptx.is_null() {
        return refuse("a CUBIN and its PTX belong here");
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(cubin.cast::<u8>(), len) };
    // SAFETY: the caller's promise.
    let ptx = unsafe { CStr::from_ptr(ptx) };
    match ptx.to_str() {
        Ok(text) => c_int::from(!source(bytes, text)),
        Err(_) => refuse("the PTX is not text"),
    }
}
