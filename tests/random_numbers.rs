//! Random numbers of formulas: the same bits from the interpreter and from the machine code of each instruction set, in
//! blocks of images and image by image, and those of the generator that the runtime has. The software GPU has the same
//! list in `tests/cuda.rs`; threads are in `tests/cli.rs`.

use lenetc::backend::cpu::Options;
use lenetc::ir::TensorType;
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{self, Nest};
use lenetc_runtime::rng::philox4x32_10;

#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/guard.rs"]
mod guard;
#[path = "common/isas.rs"]
mod isas;
#[allow(dead_code, reason = "checks against the nest in f64 are other tests'")]
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/tolerance.rs"]
mod tolerance;

/// What the runtime's generator gives for all elements of all images.
fn wanted(ty: &TensorType, images: usize) -> Vec<f64> {
    let key = [kernels::SEED as u32, (kernels::SEED >> 32) as u32];
    let number = |image: u32, element: u32| {
        let image = kernels::FIRST.wrapping_add(image);
        let counter = [element, image, kernels::STEP as u32, 2 + drawn::STREAM];
        f64::from((philox4x32_10(counter, key)[0] >> 8) as f32 / 16_777_216.0)
    };
    let elements = ty.elements() as u32;
    let all = (0..images as u32).flat_map(|n| (0..elements).map(move |e| (n, e)));
    all.map(|(n, e)| number(n, e)).collect()
}

fn interpreted(nest: &Nest, images: usize) -> Vec<f64> {
    let env = Env {
        first: kernels::FIRST as usize,
        scalars: kernels::scalars(images),
        ..Env::new(images, 0.0)
    };
    let inputs = drawn::operand(nest, images);
    interp::run(nest, &[&inputs], env).remove(0)
}

#[test]
fn every_code_draws_the_same() {
    for ty in drawn::types() {
        let nest = drawn::nest(&ty);
        nest::verify(&nest).expect("the nest is well-formed");
        for images in [1, 3, 16, 21] {
            let want = wanted(&ty, images);
            assert_eq!(interpreted(&nest, images), want, "the interpreter, {ty}");
            let inputs = [drawn::operand(&nest, images)];
            for isa in isas::here() {
                let block = (images as u32).next_multiple_of(isa.lanes());
                let mut blocks = vec![(Options::new(isa, block), "blocks")];
                if images == 1 {
                    blocks.push((Options::new(isa, 1), "images"));
                }
                for (options, how) in blocks {
                    let found = kernels::outcomes(isa, options, "drawn", &nest, &inputs, images);
                    assert!(!found.is_empty(), "{isa} takes the kernel");
                    for results in found {
                        assert_eq!(results[0], want, "{ty} on {isa} by {how}");
                    }
                }
            }
        }
    }
}
