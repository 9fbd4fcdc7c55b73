//! Which GPU kernels are checked for, and the software GPU in its place.
//!
//! A process has one driver. Where the GPU is one of NVIDIA's, this one asks its driver what the GPU is, and another
//! one, in its place, has the software GPU stand for it. Does not know what is checked.

use std::os::unix::process::CommandExt;
use std::process::Command;

use lenetc::backend::cuda::ptx::multiprocessors;
use lenetc::lines::{MESSAGE, wrap_to};
use lenetc::train::RunError;
use lenetc_runtime::cuda::{Choice, CudaError, Device, Found, devices, software_configure};

use super::super::Stop;
use super::super::args::CheckArgs;
use super::findings;

/// Bytes of a device's name, and of its memory, that the software GPU takes.
const MOST_NAME: usize = 200;
const MOST_MEMORY: u64 = 1 << 40;

/// What a GPU is, as far as kernels are made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    /// Compute capability, as 80 for 8.0.
    pub capability: u32,
    pub multiprocessors: u32,
    pub memory_bytes: u64,
}

impl From<&Found> for Gpu {
    fn from(d: &Found) -> Self {
        Self {
            name: d.name.clone(),
            capability: d.capability,
            multiprocessors: d.multiprocessors,
            memory_bytes: d.memory_bytes,
        }
    }
}

/// Where the check goes on.
pub enum Card {
    /// Here, on the software GPU under these settings.
    Software(String),
    /// In another process that takes the place of this one.
    Elsewhere(Box<Command>),
}

impl Card {
    /// What the options say. A card or a capability alone needs no device.
    pub fn of(a: &CheckArgs) -> Result<Self, Stop> {
        let named = a.card.is_some() || a.arch.is_some();
        match a.device {
            Some(Choice::Number(_)) if a.card.is_some() => Err(Stop::Message(
                "--card is what the software GPU stands for: leave out --device".into(),
            )),
            Some(Choice::Software) => Ok(Self::Software(settings(a))),
            None if named => Ok(Self::Software(settings(a))),
            None => Self::elsewhere(a, 0),
            Some(Choice::Number(number)) => Self::elsewhere(a, number),
        }
    }

    fn elsewhere(a: &CheckArgs, number: u32) -> Result<Self, Stop> {
        let file = &a.model.file;
        if !file.is_file() {
            return Err(Stop::Message(format!(
                "{} is read again for a GPU of this machine, and can be read once: \
                 save it as a file, or name a card, as --card h100",
                file.display()
            )));
        }
        let all = devices().map_err(RunError::from)?;
        let found = all.get(number as usize).ok_or_else(|| {
            RunError::from(CudaError::DeviceNumber {
                asked: number,
                have: all.len() as u32,
            })
        })?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["check", "--target", "cuda", "--device", "software"]);
        command.args(a.model.overrides().iter().flat_map(|o| ["--set", o]));
        let flags = [("--json", a.json), ("--wide", a.wide)];
        command.args(flags.into_iter().filter(|f| f.1).map(|f| f.0));
        if let Some(arch) = a.arch {
            command.args(["--arch", &arch.to_string()]);
        }
        command.arg("--").arg(&a.model.file);
        let others = std::env::var("LENETC_SOFTGPU").unwrap_or_default();
        command.env(
            "LENETC_SOFTGPU",
            format!("{others};{}", likeness(&found.into())),
        );
        Ok(Self::Elsewhere(Box::new(command)))
    }
}

/// Goes on in another process; returns only where that cannot start.
pub fn go_on_in(mut command: Command) -> Result<u8, Stop> {
    let e = command.exec();
    Err(Stop::Message(format!("cannot start lenetc again: {e}")))
}

/// The settings of a software GPU that stands for a device.
fn likeness(d: &Gpu) -> String {
    let plain = |c: &char| !c.is_control() && *c != ';';
    let mut name: String = d.name.chars().filter(plain).collect();
    while name.len() > MOST_NAME {
        name.pop();
    }
    format!(
        "card=software;compute={};multiprocessors={};memory={};name={name} (as the software GPU)",
        version(d.capability),
        d.multiprocessors,
        d.memory_bytes.min(MOST_MEMORY),
    )
}

/// The settings that the options ask for.
fn settings(a: &CheckArgs) -> String {
    let mut all = String::new();
    if let Some(card) = &a.card {
        all += &format!("card={card};");
    }
    if let Some(arch) = a.arch {
        all += &format!("compute={};", version(arch));
        // A capability alone stands for a well-known device of it.
        if a.card.is_none() && a.device.is_none() {
            all += &format!("multiprocessors={};", multiprocessors(arch));
        }
    }
    all
}

/// A capability with its point, as 9.0 for 90.
pub fn version(capability: u32) -> String {
    format!("{}.{}", capability / 10, capability % 10)
}

/// The software GPU as new under settings, with all sanitizers and counters on.
pub fn open(settings: &str) -> Result<Device, Stop> {
    let device = || Device::open(Choice::Software).map_err(RunError::from);
    // Settings need the library, and a reset ends what is open.
    drop(device()?);
    if !software_configure(&format!("reset=1;sanitize=all;count=1;{settings}")) {
        let report = findings::report()?;
        let why = report["last_error"].as_str().unwrap_or_default();
        let why = why.strip_prefix("compute=").unwrap_or(why);
        let why = wrap_to(MESSAGE, &format!("    {why}"), "    ");
        let message = format!("the software GPU cannot stand for this:\n{why}");
        return Err(Stop::Message(message));
    }
    Ok(device()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_s_name_changes_no_other_setting() {
        let found = Gpu {
            name: "Card; multiprocessors=1\n".into(),
            capability: 121,
            memory_bytes: u64::MAX,
            multiprocessors: 48,
        };
        assert_eq!(
            likeness(&found),
            "card=software;compute=12.1;multiprocessors=48;memory=1099511627776;\
             name=Card multiprocessors=1 (as the software GPU)"
        );
    }
}
