//! CUBINs: ELF files with a GPU's machine code, as far as a driver reads them before it runs any: for which architecture
//! and by which CUDA they were made, and what kernels they hold. Instructions are not looked at. Whatever does not hold
//! together is an error in words, never a panic. Knows no driver and no PTX.
//!
//! Read off files of NVRTC 12.8, 12.9 and 13.0 for capabilities 5.0 to 12.1:
//!
//! | ABI | OS ABI | made by | `e_flags` |
//! |---|---|---|---|
//! | 7 | 0x33 | CUDA 12 for capabilities below 10.0 | architecture in byte 0, bit 11 for one alone (`sm_90a`) |
//! | 8 | 0x41 | CUDA 12.8 and later for 10.0 and above, CUDA 13 for all | architecture in byte 1, bit 3 for one alone |
//!
//! CUDA 13 leaves bit 3 out and says it in the section `.nv.compat`.

mod elf;
mod info;

pub use elf::len_bytes;

use elf::{Elf, Section, Symbol};
use info::{Attribute, attributes};
use std::collections::BTreeMap;

/// Major and minor number.
pub type Version = (u32, u32);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cubin {
    pub abi: u8,
    /// The capability that the code is for.
    pub capability: Version,
    /// Whether it runs on no other capability, as `sm_90a`.
    pub is_specific: bool,
    /// The newest CUDA that made a kernel of it.
    pub cuda: Version,
    pub kernels: BTreeMap<String, CubinKernel>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CubinKernel {
    /// By number.
    pub params: BTreeMap<u32, CubinParam>,
    pub param_bytes: u32,
    /// Static, without what the system keeps for itself.
    pub shared_bytes: u32,
    /// Of a thread: its frames on the stack.
    pub local_bytes: u32,
    pub registers: u32,
    /// Threads of a block, where the source bounds them.
    pub max_threads: Option<u32>,
    cuda: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CubinParam {
    pub offset: u32,
    pub size_bytes: u32,
}

/// `e_machine` of CUDA.
const MACHINE: u16 = 190;
const EXECUTABLE: u16 = 2;
/// `STO_CUDA_ENTRY` of a symbol: what the host may launch.
const ENTRY: u8 = 0x10;
const FUNCTION: u8 = 2;
/// From capability 9.0 on, a block's shared memory begins with this much of the system's.
const RESERVED_SHARED: u64 = 1024;

/// Reads a whole file; bytes behind its end do no harm.
pub fn read(bytes: &[u8]) -> Result<Cubin, String> {
    let elf = Elf::read(bytes)?;
    if elf.machine != MACHINE {
        return Err(format!(
            "an ELF file for machine {}, not {MACHINE}, CUDA",
            elf.machine
        ));
    }
    if elf.kind != EXECUTABLE {
        return Err(format!(
            "an ELF file of type {}, not {EXECUTABLE}, executable",
            elf.kind
        ));
    }
    let flags = elf.flags;
    let (architecture, alone) = match (elf.os_abi, elf.abi) {
        (0x33, 7) => (flags & 0xff, flags >> 11 & 1 != 0),
        (0x41, 8) => (flags >> 8 & 0xff, flags >> 3 & 1 != 0),
        (os, abi) => return Err(format!("ABI {abi} of OS ABI {os:#x} is not known")),
    };
    let kernels = kernels(&elf, architecture >= 90)?;
    Ok(Cubin {
        abi: elf.abi,
        capability: (architecture / 10, architecture % 10),
        is_specific: alone || has_compat_mark(&elf)?,
        cuda: kernels
            .values()
            .map(|kernel| kernel.cuda)
            .max()
            .unwrap_or_default(),
        kernels,
    })
}

fn has_compat_mark(elf: &Elf<'_>) -> Result<bool, String> {
    const SPECIFIC: u8 = 0x09;
    let Some(section) = elf.section(".nv.compat") else {
        return Ok(false);
    };
    let list = attributes(section.bytes)?;
    Ok(list
        .iter()
        .any(|a| a.id == SPECIFIC && a.number() & 0xff != 0))
}

/// All entries, each with what its sections say.
fn kernels(elf: &Elf<'_>, has_reserved: bool) -> Result<BTreeMap<String, CubinKernel>, String> {
    let mut kernels = BTreeMap::new();
    let symbols = elf.symbols()?;
    let is_entry = |s: &&Symbol<'_>| s.kind == FUNCTION && s.other & ENTRY != 0;
    for symbol in symbols.iter().filter(is_entry) {
        let kernel = kernel(elf, symbol, has_reserved)?;
        kernels.insert(symbol.name.to_string(), kernel);
    }
    // Code that no entry stands for would be code that nobody compared.
    let mut names = elf
        .sections
        .iter()
        .filter_map(|s| s.name.strip_prefix(".text."));
    if let Some(stray) = names.find(|name| !kernels.contains_key(*name)) {
        return Err(format!("code of `{stray}`, which is no kernel"));
    }
    if let Some(section) = elf.section(".nv.info") {
        for attribute in attributes(section.bytes)? {
            let [number, value] = attribute.words()[..] else {
                continue;
            };
            let symbol = symbols.get(number as usize);
            if let Some(kernel) = symbol.and_then(|symbol| kernels.get_mut(symbol.name)) {
                kernel.note_common(attribute.id, value);
            }
        }
    }
    match kernels.iter().find(|(_, kernel)| kernel.registers == 0) {
        Some((name, _)) => Err(format!("kernel `{name}` has no number of registers")),
        None => Ok(kernels),
    }
}

fn kernel(elf: &Elf<'_>, symbol: &Symbol<'_>, has_reserved: bool) -> Result<CubinKernel, String> {
    let name = symbol.name;
    let text = elf.section_at(symbol.section)?;
    if text.name != format!(".text.{name}") || text.bytes.is_empty() {
        return Err(format!("kernel `{name}` has no code"));
    }
    let mut kernel = CubinKernel::default();
    match elf.section(&format!(".nv.info.{name}")) {
        Some(section) => kernel.read_own(section, name)?,
        None => return Err(format!("kernel `{name}` has no .nv.info")),
    }
    if let Some(section) = elf.section(&format!(".nv.shared.{name}")) {
        kernel.shared_bytes = shared(section, has_reserved)?;
    }
    Ok(kernel)
}

fn shared(section: &Section<'_>, has_reserved: bool) -> Result<u32, String> {
    let reserved = if has_reserved { RESERVED_SHARED } else { 0 };
    let bytes = section.size.checked_sub(reserved);
    let bytes = bytes.and_then(|bytes| u32::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("{}: {} bytes", section.name, section.size))
}

impl CubinKernel {
    /// What the kernel's own `.nv.info` says.
    fn read_own(&mut self, section: &Section<'_>, name: &str) -> Result<(), String> {
        for attribute in attributes(section.bytes)? {
            self.note_own(&attribute).ok_or_else(|| {
                format!("kernel `{name}`: .nv.info attribute {:#x}", attribute.id)
            })?;
        }
        if self.cuda == (0, 0) {
            return Err(format!("kernel `{name}` does not say which CUDA made it"));
        }
        let end = self.params.values().map(|p| p.offset + p.size_bytes).max();
        if end.unwrap_or(0) != self.param_bytes {
            let bytes = self.param_bytes;
            return Err(format!(
                "kernel `{name}`: its parameters do not fill {bytes} bytes"
            ));
        }
        Ok(())
    }

    /// None where the attribute is not as long as it must be.
    fn note_own(&mut self, attribute: &Attribute<'_>) -> Option<()> {
        const MAX_THREADS: u8 = 0x05;
        const PARAM: u8 = 0x17;
        const PARAM_BYTES: u8 = 0x19;
        const CUDA: u8 = 0x37;
        const WIDE_PARAM: u8 = 0x45;
        let words = attribute.words();
        match attribute.id {
            MAX_THREADS => {
                let [x, y, z] = words[..] else { return None };
                self.max_threads = Some(x.checked_mul(y)?.checked_mul(z)?);
            }
            PARAM | WIDE_PARAM => {
                let [_, place, size] = words[..] else {
                    return None;
                };
                let is_wide = attribute.id == WIDE_PARAM;
                let size_bytes = if is_wide { size & 0xffff } else { size >> 18 };
                let offset = place >> 16;
                self.params
                    .insert(place & 0xffff, CubinParam { offset, size_bytes });
            }
            PARAM_BYTES => self.param_bytes = attribute.number(),
            CUDA => {
                let [number] = words[..] else { return None };
                self.cuda = (number / 10, number % 10);
            }
            _ => {}
        }
        Some(())
    }

    /// What the file's common `.nv.info` says of one symbol.
    fn note_common(&mut self, id: u8, value: u32) {
        const STACK: u8 = 0x12;
        const REGISTERS: u8 = 0x2f;
        match id {
            STACK => self.local_bytes = value,
            REGISTERS => self.registers = value,
            _ => {}
        }
    }
}
