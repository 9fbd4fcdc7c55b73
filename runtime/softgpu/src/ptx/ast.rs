//! The syntax tree of a PTX module: declarations, and instructions as a dotted word with operands.

use std::fmt;

/// A state space of PTX, as far as declarations and addresses name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
    Generic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Pred,
    B8,
    U8,
    S8,
    B16,
    U16,
    S16,
    F16,
    B32,
    U32,
    S32,
    F32,
    B64,
    U64,
    S64,
    F64,
}

impl Type {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "pred" => Self::Pred,
            "b8" => Self::B8,
            "u8" => Self::U8,
            "s8" => Self::S8,
            "b16" => Self::B16,
            "u16" => Self::U16,
            "s16" => Self::S16,
            "f16" => Self::F16,
            "b32" => Self::B32,
            "u32" => Self::U32,
            "s32" => Self::S32,
            "f32" => Self::F32,
            "b64" => Self::B64,
            "u64" => Self::U64,
            "s64" => Self::S64,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    pub fn size_bytes(self) -> u32 {
        match self {
            Self::Pred | Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 | Self::F16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F32 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_ascii_lowercase())
    }
}

/// One element of an initialiser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    Bits(u64),
    /// The address of another variable plus an offset, as a generic address or not: both are one number here.
    Address(String, i64),
}

#[derive(Debug, Clone)]
pub struct Variable {
    pub name: String,
    pub space: Space,
    pub kind: Type,
    pub align: u32,
    /// Elements; none for `name[]`, which takes the size of its initialiser or, when `.extern`, of the launch.
    pub count: Option<u64>,
    pub initial: Vec<Initial>,
    pub is_extern: bool,
    pub line: u32,
}

#[derive(Debug, Clone)]
pub struct Param {
    pub name: String,
    pub align: u32,
    pub size_bytes: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Word(String),
    /// A constant: bits, and whether it was written with a minus sign or a float prefix.
    Integer(i128),
    Single(u32),
    Double(u64),
    /// `name+4` outside brackets.
    Offset(String, i64),
    Address {
        base: Option<String>,
        offset: i64,
    },
    Vector(Vec<Operand>),
    Not(String),
    /// `a|b`
    Pair(Box<Operand>, Box<Operand>),
}

#[derive(Debug, Clone)]
pub struct Instruction {
    pub line: u32,
    /// Predicate and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// The opcode with its modifiers, as written.
    pub opcode: String,
    pub operands: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub enum Statement {
    Label(String, u32),
    Instruction(Instruction),
}

#[derive(Debug, Clone)]
pub struct Registers {
    /// The name, or the part before the number when `count` is there.
    pub prefix: String,
    pub kind: Type,
    pub count: Option<u32>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub params: Vec<Param>,
    pub registers: Vec<Registers>,
    pub variables: Vec<Variable>,
    pub body: Vec<Statement>,
    /// Product of `.maxntid` or `.reqntid`.
    pub max_threads: Option<u32>,
    pub line: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Module {
    pub version: (u32, u32),
    pub target: String,
    pub variables: Vec<Variable>,
    pub entries: Vec<Entry>,
}

impl Module {
    /// The capability that `.target` names, as 80 for `sm_80`.
    pub fn capability(&self) -> u32 {
        let digits: String = self.target.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }
}
