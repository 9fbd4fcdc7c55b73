//! Every operator's loops and their machine code against its nest in f64, for full and partial blocks, with
//! each instruction set that this machine runs.

use lenetc::backend::cpu::{Isa, Options, schedule, wide};
use lenetc::ir::TensorType;
use lenetc::nest::Nest;
use lenetc::ops::{Layer, Operator};

#[path = "common/cases.rs"]
mod cases;
#[path = "common/guard.rs"]
mod guard;
#[path = "common/kernels.rs"]
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
mod kernels;
#[path = "common/tolerance.rs"]
mod tolerance;
use cases::Case;

fn check(isa: Isa, c: &Case, nest: &Nest, valid: usize, block: u32) {
    let inputs = c.values_of(valid, valid + 3);
    let options = Options::new(isa, block);
    kernels::check(isa, options, c.name, nest, &inputs, valid);
}

/// Batch sizes that fill a block, leave a tail of one image, and one lane group short of another; in vectors,
/// and images less than that.
const BLOCKS: [(usize, usize, u32); 4] = [(1, 0, 1), (1, usize::MAX, 1), (2, 1, 2), (4, 0, 4)];

fn run(cases: Vec<Case>) {
    for isa in Isa::ALL {
        if !isa.available() {
            println!("{isa} is left out: this machine does not have it");
        }
        let lanes = isa.lanes() as usize;
        for c in &cases {
            let nest = c.nest();
            // The oracle takes as long as there are images.
            let most = if isa == Isa::Cranelift { 4 } else { 2 };
            for (vectors, less, block) in BLOCKS.into_iter().filter(|b| b.2 <= most) {
                let valid = (vectors * lanes).saturating_sub(less).max(1);
                let block = block * isa.lanes();
                check(isa, c, &nest, valid, block);
            }
            check(isa, c, &nest, 1, 1);
        }
    }
}

#[test]
fn convolutions() {
    run(cases::convolutions());
}

#[test]
fn wide_images_with_wide_borders() {
    run(cases::wide_images_with_wide_borders());
}

/// Code does not grow with the width of a border, image by image or not.
#[test]
fn borders_take_no_more_code() {
    for isa in [Isa::Avx2, Isa::Avx512] {
        for block in [1, isa.lanes()] {
            let [less, more] = [1000, 9000].map(|padding| {
                let (conv, input) = cases::borders(padding);
                let x = TensorType::batch(input);
                let w = TensorType::fixed(conv.states(&x)[0].dims.clone());
                let y = conv.infer(std::slice::from_ref(&x)).expect("fits");
                let nest = conv.lower(&[x, w], &y);
                let (k, _) = schedule(&nest, Options::new(isa, block));
                let code = wide::compile(&k).unwrap_or_else(|e| panic!("{}", e.0));
                code.instructions
            });
            assert!(more < 2 * less, "{isa}, {block}: {more} for {less}");
        }
    }
}

#[test]
fn rows_of_many_widths() {
    run(cases::rows_of_many_widths());
}

#[test]
fn sums_over_large_images() {
    run(cases::sums_over_large_images());
}

#[test]
fn pools() {
    run(cases::pools());
}

#[test]
fn linear_and_biases() {
    run(cases::linear_and_biases());
}

/// Blocks that are transposed in parts.
#[test]
fn linear_weight_gradients() {
    for isa in Isa::ALL {
        for c in cases::linear_weight_gradients() {
            let lanes = isa.lanes();
            for (valid, block) in [(1, 1), (3, 1), (7, 2), (13, 5), (17, 8), (32, 8)] {
                let block = block * lanes;
                check(isa, &c, &c.nest(), valid, block);
            }
        }
    }
}

#[test]
fn elementwise_and_joins() {
    run(cases::elementwise_and_joins());
}

#[test]
fn losses() {
    run(cases::losses::of_elements());
    run(cases::losses::of_classes());
}

#[test]
fn softmaxes() {
    run(cases::softmaxes());
}

#[test]
fn norms() {
    run(cases::norms());
}

#[test]
fn losses_and_batches() {
    run(cases::losses_and_batches());
}

#[test]
fn updates() {
    run(cases::updates());
}
