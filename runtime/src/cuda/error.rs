//! What can go wrong on the way to a GPU and on it. Each message says what to do.

use std::path::PathBuf;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// The wheel that brings NVRTC.
const WHEEL: &str = "pip install nvidia-cuda-nvrtc-cu12==12.9.86";

/// Why a program cannot be compiled for a GPU, or does not run on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    #[error(
        "there is no CUDA driver: libcuda.so.1 was not found. It comes with the driver of an NVIDIA GPU (Debian: \
         nvidia-driver with libcuda1); a container is given it by `--gpus all`. Without such a GPU, train with --target cpu, or see the same code run with \
         --device software"
    )]
    NoDriver,
    #[error(
        "there is no NVRTC, the compiler of CUDA C: libnvrtc.so was found neither in the loader's path nor in {}. \
         Install it with `{WHEEL}` into an active virtual environment, or the CUDA toolkit (Debian: \
         nvidia-cuda-toolkit), and name the toolkit's folder in CUDA_HOME",
        listed(.searched)
    )]
    NoNvrtc { searched: Vec<PathBuf> },
    #[error("{} cannot be used: {reason}. Install another with `{WHEEL}`", .path.display())]
    Nvrtc { path: PathBuf, reason: String },
    #[error(
        "the CUDA driver is too old{}: {reason}. Update the driver of the GPU, to 525 or later",
        version(*.driver)
    )]
    OldDriver {
        /// The CUDA version that the driver says it is for, as 12090; 0 where it does not say.
        driver: i32,
        reason: String,
    },
    #[error(
        "there is no software GPU: liblenetc_softgpu.so was not found in {}. Build it with `cargo build --release -p \
         lenetc-softgpu`, or name the file in LENETC_SOFTGPU_LIB",
        listed(.searched)
    )]
    NoSoftware { searched: Vec<PathBuf> },
    #[error("the software GPU {} cannot be loaded: {reason}. Build it with `cargo build --release -p lenetc-softgpu`", .path.display())]
    Software { path: PathBuf, reason: String },
    #[error(
        "this process already runs on another CUDA driver; start a new one for --device {asked}"
    )]
    OtherDriver { asked: String },
    #[error(
        "there is no CUDA device: the driver finds no GPU. `nvidia-smi` shows what it sees, and CUDA_VISIBLE_DEVICES \
         may hide one; train with --target cpu, or see the same code run with --device software"
    )]
    NoDevice,
    #[error("there is no CUDA device {asked}: {}", range(*.have))]
    DeviceNumber { asked: u32, have: u32 },
    #[error(
        "the GPU has compute capability {}, and this NVRTC compiles for {} and later: install an older one",
        capability(*.device), capability(*.oldest)
    )]
    OldDevice { device: u32, oldest: u32 },
    #[error(
        "the GPU is out of memory: the program needs {} MiB{}. Lower train.batch_size, or end what else runs on the GPU",
        mib(*.need_bytes), free(*.free_bytes)
    )]
    OutOfMemory {
        /// Everything that the program and its data take.
        need_bytes: u64,
        free_bytes: Option<u64>,
    },
    #[error("a kernel read or wrote outside of its memory ({name}, {code}). {BUG}")]
    IllegalAddress { name: String, code: u32 },
    #[error("the GPU could not launch a kernel ({name}, {code}) when {doing}. {BUG}")]
    Launch {
        name: String,
        code: u32,
        doing: &'static str,
    },
    #[error(
        "a kernel failed when {doing} ({name}, {code}), and with it the weights since the start or the last save are \
         lost. Start again; if it fails again, this is a bug in lenetc: report it with the model"
    )]
    KernelFailed {
        name: String,
        code: u32,
        doing: &'static str,
    },
    #[error(
        "the GPU was lost when {doing} ({name}, {code}), and with it the weights since the start or the last save. \
         `nvidia-smi` and the kernel's log (`dmesg`) say whether it fell off the bus, was reset or overheated; start again, \
         from saved weights with --weights"
    )]
    Lost {
        name: String,
        code: u32,
        doing: &'static str,
    },
    #[error(
        "a step took longer than the driver allows on a GPU that draws a screen ({name}, {code}). Lower \
         train.batch_size, or use another GPU with --device"
    )]
    Timeout { name: String, code: u32 },
    #[error("NVRTC refuses the program. {BUG}\n{log}")]
    Compile { log: String },
    #[error("the CUDA driver reports {name} ({code}) when {doing}; {advice}")]
    Driver {
        name: String,
        code: u32,
        doing: &'static str,
        advice: &'static str,
    },
}

/// `CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER`, which the bindings do not have.
const CALL_REQUIRES_NEWER_DRIVER: u32 = 36;

/// What to do about an error that no input should cause.
const BUG: &str = "This is a bug in lenetc: report it with the model; --target cpu is not affected";

impl CudaError {
    /// A driver's error, met while `doing` something.
    pub(super) fn of(error: DriverError, doing: &'static str) -> Self {
        use CUresult as R;
        let code = error.0 as u32;
        // The bindings' own names end with their version; the driver knows all of its codes.
        let name = super::libraries::error_name(code).unwrap_or_else(|| "an error".into());
        match error.0 {
            R::CUDA_ERROR_NO_DEVICE => Self::NoDevice,
            R::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory {
                need_bytes: 0,
                free_bytes: None,
            },
            R::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | R::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
                Self::OldDriver {
                    driver: 0,
                    reason: format!("it reports {name} ({code}) when {doing}"),
                }
            }
            R::CUDA_ERROR_ILLEGAL_ADDRESS | R::CUDA_ERROR_MISALIGNED_ADDRESS => {
                Self::IllegalAddress { name, code }
            }
            R::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
            | R::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | R::CUDA_ERROR_INVALID_PC
            | R::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | R::CUDA_ERROR_HARDWARE_STACK_ERROR
            | R::CUDA_ERROR_ASSERT => Self::Launch { name, code, doing },
            R::CUDA_ERROR_LAUNCH_TIMEOUT => Self::Timeout { name, code },
            R::CUDA_ERROR_LAUNCH_FAILED => Self::KernelFailed { name, code, doing },
            R::CUDA_ERROR_UNKNOWN
            | R::CUDA_ERROR_ECC_UNCORRECTABLE
            | R::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | R::CUDA_ERROR_CONTAINED
            | R::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | R::CUDA_ERROR_DEINITIALIZED => Self::Lost { name, code, doing },
            _ if code == CALL_REQUIRES_NEWER_DRIVER => Self::OldDriver {
                driver: 0,
                reason: format!("it reports {name} ({code}) when {doing}"),
            },
            other => Self::Driver {
                name,
                code,
                doing,
                advice: advice(other),
            },
        }
    }

    /// With the memory that was asked for, where memory was short.
    pub(super) fn with_memory(self, need_bytes: u64, free_bytes: Option<u64>) -> Self {
        match self {
            Self::OutOfMemory { .. } => Self::OutOfMemory {
                need_bytes,
                free_bytes,
            },
            other => other,
        }
    }
}

/// Adds to a driver's error what was being done.
pub(super) fn when(doing: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |e| CudaError::of(e, doing)
}

fn advice(code: CUresult) -> &'static str {
    use CUresult as R;
    match code {
        R::CUDA_ERROR_STUB_LIBRARY => {
            "the loader found the toolkit's stub of libcuda.so: take its folder `stubs` out of LD_LIBRARY_PATH"
        }
        R::CUDA_ERROR_DEVICE_UNAVAILABLE => {
            "another process has the GPU for itself: end it, or choose another with --device"
        }
        R::CUDA_ERROR_NO_BINARY_FOR_GPU
        | R::CUDA_ERROR_INVALID_PTX
        | R::CUDA_ERROR_INVALID_IMAGE
        | R::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => {
            "the driver cannot translate the kernels: reinstall it whole, with libnvidia-ptxjitcompiler"
        }
        R::CUDA_ERROR_SYSTEM_NOT_READY | R::CUDA_ERROR_NOT_INITIALIZED => {
            "the driver is not ready: see whether `nvidia-smi` works, and load the kernel module with `modprobe nvidia`"
        }
        _ => {
            "NVIDIA's manual of the driver interface explains the name; --target cpu is not affected"
        }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let all: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    match all.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "any known folder".into(),
    }
}

/// From 12090 to ", made for CUDA 12.9".
fn version(driver: i32) -> String {
    match driver {
        0 => String::new(),
        v => format!(" (made for CUDA {}.{})", v / 1000, v % 1000 / 10),
    }
}

fn range(have: u32) -> String {
    match have {
        1 => "there is one, --device 0".into(),
        n => format!("there are {n}, numbered from 0"),
    }
}

fn capability(c: u32) -> String {
    format!("{}.{}", c / 10, c % 10)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn free(bytes: Option<u64>) -> String {
    bytes.map_or(String::new(), |b| format!(", {} MiB are free", b >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_error_becomes_what_to_do() {
        let of = |code| CudaError::of(DriverError(code), "training").to_string();
        for (code, text) in [
            (CUresult::CUDA_ERROR_NO_DEVICE, "nvidia-smi"),
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, "train.batch_size"),
            (CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "too old"),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "bug in lenetc"),
            (CUresult::CUDA_ERROR_LAUNCH_FAILED, "failed when training"),
            (CUresult::CUDA_ERROR_UNKNOWN, "was lost when training"),
            (CUresult::CUDA_ERROR_STUB_LIBRARY, "LD_LIBRARY_PATH"),
            (
                CUresult::CUDA_ERROR_INVALID_HANDLE,
                "reports an error (400) when training",
            ),
        ] {
            assert!(of(code).contains(text), "{}", of(code));
        }
    }

    #[test]
    fn memory_is_named() {
        let e = CudaError::of(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY), "");
        let text = e.with_memory(3 << 20, Some(2 << 20)).to_string();
        assert!(text.contains("needs 3 MiB, 2 MiB are free"), "{text}");
    }
}
