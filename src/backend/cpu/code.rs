//! Machine code of a program's kernels, from the emitter that the vector width asks for.
//!
//! Knows the emitters, but neither graphs nor places of buffers.

use std::fmt;
use std::str::FromStr;

use lenetc_runtime::code::Executable;
use lenetc_runtime::exec::{Entry, MOST_SCALARS, Uniforms};

use super::clif;
use super::wide;
use crate::ir::Scalar;
use crate::nest::loops::{Kernel, Uniform};

const _: () = assert!(Scalar::ALL.len() <= MOST_SCALARS, "each has a slot");

/// Where a kernel finds a run-time number, in bytes.
pub(super) fn uniform_offset(uniform: Uniform) -> i32 {
    let offset = match uniform {
        Uniform::Valid => std::mem::offset_of!(Uniforms, valid),
        Uniform::Scalar(scalar) => Uniforms::offset_of_scalar(scalar.slot()),
    };
    offset as i32
}

/// Where a kernel finds the position of its block's first image in the batch, a word, in bytes.
pub(super) fn first_offset() -> i32 {
    std::mem::offset_of!(Uniforms, first) as i32
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 128-bit vectors of any processor that Cranelift knows.
    Cranelift,
    Avx2,
    Avx512,
}

impl Isa {
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Cranelift];

    /// f32 in a vector.
    pub fn lanes(self) -> u32 {
        match self {
            Self::Cranelift => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Vectors that the processor holds in registers.
    pub fn registers(self) -> u32 {
        match self {
            Self::Cranelift | Self::Avx2 => 16,
            Self::Avx512 => 32,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Cranelift => "cranelift",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine runs it.
    pub fn available(self) -> bool {
        #[cfg(all(target_arch = "x86_64", unix))]
        let wide = |avx512: bool| {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && (!avx512 || is_x86_feature_detected!("avx512f"))
        };
        #[cfg(not(all(target_arch = "x86_64", unix)))]
        let wide = |_: bool| false;
        match self {
            Self::Cranelift => true,
            Self::Avx2 => wide(false),
            Self::Avx512 => wide(true),
        }
    }

    /// The widest that this machine runs.
    pub fn best() -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|i| i.available()).unwrap_or(Self::Cranelift)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|i| i.name() == name);
        found.ok_or_else(|| format!("there is no instruction set {name}"))
    }
}

/// Where a kernel's code starts is a multiple of so many bytes.
const ALIGNMENT: usize = 64;
/// What lies between kernels stops a processor that gets there.
const TRAP: u8 = 0xcc;

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    #[error(transparent)]
    Cranelift(#[from] Box<cranelift::module::ModuleError>),
    #[error("no memory for code: {0}")]
    Memory(#[from] std::io::Error),
}

/// Compiled kernels. Their memory is freed when this is dropped.
pub struct Code {
    entries: Vec<Entry>,
    _narrow: Option<clif::Code>,
    _wide: Option<Executable>,
}

/// A kernel's code where `wide` made it; Cranelift compiles the others.
pub type Wide = Option<wide::Code>;

impl Code {
    /// Compiles kernels, each of its own vector width: four lanes by Cranelift.
    pub fn compile(kernels: &[Kernel]) -> Result<Self, CodeError> {
        let wide: Vec<Wide> = kernels.iter().map(|k| wide::compile(k).ok()).collect();
        Self::link(
            &kernels.iter().collect::<Vec<_>>(),
            &wide.iter().collect::<Vec<_>>(),
        )
    }

    /// Puts the code of kernels into executable memory and compiles those that have none yet.
    pub fn link(kernels: &[&Kernel], wide: &[&Wide]) -> Result<Self, CodeError> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut starts = Vec::new();
        for code in wide.iter().copied().flatten() {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), TRAP);
            starts.push(bytes.len() + code.entry);
            bytes.extend(&code.bytes);
        }
        let narrow = kernels.iter().zip(wide).filter(|k| k.1.is_none());
        let narrow: Vec<Kernel> = narrow.map(|k| (*k.0).clone()).collect();
        let narrow = (!narrow.is_empty())
            .then(|| clif::Code::compile(&narrow))
            .transpose()?;
        let memory = (!bytes.is_empty())
            .then(|| Executable::new(&bytes))
            .transpose()?;
        let mut starts = starts.into_iter();
        let mut rest = 0..;
        let mut entries = Vec::new();
        for w in wide {
            entries.extend(match (w, &memory, &narrow) {
                // SAFETY: a function of this signature starts there, and `self` keeps the memory.
                (Some(_), Some(m), _) => starts.next().map(|at| unsafe { m.entry(at) }),
                (_, _, Some(n)) => rest.next().map(|k| n.entry(k)),
                _ => None,
            });
        }
        Ok(Self {
            entries,
            _narrow: narrow,
            _wide: memory,
        })
    }

    /// A kernel's entry; valid while `self` lives.
    pub fn entry(&self, kernel: usize) -> Entry {
        self.entries[kernel]
    }

    /// Runs a kernel on this thread.
    ///
    /// # Safety
    /// As for `clif::Code::call`.
    pub unsafe fn call(&self, kernel: usize, buffers: &[*mut u8], uniforms: &Uniforms) {
        // SAFETY: the caller keeps the contract, and the code lives as long as `self`.
        unsafe { self.entries[kernel](buffers.as_ptr(), uniforms) }
    }
}
