//! Random operators with random shapes on every instruction set, in blocks of one image, of a vector and of two: loops
//! and machine code against the nest in f64.
//!
//! The cases are the same in each run; `LENETC_SEED` draws others, `LENETC_CASES` more or fewer. Does not know what a
//! schedule does with a shape.

use lenetc::backend::cpu::{Isa, Options, schedule};
use lenetc::nest::Nest;
use proptest::prelude::*;

#[path = "common/cases.rs"]
#[allow(dead_code, reason = "one case is what this reads of the list")]
mod cases;
#[path = "common/guard.rs"]
mod guard;
#[path = "common/isas.rs"]
mod isas;
#[path = "common/kernels.rs"]
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
mod kernels;
#[path = "common/random.rs"]
mod random;
#[path = "common/runner.rs"]
mod runner;
#[path = "common/tolerance.rs"]
mod tolerance;

/// Cases of one run.
const CASES: u32 = 150;

/// What a compilation may decide: so many eighths of the registers, and one of the tiles with which they are filled.
#[derive(Clone, Copy, Debug)]
struct Choices {
    eighths: u32,
    tile: prop::sample::Index,
}

impl Choices {
    fn options(self, isa: Isa, nest: &Nest, block: u32) -> Options {
        let mut options = Options::new(isa, block);
        if isa != Isa::Cranelift {
            options.registers = options.registers * self.eighths / 8;
            let others = schedule(nest, options).1.candidates();
            let at = self.tile.index(others.len() + 1);
            options.tile = others.get(at).copied();
        }
        options
    }
}

#[test]
fn random_operators() {
    // Of blocks of one image as many as of the others: their schedules differ most.
    let vectors = prop_oneof![2 => Just(0), 1 => 1..=2u32];
    let choices = (4..=8u32, any::<prop::sample::Index>());
    let choices = choices.prop_map(|(eighths, tile)| Choices { eighths, tile });
    let valid = any::<prop::sample::Index>();
    let drawn = (random::case(), vectors, valid, choices);
    let checked = runner::new(CASES).run(&drawn, |(case, vectors, valid, choices)| {
        let nest = case.nest();
        for isa in isas::here() {
            let block = (vectors * isa.lanes()).max(1);
            let valid = valid.index(block as usize) + 1;
            let inputs = case.values_of(valid, valid + 3);
            let options = choices.options(isa, &nest, block);
            kernels::check(isa, options, "random", &nest, &inputs, valid);
        }
        Ok(())
    });
    checked.unwrap_or_else(|e| panic!("{e}"));
}
