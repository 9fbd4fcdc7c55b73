//! Devices: which there are, and one that is opened.

use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute_enum::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
};

use super::compile::{Compiled, Image};
use super::driver::{Context, DriverError, Gpu, Module, Table};
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
    /// The driver's, which begins with the fastest; `nvidia-smi` has an order of its own.
    pub number: u32,
    pub name: String,
    /// Where it stands, as `nvidia-smi` writes it: `00000000:01:00.0`.
    pub pci_bus_id: String,
    /// Compute capability, as 80 for 8.0.
    pub capability: u32,
    pub memory_bytes: u64,
    pub multiprocessors: u32,
}

/// A device that programs run on.
pub struct Device {
    pub(super) context: Arc<Context>,
    pub found: Found,
}

/// The GPUs that NVIDIA's driver finds; the software GPU is not among them.
pub fn devices() -> Result<Vec<Found>, CudaError> {
    let started = start(Driver::Nvidia)?;
    (0..started.count)
        .map(|number| started.gpu(number)?.describe())
        .collect()
}

impl Device {
    /// Loads the driver and opens a device.
    pub fn open(choice: Choice) -> Result<Self, CudaError> {
        let (wanted, number) = match choice {
            Choice::Number(n) => (Driver::Nvidia, n),
            Choice::Software => (Driver::Software, 0),
        };
        let started = start(wanted)?;
        if number >= started.count {
            return Err(CudaError::DeviceNumber {
                asked: number,
                have: started.count,
            });
        }
        let gpu = started.gpu(number)?;
        let context = Context::new(gpu.gpu);
        Ok(Self {
            context: context.map_err(when(Phase::Start, "opening the device"))?,
            found: gpu.describe()?,
        })
    }

    pub(super) fn module(&self, compiled: &Compiled) -> Result<Arc<Module>, DriverError> {
        let text;
        let image = match &compiled.image {
            Image::Ptx(ptx) => {
                text = [ptx.as_bytes(), b"\0"].concat();
                &text
            }
            Image::Cubin(code) => code,
        };
        // SAFETY: text ends with zero; machine code is as NVRTC made it, or as the cache's hash says that it was.
        unsafe { Module::load(&self.context, image) }
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
        self.context.memory().ok().map(|m| m.free_bytes)
    }
}

/// A driver that is started, with at least one device.
struct Started {
    table: &'static Table,
    count: u32,
}

fn start(driver: Driver) -> Result<Started, CudaError> {
    let loaded = libraries::load(driver)?;
    let table = loaded.table;
    let started = loaded.started.and_then(|()| table.init());
    let count = started.and_then(|()| Gpu::count(table));
    match count.map_err(when(Phase::Start, "starting the driver"))? {
        0 => Err(CudaError::no_device()),
        count => Ok(Started { table, count }),
    }
}

/// A device with its number.
struct Numbered {
    gpu: Gpu,
    number: u32,
}

impl Started {
    fn gpu(&self, number: u32) -> Result<Numbered, CudaError> {
        let gpu = Gpu::get(self.table, number);
        let gpu = gpu.map_err(when(Phase::Start, "opening the device"))?;
        Ok(Numbered { gpu, number })
    }
}

impl Numbered {
    /// What it says, without a context on it.
    fn describe(&self) -> Result<Found, CudaError> {
        self.ask().map_err(when(Phase::Start, "asking the device"))
    }

    fn ask(&self) -> Result<Found, DriverError> {
        let gpu = self.gpu;
        let major = gpu.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = gpu.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok(Found {
            number: self.number,
            name: gpu.name()?,
            pci_bus_id: with_whole_domain(&gpu.pci_bus_id()?),
            capability: 10 * major + minor,
            memory_bytes: gpu.memory_bytes()?,
            multiprocessors: gpu.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        })
    }
}

/// From the driver's `0000:01:00.0` to the eight digits of a domain that `nvidia-smi` shows; what looks otherwise stays.
fn with_whole_domain(id: &str) -> String {
    match id.split_once(':') {
        Some((domain, rest)) => format!("{domain:0>8}:{rest}").to_uppercase(),
        None => id.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_id_is_written_as_nvidia_smi_does() {
        assert_eq!(with_whole_domain("0000:0a:00.0"), "00000000:0A:00.0");
        assert_eq!(with_whole_domain("00010000:3b:00.0"), "00010000:3B:00.0");
        assert_eq!(with_whole_domain(""), "");
    }

    #[test]
    fn a_choice_is_a_number_or_software() {
        assert_eq!("3".parse(), Ok(Choice::Number(3)));
        assert_eq!("software".parse(), Ok(Choice::Software));
        assert!("-1".parse::<Choice>().is_err() && "gpu".parse::<Choice>().is_err());
    }
}
