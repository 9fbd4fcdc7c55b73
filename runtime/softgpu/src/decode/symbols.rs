//! Where names lie: variables in shared and local memory, parameters, and the module's variables in global memory.

use crate::card::STATIC_SHARED_BYTES;
use crate::exec::heap::SHARED_WINDOW;
use crate::exec::program::SharedSizes;
use crate::ptx::PtxError;
use crate::ptx::ast::{
    Entry, Initial, Instruction, Module, Operand, Param, Space, Statement, Variable,
};
use std::collections::{BTreeMap, BTreeSet};

/// Addresses of variables in global and constant memory.
pub type DeviceSymbols = BTreeMap<String, u64>;

/// Assemblers align shared memory to this, at most, where nothing asks for more.
const WIDEST: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Shared,
    Local,
    Param,
    Device,
}

#[derive(Debug, Default)]
pub struct Symbols {
    pub names: BTreeMap<String, (Place, u64)>,
    pub shared_static: u32,
    pub shared_sizes: SharedSizes,
    pub local_len: u32,
    pub param_offsets: Vec<u32>,
    pub param_bytes: u32,
}

impl Symbols {
    pub fn new(module: &Module, entry: &Entry, devices: &DeviceSymbols) -> Result<Self, PtxError> {
        let mut symbols = Self::default();
        for (name, &address) in devices {
            symbols.names.insert(name.clone(), (Place::Device, address));
        }
        (symbols.param_offsets, symbols.param_bytes) = param_layout(&entry.params);
        for (param, &offset) in entry.params.iter().zip(&symbols.param_offsets) {
            symbols
                .names
                .insert(param.name.clone(), (Place::Param, u64::from(offset)));
        }
        check_params(module, entry, symbols.param_bytes)?;
        let mentioned = mentioned(entry);
        let outer = module
            .variables
            .iter()
            .filter(|variable| variable.space == Space::Shared);
        let shared: Vec<&Variable> = outer
            .filter(|variable| mentioned.contains(variable.name.as_str()))
            .collect();
        for variable in shared
            .iter()
            .filter(|variable| !variable.is_extern)
            .copied()
            .chain(&entry.variables)
        {
            symbols.place(variable)?;
        }
        if symbols.shared_static > STATIC_SHARED_BYTES {
            let (name, bytes) = (&entry.name, symbols.shared_static);
            let reason = format!(
                "kernel `{name}` has {bytes} bytes of static shared memory, {STATIC_SHARED_BYTES} at most"
            );
            return Err(PtxError::new(entry.line, reason));
        }
        let dynamic = || shared.iter().filter(|variable| variable.is_extern);
        let align = dynamic()
            .map(|variable| variable.align.max(16))
            .max()
            .unwrap_or(1);
        symbols.shared_static = symbols.shared_static.next_multiple_of(align);
        for variable in dynamic() {
            symbols.names.insert(
                variable.name.clone(),
                (Place::Shared, u64::from(symbols.shared_static)),
            );
        }
        Ok(symbols)
    }

    fn place(&mut self, variable: &Variable) -> Result<(), PtxError> {
        let error =
            |reason: &str| PtxError::new(variable.line, format!("`{}`: {reason}", variable.name));
        let count = variable.count.ok_or_else(|| error("no size"))?;
        let size = u32::try_from(count.saturating_mul(u64::from(variable.kind.size_bytes())))
            .ok()
            .filter(|size| *size < 1 << 24)
            .ok_or_else(|| error("too large"))?;
        if !variable.initial.is_empty() {
            return Err(error("an initial value in this space"));
        }
        let (place, end) = match variable.space {
            Space::Shared => (Place::Shared, &mut self.shared_static),
            Space::Local => (Place::Local, &mut self.local_len),
            _ => return Err(error("a variable of this space in a body")),
        };
        if place == Place::Shared {
            self.shared_sizes.packed += size;
            self.shared_sizes.loose += size.next_multiple_of(variable.align.max(WIDEST));
        }
        let offset = end.next_multiple_of(variable.align.max(1));
        *end = offset + size;
        self.names
            .insert(variable.name.clone(), (place, u64::from(offset)));
        if place == Place::Local {
            // Each lane's part begins at a multiple of this.
            self.local_len = self.local_len.next_multiple_of(16);
        }
        Ok(())
    }
}

/// Offsets of parameters in their buffer, and its length.
fn param_layout(params: &[Param]) -> (Vec<u32>, u32) {
    let mut end = 0u32;
    let offsets = params
        .iter()
        .map(|param| {
            let offset = end.next_multiple_of(param.align.max(1));
            end = offset + param.size_bytes;
            offset
        })
        .collect();
    (offsets, end)
}

/// Parameters lie in a bank of constants, which grew with PTX 8.1 and capability 7.0.
fn check_params(module: &Module, entry: &Entry, bytes: u32) -> Result<(), PtxError> {
    const LEAST: u32 = 4096;
    const MOST: u32 = 32764;
    let has_more = module.version >= (8, 1) && module.capability() >= 70;
    let limit = if has_more { MOST } else { LEAST };
    if bytes <= limit {
        return Ok(());
    }
    let ((major, minor), target) = (module.version, &module.target);
    let reason = format!(
        "kernel `{}` has {bytes} bytes of parameters, {limit} at most with PTX {major}.{minor} for {target}",
        entry.name
    );
    Err(PtxError::new(entry.line, reason))
}

/// All names that a body's operands hold.
fn mentioned(entry: &Entry) -> BTreeSet<&str> {
    fn visit<'a>(operand: &'a Operand, names: &mut BTreeSet<&'a str>) {
        match operand {
            Operand::Word(name)
            | Operand::Offset(name, _)
            | Operand::Address {
                base: Some(name), ..
            } => {
                names.insert(name);
            }
            Operand::Vector(parts) => parts.iter().for_each(|part| visit(part, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    for statement in &entry.body {
        if let Statement::Instruction(Instruction { operands, .. }) = statement {
            operands
                .iter()
                .for_each(|operand| visit(operand, &mut names));
        }
    }
    names
}

/// The bytes of a variable in global or constant memory.
pub fn initial_bytes(variable: &Variable, devices: &DeviceSymbols) -> Result<Vec<u8>, PtxError> {
    let size = variable.kind.size_bytes() as usize;
    let count = variable
        .count
        .map_or(variable.initial.len(), |count| count as usize);
    if variable.initial.len() > count {
        return Err(PtxError::new(
            variable.line,
            format!("`{}`: too many initial values", variable.name),
        ));
    }
    let mut bytes = vec![0; count * size];
    for (element, chunk) in variable.initial.iter().zip(bytes.chunks_exact_mut(size)) {
        let bits = match element {
            Initial::Bits(bits) => *bits,
            Initial::Address(name, offset) => {
                let address = devices.get(name).ok_or_else(|| {
                    PtxError::new(
                        variable.line,
                        format!(
                            "`{}`: the address of `{name}`, which is not known",
                            variable.name
                        ),
                    )
                })?;
                address.wrapping_add_signed(*offset)
            }
        };
        chunk.copy_from_slice(&bits.to_le_bytes()[..size]);
    }
    debug_assert!(devices.values().all(|address| *address >= SHARED_WINDOW));
    Ok(bytes)
}
