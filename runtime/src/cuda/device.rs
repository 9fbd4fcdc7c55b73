//! Devices: which there are, and one that is opened.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::result as driver;
use cudarc::driver::sys::CUdevice_attribute_enum::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
};
use cudarc::driver::{CudaContext, CudaModule, DriverError};

use super::choose::{Compiler, Version, attempts};
use super::compile::{self, Arch, Compiled, Image};
use super::error::{CudaError, Phase, is_refusal, when};
use super::libraries::{self, Driver};
use super::nvrtc::{Identity, Nvrtc};
use crate::cache::{Cache, Key};

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

/// Kernels on a device.
pub(super) struct Loaded {
    pub module: Arc<CudaModule>,
    /// What NVRTC and ptxas say.
    pub log: String,
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

    /// Brings a whole source text onto the device: machine code for it where that can be, else PTX, each by the newest
    /// NVRTC that the driver can take. What worked before is taken from the cache, and then no NVRTC is needed.
    pub(super) fn load(&self, source: &str) -> Result<Loaded, CudaError> {
        let cache = Cache::of_user();
        let remembered = self.remembered(cache.as_ref(), source);
        if let Some(loaded) = remembered {
            return Ok(loaded);
        }
        let compilers = libraries::nvrtcs()?;
        let offers: Vec<Compiler> = compilers.iter().map(Nvrtc::compiler).collect();
        let driver = Version::of_driver(libraries::driver_version());
        let mut refused = None;
        for attempt in attempts(driver, self.found.capability, &offers)? {
            let nvrtc = &compilers[attempt.compiler];
            let compiled = compile::cached(nvrtc, cache.as_ref(), source, attempt.arch)?;
            if libraries::is_software() {
                share_source(nvrtc, cache.as_ref(), source, &compiled)?;
            }
            match self.module(&compiled) {
                Ok(module) => {
                    if let Some(cache) = &cache {
                        let way = format!("{}\n{}", attempt.arch.name(), nvrtc.identity.text);
                        cache.put(&self.key(source), way.as_bytes());
                    }
                    return Ok(Loaded {
                        module,
                        log: compiled.log,
                    });
                }
                Err(e) if is_refusal(e.0 as u32) => {
                    refused = refused.or(Some(self.refusal(e, &compiled)));
                }
                Err(e) => return Err(when(Phase::Load, "loading the kernels")(e)),
            }
        }
        Err(refused.unwrap_or(CudaError::OldDevice {
            device: self.found.capability,
            oldest: 0,
        }))
    }

    /// What was loaded for this source before, where the NVRTC that made it is as it was, or gone.
    fn remembered(&self, cache: Option<&Cache>, source: &str) -> Option<Loaded> {
        let cache = cache?;
        let way = String::from_utf8(cache.get(&self.key(source))?).ok()?;
        let (arch, identity) = way.split_once('\n')?;
        let arch = Arch::of_name(arch)?;
        let path = identity.rsplitn(3, ' ').nth(2)?;
        let now = Identity::of(Path::new(path));
        let unchanged = now.text == identity || !now.path.exists();
        let compiled = compile::known(cache, identity, source, arch).filter(|_| unchanged)?;
        if libraries::is_software() {
            // The software GPU runs the PTX of the same source.
            let (Arch::Real(number) | Arch::Virtual(number)) = arch;
            let ptx = compile::known(cache, identity, source, Arch::Virtual(number))?;
            if let (Image::Cubin(code), Image::Ptx(text)) = (&compiled.image, &ptx.image) {
                libraries::software_source(code, text);
            }
        }
        let module = self.module(&compiled).ok()?;
        Some(Loaded {
            module,
            log: compiled.log,
        })
    }

    /// By what one device with one driver remembers a source.
    fn key(&self, source: &str) -> Key {
        let driver = libraries::driver_version().to_string();
        let chosen = std::env::var("LENETC_NVRTC").unwrap_or_default();
        let capability = self.found.capability.to_string();
        Key::of(&["way", &driver, &chosen, &capability, source])
    }

    fn module(&self, compiled: &Compiled) -> Result<Arc<CudaModule>, DriverError> {
        let image = match &compiled.image {
            Image::Ptx(text) => cudarc::nvrtc::Ptx::from_src(text),
            Image::Cubin(code) => cudarc::nvrtc::Ptx::from_binary(code.clone()),
        };
        self.context.load_module(image)
    }

    /// A refused image with what the driver's own compiler says of it.
    fn refusal(&self, e: DriverError, compiled: &Compiled) -> CudaError {
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

/// Gives the software GPU the PTX of the source that machine code was made from.
fn share_source(
    nvrtc: &Nvrtc,
    cache: Option<&Cache>,
    source: &str,
    compiled: &Compiled,
) -> Result<(), CudaError> {
    let Image::Cubin(code) = &compiled.image else {
        return Ok(());
    };
    let Arch::Real(capability) = compiled.arch else {
        return Ok(());
    };
    let ptx = compile::cached(nvrtc, cache, source, Arch::Virtual(capability))?;
    if let Image::Ptx(text) = &ptx.image {
        libraries::software_source(code, text);
    }
    Ok(())
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
