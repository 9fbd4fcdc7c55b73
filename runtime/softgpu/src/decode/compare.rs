//! Comparisons: `setp` and `set`.

use super::arithmetic::by_int;
use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::Width;
use crate::exec::float as f;
use crate::exec::integer as i;
use crate::exec::lanes::{
    COMBINE_AND, COMBINE_FLIP, COMBINE_NONE, COMBINE_OR, COMBINE_XOR, Handler, Kind, Level, setp,
};
use crate::exec::misc;
use crate::ptx::ast::{Operand, Type};

impl Builder {
    pub(super) fn setp(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let (exec, kind, how) = self.comparison(modifiers)?;
        self.count_operands(operands, if how == COMBINE_NONE { 3 } else { 4 })?;
        let (a, b) = (
            self.source(&operands[1], kind)?,
            self.source(&operands[2], kind)?,
        );
        let mut instruction = self.make(
            exec,
            if kind.is_float() {
                Kind::Float
            } else {
                Kind::Integer
            },
        );
        [instruction.a, instruction.b] = [a, b];
        instruction.imm = how;
        if let Some(other) = operands.get(3) {
            let (register, flip) = self.pred_source(other)?;
            instruction.c = register;
            instruction.imm |= if flip != 0 { COMBINE_FLIP } else { 0 };
        }
        instruction.defs = 1;
        match &operands[0] {
            Operand::Pair(first, second) => {
                instruction.d[0] = self.pred_target(first)?;
                instruction.d[1] = self.pred_target(second)?;
                instruction.defs = 3;
            }
            single => instruction.d[0] = self.pred_target(single)?,
        }
        self.push(instruction);
        Ok(())
    }

    /// `set`: a comparison into a predicate, then its value as all ones, or 1.0, or zero.
    pub(super) fn set(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let Some(source) = modifiers.take_type() else {
            return self.error("no type");
        };
        let result = self.type_of(modifiers)?;
        if result.size_bytes() != 4 {
            return self.no_form(result);
        }
        let (exec, how) = self.comparison_of(modifiers, source)?;
        self.count_operands(operands, if how == COMBINE_NONE { 3 } else { 4 })?;
        let (a, b) = (
            self.source(&operands[1], source)?,
            self.source(&operands[2], source)?,
        );
        let holds = self.fresh(Width::Pred);
        let mut instruction = self.make(exec, Kind::Integer);
        [instruction.a, instruction.b, instruction.d[0]] = [a, b, holds];
        instruction.defs = 1;
        instruction.imm = how;
        if let Some(other) = operands.get(3) {
            let (register, flip) = self.pred_source(other)?;
            instruction.c = register;
            instruction.imm |= if flip != 0 { COMBINE_FLIP } else { 0 };
        }
        self.push(instruction);
        let one = if result == Type::F32 {
            u64::from(1f32.to_bits())
        } else {
            0xffff_ffff
        };
        let (one, zero) = (
            self.constant(one, Width::Narrow),
            self.constant(0, Width::Narrow),
        );
        let target = self.target(&operands[0], result)?;
        self.emit(
            misc::select::<u32>(self.level),
            Kind::Move,
            target,
            [one, zero, holds],
        );
        Ok(())
    }

    fn comparison(&mut self, modifiers: &mut Modifiers<'_>) -> Result<(Handler, Type, i64)> {
        let kind = self.type_of(modifiers)?;
        let (exec, how) = self.comparison_of(modifiers, kind)?;
        Ok((exec, kind, how))
    }

    fn comparison_of(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        kind: Type,
    ) -> Result<(Handler, i64)> {
        let how = match modifiers.take_one_of(&["and", "or", "xor"]) {
            Some(index) => [COMBINE_AND, COMBINE_OR, COMBINE_XOR][index],
            None => COMBINE_NONE,
        };
        let flush = modifiers.take("ftz");
        let Some(name) = modifiers.take_first() else {
            return self.error("no comparison");
        };
        let exec = match kind {
            Type::F32 if flush => float_compare::<true>(name, self.level),
            Type::F32 => float_compare::<false>(name, self.level),
            Type::F64 => double_compare(name, self.level),
            _ => integer_compare(name, kind, self.level),
        };
        match exec {
            Some(exec) => Ok((exec, how)),
            None => self.error(format!(
                "the comparison `{name}` is not known for type {kind}"
            )),
        }
    }
}

fn integer_compare(name: &str, kind: Type, level: Level) -> Option<Handler> {
    let unsigned = match kind {
        Type::S16 | Type::B16 => Type::U16,
        Type::S32 | Type::B32 => Type::U32,
        Type::S64 | Type::B64 => Type::U64,
        other => other,
    };
    match name {
        "eq" => by_int!(setp, Eq, unsigned, level),
        "ne" => by_int!(setp, Ne, unsigned, level),
        "lt" => by_int!(setp, Lt, kind, level),
        "le" => by_int!(setp, Le, kind, level),
        "gt" => by_int!(setp, Gt, kind, level),
        "ge" => by_int!(setp, Ge, kind, level),
        "lo" => by_int!(setp, Lt, unsigned, level),
        "ls" => by_int!(setp, Le, unsigned, level),
        "hi" => by_int!(setp, Gt, unsigned, level),
        "hs" => by_int!(setp, Ge, unsigned, level),
        _ => None,
    }
}

fn float_compare<const F: bool>(name: &str, level: Level) -> Option<Handler> {
    Some(match name {
        "eq" => setp::<f::Eq<F>>(level),
        "ne" => setp::<f::Ne<F>>(level),
        "lt" => setp::<f::Lt<F>>(level),
        "le" => setp::<f::Le<F>>(level),
        "gt" => setp::<f::Gt<F>>(level),
        "ge" => setp::<f::Ge<F>>(level),
        "equ" => setp::<f::Equ<F>>(level),
        "neu" => setp::<f::Neu<F>>(level),
        "ltu" => setp::<f::Ltu<F>>(level),
        "leu" => setp::<f::Leu<F>>(level),
        "gtu" => setp::<f::Gtu<F>>(level),
        "geu" => setp::<f::Geu<F>>(level),
        "num" => setp::<f::Num<F>>(level),
        "nan" => setp::<f::Nan<F>>(level),
        _ => return None,
    })
}

fn double_compare(name: &str, level: Level) -> Option<Handler> {
    Some(match name {
        "eq" => setp::<f::Eq64>(level),
        "ne" => setp::<f::Ne64>(level),
        "lt" => setp::<f::Lt64>(level),
        "le" => setp::<f::Le64>(level),
        "gt" => setp::<f::Gt64>(level),
        "ge" => setp::<f::Ge64>(level),
        "equ" => setp::<f::Equ64>(level),
        "neu" => setp::<f::Neu64>(level),
        "ltu" => setp::<f::Ltu64>(level),
        "leu" => setp::<f::Leu64>(level),
        "gtu" => setp::<f::Gtu64>(level),
        "geu" => setp::<f::Geu64>(level),
        "num" => setp::<f::Num64>(level),
        "nan" => setp::<f::Nan64>(level),
        _ => return None,
    })
}
