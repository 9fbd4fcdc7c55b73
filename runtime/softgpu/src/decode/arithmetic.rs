//! Arithmetic of integers and floats.

use super::builder::{Builder, Result};
use super::modifiers::Modifiers;
use super::registers::NONE;
use crate::exec::float::{self as f, RM, RN, RP, RZ};
use crate::exec::integer as i;
use crate::exec::lanes::{Handler, Kind, Level, op1, op2, op3};
use crate::exec::misc;
use crate::ptx::ast::{Operand, Type};

/// The handler of an integer operation for a type; 16-bit ones are compiled once only.
macro_rules! by_int {
    ($maker:ident, $op:ident, $kind:expr, $level:expr) => {
        match $kind {
            Type::U16 | Type::B16 => Some($maker::<i::$op<u16>>(Level::Base)),
            Type::S16 => Some($maker::<i::$op<i16>>(Level::Base)),
            Type::U32 | Type::B32 => Some($maker::<i::$op<u32>>($level)),
            Type::S32 => Some($maker::<i::$op<i32>>($level)),
            Type::U64 | Type::B64 => Some($maker::<i::$op<u64>>($level)),
            Type::S64 => Some($maker::<i::$op<i64>>($level)),
            _ => None,
        }
    };
}
pub(super) use by_int;

/// The handler of an f32 operation for a mode of `.ftz` (bit 0) and `.sat` (bit 1).
macro_rules! by_mode {
    ($maker:ident, $op:ident, $mode:expr, $level:expr) => {
        match $mode {
            0 => $maker::<f::$op<0>>($level),
            1 => $maker::<f::$op<1>>($level),
            2 => $maker::<f::$op<2>>($level),
            _ => $maker::<f::$op<3>>($level),
        }
    };
}

macro_rules! directed_by_mode {
    ($maker:ident, $op:ident, $round:ident, $mode:expr, $level:expr) => {
        match $mode {
            0 => $maker::<f::$op<$round, 0>>($level),
            1 => $maker::<f::$op<$round, 1>>(Level::Base),
            2 => $maker::<f::$op<$round, 2>>(Level::Base),
            _ => $maker::<f::$op<$round, 3>>(Level::Base),
        }
    };
}

/// Like `by_mode`, for operations that have directed rounding modes.
macro_rules! by_rounding {
    ($maker:ident, $nearest:ident, $directed:ident, $round:expr, $mode:expr, $level:expr) => {
        match $round {
            RZ => directed_by_mode!($maker, $directed, RZ, $mode, $level),
            RM => directed_by_mode!($maker, $directed, RM, $mode, $level),
            RP => directed_by_mode!($maker, $directed, RP, $mode, $level),
            _ => by_mode!($maker, $nearest, $mode, $level),
        }
    };
}

macro_rules! double_by_rounding {
    ($maker:ident, $op:ident, $round:expr, $level:expr) => {
        match $round {
            RZ => $maker::<f::$op<RZ>>(Level::Base),
            RM => $maker::<f::$op<RM>>(Level::Base),
            RP => $maker::<f::$op<RP>>(Level::Base),
            _ => $maker::<f::$op<RN>>($level),
        }
    };
}

impl Builder {
    pub(super) fn arithmetic(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<bool> {
        match opcode {
            "add" | "sub" | "mul" | "div" | "rem" | "min" | "max" | "copysign" => {
                self.binary(opcode, modifiers, operands)?
            }
            "fma" | "mad" => self.multiply_add(opcode, modifiers, operands)?,
            "addc" | "subc" => self.with_carry(opcode, modifiers, operands)?,
            "abs" | "neg" | "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => {
                self.unary(opcode, modifiers, operands)?;
            }
            "mul24" | "mad24" => self.mad24(opcode, modifiers, operands)?,
            "sad" => {
                let kind = self.type_of(modifiers)?;
                let exec = by_int!(op3, Sad, kind, self.level);
                self.emit_typed(exec, Kind::Integer, kind, &[kind; 3], operands)?;
            }
            "setp" => self.setp(modifiers, operands)?,
            "set" => self.set(modifiers, operands)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Emits `operands[0] = exec(operands[1..])` with these types.
    pub(super) fn emit_typed(
        &mut self,
        exec: Option<Handler>,
        kind: Kind,
        result: Type,
        types: &[Type],
        operands: &[Operand],
    ) -> Result<()> {
        let Some(exec) = exec else {
            return self.no_form(types[0]);
        };
        self.count_operands(operands, types.len() + 1)?;
        let mut sources = [NONE; 3];
        for ((source, operand), kind) in sources.iter_mut().zip(&operands[1..]).zip(types) {
            *source = self.source(operand, *kind)?;
        }
        let target = self.target(&operands[0], result)?;
        self.emit(exec, kind, target, sources);
        Ok(())
    }

    fn mode(&self, modifiers: &mut Modifiers<'_>) -> u8 {
        u8::from(modifiers.take("ftz")) | u8::from(modifiers.take("sat")) << 1
    }

    fn binary(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        match kind {
            Type::F32 => self.binary_float(opcode, modifiers, operands),
            Type::F64 => self.binary_double(opcode, modifiers, operands),
            _ => self.binary_integer(opcode, modifiers, operands, kind),
        }
    }

    fn binary_float(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let level = self.level;
        let rounding = modifiers.take_rounding();
        let round = rounding.unwrap_or(RN);
        let mode = self.mode(modifiers);
        let exec = match opcode {
            "add" => by_rounding!(op2, Add, AddTo, round, mode, level),
            "sub" => by_rounding!(op2, Sub, SubTo, round, mode, level),
            "mul" => by_rounding!(op2, Mul, MulTo, round, mode, level),
            "div" => {
                if !modifiers.take("approx") && !modifiers.take("full") && rounding.is_none() {
                    return self.error("no rounding mode");
                }
                by_rounding!(op2, Div, DivTo, round, mode, level)
            }
            "min" | "max" if rounding.is_none() => match (opcode, modifiers.take("NaN")) {
                ("min", false) => by_mode!(op2, Min, mode, level),
                ("min", true) => by_mode!(op2, MinNan, mode, level),
                (_, false) => by_mode!(op2, Max, mode, level),
                (_, true) => by_mode!(op2, MaxNan, mode, level),
            },
            "copysign" if mode == 0 && rounding.is_none() => op2::<f::CopySign>(level),
            _ => return self.no_form(Type::F32),
        };
        self.emit_typed(
            Some(exec),
            Kind::Float,
            Type::F32,
            &[Type::F32; 2],
            operands,
        )
    }

    fn binary_double(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let level = self.level;
        let rounding = modifiers.take_rounding();
        let round = rounding.unwrap_or(RN);
        let exec = match opcode {
            "add" => double_by_rounding!(op2, Add64, round, level),
            "sub" => double_by_rounding!(op2, Sub64, round, level),
            "mul" => double_by_rounding!(op2, Mul64, round, level),
            "div" if rounding.is_some() => double_by_rounding!(op2, Div64, round, level),
            "min" if rounding.is_none() => op2::<f::Min64<RN>>(level),
            "max" if rounding.is_none() => op2::<f::Max64<RN>>(level),
            "copysign" => op2::<f::CopySign64>(level),
            _ => return self.no_form(Type::F64),
        };
        self.emit_typed(
            Some(exec),
            Kind::Float,
            Type::F64,
            &[Type::F64; 2],
            operands,
        )
    }

    fn binary_integer(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
        kind: Type,
    ) -> Result<()> {
        let level = self.level;
        if matches!(opcode, "add" | "sub") && modifiers.take("cc") {
            return self.carry_form(opcode == "sub", false, true, kind, operands);
        }
        let saturates = modifiers.take("sat");
        let exec = match (opcode, saturates) {
            ("add", false) => by_int!(op2, Add, kind, level),
            ("sub", false) => by_int!(op2, Sub, kind, level),
            ("add", true) if kind == Type::S32 => by_int!(op2, AddSat, kind, level),
            ("sub", true) if kind == Type::S32 => by_int!(op2, SubSat, kind, level),
            ("mul", false) => return self.multiply(modifiers, operands, kind),
            ("div", false) => by_int!(op2, Div, kind, level),
            ("rem", false) => by_int!(op2, Rem, kind, level),
            ("min", false) => by_int!(op2, Min, kind, level),
            ("max", false) => by_int!(op2, Max, kind, level),
            _ => return self.no_form(kind),
        };
        self.emit_typed(exec, Kind::Integer, kind, &[kind; 2], operands)
    }

    fn multiply(
        &mut self,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
        kind: Type,
    ) -> Result<()> {
        let level = self.level;
        match modifiers.take_one_of(&["lo", "hi", "wide"]) {
            Some(0) => self.emit_typed(
                by_int!(op2, Mul, kind, level),
                Kind::Integer,
                kind,
                &[kind; 2],
                operands,
            ),
            Some(1) => self.emit_typed(
                by_int!(op2, MulHi, kind, level),
                Kind::Integer,
                kind,
                &[kind; 2],
                operands,
            ),
            Some(_) => {
                let (exec, wide) = match kind {
                    Type::U16 => (op2::<i::MulWide<u16>>(Level::Base), Type::U32),
                    Type::S16 => (op2::<i::MulWide<i16>>(Level::Base), Type::S32),
                    Type::U32 => (op2::<i::MulWide<u32>>(level), Type::U64),
                    Type::S32 => (op2::<i::MulWide<i32>>(level), Type::S64),
                    _ => return self.no_form(kind),
                };
                self.emit_typed(Some(exec), Kind::Integer, wide, &[kind; 2], operands)
            }
            None => self.error("one of .lo, .hi, .wide belongs here"),
        }
    }

    fn multiply_add(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let level = self.level;
        if kind.is_float() {
            let rounding = modifiers.take_rounding();
            if opcode == "fma" && rounding.is_none() {
                return self.error("no rounding mode");
            }
            let round = rounding.unwrap_or(RN);
            let exec = match kind {
                Type::F32 => {
                    let mode = self.mode(modifiers);
                    by_rounding!(op3, Fma, FmaTo, round, mode, level)
                }
                Type::F64 if round == RN => op3::<f::Fma64<RN>>(level),
                _ => return self.no_form(kind),
            };
            return self.emit_typed(Some(exec), Kind::Fma, kind, &[kind; 3], operands);
        }
        if opcode == "fma" {
            return self.no_form(kind);
        }
        match modifiers.take_one_of(&["lo", "hi", "wide"]) {
            Some(0) => self.emit_typed(
                by_int!(op3, Mad, kind, level),
                Kind::Integer,
                kind,
                &[kind; 3],
                operands,
            ),
            Some(1) => self.emit_typed(
                by_int!(op3, MadHi, kind, level),
                Kind::Integer,
                kind,
                &[kind; 3],
                operands,
            ),
            Some(_) => {
                let (exec, wide) = match kind {
                    Type::U16 => (op3::<i::MadWide<u16>>(Level::Base), Type::U32),
                    Type::S16 => (op3::<i::MadWide<i16>>(Level::Base), Type::S32),
                    Type::U32 => (op3::<i::MadWide<u32>>(level), Type::U64),
                    Type::S32 => (op3::<i::MadWide<i32>>(level), Type::S64),
                    _ => return self.no_form(kind),
                };
                self.emit_typed(
                    Some(exec),
                    Kind::Integer,
                    wide,
                    &[kind, kind, wide],
                    operands,
                )
            }
            None => self.error("one of .lo, .hi, .wide belongs here"),
        }
    }

    fn mad24(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let level = self.level;
        let exec = match (modifiers.take_one_of(&["lo", "hi"]), kind) {
            (Some(0), Type::U32) => op3::<i::Mad24LoU>(level),
            (Some(0), Type::S32) => op3::<i::Mad24LoS>(level),
            (Some(1), Type::U32) => op3::<i::Mad24HiU>(level),
            (Some(1), Type::S32) => op3::<i::Mad24HiS>(level),
            _ => return self.no_form(kind),
        };
        if opcode == "mad24" {
            return self.emit_typed(Some(exec), Kind::Integer, kind, &[kind; 3], operands);
        }
        let with_zero: Vec<Operand> = operands
            .iter()
            .cloned()
            .chain([Operand::Integer(0)])
            .collect();
        self.emit_typed(Some(exec), Kind::Integer, kind, &[kind; 3], &with_zero)
    }

    fn with_carry(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let out = modifiers.take("cc");
        let kind = self.type_of(modifiers)?;
        self.carry_form(opcode == "subc", true, out, kind, operands)
    }

    fn carry_form(
        &mut self,
        subtract: bool,
        takes: bool,
        gives: bool,
        kind: Type,
        operands: &[Operand],
    ) -> Result<()> {
        self.count_operands(operands, 3)?;
        let exec: Handler = match kind.size_bytes() {
            4 if !kind.is_float() => misc::carry::<u32>,
            8 if !kind.is_float() => misc::carry::<u64>,
            _ => return self.no_form(kind),
        };
        let (a, b) = (
            self.source(&operands[1], kind)?,
            self.source(&operands[2], kind)?,
        );
        let carry = self.carry();
        let mut instruction = self.make(exec, Kind::Integer);
        instruction.d[0] = self.target(&operands[0], kind)?;
        instruction.defs = 1;
        [instruction.a, instruction.b] = [a, b];
        if takes {
            instruction.c = carry;
            instruction.extra |= misc::CARRY_IN;
        }
        if gives {
            instruction.d[1] = carry;
            instruction.defs |= 2;
            instruction.extra |= misc::CARRY_OUT;
        }
        if subtract {
            instruction.extra |= misc::CARRY_SUBTRACT;
        }
        self.push(instruction);
        Ok(())
    }

    fn unary(
        &mut self,
        opcode: &str,
        modifiers: &mut Modifiers<'_>,
        operands: &[Operand],
    ) -> Result<()> {
        let kind = self.type_of(modifiers)?;
        let level = self.level;
        let approx = modifiers.take("approx");
        let (exec, class) = match (opcode, kind) {
            ("abs", Type::F32) => (by_mode!(op1, Abs, self.mode(modifiers), level), Kind::Float),
            ("neg", Type::F32) => (by_mode!(op1, Neg, self.mode(modifiers), level), Kind::Float),
            ("abs", Type::F64) => (op1::<f::Abs64<RN>>(level), Kind::Float),
            ("neg", Type::F64) => (op1::<f::Neg64<RN>>(level), Kind::Float),
            ("abs" | "neg", _) => {
                let exec = match (opcode, kind) {
                    ("abs", Type::S16 | Type::S32 | Type::S64) => by_int!(op1, Abs, kind, level),
                    ("neg", Type::S16 | Type::S32 | Type::S64) => by_int!(op1, Neg, kind, level),
                    _ => None,
                };
                return self.emit_typed(exec, Kind::Integer, kind, &[kind], operands);
            }
            (_, Type::F32) => (
                self.special_float(opcode, approx, modifiers)?,
                Kind::Special,
            ),
            (_, Type::F64) => (
                self.special_double(opcode, approx, modifiers)?,
                Kind::Special,
            ),
            _ => return self.no_form(kind),
        };
        self.emit_typed(Some(exec), class, kind, &[kind], operands)
    }

    fn special_float(
        &self,
        opcode: &str,
        approx: bool,
        modifiers: &mut Modifiers<'_>,
    ) -> Result<Handler> {
        let level = self.level;
        let round = modifiers.take_rounding();
        let mode = self.mode(modifiers);
        if mode > 1 || approx == round.is_some() {
            return self.error("either .approx or a rounding mode belongs here");
        }
        Ok(match (opcode, round) {
            ("rcp", round) => by_rounding!(op1, Rcp, RcpTo, round.unwrap_or(RN), mode, level),
            ("sqrt", round) => by_rounding!(op1, Sqrt, SqrtTo, round.unwrap_or(RN), mode, level),
            ("rsqrt", None) => by_mode!(op1, Rsqrt, mode, level),
            ("ex2", None) => by_mode!(op1, Ex2, mode, level),
            ("lg2", None) => by_mode!(op1, Lg2, mode, level),
            ("sin", None) => by_mode!(op1, Sin, mode, level),
            ("cos", None) => by_mode!(op1, Cos, mode, level),
            ("tanh", None) => by_mode!(op1, Tanh, mode, level),
            _ => return self.no_form(Type::F32),
        })
    }

    fn special_double(
        &self,
        opcode: &str,
        approx: bool,
        modifiers: &mut Modifiers<'_>,
    ) -> Result<Handler> {
        let level = self.level;
        let round = modifiers.take_rounding();
        // The approximations of f64 flush and drop the lower half; the exact value is within their bounds.
        modifiers.ignore(if approx { &["ftz"] } else { &[] });
        if approx == round.is_some() {
            return self.error("either .approx or a rounding mode belongs here");
        }
        Ok(match opcode {
            "rcp" => double_by_rounding!(op1, Rcp64, round.unwrap_or(RN), level),
            "sqrt" if !approx => double_by_rounding!(op1, Sqrt64, round.unwrap_or(RN), level),
            "rsqrt" if approx => op1::<f::Rsqrt64<RN>>(level),
            _ => return self.no_form(Type::F64),
        })
    }
}
