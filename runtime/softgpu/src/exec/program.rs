//! A kernel ready to run: decoded instructions, the layout of its register file and of its memories.

use super::lanes::Instr;
use crate::ptx::ast::Param;
use crate::time::cost::Cost;
use std::sync::Arc;

/// Read-only values that rows hold from a block's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Special {
    /// Dimensions 0, 1, 2.
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    WarpCount,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicShared,
    TotalShared,
    Zero,
    One,
}

/// Which bytes of its operands `a` and `b` an instruction looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bytes {
    #[default]
    All,
    /// It makes each byte of the result of one: 0 to 3 are those of `a`, 4 to 7 those of `b`.
    Moved([u8; 4]),
    /// All of `a`; bit k is byte k of `b`.
    OfB(u8),
}

/// What the sanitizers and reports know about one instruction beside its decoded form.
#[derive(Debug, Clone, Default)]
pub struct Info {
    pub line: u32,
    /// Whether this is the first decoded instruction of its PTX instruction.
    pub is_first: bool,
    /// Bit k: `d[k]` is a predicate.
    pub pred_defs: u8,
    /// Register fields that are read: offset and whether it is a predicate.
    pub uses: Vec<(u32, bool)>,
    /// Whether it takes one of two operands, so that the other one may hold nothing.
    pub selects: bool,
    pub bytes: Bytes,
    /// Where a branch goes.
    pub target: Option<u32>,
    /// What an assembler makes of it.
    pub cost: Cost,
}

/// Bytes of a kernel's static variables in shared memory, in whatever order they lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedSizes {
    /// Without gaps between them.
    pub packed: u32,
    /// With the widest gaps.
    pub loose: u32,
}

pub struct Program {
    pub name: String,
    pub code: Vec<Instr>,
    pub infos: Vec<Info>,
    /// Offset, bits, and whether the row has 64-bit cells.
    pub constants: Vec<(u32, u64, bool)>,
    pub specials: Vec<(u32, Special)>,
    pub file_bytes: u32,
    pub shared_static: u32,
    pub shared_sizes: SharedSizes,
    pub local_len: u32,
    pub params: Vec<Param>,
    pub param_offsets: Vec<u32>,
    pub param_bytes: u32,
    pub max_threads: Option<u32>,
    /// 32-bit registers that are live at once, as far as the decoder can tell; the real assembler may need more or fewer.
    pub registers: u32,
    pub lines: Arc<Vec<String>>,
}

impl Program {
    /// Line number and text of the instruction at `pc`.
    pub fn source_line(&self, pc: u32) -> (u32, String) {
        let line = self.infos.get(pc as usize).map_or(0, |info| info.line);
        let text = (line as usize)
            .checked_sub(1)
            .and_then(|index| self.lines.get(index));
        (
            line,
            text.map_or(String::new(), |text| text.trim().to_string()),
        )
    }
}
