//! Logic, shifts, bit fields, permutations, selection and tests of floats.

use super::arithmetic::by_int;
use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::NONE;
use crate::exec::integer as i;
use crate::exec::lanes::{Handler, Kind, Level, op1, op2, op3};
use crate::exec::misc;
use crate::exec::program::Bytes;
use crate::ptx::ast::{Operand, Type};

impl Builder {
    pub(super) fn bits(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        match opcode {
            "and" | "or" | "xor" | "not" | "cnot" => self.logic(opcode, modifiers, operands)?,
            "shl" | "shr" => self.shift(opcode, modifiers, operands)?,
            "shf" => self.funnel(modifiers, operands)?,
            "clz" | "popc" | "brev" | "bfind" => self.count(opcode, modifiers, operands)?,
            "bfe" => {
                let kind = self.type_of(modifiers)?;
                let exec = if matches!(kind, Type::U32 | Type::S32 | Type::U64 | Type::S64) {
                    by_int!(op3, Bfe, kind, Level::Base)
                } else {
                    None
                };
                self.emit_typed(
                    exec,
                    Kind::Integer,
                    kind,
                    &[kind, Type::U32, Type::U32],
                    operands,
                )?;
            }
            "bfi" => self.insert(modifiers, operands)?,
            "prmt" => self.permute(modifiers, operands)?,
            "lop3" => self.lop3(modifiers, operands)?,
            "selp" => self.select(modifiers, operands)?,
            "slct" => self.slct(modifiers, operands)?,
            "testp" => self.testp(modifiers, operands)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn logic(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        if kind == Type::Pred {
            return self.logic_pred(opcode, operands);
        }
        let kind = match kind {
            Type::B16 | Type::B32 | Type::B64 => kind,
            _ => return self.no_form(kind),
        };
        let level = self.level;
        let (exec, arity) = match opcode {
            "and" => (by_int!(op2, And, kind, level), 2),
            "or" => (by_int!(op2, Or, kind, level), 2),
            "xor" => (by_int!(op2, Xor, kind, level), 2),
            "not" => (by_int!(op1, Not, kind, level), 1),
            _ => (by_int!(op1, CNot, kind, Level::Base), 1),
        };
        self.emit_typed(exec, Kind::Integer, kind, &[kind; 2][..arity], operands)
    }

    fn logic_pred(&mut self, opcode: &str, operands: &[Operand]) -> Result<()> {
        // Bit 2a + b of the table is the result for a and b.
        let (table, arity) = match opcode {
            "and" => (0b1000, 2),
            "or" => (0b1110, 2),
            "xor" => (0b0110, 2),
            "not" => (0b0011, 1),
            _ => return self.no_form(Type::Pred),
        };
        self.count_operands(operands, arity + 1)?;
        let a = self.pred_source(&operands[1])?;
        let b = if arity == 2 {
            self.pred_source(&operands[2])?
        } else {
            (NONE, 0)
        };
        let target = self.pred_target(&operands[0])?;
        self.pred_logic(target, a, b, table);
        Ok(())
    }

    /// Predicates with all ones where they are negated.
    pub(super) fn pred_logic(&mut self, target: u32, a: (u32, u32), b: (u32, u32), table: u32) {
        let mut instruction = self.make(misc::pred_logic, Kind::Integer);
        instruction.d[0] = target;
        instruction.defs = 1;
        [instruction.a, instruction.b] = [a.0, b.0];
        instruction.extra = table | (a.1 & 1) << 8 | (b.1 & 1) << 9;
        self.push(instruction);
    }

    fn shift(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let exec = match (opcode, kind) {
            ("shl", Type::B16 | Type::B32 | Type::B64) => by_int!(op2, Shl, kind, self.level),
            ("shr", _) => by_int!(op2, Shr, kind, self.level),
            _ => None,
        };
        self.emit_typed(exec, Kind::Integer, kind, &[kind, Type::U32], operands)
    }

    fn funnel(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let side = modifiers.take_one_of(&["l", "r"]);
        let exec = match (side, modifiers.take_one_of(&["wrap", "clamp"]), kind) {
            (Some(0), Some(0), Type::B32) => op3::<i::ShfLeftWrap>(self.level),
            (Some(0), Some(1), Type::B32) => op3::<i::ShfLeftClamp>(self.level),
            (Some(1), Some(0), Type::B32) => op3::<i::ShfRightWrap>(self.level),
            (Some(1), Some(1), Type::B32) => op3::<i::ShfRightClamp>(self.level),
            _ => return self.no_form(kind),
        };
        self.emit_typed(
            Some(exec),
            Kind::Integer,
            kind,
            &[kind, kind, Type::U32],
            operands,
        )
    }

    fn count(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        if !matches!(kind.size_bytes(), 4 | 8) {
            return self.no_form(kind);
        }
        let exec = match opcode {
            "clz" => by_int!(op1, Clz, kind, self.level),
            "popc" => by_int!(op1, Popc, kind, self.level),
            "brev" => by_int!(op1, Brev, kind, self.level),
            _ if modifiers.take("shiftamt") => by_int!(op1, BfindShift, kind, Level::Base),
            _ => by_int!(op1, Bfind, kind, Level::Base),
        };
        let result = if opcode == "brev" { kind } else { Type::U32 };
        self.emit_typed(exec, Kind::Integer, result, &[kind], operands)
    }

    fn insert(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let exec: Handler = match kind {
            Type::B32 => misc::bit_insert::<u32>,
            Type::B64 => misc::bit_insert::<u64>,
            _ => return self.no_form(kind),
        };
        self.count_operands(operands, 5)?;
        let mut instruction = self.make(exec, Kind::Integer);
        instruction.a = self.source(&operands[1], kind)?;
        instruction.b = self.source(&operands[2], kind)?;
        instruction.c = self.source(&operands[3], Type::U32)?;
        instruction.d[1] = self.source(&operands[4], Type::U32)?;
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        self.push(instruction);
        Ok(())
    }

    /// Emits a three-operand instruction on 32-bit registers with a description.
    fn described(&mut self, exec: Handler, operands: &[Operand], extra: u32) -> Result<()> {
        let mut instruction = self.make(exec, Kind::Integer);
        instruction.a = self.source(&operands[1], Type::B32)?;
        instruction.b = self.source(&operands[2], Type::B32)?;
        instruction.c = self.source(&operands[3], Type::B32)?;
        instruction.d[0] = self.target(&operands[0], Type::B32)?;
        instruction.defs = 1;
        instruction.extra = extra;
        self.push(instruction);
        Ok(())
    }

    fn permute(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 4)?;
        let mode = modifiers
            .take_one_of(&["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"])
            .map_or(0, |index| index as u32 + 1);
        match self.type_of(modifiers)? {
            Type::B32 => self.described(misc::permute_handler(self.level), operands, mode)?,
            other => return self.no_form(other),
        }
        if let (Operand::Integer(selector), Some(info)) = (&operands[3], self.infos.last_mut()) {
            let nibble = |k| i::permute_nibble(*selector as u32, mode, k) as u8 & 7;
            info.bytes = Bytes::Moved([0, 1, 2, 3].map(nibble));
        }
        Ok(())
    }

    fn lop3(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 5)?;
        let Operand::Integer(table @ 0..=255) = operands[4] else {
            return self.error("a table of 8 bits belongs here");
        };
        match self.type_of(modifiers)? {
            Type::B32 => self.described(misc::lop3_handler(self.level), operands, table as u32),
            other => self.no_form(other),
        }
    }

    fn select(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 4)?;
        let kind = self.type_of(modifiers)?;
        let exec = match kind.size_bytes() {
            8 => misc::select::<u64>(self.level),
            2 | 4 => misc::select::<u32>(self.level),
            _ => return self.no_form(kind),
        };
        let (pred, flip) = self.pred_source(&operands[3])?;
        let mut instruction = self.make(exec, Kind::Move);
        instruction.a = self.source(&operands[1], kind)?;
        instruction.b = self.source(&operands[2], kind)?;
        instruction.c = pred;
        instruction.extra = flip;
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        self.push(instruction);
        if let Some(info) = self.infos.last_mut() {
            info.selects = true;
        }
        Ok(())
    }

    fn slct(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        let selector = self.type_of(modifiers)?;
        let kind = self.type_of(modifiers)?;
        modifiers.ignore(&["ftz"]);
        let bits = match kind.size_bytes() {
            4 => Type::B32,
            8 => Type::B64,
            _ => return self.no_form(kind),
        };
        let exec = match selector {
            Type::S32 => by_int!(op3, Slct, bits, Level::Base),
            Type::F32 => by_int!(op3, SlctFloat, bits, Level::Base),
            _ => None,
        };
        self.emit_typed(exec, Kind::Move, kind, &[kind, kind, selector], operands)
    }

    fn testp(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 2)?;
        const NAMES: [&str; 6] = [
            "finite",
            "infinite",
            "number",
            "notanumber",
            "normal",
            "subnormal",
        ];
        let Some(property) = modifiers.take_one_of(&NAMES) else {
            return self.error("no property");
        };
        let kind = self.type_of(modifiers)?;
        if !matches!(kind, Type::F32 | Type::F64) {
            return self.no_form(kind);
        }
        let mut instruction = self.make(misc::test_float, Kind::Float);
        instruction.a = self.source(&operands[1], kind)?;
        instruction.d[0] = self.pred_target(&operands[0])?;
        instruction.defs = 1;
        instruction.width = kind.size_bytes() as u8;
        instruction.extra = property as u32;
        self.push(instruction);
        Ok(())
    }
}
