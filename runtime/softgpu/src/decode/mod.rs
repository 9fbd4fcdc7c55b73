//! From the syntax tree of a kernel to a program that the executor runs: types and modifiers are checked here, once, and
//! whatever is not known is an error that names the line. Knows no driver handles.

mod arithmetic;
mod bits;
mod builder;
mod compare;
mod control;
mod convert;
mod dot;
mod layout;
mod liveness;
mod memory;
mod modifiers;
mod registers;
mod symbols;

pub use symbols::{DeviceSymbols, initial_bytes};

use crate::exec::lanes::Level;
use crate::exec::program::Program;
use crate::ptx::PtxError;
use crate::ptx::ast::{Entry, Module, Statement};
use builder::Builder;
use std::sync::Arc;

/// Decodes one kernel. `devices` are the addresses of the module's variables in global and constant memory.
pub fn decode(
    module: &Module,
    entry: &Entry,
    devices: &DeviceSymbols,
    lines: &Arc<Vec<String>>,
    level: Level,
) -> Result<Program, PtxError> {
    let mut builder = Builder::new(module, entry, devices, level)?;
    for statement in &entry.body {
        match statement {
            Statement::Label(name, line) => builder.label(name, *line)?,
            Statement::Instruction(instruction) => builder.instruction(instruction)?,
        }
    }
    layout::finish(builder, entry, lines)
}
