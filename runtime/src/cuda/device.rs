//! Devices: which there are, and one that is opened.

use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUdevice_attribute;

use super::compile::{Arch, Compiled, Image, compile};
use super::error::{CudaError, when};
use super::libraries::{self, Driver};
use super::nvrtc::Nvrtc;

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

/// A device that programs run on, and the compiler for it.
pub struct Device {
    pub(super) context: Arc<CudaContext>,
    pub found: Found,
    nvrtc: &'static Nvrtc,
}

/// The GPUs that NVIDIA's driver finds; the software GPU is not among them.
pub fn devices() -> Result<Vec<Found>, CudaError> {
    let count = start(Driver::Nvidia)?;
    (0..count)
        .map(|n| open(n).map(|(_, found)| found))
        .collect()
}

impl Device {
    /// Loads the driver, opens a device, and finds NVRTC.
    pub fn open(choice: Choice) -> Result<Self, CudaError> {
        let (driver, number) = match choice {
            Choice::Number(n) => (Driver::Nvidia, n),
            Choice::Software => (Driver::Software, 0),
        };
        let have = start(driver)?;
        if number >= have {
            return Err(CudaError::DeviceNumber {
                asked: number,
                have,
            });
        }
        let (context, found) = open(number)?;
        Ok(Self {
            context,
            found,
            nvrtc: libraries::nvrtc()?,
        })
    }

    /// Compiles a whole source text for the device and loads it: as PTX, or as machine code where the driver is older
    /// than NVRTC.
    pub(super) fn load(
        &self,
        source: &str,
    ) -> Result<(Arc<cudarc::driver::CudaModule>, String), CudaError> {
        let architectures = &self.nvrtc.architectures;
        let capability = self.found.capability;
        let nearest = architectures.iter().rev().find(|&&a| a <= capability);
        let Some(&nearest) = nearest else {
            return Err(CudaError::OldDevice {
                device: capability,
                oldest: architectures.first().copied().unwrap_or(0),
            });
        };
        let compiled = compile(source, Arch::Virtual(nearest))?;
        match self.module(&compiled) {
            Err(old @ CudaError::OldDriver { .. }) if nearest == capability => {
                let native = compile(source, Arch::Real(capability))?;
                Ok((self.module(&native).map_err(|_| old)?, compiled.log))
            }
            module => Ok((module?, compiled.log)),
        }
    }

    fn module(&self, compiled: &Compiled) -> Result<Arc<cudarc::driver::CudaModule>, CudaError> {
        let image = match &compiled.image {
            Image::Ptx(text) => cudarc::nvrtc::Ptx::from_src(text),
            Image::Cubin(code) => cudarc::nvrtc::Ptx::from_binary(code.clone()),
        };
        let loaded = self.context.load_module(image);
        loaded.map_err(|e| of_driver(when("loading the kernels")(e)))
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
    let count = count.map_err(|e| of_driver(when("starting the driver")(e)))?;
    match u32::try_from(count) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(CudaError::NoDevice),
    }
}

fn open(number: u32) -> Result<(Arc<CudaContext>, Found), CudaError> {
    let opening = when("opening the device");
    let context = CudaContext::new(number as usize).map_err(&opening)?;
    let name = context.name().map_err(&opening)?;
    let (major, minor) = context.compute_capability().map_err(&opening)?;
    let memory = context.total_mem().map_err(&opening)?;
    let multiprocessors = context
        .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        .map_err(&opening)?;
    let found = Found {
        number,
        name,
        capability: (10 * major + minor).unsigned_abs(),
        memory_bytes: memory as u64,
        multiprocessors: multiprocessors.unsigned_abs(),
    };
    Ok((context, found))
}

/// With the driver's own version, where it is too old.
fn of_driver(e: CudaError) -> CudaError {
    match e {
        CudaError::OldDriver { reason, .. } => CudaError::OldDriver {
            driver: libraries::driver_version(),
            reason,
        },
        other => other,
    }
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
