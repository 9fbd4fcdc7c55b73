//! The state of decoding one kernel: virtual registers, constants, labels and the instructions so far. Register fields of
//! instructions hold numbers of virtual registers until `layout` turns them into offsets.

use super::modifiers::Modifiers;
use super::registers::{NONE, Origin, Virtual, Width};
use super::symbols::{DeviceSymbols, Place, Symbols};
use crate::exec::lanes::{FULL, Handler, Instr, Kind, Level};
use crate::exec::program::{Info, Special};
use crate::ptx::PtxError;
use crate::ptx::ast::{Entry, Instruction, Module, Operand, Type};
use crate::time::cost::Cost;
use std::collections::BTreeMap;

pub struct Builder {
    pub level: Level,
    pub registers: Vec<Virtual>,
    pub code: Vec<Instr>,
    pub infos: Vec<Info>,
    declared: BTreeMap<String, Type>,
    /// Prefix, type and how many.
    numbered: Vec<(String, Type, u32)>,
    named: BTreeMap<String, u32>,
    constants: BTreeMap<(u64, bool), u32>,
    specials: BTreeMap<Special, u32>,
    pub symbols: Symbols,
    pub labels: BTreeMap<String, u32>,
    /// Instruction, label and line of each branch.
    pub branches: Vec<(usize, String, u32)>,
    pub line: u32,
    opcode: String,
    pub guard: (u32, u32),
    is_first: bool,
    pub cost: Cost,
    carry: u32,
}

pub type Result<T> = std::result::Result<T, PtxError>;

impl Builder {
    pub fn new(
        module: &Module,
        entry: &Entry,
        devices: &DeviceSymbols,
        level: Level,
    ) -> Result<Self> {
        let mut builder = Self {
            level,
            registers: vec![Virtual {
                width: Width::Pred,
                origin: Origin::Constant(u64::from(FULL)),
            }],
            code: Vec::new(),
            infos: Vec::new(),
            declared: BTreeMap::new(),
            numbered: Vec::new(),
            named: BTreeMap::new(),
            constants: BTreeMap::new(),
            specials: BTreeMap::new(),
            symbols: Symbols::new(module, entry, devices)?,
            labels: BTreeMap::new(),
            branches: Vec::new(),
            line: entry.line,
            opcode: String::new(),
            guard: (NONE, 0),
            is_first: true,
            cost: Cost::default(),
            carry: NONE,
        };
        for registers in &entry.registers {
            match registers.count {
                Some(count) => {
                    builder
                        .numbered
                        .push((registers.prefix.clone(), registers.kind, count))
                }
                None => {
                    builder
                        .declared
                        .insert(registers.prefix.clone(), registers.kind);
                }
            }
        }
        Ok(builder)
    }

    pub fn error<T>(&self, reason: impl AsRef<str>) -> Result<T> {
        Err(PtxError::new(
            self.line,
            format!("`{}`: {}", self.opcode, reason.as_ref()),
        ))
    }

    pub fn label(&mut self, name: &str, line: u32) -> Result<()> {
        match self.labels.insert(name.to_string(), self.code.len() as u32) {
            None => Ok(()),
            Some(_) => Err(PtxError::new(
                line,
                format!("the label `{name}` stands twice"),
            )),
        }
    }

    pub fn instruction(&mut self, instruction: &Instruction) -> Result<()> {
        self.line = instruction.line;
        self.opcode.clone_from(&instruction.opcode);
        self.is_first = true;
        self.cost = Cost::of(instruction);
        self.guard = match &instruction.guard {
            None => (NONE, 0),
            Some((name, negated)) => (
                self.register(name, Width::Pred)?,
                if *negated { FULL } else { 0 },
            ),
        };
        let (opcode, mut modifiers) = Modifiers::split(&instruction.opcode);
        let operands = &instruction.operands;
        let known = self.arithmetic(opcode, &mut modifiers, operands)?
            || self.bits(opcode, &mut modifiers, operands)?
            || self.dot(opcode, &mut modifiers, operands)?
            || self.convert(opcode, &mut modifiers, operands)?
            || self.memory(opcode, &mut modifiers, operands)?
            || self.control(opcode, &mut modifiers, operands)?;
        if !known {
            return self.error("an opcode that is not known");
        }
        match modifiers.left() {
            None => Ok(()),
            Some(word) => self.error(format!("the modifier `.{word}` is not known here")),
        }
    }

    /// An instruction with the current guard and no operands.
    pub fn make(&self, exec: Handler, kind: Kind) -> Instr {
        Instr {
            exec,
            d: [NONE; 4],
            a: NONE,
            b: NONE,
            c: NONE,
            guard: self.guard.0,
            guard_flip: self.guard.1,
            defs: 0,
            kind,
            width: 0,
            count: 1,
            extra: 0,
            imm: 0,
        }
    }

    pub fn push(&mut self, instruction: Instr) {
        let cost = self.cost_of(&instruction);
        self.code.push(instruction);
        self.infos.push(Info {
            line: self.line,
            is_first: self.is_first,
            cost,
            ..Info::default()
        });
        self.is_first = false;
    }

    /// Of an instruction that is decoded into several, the access has the cost, or else the first.
    fn cost_of(&self, instruction: &Instr) -> Cost {
        let is_helper = matches!(instruction.kind, Kind::Move | Kind::Param);
        let has_it = if self.cost.is_memory {
            !is_helper
        } else {
            self.is_first
        };
        if has_it { self.cost } else { Cost::default() }
    }

    /// Adds `d = exec(a, b, c)`.
    pub fn emit(&mut self, exec: Handler, kind: Kind, d: u32, operands: [u32; 3]) {
        let mut instruction = self.make(exec, kind);
        instruction.d[0] = d;
        instruction.defs = 1;
        [instruction.a, instruction.b, instruction.c] = operands;
        self.push(instruction);
    }

    pub fn branch_to(&mut self, label: &str) {
        self.branches
            .push((self.code.len(), label.to_string(), self.line));
    }

    pub fn fresh(&mut self, width: Width) -> u32 {
        self.registers.push(Virtual {
            width,
            origin: Origin::Plain,
        });
        self.registers.len() as u32 - 1
    }

    /// The carry flag, made at its first use.
    pub fn carry(&mut self) -> u32 {
        if self.carry == NONE {
            self.carry = self.fresh(Width::Pred);
        }
        self.carry
    }

    pub fn constant(&mut self, bits: u64, width: Width) -> u32 {
        let is_wide = width == Width::Wide;
        if let Some(&register) = self.constants.get(&(bits, is_wide)) {
            return register;
        }
        self.registers.push(Virtual {
            width,
            origin: Origin::Constant(bits),
        });
        let register = self.registers.len() as u32 - 1;
        self.constants.insert((bits, is_wide), register);
        register
    }

    pub fn special(&mut self, special: Special) -> u32 {
        if let Some(&register) = self.specials.get(&special) {
            return register;
        }
        self.registers.push(Virtual {
            width: Width::Narrow,
            origin: Origin::Special(special),
        });
        let register = self.registers.len() as u32 - 1;
        self.specials.insert(special, register);
        register
    }

    /// The declared type of a register.
    pub fn declared_type(&self, name: &str) -> Option<Type> {
        if let Some(&kind) = self.declared.get(name) {
            return Some(kind);
        }
        self.numbered.iter().find_map(|(prefix, kind, count)| {
            let number = name.strip_prefix(prefix.as_str())?.parse::<u32>().ok()?;
            (number < *count).then_some(*kind)
        })
    }

    /// A declared register, which must have this width.
    pub fn register(&mut self, name: &str, width: Width) -> Result<u32> {
        let Some(kind) = self.declared_type(name) else {
            return self.error(format!("`{name}` is not a register"));
        };
        if Width::of(kind) != width {
            return self.error(format!("`{name}` is a register of type {kind}"));
        }
        if let Some(&register) = self.named.get(name) {
            return Ok(register);
        }
        let register = self.fresh(width);
        self.named.insert(name.to_string(), register);
        Ok(register)
    }

    /// The register that an instruction writes as `kind`.
    pub fn target(&mut self, operand: &Operand, kind: Type) -> Result<u32> {
        match operand {
            Operand::Word(name) if name == "_" => Ok(self.fresh(Width::of(kind))),
            Operand::Word(name) => self.register(name, Width::of(kind)),
            _ => self.error("the result must be a register"),
        }
    }

    /// A register, special register, constant or address read as `kind`.
    pub fn source(&mut self, operand: &Operand, kind: Type) -> Result<u32> {
        let width = Width::of(kind);
        match operand {
            Operand::Word(name) => {
                if self.declared_type(name).is_some() {
                    return self.register(name, width);
                }
                if let Some(special) = special_register(name) {
                    let register = self.special(special);
                    return Ok(if width == Width::Wide {
                        self.widened(register)
                    } else {
                        register
                    });
                }
                self.symbol(name, 0, width)
            }
            Operand::Offset(name, offset) => self.symbol(name, *offset, width),
            Operand::Integer(value) if !kind.is_float() => {
                let bits = *value as u64;
                Ok(self.constant(
                    if width == Width::Wide {
                        bits
                    } else {
                        bits & 0xffff_ffff
                    },
                    width,
                ))
            }
            Operand::Single(bits) if kind.size_bytes() == 4 => {
                Ok(self.constant(u64::from(*bits), width))
            }
            Operand::Double(bits) if kind.size_bytes() == 8 => Ok(self.constant(*bits, width)),
            Operand::Double(bits) if kind == Type::F32 => {
                let single = f64::from_bits(*bits) as f32;
                Ok(self.constant(u64::from(single.to_bits()), width))
            }
            other => self.error(format!("{other:?} cannot be read as {kind}")),
        }
    }

    fn symbol(&mut self, name: &str, offset: i64, width: Width) -> Result<u32> {
        if name == "WARP_SZ" {
            return Ok(self.constant(32, width));
        }
        match self.symbols.names.get(name) {
            Some(&(_, address)) => {
                let bits = address.wrapping_add_signed(offset);
                Ok(self.constant(
                    if width == Width::Wide {
                        bits
                    } else {
                        bits & 0xffff_ffff
                    },
                    width,
                ))
            }
            None => self.error(format!("`{name}` is not declared")),
        }
    }

    pub fn place_of(&self, name: &str) -> Option<Place> {
        self.symbols.names.get(name).map(|(place, _)| *place)
    }

    /// A predicate operand, perhaps negated: register and all ones if so.
    pub fn pred_source(&mut self, operand: &Operand) -> Result<(u32, u32)> {
        match operand {
            Operand::Word(name) => Ok((self.register(name, Width::Pred)?, 0)),
            Operand::Not(name) => Ok((self.register(name, Width::Pred)?, FULL)),
            Operand::Integer(value) => Ok((NONE, if *value != 0 { 0 } else { FULL })),
            other => self.error(format!("{other:?} is not a predicate")),
        }
    }

    pub fn pred_target(&mut self, operand: &Operand) -> Result<u32> {
        self.target(operand, Type::Pred)
    }

    pub fn count_operands(&self, operands: &[Operand], count: usize) -> Result<()> {
        if operands.len() == count {
            return Ok(());
        }
        self.error(format!("{} operands where {count} belong", operands.len()))
    }

    pub fn type_of(&self, modifiers: &mut Modifiers<'_>) -> Result<Type> {
        match modifiers.take_type() {
            Some(kind) => Ok(kind),
            None => self.error("no type"),
        }
    }

    pub fn no_form<T>(&self, kind: Type) -> Result<T> {
        self.error(format!("not known for type {kind}"))
    }
}

pub fn special_register(name: &str) -> Option<Special> {
    let dimension = |tail: &str| match tail {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((head, tail)) = name.split_once('.') {
        let k = dimension(tail)?;
        return match head {
            "%tid" => Some(Special::Tid(k)),
            "%ntid" => Some(Special::Ntid(k)),
            "%ctaid" => Some(Special::Ctaid(k)),
            "%nctaid" => Some(Special::Nctaid(k)),
            _ => None,
        };
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::WarpCount,
        "%lanemask_eq" => Special::LaneMaskEq,
        "%lanemask_lt" => Special::LaneMaskLt,
        "%lanemask_le" => Special::LaneMaskLe,
        "%lanemask_gt" => Special::LaneMaskGt,
        "%lanemask_ge" => Special::LaneMaskGe,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        "%smid" | "%gridid" => Special::Zero,
        "%nsmid" => Special::One,
        _ => return None,
    })
}
