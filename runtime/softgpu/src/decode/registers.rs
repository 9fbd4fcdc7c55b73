//! Virtual registers: what the decoder counts before each has a place in a register file.

use crate::exec::lanes::Instr;
use crate::exec::program::Special;
use crate::ptx::ast::Type;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Pred,
    /// 32-bit cells, also for 8 and 16 bits.
    Narrow,
    Wide,
}

impl Width {
    pub fn of(kind: Type) -> Self {
        match kind.size_bytes() {
            8 => Self::Wide,
            _ if kind == Type::Pred => Self::Pred,
            _ => Self::Narrow,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Plain,
    Constant(u64),
    Special(Special),
}

#[derive(Debug, Clone, Copy)]
pub struct Virtual {
    pub width: Width,
    pub origin: Origin,
}

/// The register that is always true and stands for "none".
pub const NONE: u32 = 0;

/// Virtual registers that an instruction reads.
pub fn uses(instruction: &Instr) -> impl Iterator<Item = u32> + use<> {
    let defs = instruction.defs;
    let stored = instruction.d;
    let read = (0..4)
        .filter(move |k| defs >> k & 1 == 0)
        .map(move |k| stored[k]);
    [
        instruction.a,
        instruction.b,
        instruction.c,
        instruction.guard,
    ]
    .into_iter()
    .chain(read)
    .filter(|&register| register != NONE)
}
