//! Modules: PTX to kernels that can be launched, and variables in device memory. `machine` knows CUBINs.

use super::errors::{
    FILE_NOT_FOUND, INVALID_HANDLE, INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, NO_BINARY_FOR_GPU,
    NOT_FOUND, NOT_SUPPORTED, OUT_OF_MEMORY, Result, UNSUPPORTED_PTX_VERSION,
};
use super::image::{ELF, FAT_BINARY, image_at};
use super::machine::compare;
use super::state::{Gate, Handle, State, enter, put, put_if};
use crate::cubin::{Cubin, CubinKernel, Version};
use crate::decode::{DeviceSymbols, decode, initial_bytes};
use crate::exec::program::Program;
use crate::ptx::ast::{self, Space, Variable};
use crate::ptx::{PtxError, parse};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::{Arc, Mutex};

pub struct Kernel {
    pub name: String,
    pub program: Program,
    pub ptx_version: Version,
    /// Of the machine code: the CUBIN's, or the device's where PTX was loaded.
    pub capability: Version,
    /// What the CUBIN says, where one was loaded.
    pub machine: Option<CubinKernel>,
    /// Attributes that were set.
    pub attributes: Mutex<BTreeMap<u32, i32>>,
}

impl Kernel {
    /// 32-bit registers of a thread.
    pub fn registers(&self) -> u32 {
        let machine = self.machine.as_ref();
        machine.map_or(self.program.registers, |code| code.registers)
    }

    /// Local memory of a thread.
    pub fn local_bytes(&self) -> u32 {
        let machine = self.machine.as_ref();
        machine.map_or(self.program.local_len, |code| code.local_bytes)
    }

    pub fn attribute(&self, attribute: u32) -> Option<i32> {
        self.attributes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(&attribute)
            .copied()
    }
}

pub struct Module {
    functions: BTreeMap<String, Handle>,
    variables: BTreeMap<String, (u64, u64)>,
}

impl State {
    fn load(&mut self, image: &[u8]) -> Result<Handle> {
        if image.starts_with(ELF) {
            return self.load_machine_code(image);
        }
        if image.starts_with(FAT_BINARY) {
            return self.fail(NO_BINARY_FOR_GPU, "fat binaries are not read: give PTX");
        }
        let Ok(text) = std::str::from_utf8(image) else {
            return self.fail(INVALID_IMAGE, "the image is not text");
        };
        let lines = Arc::new(text.lines().map(str::to_string).collect::<Vec<_>>());
        let tree = match parse(text) {
            Ok(tree) => tree,
            Err(error) => return self.refuse(&lines, &error),
        };
        self.check_version(&tree)?;
        let module = self.install(&tree, &lines, None)?;
        self.counters.total.modules_ptx += 1;
        Ok(module)
    }

    /// Makes a module of a tree; `cubin` is the machine code that it stands for.
    pub fn install(
        &mut self,
        tree: &ast::Module,
        lines: &Arc<Vec<String>>,
        cubin: Option<&Cubin>,
    ) -> Result<Handle> {
        let variables = self.place_variables(tree, lines)?;
        let addresses: DeviceSymbols = variables
            .iter()
            .map(|(name, (address, _))| (name.clone(), *address))
            .collect();
        match self.decode_all(tree, &addresses, lines, cubin) {
            Ok(kernels) => {
                let functions = self.add_functions(kernels);
                let number = self.fresh_handle();
                self.modules.insert(
                    number,
                    Module {
                        functions,
                        variables,
                    },
                );
                Ok(number)
            }
            Err(code) => {
                variables
                    .values()
                    .for_each(|(address, _)| _ = self.heap.free(*address));
                Err(code)
            }
        }
    }

    fn add_functions(&mut self, kernels: Vec<Kernel>) -> BTreeMap<String, Handle> {
        let mut functions = BTreeMap::new();
        for kernel in kernels {
            let handle = self.fresh_handle();
            functions.insert(kernel.name.clone(), handle);
            self.functions.insert(handle, Arc::new(kernel));
        }
        functions
    }

    pub fn refuse<T>(&mut self, lines: &[String], error: &PtxError) -> Result<T> {
        let line = (error.line as usize)
            .checked_sub(1)
            .and_then(|index| lines.get(index));
        let text = line.map_or("", |line| line.trim());
        self.fail(
            INVALID_PTX,
            format!("PTX line {}: {}: {text}", error.line, error.reason),
        )
    }

    fn check_version(&mut self, module: &ast::Module) -> Result {
        if module.version > self.config.max_ptx {
            let ((major, minor), newest) = (module.version, self.config.max_ptx);
            let reason = format!(
                "PTX {major}.{minor} is newer than {}.{}",
                newest.0, newest.1
            );
            return self.fail(UNSUPPORTED_PTX_VERSION, reason);
        }
        let (major, minor) = self.config.card.capability;
        if module.capability() > major * 10 + minor {
            return self.fail(
                INVALID_PTX,
                format!(
                    "{} is newer than this device, sm_{major}{minor}",
                    module.target
                ),
            );
        }
        Ok(())
    }

    /// Allocates the module's variables in global and constant memory, and gives them their initial values.
    fn place_variables(
        &mut self,
        module: &ast::Module,
        lines: &[String],
    ) -> Result<BTreeMap<String, (u64, u64)>> {
        let is_device =
            |variable: &&Variable| matches!(variable.space, Space::Global | Space::Const);
        let mut placed = BTreeMap::new();
        for variable in module.variables.iter().filter(is_device) {
            let count = variable.count.unwrap_or(variable.initial.len() as u64);
            let len = count.saturating_mul(u64::from(variable.kind.size_bytes()));
            let label = format!("variable `{}`", variable.name);
            let Some(address) = self.heap.allocate(len, &label, false) else {
                return Err(OUT_OF_MEMORY);
            };
            placed.insert(variable.name.clone(), (address, len));
        }
        let addresses: DeviceSymbols = placed
            .iter()
            .map(|(name, (address, _))| (name.clone(), *address))
            .collect();
        for variable in module.variables.iter().filter(is_device) {
            let bytes = match initial_bytes(variable, &addresses) {
                Ok(bytes) => bytes,
                Err(error) => return self.refuse(lines, &error),
            };
            let address = addresses[&variable.name];
            if let Some(span) = self.heap.find(address) {
                // SAFETY: the span was allocated with the length of these bytes.
                unsafe { span.host_at(address).copy_from(bytes.as_ptr(), bytes.len()) };
            }
        }
        Ok(placed)
    }

    fn decode_all(
        &mut self,
        module: &ast::Module,
        devices: &DeviceSymbols,
        lines: &Arc<Vec<String>>,
        cubin: Option<&Cubin>,
    ) -> Result<Vec<Kernel>> {
        let mut kernels = Vec::new();
        for entry in &module.entries {
            let program = match decode(module, entry, devices, lines, self.config.simd) {
                Ok(program) => program,
                Err(error) => return self.refuse(lines, &error),
            };
            let machine = cubin.and_then(|cubin| cubin.kernels.get(&entry.name).cloned());
            if let Some(Err(reason)) = machine.as_ref().map(|code| compare(code, &program)) {
                return self.fail(INVALID_IMAGE, reason);
            }
            kernels.push(Kernel {
                name: entry.name.clone(),
                program,
                ptx_version: module.version,
                capability: cubin.map_or(self.config.card.capability, |cubin| cubin.capability),
                machine,
                attributes: Mutex::new(BTreeMap::new()),
            });
        }
        Ok(kernels)
    }
}

/// # Safety
/// `image` is null or ends with a zero byte, or is an ELF file; `module` is null or may be written.
unsafe fn load_text(state: &mut State, module: *mut Handle, image: *const c_void) -> Result {
    if image.is_null() || module.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    match unsafe { image_at(image) } {
        Ok(bytes) => {
            let loaded = state.load(&bytes)?;
            // SAFETY: the caller's promise.
            unsafe { put(module, loaded) }
        }
        Err(reason) => state.fail(INVALID_IMAGE, reason),
    }
}

/// # Safety
/// `image` is a text that ends with a zero byte, or an ELF file; `module` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut Handle, image: *const c_void) -> u32 {
    // SAFETY: the caller's promise.
    enter("cuModuleLoadData", Gate::Context, |state| unsafe {
        load_text(state, module, image)
    })
}

const JIT_ERROR_LOG_BUFFER: u32 = 5;
const JIT_ERROR_LOG_BUFFER_SIZE_BYTES: u32 = 6;

/// Of the options only the error log is used.
///
/// # Safety
/// As for `cuModuleLoadData`; the options are arrays of `count` elements with what they should hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut Handle,
    image: *const c_void,
    count: c_uint,
    options: *const c_uint,
    values: *const *mut c_void,
) -> u32 {
    enter("cuModuleLoadDataEx", Gate::Context, |state| {
        // SAFETY: the caller's promise.
        let result = unsafe { load_text(state, module, image) };
        if result.is_err() && count > 0 && !options.is_null() && !values.is_null() {
            let option = |wanted: u32| {
                // SAFETY: the caller has so many options and values.
                let value = |k| unsafe { (*options.add(k) == wanted).then(|| *values.add(k)) };
                (0..count as usize).find_map(value)
            };
            if let (Some(buffer), Some(size)) = (
                option(JIT_ERROR_LOG_BUFFER),
                option(JIT_ERROR_LOG_BUFFER_SIZE_BYTES),
            ) {
                // SAFETY: the caller's buffer has that size.
                unsafe { write_log(buffer.cast(), size as usize, &state.last_error) };
            }
        }
        result
    })
}

/// # Safety
/// `buffer` is null or has room for `size` bytes.
unsafe fn write_log(buffer: *mut u8, size: usize, text: &str) {
    if buffer.is_null() || size == 0 {
        return;
    }
    let len = text.len().min(size - 1);
    // SAFETY: the caller's promise.
    unsafe {
        buffer.copy_from(text.as_ptr(), len);
        *buffer.add(len) = 0;
    }
}

/// # Safety
/// `path` is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(module: *mut Handle, path: *const c_char) -> u32 {
    enter("cuModuleLoad", Gate::Context, |state| {
        if path.is_null() || module.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
        match std::fs::read(path.as_ref()) {
            Ok(bytes) => {
                let loaded = state.load(&bytes)?;
                // SAFETY: the caller's promise.
                unsafe { put(module, loaded) }
            }
            Err(error) => state.fail(FILE_NOT_FOUND, format!("{path}: {error}")),
        }
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadFatBinary(_module: *mut Handle, _image: *const c_void) -> u32 {
    enter("cuModuleLoadFatBinary", Gate::Context, |_| {
        Err(NOT_SUPPORTED)
    })
}

/// # Safety
/// None; unsafe only to look like its siblings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> u32 {
    enter("cuModuleUnload", Gate::Context, |state| {
        if !state.modules.contains_key(&module) {
            return Err(INVALID_HANDLE);
        }
        state.drain_all()?;
        let Some(module) = state.modules.remove(&module) else {
            return Err(INVALID_HANDLE);
        };
        for handle in module.functions.values() {
            state.functions.remove(handle);
        }
        for (address, _) in module.variables.values() {
            state.heap.free(*address);
        }
        Ok(())
    })
}

/// # Safety
/// `function` is null or may be written; `name` is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut Handle,
    module: Handle,
    name: *const c_char,
) -> u32 {
    enter("cuModuleGetFunction", Gate::Context, |state| {
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let module = state.modules.get(&module).ok_or(INVALID_HANDLE)?;
        match module.functions.get(name.as_ref()) {
            // SAFETY: the caller's promise.
            Some(&handle) => unsafe { put(function, handle) },
            None => state.fail(NOT_FOUND, format!("the module has no kernel `{name}`")),
        }
    })
}

/// # Safety
/// The results are null or may be written; `name` is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    len: *mut usize,
    module: Handle,
    name: *const c_char,
) -> u32 {
    enter("cuModuleGetGlobal_v2", Gate::Context, |state| {
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let module = state.modules.get(&module).ok_or(INVALID_HANDLE)?;
        match module.variables.get(name.as_ref()) {
            Some(&(start, size)) => {
                // SAFETY: the caller's promise.
                unsafe {
                    put_if(address, start);
                    put_if(len, size as usize);
                }
                Ok(())
            }
            None => state.fail(NOT_FOUND, format!("the module has no variable `{name}`")),
        }
    })
}

/// # Safety
/// `mode` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetLoadingMode(mode: *mut c_uint) -> u32 {
    enter("cuModuleGetLoadingMode", Gate::Initialized, |_| {
        // SAFETY: the caller's promise.
        unsafe { put(mode, 1) }
    })
}
