//! `cvt`, `cvta` and `mov`.

use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::{NONE, Width};
use super::symbols::Place;
use crate::exec::convert::{As, Conversion, Rounding, ToInteger, convert};
use crate::exec::float::{Identity, RM, RN, RP, RZ, RoundDown, RoundNearest, RoundUp, RoundZero};
use crate::exec::heap::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::exec::integer::{Add, Copy};
use crate::exec::lanes::{Handler, Kind, Level, op1, op2};
use crate::exec::misc;
use crate::ptx::ast::{Operand, Type};

impl Builder {
    /// A 64-bit register with the zero-extended value of a 32-bit one.
    pub fn widened(&mut self, register: u32) -> u32 {
        let wide = self.fresh(Width::Wide);
        let exec = op1::<As<u32, u64>>(self.level);
        self.emit(exec, Kind::Move, wide, [register, NONE, NONE]);
        wide
    }

    /// A 32-bit register with the low bits of a 64-bit one.
    pub fn narrowed(&mut self, register: u32) -> u32 {
        let narrow = self.fresh(Width::Narrow);
        let exec = op1::<As<u64, u32>>(self.level);
        self.emit(exec, Kind::Move, narrow, [register, NONE, NONE]);
        narrow
    }

    pub(super) fn convert(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        match opcode {
            "cvt" => self.cvt(modifiers, operands)?,
            "cvta" => self.cvta(modifiers, operands)?,
            "mov" => self.mov(modifiers, operands)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn rounding(&self, modifiers: &mut Modifiers<'_>) -> Option<Rounding> {
        if let Some(index) = modifiers.take_one_of(&["rni", "rzi", "rmi", "rpi"]) {
            return Some(Rounding {
                mode: [RN, RZ, RM, RP][index],
                to_integer: true,
            });
        }
        modifiers.take_rounding().map(|mode| Rounding {
            mode,
            to_integer: false,
        })
    }

    fn cvt(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 2)?;
        let rounding = self.rounding(modifiers);
        let (flush, saturate) = (modifiers.take("ftz"), modifiers.take("sat"));
        let from = self.type_of(modifiers)?;
        let to = self.type_of(modifiers)?;
        if from == Type::Pred || to == Type::Pred {
            return self.no_form(Type::Pred);
        }
        let needs = from.is_float() && !to.is_float()
            || !from.is_float() && to.is_float()
            || from.is_float() && to.is_float() && from.size_bytes() > to.size_bytes();
        if needs && rounding.is_none() {
            return self.error("no rounding mode");
        }
        let rounding = rounding.unwrap_or(Rounding {
            mode: RN,
            to_integer: false,
        });
        let (source, wide_source) = self.any_width(&operands[1], from)?;
        let wide_target = self.is_wide_register(&operands[0]);
        let target_type = if wide_target {
            Type::B64
        } else if to.size_bytes() == 8 {
            to
        } else {
            Type::B32
        };
        let target = self.target(&operands[0], target_type)?;
        let conversion = Conversion {
            from,
            to,
            rounding,
            saturate,
            flush,
            wide_source,
            wide_target,
        };
        let kind = if from.is_float() || to.is_float() {
            Kind::Float
        } else {
            Kind::Move
        };
        match self.fast_conversion(conversion) {
            Some(exec) => self.emit(exec, kind, target, [source, NONE, NONE]),
            None => {
                let mut instruction = self.make(convert, kind);
                instruction.d[0] = target;
                instruction.defs = 1;
                instruction.a = source;
                instruction.extra = conversion.pack();
                self.push(instruction);
            }
        }
        Ok(())
    }

    fn is_wide_register(&self, operand: &Operand) -> bool {
        matches!(operand, Operand::Word(name)
            if self.declared_type(name).is_some_and(|kind| Width::of(kind) == Width::Wide))
    }

    /// An operand that may be wider than its type: the register and whether it has 64-bit cells.
    pub(super) fn any_width(&mut self, operand: &Operand, kind: Type) -> Result<(u32, bool)> {
        if self.is_wide_register(operand) {
            return Ok((self.source(operand, Type::B64)?, true));
        }
        Ok((self.source(operand, kind)?, kind.size_bytes() == 8))
    }

    fn fast_conversion(&self, conversion: Conversion) -> Option<Handler> {
        let Conversion {
            from,
            to,
            rounding,
            saturate,
            flush,
            wide_source,
            wide_target,
        } = conversion;
        if wide_source != (from.size_bytes() == 8) || wide_target != (to.size_bytes() == 8) {
            return None;
        }
        let level = self.level;
        if from == Type::F32 && to == Type::F32 {
            return float_to_float(rounding, saturate, flush, level);
        }
        if saturate || flush {
            return None;
        }
        let is_nearest = rounding.mode == RN && !rounding.to_integer;
        Some(match (from, to) {
            (Type::U8 | Type::B8, Type::U16 | Type::U32 | Type::B32 | Type::S32 | Type::S16) => {
                op1::<As<u8, u32>>(level)
            }
            (Type::S8, Type::S16 | Type::S32 | Type::U32) => op1::<As<i8, i32>>(level),
            (Type::U16 | Type::B16, Type::U32 | Type::S32) => op1::<As<u16, u32>>(level),
            (Type::S16, Type::S32 | Type::U32) => op1::<As<i16, i32>>(level),
            (Type::S32, Type::S64 | Type::U64) => op1::<As<i32, i64>>(level),
            (Type::U32, Type::S64 | Type::U64) => op1::<As<u32, u64>>(level),
            (Type::S64 | Type::U64, Type::S32 | Type::U32) => op1::<As<u64, u32>>(level),
            (Type::S32, Type::F32) if is_nearest => op1::<As<i32, f32>>(level),
            (Type::U32, Type::F32) if is_nearest => op1::<As<u32, f32>>(level),
            (Type::U16, Type::F32) if is_nearest => op1::<As<u16, f32>>(level),
            (Type::U8, Type::F32) if is_nearest => op1::<As<u8, f32>>(level),
            (Type::S32, Type::F64) => op1::<As<i32, f64>>(level),
            (Type::F32, Type::F64) if !rounding.to_integer => op1::<As<f32, f64>>(level),
            (Type::F64, Type::F32) if is_nearest => op1::<As<f64, f32>>(level),
            (Type::F32, Type::S32) if rounding.mode == RZ => op1::<ToInteger<i32, false>>(level),
            (Type::F32, Type::S32) if rounding.mode == RN => op1::<ToInteger<i32, true>>(level),
            (Type::F32, Type::U32) if rounding.mode == RZ => op1::<ToInteger<u32, false>>(level),
            (Type::F32, Type::U32) if rounding.mode == RN => op1::<ToInteger<u32, true>>(level),
            _ => return None,
        })
    }

    fn cvta(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 2)?;
        let kind = self.type_of(modifiers)?;
        if kind.size_bytes() != 8 {
            return self.no_form(kind);
        }
        let to = modifiers.take("to");
        let window = match modifiers.take_one_of(&[
            "global",
            "const",
            "shared",
            "shared::cta",
            "local",
            "param",
        ]) {
            Some(0 | 1) => 0,
            Some(2 | 3) => SHARED_WINDOW,
            Some(4) => LOCAL_WINDOW,
            Some(5) => PARAM_WINDOW,
            _ => return self.error("no space"),
        };
        modifiers.ignore(&["entry"]);
        let source = self.source(&operands[1], kind)?;
        let target = self.target(&operands[0], kind)?;
        let delta = self.constant(if to { window.wrapping_neg() } else { window }, Width::Wide);
        self.emit(
            op2::<Add<u64>>(self.level),
            Kind::Integer,
            target,
            [source, delta, NONE],
        );
        Ok(())
    }

    fn mov(&mut self, modifiers: &mut Modifiers<'_>, operands: &[Operand]) -> Result<()> {
        self.count_operands(operands, 2)?;
        let kind = self.type_of(modifiers)?;
        match (&operands[0], &operands[1]) {
            (_, Operand::Vector(parts)) => self.pack(kind, &operands[0], parts),
            (Operand::Vector(parts), _) => self.unpack(kind, parts, &operands[1]),
            _ if kind == Type::Pred => self.move_pred(operands),
            (_, Operand::Word(name))
                if matches!(
                    name.as_str(),
                    "%clock" | "%clock64" | "%globaltimer" | "%clock_hi"
                ) =>
            {
                let mut instruction = self.make(misc::clock, Kind::Special);
                instruction.d[0] = self.target(&operands[0], kind)?;
                instruction.defs = 1;
                instruction.width = kind.size_bytes() as u8;
                self.push(instruction);
                Ok(())
            }
            _ => {
                let source = self.source(&operands[1], kind)?;
                let target = self.target(&operands[0], kind)?;
                let exec = if kind.size_bytes() == 8 {
                    op1::<Copy<u64>>(self.level)
                } else {
                    op1::<Copy<u32>>(self.level)
                };
                self.emit(exec, Kind::Move, target, [source, NONE, NONE]);
                Ok(())
            }
        }
    }

    fn move_pred(&mut self, operands: &[Operand]) -> Result<()> {
        let (source, flip) = self.pred_source(&operands[1])?;
        let target = self.pred_target(&operands[0])?;
        self.pred_logic(target, (source, flip), (NONE, 0), 0b1000);
        Ok(())
    }

    /// Bits of one part when `count` make up a register of this type.
    fn part_bits(&self, kind: Type, count: usize) -> Result<u32> {
        match (kind.size_bytes(), count) {
            (8, 2) => Ok(32),
            (8, 4) | (4, 2) => Ok(16),
            (4, 4) | (2, 2) => Ok(8),
            _ => self.error(format!("{count} parts of a register of type {kind}")),
        }
    }

    fn pack(&mut self, kind: Type, target: &Operand, parts: &[Operand]) -> Result<()> {
        let bits = self.part_bits(kind, parts.len())?;
        let mut sources = [NONE; 4];
        for (source, part) in sources.iter_mut().zip(parts) {
            *source = self.source(part, Type::B32)?;
        }
        let mut instruction = self.make(misc::pack, Kind::Move);
        instruction.d[0] = self.target(target, kind)?;
        instruction.defs = 1;
        [
            instruction.a,
            instruction.b,
            instruction.c,
            instruction.d[1],
        ] = sources;
        instruction.count = parts.len() as u8;
        instruction.width = kind.size_bytes() as u8;
        instruction.extra = bits;
        self.push(instruction);
        Ok(())
    }

    fn unpack(&mut self, kind: Type, parts: &[Operand], source: &Operand) -> Result<()> {
        let bits = self.part_bits(kind, parts.len())?;
        let mut instruction = self.make(misc::unpack, Kind::Move);
        instruction.a = self.source(source, kind)?;
        for (k, part) in parts.iter().enumerate() {
            if !matches!(part, Operand::Word(name) if name == "_") {
                instruction.d[k] = self.target(part, Type::B32)?;
                instruction.defs |= 1 << k;
            }
        }
        instruction.count = parts.len() as u8;
        instruction.width = kind.size_bytes() as u8;
        instruction.extra = bits;
        self.push(instruction);
        Ok(())
    }

    /// Whether a name is a parameter: `ld.param` of it needs no address.
    pub(super) fn is_param(&self, name: &str) -> bool {
        self.place_of(name) == Some(Place::Param)
    }
}

fn float_to_float(
    rounding: Rounding,
    saturate: bool,
    flush: bool,
    level: Level,
) -> Option<Handler> {
    if flush {
        return None;
    }
    Some(match (rounding.to_integer, rounding.mode, saturate) {
        (true, RN, false) => op1::<RoundNearest<0>>(level),
        (true, RZ, false) => op1::<RoundZero<0>>(level),
        (true, RM, false) => op1::<RoundDown<0>>(level),
        (true, RP, false) => op1::<RoundUp<0>>(level),
        (false, _, false) => op1::<Identity<0>>(level),
        (false, _, true) => op1::<Identity<2>>(level),
        _ => return None,
    })
}
