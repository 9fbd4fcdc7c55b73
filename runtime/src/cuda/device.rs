//! Devices: which there are, and one that is opened.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute_enum::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
};

use super::choose::{Compiler, Outcome, Version, attempts};
use super::compile::{self, Arch, Compiled, Image};
use super::driver::{Context, DriverError, Gpu, Module, Table};
use super::error::{CudaError, Phase, is_refusal, when};
use super::libraries::{self, Driver};
use super::nvrtc::{Identity, Nvrtc};
use super::software::software_source;
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

/// Kernels on a device.
pub(super) struct Loaded {
    pub module: Arc<Module>,
    /// What NVRTC and ptxas say.
    pub log: String,
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
        let attempts = attempts(driver, self.found.capability, &offers)?;
        attempts.until_loaded(|attempt| {
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
                    let log = compiled.log;
                    Ok(Outcome::Loaded(Loaded { module, log }))
                }
                Err(e) if is_refusal(e.0) => Ok(Outcome::Refused(self.refusal(e, &compiled))),
                Err(e) => Err(when(Phase::Load, "loading the kernels")(e)),
            }
        })
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
                software_source(code, text);
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

    fn module(&self, compiled: &Compiled) -> Result<Arc<Module>, DriverError> {
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
        software_source(code, text);
    }
    Ok(())
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
