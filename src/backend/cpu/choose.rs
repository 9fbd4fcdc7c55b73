//! Which schedule a kernel gets: the largest tile that the registers hold.
//!
//! A schedule is told how many registers it may fill. Where the emitter finds a move in an innermost loop, the
//! tile was too large and a smaller one is tried. Does not know what a kernel computes.

use super::code::{Isa, Wide};
use super::schedule::{Options, run as schedule};
use super::wide;
use crate::nest::Nest;
use crate::nest::loops::Kernel;

/// A nest's kernel for blocks of `block` images, and its code unless it is Cranelift's.
pub fn choose(n: &Nest, isa: Isa, block: u32) -> (Kernel, Wide) {
    let narrow = Options::new(Isa::Cranelift, block);
    if isa == Isa::Cranelift {
        return (schedule(n, narrow), None);
    }
    let mut best: Option<(Kernel, wide::Code)> = None;
    for part in [8, 7, 6, 5, 4] {
        let options = Options {
            registers: isa.registers() * part / 8,
            ..Options::new(isa, block)
        };
        let k = schedule(n, options);
        if best.as_ref().is_some_and(|b| b.0 == k) {
            continue;
        }
        let Ok(code) = wide::compile(&k) else { break };
        let better = best
            .as_ref()
            .is_none_or(|b| code.inner_moves < b.1.inner_moves);
        if better {
            best = Some((k, code));
        }
        if best.as_ref().is_some_and(|b| b.1.inner_moves == 0) {
            break;
        }
    }
    match best {
        Some((k, code)) => (k, Some(code)),
        None => (schedule(n, narrow), None),
    }
}
