//! What can go wrong on the way to a GPU and on it. Each message says what to do.

use std::path::PathBuf;

use super::choose::Version;
use super::driver::DriverError;

/// The wheel that brings NVRTC.
const WHEEL: &str = "pip install nvidia-cuda-nvrtc-cu12==12.9.86";

/// Why a program cannot be compiled for a GPU, or does not run on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    #[error(
        "there is no CUDA driver: libcuda.so.1 was not found. It comes with the driver of an NVIDIA GPU (Debian: \
         nvidia-driver with libcuda1); where it lies outside of the loader's path, name its folder in \
         LD_LIBRARY_PATH; a container is given it by `--gpus all`. Without such a GPU, train with --target cpu, or see \
         the same code run with --device software"
    )]
    NoDriver,
    #[error(
        "there is no NVRTC, the compiler of CUDA C: libnvrtc.so is neither in the loader's path nor in the {} usual \
         folders of toolkits and of Python's and conda's environments. Install it with `{WHEEL}` into an active virtual \
         environment, or the CUDA toolkit (Debian: nvidia-cuda-toolkit), and name the toolkit's folder in CUDA_HOME or \
         the library's file in LENETC_NVRTC",
        .searched.len()
    )]
    NoNvrtc { searched: Vec<PathBuf> },
    #[error("{} cannot be used: {reason}. Install another with `{WHEEL}`", .path.display())]
    Nvrtc { path: PathBuf, reason: String },
    #[error(
        "NVRTC {nvrtc} makes code for drivers of CUDA {} and later, and this driver is for CUDA {driver}. Install an \
         NVRTC for it with `{}`, or update the driver, to {} or later",
        .nvrtc.major, wheel_for(*.driver), least_driver(.nvrtc.major)
    )]
    NewNvrtc { nvrtc: Version, driver: Version },
    #[error(
        "the driver takes none of the code that NVRTC makes for this GPU ({name}, {code}){}. Update the driver, or \
         install another NVRTC, as with `{WHEEL}`, and name its file in LENETC_NVRTC",
        said(.log)
    )]
    Refused {
        name: String,
        code: u32,
        /// What the driver's own compiler says.
        log: String,
    },
    #[error("the CUDA driver could not be started ({name}, {code}): {advice}")]
    Start {
        name: String,
        code: u32,
        advice: &'static str,
    },
    #[error(
        "the CUDA driver is too old{}: {reason}. Update the driver of the GPU, to 525 or later",
        version(*.driver)
    )]
    OldDriver {
        /// The CUDA version that the driver says it is for, as 12090; 0 where it does not say.
        driver: i32,
        reason: String,
    },
    #[error("the software GPU cannot be used: {reason}")]
    Software { reason: String },
    #[error(
        "this process already runs on another CUDA driver; start a new one for --device {asked}"
    )]
    OtherDriver { asked: String },
    #[error(
        "there is no CUDA device: the driver finds no GPU. `nvidia-smi` shows what it sees; CUDA_VISIBLE_DEVICES may \
         hide one, and one in MIG mode has none before an instance is made (`nvidia-smi mig -cgi`).{why} Train with \
         --target cpu, or see the same code run with --device software"
    )]
    NoDevice {
        /// What the surroundings suggest; a sentence with a space before it, or nothing.
        why: &'static str,
    },
    #[error("there is no CUDA device {asked}: {}", range(*.have))]
    DeviceNumber { asked: u32, have: u32 },
    #[error(
        "the GPU has compute capability {}, and this NVRTC compiles for {} and later: install an older one",
        capability(*.device), capability(*.oldest)
    )]
    OldDevice { device: u32, oldest: u32 },
    #[error(
        "the GPU is out of memory{}{}. Lower train.batch_size, or end what else runs on the GPU",
        needed(*.need_bytes), free(*.free_bytes)
    )]
    OutOfMemory {
        /// Everything that the program and its data take; 0 where that is not what did not fit.
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
        "a kernel failed when {doing} ({name}, {code}){}. Start again; if it fails again, this is a bug in lenetc: \
         report it with the model",
        if *.trained { ", and with it the weights since the start or the last save are lost" } else { "" }
    )]
    KernelFailed {
        name: String,
        code: u32,
        doing: &'static str,
        /// Whether a step has changed the weights.
        trained: bool,
    },
    #[error(
        "the GPU was lost when {doing} ({name}, {code}), and with it the weights since the start or the last save. \
         `nvidia-smi` and the kernel's log (`dmesg`) say whether it fell off the bus, was reset, overheated, or the machine was \
         suspended; start again, from saved weights with --weights"
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

/// What to do about an error that no input should cause.
const BUG: &str = "This is a bug in lenetc: report it with the model; --target cpu is not affected";

/// How far a run has come: the same code means another thing before a step has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The driver is started, a device opened, memory taken.
    Start,
    /// Kernels are loaded, a step is recorded.
    Load,
    /// Steps have run; the weights on the device are what is at stake.
    Run,
}

impl CudaError {
    /// A driver's error, met while `doing` something.
    pub(super) fn of(error: DriverError, phase: Phase, doing: &'static str) -> Self {
        let code = error.0;
        let name = super::libraries::error_name(code).unwrap_or_else(|| "an error".into());
        match code {
            code::NO_DEVICE => Self::no_device(),
            code::OUT_OF_MEMORY => Self::OutOfMemory {
                need_bytes: 0,
                free_bytes: None,
            },
            code::CALL_REQUIRES_NEWER_DRIVER => Self::OldDriver {
                driver: super::libraries::driver_version(),
                reason: format!("it reports {name} ({code}) when {doing}"),
            },
            code if phase == Phase::Start
                && let Some(advice) = start_advice(code) =>
            {
                Self::Start { name, code, advice }
            }
            code if is_refusal(code) => Self::Refused {
                name,
                code,
                log: String::new(),
            },
            code::ILLEGAL_ADDRESS | code::MISALIGNED_ADDRESS => Self::IllegalAddress { name, code },
            code::LAUNCH_TIMEOUT => Self::Timeout { name, code },
            code if code::UNLAUNCHED.contains(&code) => Self::Launch { name, code, doing },
            code::LAUNCH_FAILED => Self::KernelFailed {
                name,
                code,
                doing,
                trained: phase == Phase::Run,
            },
            code if phase == Phase::Run && code::LOST.contains(&code) => {
                Self::Lost { name, code, doing }
            }
            code => Self::Driver {
                name,
                code,
                doing,
                advice: advice(code),
            },
        }
    }

    /// There is a toolkit's stub in the place of a driver.
    pub(super) fn stub() -> Self {
        Self::Start {
            name: "CUDA_ERROR_STUB_LIBRARY".into(),
            code: code::STUB_LIBRARY,
            advice: STUB,
        }
    }

    /// There is a driver and no device.
    pub(super) fn no_device() -> Self {
        Self::NoDevice {
            why: surroundings(),
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
pub(super) fn when(phase: Phase, doing: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |e| CudaError::of(e, phase, doing)
}

/// Whether a library that fails so is the toolkit's, which is there for linking only.
pub(super) fn is_stub(error: DriverError) -> bool {
    error.0 == code::STUB_LIBRARY
}

/// Whether this code says that the driver does not take an image, so that another may do.
pub(super) fn is_refusal(code: u32) -> bool {
    code::REFUSALS.contains(&code)
}

/// `CUresult` by number, since a driver may return what no enum of today has.
mod code {
    pub const OUT_OF_MEMORY: u32 = 2;
    pub const STUB_LIBRARY: u32 = 34;
    pub const CALL_REQUIRES_NEWER_DRIVER: u32 = 36;
    pub const DEVICE_UNAVAILABLE: u32 = 46;
    pub const NO_DEVICE: u32 = 100;
    pub const DEVICE_NOT_LICENSED: u32 = 102;
    pub const MISALIGNED_ADDRESS: u32 = 716;
    pub const ILLEGAL_ADDRESS: u32 = 700;
    pub const LAUNCH_TIMEOUT: u32 = 702;
    pub const LAUNCH_FAILED: u32 = 719;
    pub const SYSTEM_NOT_READY: u32 = 802;
    pub const SYSTEM_DRIVER_MISMATCH: u32 = 803;
    pub const COMPAT_NOT_SUPPORTED_ON_DEVICE: u32 = 804;
    pub const MPS_CONNECTION_FAILED: u32 = 805;
    pub const UNKNOWN: u32 = 999;
    /// NOT_INITIALIZED, DEINITIALIZED, OPERATING_SYSTEM.
    pub const NOT_RUNNING: [u32; 3] = [3, 4, 304];
    /// INVALID_IMAGE, NO_BINARY_FOR_GPU, INVALID_PTX, JIT_COMPILER_NOT_FOUND, UNSUPPORTED_PTX_VERSION,
    /// JIT_COMPILATION_DISABLED.
    pub const REFUSALS: [u32; 6] = [200, 209, 218, 221, 222, 223];
    /// LAUNCH_OUT_OF_RESOURCES, ASSERT, HARDWARE_STACK_ERROR, ILLEGAL_INSTRUCTION, INVALID_ADDRESS_SPACE, INVALID_PC.
    pub const UNLAUNCHED: [u32; 6] = [701, 710, 714, 715, 717, 718];
    /// DEINITIALIZED, ECC_UNCORRECTABLE, NVLINK_UNCORRECTABLE, CONTAINED, CONTEXT_IS_DESTROYED, UNKNOWN.
    pub const LOST: [u32; 6] = [4, 214, 220, 226, 709, UNKNOWN];
}

/// What to do where there is only a stub.
const STUB: &str = "what was found is the toolkit's stub of libcuda.so, which runs nothing, and no driver behind it: install \
     NVIDIA's driver, or where it lies outside of the loader's path, name its folder in LD_LIBRARY_PATH in the place of \
     `stubs`";

/// What to do where the driver does not start.
fn start_advice(code: u32) -> Option<&'static str> {
    Some(match code {
        code::UNKNOWN => {
            "mostly its kernel module nvidia_uvm is not loaded or /dev/nvidia-uvm is missing. `nvidia-modprobe -c 0 -u` \
             makes it; after the machine was suspended, `rmmod nvidia_uvm; modprobe nvidia_uvm` brings it back; a \
             container is given it by `--gpus all`"
        }
        code::SYSTEM_DRIVER_MISMATCH => {
            "libcuda and the driver's kernel module are of different versions, as after an update: restart the machine"
        }
        code::COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "this libcuda is the forward-compatibility one of a CUDA container, which this GPU does not take: take \
             /usr/local/cuda/compat out of LD_LIBRARY_PATH, so that the host's own is found"
        }
        code::SYSTEM_NOT_READY => {
            "on a machine with NVSwitch its fabric manager must run: `systemctl status nvidia-fabricmanager`"
        }
        code::MPS_CONNECTION_FAILED => {
            "the MPS server is named but does not answer: start it with `nvidia-cuda-mps-control -d`, or unset \
             CUDA_MPS_PIPE_DIRECTORY"
        }
        code::DEVICE_NOT_LICENSED => "a virtual GPU has no licence: `nvidia-smi -q` says which",
        code::STUB_LIBRARY => STUB,
        code::DEVICE_UNAVAILABLE => {
            "another process has the GPU for itself (`nvidia-smi -q -d COMPUTE` says Exclusive_Process): end it, or \
             choose another with --device; in MIG mode an instance must be made first, `nvidia-smi mig -cgi`"
        }
        code if code::NOT_RUNNING.contains(&code) => {
            "see whether `nvidia-smi` works, and load the kernel module with `modprobe nvidia`"
        }
        _ => return None,
    })
}

fn advice(code: u32) -> &'static str {
    if code::LOST.contains(&code) {
        return "the GPU does not answer: `nvidia-smi` and the kernel's log (`dmesg`) say whether it fell off the bus, was \
                reset or overheated; nothing was trained yet";
    }
    start_advice(code).unwrap_or(
        "NVIDIA's manual of the driver interface explains the name; --target cpu is not affected",
    )
}

/// Where a process finds no GPU, the likely reason by what it runs in.
fn surroundings() -> &'static str {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if kernel.to_lowercase().contains("microsoft") {
        return " Under WSL2 the driver is the one of Windows: install it there, none within.";
    }
    if exists("/.dockerenv") || exists("/run/.containerenv") {
        return " This is a container: it is given GPUs by `--gpus all`.";
    }
    ""
}

/// The wheel whose NVRTC a driver takes.
fn wheel_for(driver: Version) -> String {
    match driver.major {
        11 => "pip install nvidia-cuda-nvrtc-cu11".into(),
        12 => WHEEL.into(),
        _ => "pip install nvidia-cuda-nvrtc".into(),
    }
}

/// The first driver of a CUDA version (CUDA Toolkit, release notes).
fn least_driver(major: u32) -> &'static str {
    match major {
        ..=11 => "450",
        12 => "525",
        _ => "580",
    }
}

fn said(log: &str) -> String {
    match log.trim() {
        "" => String::new(),
        log => format!(", its compiler says: {log}"),
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

fn needed(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => format!(": the program needs {} MiB", bytes.div_ceil(1 << 20)),
    }
}

fn free(bytes: Option<u64>) -> String {
    bytes.map_or(String::new(), |b| format!(", {} MiB are free", b >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    use cudarc::driver::sys::CUresult;

    fn of(code: u32, phase: Phase) -> String {
        CudaError::of(DriverError(code), phase, "training").to_string()
    }

    #[test]
    fn a_driver_error_becomes_what_to_do() {
        for (code, text) in [
            (CUresult::CUDA_ERROR_NO_DEVICE as u32, "nvidia-smi"),
            (
                CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32,
                "train.batch_size",
            ),
            (
                CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION as u32,
                "LENETC_NVRTC",
            ),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS as u32, "bug in lenetc"),
            (
                CUresult::CUDA_ERROR_LAUNCH_FAILED as u32,
                "failed when training",
            ),
            (
                CUresult::CUDA_ERROR_UNKNOWN as u32,
                "was lost when training",
            ),
            (CUresult::CUDA_ERROR_STUB_LIBRARY as u32, "LD_LIBRARY_PATH"),
            (
                CUresult::CUDA_ERROR_INVALID_HANDLE as u32,
                "reports an error (400) when training",
            ),
        ] {
            let said = of(code, Phase::Run);
            assert!(said.contains(text), "{said}");
        }
    }

    /// Each fault at the start has its own sentence.
    #[test]
    fn faults_at_the_start_say_what_to_do() {
        let mut sentences = Vec::new();
        for (code, text) in [
            (
                CUresult::CUDA_ERROR_UNKNOWN as u32,
                "nvidia-modprobe -c 0 -u",
            ),
            (
                CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH as u32,
                "restart the machine",
            ),
            (
                CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE as u32,
                "/usr/local/cuda/compat",
            ),
            (
                CUresult::CUDA_ERROR_SYSTEM_NOT_READY as u32,
                "fabricmanager",
            ),
            (
                CUresult::CUDA_ERROR_MPS_CONNECTION_FAILED as u32,
                "nvidia-cuda-mps-control",
            ),
            (CUresult::CUDA_ERROR_DEVICE_NOT_LICENSED as u32, "licence"),
            (
                CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE as u32,
                "Exclusive_Process",
            ),
            (
                CUresult::CUDA_ERROR_NOT_INITIALIZED as u32,
                "modprobe nvidia",
            ),
            (CUresult::CUDA_ERROR_STUB_LIBRARY as u32, "stubs"),
            (
                CUresult::CUDA_ERROR_NO_DEVICE as u32,
                "CUDA_VISIBLE_DEVICES",
            ),
        ] {
            let said = of(code, Phase::Start);
            assert!(said.contains(text), "{said}");
            assert!(
                !said.contains("lost"),
                "nothing is lost before a step: {said}"
            );
            sentences.push(said.split(": ").nth(1).map(str::to_string));
        }
        let all = sentences.len();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), all, "each has its own");
    }

    /// Whatever a driver of today or tomorrow returns.
    #[test]
    fn every_code_becomes_a_sentence() {
        for code in 1..=2000 {
            for phase in [Phase::Start, Phase::Load, Phase::Run] {
                let said = of(code, phase);
                let named = code == 2 || code == 100 || said.contains(&format!("{code})"));
                assert!(named && said.len() > 60, "{code}: {said}");
                if phase != Phase::Run {
                    let lost = said.contains("weights since");
                    assert!(!lost, "nothing is lost before a step: {code}: {said}");
                }
            }
        }
    }

    #[test]
    fn a_compiler_that_is_too_new_is_named_with_the_one_to_install() {
        let version = |major, minor| Version { major, minor };
        let e = CudaError::NewNvrtc {
            nvrtc: version(13, 5),
            driver: version(12, 4),
        };
        let said = e.to_string();
        for part in ["NVRTC 13.5", "CUDA 12.4", "nvrtc-cu12", "580 or later"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn memory_is_named() {
        let e = CudaError::of(
            DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32),
            Phase::Start,
            "",
        );
        let text = e.with_memory(3 << 20, Some(2 << 20)).to_string();
        assert!(text.contains("needs 3 MiB, 2 MiB are free"), "{text}");
    }
}
