//! Which schedule a kernel gets: the largest tile that the registers hold.
//!
//! A schedule is told how many registers it may fill. Where the emitter finds a move in an innermost loop, the
//! tile was too large and a smaller one is tried. Does not know what a kernel computes, nor how long it takes.

use super::code::{Isa, Wide};
use super::schedule::{Choice, Options, TileSize, run as schedule};
use super::wide;
use crate::backend::beyond::Beyond;
use crate::nest::Nest;
use crate::nest::loops::Kernel;

/// A kernel with its code, unless that is Cranelift's, and why its schedule is as it is.
pub struct Chosen {
    pub kernel: Kernel,
    pub code: Wide,
    pub choice: Choice,
}

/// A nest's kernel for blocks of `block` images. This depends on the code alone, so that every compilation makes the
/// same choice.
pub fn choose(n: &Nest, isa: Isa, block: u32, beyond: Beyond) -> Chosen {
    if isa == Isa::Cranelift {
        return narrow(n, block, beyond);
    }
    let mut best: Option<(Chosen, usize)> = None;
    for part in [8, 7, 6, 5, 4] {
        let options = Options {
            registers: isa.registers() * part / 8,
            ..Options::new(isa, block).with(beyond)
        };
        let (kernel, mut choice) = schedule(n, options);
        choice.narrowed = part < 8;
        if best.as_ref().is_some_and(|b| b.0.kernel == kernel) {
            continue;
        }
        let Ok(code) = wide::compile(&kernel) else {
            break;
        };
        let moves = code.inner_moves;
        if best.as_ref().is_none_or(|b| moves < b.1) {
            let code = Some(code);
            let chosen = Chosen {
                kernel,
                code,
                choice,
            };
            best = Some((chosen, moves));
        }
        if best.as_ref().is_some_and(|b| b.1 == 0) {
            break;
        }
    }
    best.map_or_else(|| narrow(n, block, beyond), |b| b.0)
}

fn narrow(n: &Nest, block: u32, beyond: Beyond) -> Chosen {
    let options = Options::new(Isa::Cranelift, block).with(beyond);
    let (kernel, choice) = schedule(n, options);
    Chosen {
        kernel,
        code: None,
        choice,
    }
}

/// The kernels that a nest may have with the same bits as result: the one that [`choose`] gives first, then those of
/// the cheapest other tiles that need no moves in an innermost loop.
pub fn candidates(n: &Nest, isa: Isa, block: u32, beyond: Beyond) -> Vec<Chosen> {
    let mut all = vec![choose(n, isa, block, beyond)];
    if all[0].code.is_none() {
        return all;
    }
    let (_, ranking) = schedule(n, Options::new(isa, block).with(beyond));
    for tile in ranking.candidates() {
        if let Some(c) = tiled(n, isa, block, beyond, tile)
            && !all.iter().any(|o| o.kernel == c.kernel)
        {
            all.push(c);
        }
    }
    all
}

/// A nest's kernel with a tile of this size, if that needs no moves in an innermost loop.
pub fn tiled(n: &Nest, isa: Isa, block: u32, beyond: Beyond, tile: TileSize) -> Option<Chosen> {
    let options = Options {
        tile: Some(tile),
        ..Options::new(isa, block).with(beyond)
    };
    let (kernel, choice) = schedule(n, options);
    let code = wide::compile(&kernel).ok().filter(|c| c.inner_moves == 0)?;
    Some(Chosen {
        kernel,
        code: Some(code),
        choice,
    })
}
