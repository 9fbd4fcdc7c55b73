//! The last step: branches get their targets, and every virtual register its place in the register
//! file of a warp: predicates first, four bytes each, then rows of 128 or 256 bytes.

use super::builder::{Builder, Result};
use super::liveness;
use super::registers::{NONE, Origin, Virtual, Width, uses};
use crate::exec::lanes::{Instr, Kind};
use crate::exec::misc;
use crate::exec::program::Program;
use crate::ptx::PtxError;
use crate::ptx::ast::Entry;
use crate::time::cost::Cost;
use std::collections::BTreeMap;
use std::sync::Arc;

const ROW: u32 = 128;

/// The program of a kernel whose instructions are all there.
pub fn finish(mut builder: Builder, entry: &Entry, lines: &Arc<Vec<String>>) -> Result<Program> {
    builder.guard = (NONE, 0);
    builder.line = 0;
    builder.cost = Cost::default();
    let end = builder.make(misc::exit, Kind::Branch);
    builder.push(end);
    let mut targets = BTreeMap::new();
    for (index, label, line) in &builder.branches {
        let Some(&target) = builder.labels.get(label) else {
            return Err(PtxError::new(*line, format!("no label `{label}`")));
        };
        builder.code[*index].imm = i64::from(target);
        builder.infos[*index].target = Some(target);
        targets.insert(*index, target as usize);
    }
    let pressure = liveness::pressure(&builder.code, &builder.registers, &targets);
    Ok(lay_out(builder, entry, lines, pressure))
}

fn lay_out(builder: Builder, entry: &Entry, lines: &Arc<Vec<String>>, pressure: u32) -> Program {
    let Builder {
        registers,
        mut code,
        mut infos,
        symbols,
        ..
    } = builder;
    let (offsets, file_bytes) = separate(&registers);
    for (instruction, info) in code.iter_mut().zip(&mut infos) {
        for (k, &register) in instruction.d.iter().enumerate() {
            if instruction.defs >> k & 1 != 0 && registers[register as usize].width == Width::Pred {
                info.pred_defs |= 1 << k;
            }
        }
        let used = uses(instruction)
            .filter(|&register| matches!(registers[register as usize].origin, Origin::Plain));
        info.uses = used
            .map(|register| {
                (
                    offsets[register as usize],
                    registers[register as usize].width == Width::Pred,
                )
            })
            .collect();
        rename(instruction, |register| offsets[register as usize]);
    }
    let mut constants = Vec::new();
    let mut specials = Vec::new();
    for (register, &offset) in registers.iter().zip(&offsets).skip(1) {
        match register.origin {
            Origin::Constant(bits) => constants.push((offset, bits, register.width == Width::Wide)),
            Origin::Special(special) => specials.push((offset, special)),
            Origin::Plain => {}
        }
    }
    Program {
        name: entry.name.clone(),
        code,
        infos,
        constants,
        specials,
        file_bytes,
        shared_static: symbols.shared_static,
        shared_sizes: symbols.shared_sizes,
        local_len: symbols.local_len,
        params: entry.params.clone(),
        param_offsets: symbols.param_offsets,
        param_bytes: symbols.param_bytes,
        max_threads: entry.max_threads,
        registers: pressure,
        lines: lines.clone(),
    }
}

fn rename(instruction: &mut Instr, map: impl Fn(u32) -> u32) {
    for register in &mut instruction.d {
        *register = map(*register);
    }
    for register in [
        &mut instruction.a,
        &mut instruction.b,
        &mut instruction.c,
        &mut instruction.guard,
    ] {
        *register = map(*register);
    }
}

/// A place for each register, and the length of the file.
fn separate(registers: &[Virtual]) -> (Vec<u32>, u32) {
    let mut offsets = vec![0; registers.len()];
    let mut end = 0u32;
    let is_pred = |register: &Virtual| register.width == Width::Pred;
    for (offset, _) in offsets
        .iter_mut()
        .zip(registers)
        .filter(|(_, register)| is_pred(register))
    {
        *offset = end;
        end += 4;
    }
    end = end.next_multiple_of(64);
    for (offset, register) in offsets
        .iter_mut()
        .zip(registers)
        .filter(|(_, register)| !is_pred(register))
    {
        *offset = end;
        end += if register.width == Width::Wide {
            2 * ROW
        } else {
            ROW
        };
    }
    (offsets, end.next_multiple_of(64))
}
