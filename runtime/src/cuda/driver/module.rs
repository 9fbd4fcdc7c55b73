//! Kernels that are loaded, and their launch.

use std::ffi::{CString, c_uint, c_void};
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::CUjit_option_enum::{
    CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
};
use cudarc::driver::sys::{CUfunc_st, CUmod_st};

use super::{Context, DriverError, Handle, Stream, Table, done};

/// A module, unloaded at the end.
pub(in crate::cuda) struct Module {
    context: Arc<Context>,
    handle: Handle<CUmod_st>,
}

/// A kernel of a module, which stays loaded as long as it.
pub(in crate::cuda) struct Function {
    handle: Handle<CUfunc_st>,
    module: Arc<Module>,
}

impl Module {
    /// Loads a whole CUBIN, or PTX that ends with zero.
    ///
    /// # Safety
    /// The image is complete: the driver is told where it starts, and finds its end in it.
    pub unsafe fn load(context: &Arc<Context>, image: &[u8]) -> Result<Arc<Self>, DriverError> {
        context.bind()?;
        let mut handle = Handle::null();
        let start = image.as_ptr().cast::<c_void>();
        // SAFETY: the caller's promise; the driver writes one handle.
        done(unsafe { (context.table.cuModuleLoadData)(&mut handle.0, start) })?;
        let context = context.clone();
        Ok(Arc::new(Self { context, handle }))
    }

    /// A kernel by its name. One with a zero in it is none.
    pub fn function(self: &Arc<Self>, name: &str) -> Result<Function, DriverError> {
        /// `CUDA_ERROR_NOT_FOUND`.
        const NOT_FOUND: DriverError = DriverError(500);
        let name = CString::new(name).map_err(|_| NOT_FOUND)?;
        self.context.bind()?;
        let get = self.context.table.cuModuleGetFunction;
        let mut handle = Handle::null();
        // SAFETY: the module is loaded, the name ends with zero, and the driver writes one handle.
        done(unsafe { get(&mut handle.0, self.handle.0, name.as_ptr()) })?;
        let module = self.clone();
        Ok(Function { handle, module })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: it was loaded once, and no function of it is left.
            let _ = unsafe { (self.context.table.cuModuleUnload)(self.handle.0) };
        }
    }
}

impl Function {
    /// Launches on a stream, with a pointer for each parameter; grid and block are one-dimensional.
    ///
    /// # Safety
    /// The kernel takes as many pointers and nothing else, and what it does with them is within memory that lives until
    /// the launch, or a graph that it is recorded in, is done.
    pub unsafe fn launch(
        &self,
        stream: &Stream,
        blocks: u32,
        threads: u32,
        addresses: &[u64],
    ) -> Result<(), DriverError> {
        self.module.context.bind()?;
        let pointer = |a: &u64| ptr::from_ref(a).cast_mut().cast::<c_void>();
        let mut parameters: Vec<*mut c_void> = addresses.iter().map(pointer).collect();
        let launch = self.module.context.table.cuLaunchKernel;
        // SAFETY: the caller's promise; the driver copies the parameters before it returns.
        done(unsafe {
            launch(
                self.handle.0,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                stream.handle.0,
                parameters.as_mut_ptr(),
                ptr::null_mut(),
            )
        })
    }
}

/// What the driver's compiler says of a PTX text that it has refused. A context must be current.
pub(in crate::cuda) fn translation_log(table: &Table, ptx: &str) -> String {
    const MOST_BYTES: usize = 4096;
    let Ok(text) = CString::new(ptx) else {
        return String::new();
    };
    let mut log = vec![0u8; MOST_BYTES];
    let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // A size stands where a pointer would.
    let mut values = [
        log.as_mut_ptr().cast(),
        ptr::without_provenance_mut(MOST_BYTES),
    ];
    let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
    let mut module = ptr::null_mut();
    let count = 2 as c_uint;
    // SAFETY: the text ends with zero, the log has the size that is said, and a module that is loaded after all is
    // unloaded once.
    unsafe {
        let load = table.cuModuleLoadDataEx;
        let code = load(&mut module, text.as_ptr().cast(), count, options, values);
        if code == 0 {
            (table.cuModuleUnload)(module);
        }
    }
    let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_string()
}
