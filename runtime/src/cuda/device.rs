//! Devices: which there are, and one that is opened.

use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::result as driver;
use cudarc::driver::sys::CUdevice_attribute_enum::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
};
use cudarc::driver::{CudaContext, CudaModule, DriverError};

use super::compile::{Compiled, Image};
use super::error::{CudaError, Phase, when};
use super::libraries::{self, Driver};

/// What `--device` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A GPU by the driver's number.
    Number(u32),
    /// The software GPU.
    Software,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "software" => Ok(Choice::Software),
            _ => s
                .parse()
                .map(Choice::Number)
                .map_err(|_| "a device is a number from 0, or `software`".into()),
        }
    }
}

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub number: u32,
    pub name: String,
    /// Compute capability, as 80 for 8.0.
    pub capability: u32,
    pub memory_bytes: u64,
    pub multiprocessors: u32,
}

/// A device that programs run on.
pub struct Device {
    pub(super) context: Arc<CudaContext>,
    pub found: Found,
}

/// The GPUs that NVIDIA's driver finds; the software GPU is not among them.
pub fn devices() -> Result<Vec<Found>, CudaError> {
    let count = start(Driver::Nvidia)?;
    (0..count).map(describe).collect()
}

impl Device {
    /// Loads the driver and opens a device.
    pub fn open(choice: Choice) -> Result<Self, CudaError> {
        let (wanted, number) = match choice {
            Choice::Number(n) => (Driver::Nvidia, n),
            Choice::Software => (Driver::Software, 0),
        };
        let have = start(wanted)?;
        if number >= have {
            return Err(CudaError::DeviceNumber {
                asked: number,
                have,
            });
        }
        let context =
            CudaContext::new(number as usize).map_err(when(Phase::Start, "opening the device"))?;
        Ok(Self {
            context,
            found: describe(number)?,
        })
    }

    pub(super) fn module(&self, compiled: &Compiled) -> Result<Arc<CudaModule>, DriverError> {
        let image = match &compiled.image {
            Image::Ptx(text) => cudarc::nvrtc::Ptx::from_src(text),
            Image::Cubin(code) => cudarc::nvrtc::Ptx::from_binary(code.clone()),
        };
        self.context.load_module(image)
    }

    /// A refused image with what the driver's own compiler says of it.
    pub(super) fn refusal(&self, e: DriverError, compiled: &Compiled) -> CudaError {
        match when(Phase::Load, "loading the kernels")(e) {
            CudaError::Refused { name, code, .. } => CudaError::Refused {
                name,
                code,
                log: libraries::translation_log(&compiled.image),
            },
            other => other,
        }
    }

    /// Bytes of free memory, where the driver says.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.context
            .mem_get_info()
            .ok()
            .map(|(free, _)| free as u64)
    }
}

/// Starts a driver; the number of its devices.
fn start(driver: Driver) -> Result<u32, CudaError> {
    libraries::load(driver)?;
    let count = CudaContext::device_count();
    let count = count.map_err(when(Phase::Start, "starting the driver"))?;
    match u32::try_from(count) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(CudaError::no_device()),
    }
}

/// What a device says, without a context on it.
fn describe(number: u32) -> Result<Found, CudaError> {
    let device = driver::device::get(number as i32);
    let device = device.map_err(when(Phase::Start, "opening the device"))?;
    // SAFETY: the device is the driver's own.
    let told = unsafe {
        let attribute = |a| driver::device::get_attribute(device, a);
        attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).and_then(|major| {
            let minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
            let processors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
            let memory = driver::device::total_mem(device)?;
            Ok((10 * major + minor, memory, processors))
        })
    };
    let (capability, memory, multiprocessors) =
        told.map_err(when(Phase::Start, "asking the device"))?;
    Ok(Found {
        number,
        name: driver::device::get_name(device).map_err(when(Phase::Start, "asking the device"))?,
        capability: capability.unsigned_abs(),
        memory_bytes: memory as u64,
        multiprocessors: multiprocessors.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_number_or_software() {
        assert_eq!("3".parse(), Ok(Choice::Number(3)));
        assert_eq!("software".parse(), Ok(Choice::Software));
        assert!("-1".parse::<Choice>().is_err() && "gpu".parse::<Choice>().is_err());
    }
}
