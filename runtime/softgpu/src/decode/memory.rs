//! `ld`, `ldu`, `st`, `atom`, `red`, `cp.async` and hints about memory.

use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::{NONE, Width};
use crate::exec::access::{
    Generic, Global, Local, Param, READ_ONLY, Shared, load_handler, param_handler, store_handler,
};
use crate::exec::atomic::{AtomicOp, AtomicType, atomic, describe};
use crate::exec::convert::As;
use crate::exec::lanes::{Handler, Kind, Level, Op1, op1};
use crate::exec::misc;
use crate::ptx::ast::{Operand, Space, Type};

/// Words that order accesses or speak to caches: every access here is complete when its instruction is.
const ORDER: [&str; 24] = [
    "volatile",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "weak",
    "cta",
    "gpu",
    "sys",
    "cluster",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "unified",
    "mmio",
    "L2::64B",
    "L2::128B",
    "L2::256B",
    "L1::evict_last",
    "L1::no_allocate",
];

macro_rules! by_count {
    ($maker:ident, $place:ident, $element:ty, $count:expr, $level:expr) => {
        match $count {
            1 => Some($maker::<$place, $element, 1>($level)),
            2 => Some($maker::<$place, $element, 2>($level)),
            4 => Some($maker::<$place, $element, 4>($level)),
            _ => None,
        }
    };
}

macro_rules! by_element {
    ($maker:ident, $place:ident, $kind:expr, $count:expr, $level:expr) => {
        match $kind {
            Type::B8 | Type::U8 => by_count!($maker, $place, u8, $count, $level),
            Type::S8 => by_count!($maker, $place, i8, $count, $level),
            Type::B16 | Type::U16 | Type::F16 => by_count!($maker, $place, u16, $count, $level),
            Type::S16 => by_count!($maker, $place, i16, $count, $level),
            Type::B32 | Type::U32 | Type::S32 | Type::F32 => {
                by_count!($maker, $place, u32, $count, $level)
            }
            Type::B64 | Type::U64 | Type::S64 | Type::F64 => {
                by_count!($maker, $place, u64, $count, $level)
            }
            Type::Pred => None,
        }
    };
}

fn load_of(space: Space, kind: Type, count: usize, level: Level) -> Option<Handler> {
    match space {
        Space::Global | Space::Const => by_element!(load_handler, Global, kind, count, level),
        Space::Shared => by_element!(load_handler, Shared, kind, count, level),
        Space::Local => by_element!(load_handler, Local, kind, count, Level::Base),
        Space::Param => by_element!(load_handler, Param, kind, count, Level::Base),
        Space::Generic => by_element!(load_handler, Generic, kind, count, Level::Base),
    }
}

fn store_of(space: Space, kind: Type, count: usize, level: Level) -> Option<Handler> {
    match space {
        Space::Global => by_element!(store_handler, Global, kind, count, level),
        Space::Shared => by_element!(store_handler, Shared, kind, count, level),
        Space::Local => by_element!(store_handler, Local, kind, count, Level::Base),
        Space::Generic => by_element!(store_handler, Generic, kind, count, Level::Base),
        Space::Const | Space::Param => None,
    }
}

fn param_of(kind: Type, level: Level) -> Option<Handler> {
    Some(match kind {
        Type::B8 | Type::U8 => param_handler::<u8>(level),
        Type::S8 => param_handler::<i8>(level),
        Type::B16 | Type::U16 | Type::F16 => param_handler::<u16>(level),
        Type::S16 => param_handler::<i16>(level),
        Type::B32 | Type::U32 | Type::S32 | Type::F32 => param_handler::<u32>(level),
        Type::B64 | Type::U64 | Type::S64 | Type::F64 => param_handler::<u64>(level),
        Type::Pred => return None,
    })
}

impl Builder {
    pub(super) fn memory(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        match opcode {
            "ld" => self.load(modifiers, operands, false)?,
            "ldu" => self.load(modifiers, operands, true)?,
            "st" => self.store(modifiers, operands)?,
            "atom" => self.atom(modifiers, operands, true)?,
            "red" => self.atom(modifiers, operands, false)?,
            "cp" => self.copy_async(modifiers, operands)?,
            "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                modifiers.ignore(&[
                    "global",
                    "local",
                    "L1",
                    "L2",
                    "L2::evict_normal",
                    "L2::evict_last",
                    "128",
                ]);
                let hint = self.make(misc::nothing, Kind::Special);
                self.push(hint);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn space(&self, modifiers: &mut Modifiers<'_>) -> Space {
        const NAMES: [&str; 9] = [
            "global",
            "const",
            "shared",
            "shared::cta",
            "local",
            "param",
            "param::entry",
            "param::func",
            "generic",
        ];
        match modifiers.take_one_of(&NAMES) {
            Some(0) => Space::Global,
            Some(1) => Space::Const,
            Some(2 | 3) => Space::Shared,
            Some(4) => Space::Local,
            Some(5 | 6) => Space::Param,
            _ => Space::Generic,
        }
    }

    /// The address operand: a 64-bit register and an offset.
    fn address(&mut self, operand: &Operand) -> Result<(u32, i64)> {
        let Operand::Address { base, offset } = operand else {
            return self.error("no address");
        };
        let Some(name) = base else {
            return Ok((self.constant(0, Width::Wide), *offset));
        };
        let register = match self.declared_type(name) {
            Some(kind) if kind.size_bytes() == 4 => {
                let narrow = self.register(name, Width::Narrow)?;
                self.widened(narrow)
            }
            _ => self.source(&Operand::Word(name.clone()), Type::B64)?,
        };
        Ok((register, *offset))
    }

    fn vector_len(&self, modifiers: &mut Modifiers<'_>) -> usize {
        match modifiers.take_one_of(&["v2", "v4"]) {
            Some(0) => 2,
            Some(_) => 4,
            None => 1,
        }
    }

    fn elements<'o>(&self, operand: &'o Operand, count: usize) -> Result<&'o [Operand]> {
        match operand {
            Operand::Vector(parts) if parts.len() == count => Ok(parts),
            Operand::Vector(parts) => {
                self.error(format!("{} elements where {count} belong", parts.len()))
            }
            single if count == 1 => Ok(std::slice::from_ref(single)),
            _ => self.error("a vector belongs here"),
        }
    }

    /// `is_read_only`: nobody writes the memory during the launch.
    fn load(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
        is_read_only: bool,
    ) -> Result<()> {
        self.count_operands(operands, 2)?;
        let space = self.space(modifiers);
        let is_non_coherent = modifiers.take("nc");
        if is_non_coherent && space != Space::Global {
            return self.error("only memory of space .global is read by .nc");
        }
        let first = self.code.len();
        modifiers.ignore(&ORDER);
        let count = self.vector_len(modifiers);
        let kind = self.type_of(modifiers)?;
        let parts = self.elements(&operands[0], count)?.to_vec();
        let mut targets = [NONE; 4];
        // Elements that are narrower than their 64-bit registers.
        let mut extended = Vec::new();
        for (k, part) in parts.iter().enumerate() {
            let is_wide = matches!(part, Operand::Word(name)
                if self.declared_type(name).is_some_and(|declared| declared.size_bytes() == 8));
            if is_wide && kind.size_bytes() < 8 {
                targets[k] = self.fresh(Width::Narrow);
                extended.push((targets[k], self.target(part, Type::B64)?));
            } else {
                targets[k] = self.target(
                    part,
                    if kind.size_bytes() == 8 {
                        kind
                    } else {
                        Type::B32
                    },
                )?;
            }
        }
        self.emit_load(space, kind, targets, count, &operands[1])?;
        if is_read_only || is_non_coherent || space == Space::Const {
            let loads = self.code[first..].iter_mut();
            for load in loads.filter(|load| load.kind == Kind::LoadGlobal) {
                load.extra = READ_ONLY;
            }
        }
        for (narrow, wide) in extended {
            let exec = extension(kind, self.level);
            self.emit(exec, Kind::Move, wide, [narrow, NONE, NONE]);
        }
        Ok(())
    }

    fn emit_load(
        &mut self,
        space: Space,
        kind: Type,
        targets: [u32; 4],
        count: usize,
        from: &Operand,
    ) -> Result<()> {
        let kind_of = match space {
            Space::Global | Space::Const | Space::Generic => Kind::LoadGlobal,
            Space::Shared => Kind::LoadShared,
            Space::Local => Kind::Local,
            Space::Param => Kind::Param,
        };
        if let (
            Space::Param,
            Operand::Address {
                base: Some(name),
                offset,
            },
        ) = (space, from)
            && self.is_param(name)
        {
            let start = self.symbols.names[name].1.wrapping_add_signed(*offset);
            let size = u64::from(kind.size_bytes());
            if start + size * count as u64 > u64::from(self.symbols.param_bytes) {
                return self.error("past the end of the parameters");
            }
            for (k, target) in targets.iter().take(count).enumerate() {
                let Some(exec) = param_of(kind, self.level) else {
                    return self.no_form(kind);
                };
                let mut instruction = self.make(exec, Kind::Param);
                instruction.d[0] = *target;
                instruction.defs = 1;
                instruction.imm = (start + size * k as u64) as i64;
                self.push(instruction);
            }
            return Ok(());
        }
        let (base, offset) = self.address(from)?;
        let Some(exec) = load_of(space, kind, count, self.level) else {
            return self.no_form(kind);
        };
        let mut instruction = self.make(exec, kind_of);
        instruction.d = targets;
        instruction.defs = (1 << count) - 1;
        instruction.a = base;
        instruction.imm = offset;
        instruction.width = kind.size_bytes() as u8;
        instruction.count = count as u8;
        self.push(instruction);
        Ok(())
    }

    fn store(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 2)?;
        let space = self.space(modifiers);
        modifiers.ignore(&ORDER);
        let count = self.vector_len(modifiers);
        let kind = self.type_of(modifiers)?;
        let parts = self.elements(&operands[1], count)?.to_vec();
        let mut sources = [NONE; 4];
        for (source, part) in sources.iter_mut().zip(&parts) {
            let (register, is_wide) = self.any_width(part, kind)?;
            *source = if is_wide && kind.size_bytes() < 8 {
                self.narrowed(register)
            } else {
                register
            };
        }
        let (base, offset) = self.address(&operands[0])?;
        let Some(exec) = store_of(space, kind, count, self.level) else {
            return self.no_form(kind);
        };
        let kind_of = match space {
            Space::Shared => Kind::StoreShared,
            Space::Local => Kind::Local,
            _ => Kind::StoreGlobal,
        };
        let mut instruction = self.make(exec, kind_of);
        instruction.d = sources;
        instruction.a = base;
        instruction.imm = offset;
        instruction.width = kind.size_bytes() as u8;
        instruction.count = count as u8;
        self.push(instruction);
        Ok(())
    }

    fn atom(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
        has_result: bool,
    ) -> Result<()> {
        let space = self.space(modifiers);
        modifiers.ignore(&ORDER);
        modifiers.ignore(&["noftz"]);
        let kind = self.type_of(modifiers)?;
        const NAMES: [(&str, AtomicOp); 10] = [
            ("add", AtomicOp::Add),
            ("min", AtomicOp::Min),
            ("max", AtomicOp::Max),
            ("and", AtomicOp::And),
            ("or", AtomicOp::Or),
            ("xor", AtomicOp::Xor),
            ("exch", AtomicOp::Exchange),
            ("cas", AtomicOp::CompareAndSwap),
            ("inc", AtomicOp::Increment),
            ("dec", AtomicOp::Decrement),
        ];
        let Some(&(_, op)) = NAMES.iter().find(|(name, _)| modifiers.take(name)) else {
            return self.error("no operation");
        };
        let cell = match kind {
            Type::U32 | Type::B32 => AtomicType::U32,
            Type::S32 => AtomicType::S32,
            Type::F32 => AtomicType::F32,
            Type::U64 | Type::B64 => AtomicType::U64,
            Type::S64 => AtomicType::S64,
            Type::F64 => AtomicType::F64,
            _ => return self.no_form(kind),
        };
        if kind.is_float() && op != AtomicOp::Add {
            return self.no_form(kind);
        }
        let inputs = if op == AtomicOp::CompareAndSwap { 2 } else { 1 };
        let first = usize::from(has_result);
        self.count_operands(operands, first + 1 + inputs)?;
        let exec: Handler = match space {
            Space::Global => atomic::<Global>,
            Space::Shared => atomic::<Shared>,
            Space::Generic => atomic::<Generic>,
            _ => return self.error("not in this space"),
        };
        let b = self.source(&operands[first + 1], kind)?;
        let c = if inputs == 2 {
            self.source(&operands[first + 2], kind)?
        } else {
            NONE
        };
        let (base, offset) = self.address(&operands[first])?;
        let mut instruction = self.make(exec, Kind::Atomic);
        if has_result {
            instruction.d[0] = self.target(&operands[0], kind)?;
            instruction.defs = 1;
        }
        [instruction.a, instruction.b, instruction.c] = [base, b, c];
        instruction.imm = offset;
        instruction.width = kind.size_bytes() as u8;
        instruction.extra = describe(op, cell);
        self.push(instruction);
        Ok(())
    }

    fn copy_async(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        if !modifiers.take("async") {
            return self.error("only cp.async is known");
        }
        modifiers.ignore(&[
            "ca",
            "cg",
            "shared",
            "shared::cta",
            "global",
            "L2::64B",
            "L2::128B",
            "L2::256B",
        ]);
        if modifiers
            .take_one_of(&["commit_group", "wait_group", "wait_all"])
            .is_some()
        {
            let wait = self.make(misc::nothing, Kind::Special);
            self.push(wait);
            return Ok(());
        }
        if operands.len() < 3 {
            return self.error("too few operands");
        }
        let Operand::Integer(len @ (4 | 8 | 16)) = operands[2] else {
            return self.error("a size of 4, 8 or 16 belongs here");
        };
        let (to, to_offset) = self.address(&operands[0])?;
        let (from, from_offset) = self.address(&operands[1])?;
        let mut instruction = self.make(misc::copy_async, Kind::LoadGlobal);
        [instruction.a, instruction.b] = [to, from];
        if let Some(size) = operands.get(3) {
            instruction.c = self.source(size, Type::U32)?;
        }
        instruction.extra = len as u32;
        instruction.imm = from_offset << 32 | (to_offset & 0xffff_ffff);
        self.push(instruction);
        Ok(())
    }
}

fn extension(kind: Type, level: Level) -> Handler {
    fn of<O: Op1>(level: Level) -> Handler {
        op1::<O>(level)
    }
    match kind {
        Type::S8 | Type::S16 | Type::S32 => of::<As<i32, i64>>(level),
        _ => of::<As<u32, u64>>(level),
    }
}
