//! Registers of every operator's kernels against regalloc2's checker, whichever instruction sets this machine runs.

use super::{alloc, build, hoist, legalise};
use crate::backend::cpu::{Isa, Options, schedule};
use crate::nest::loops::Kernel;
use cases::Case;

#[path = "../../../../tests/common/cases.rs"]
#[macro_use]
#[allow(dead_code, reason = "nothing is run here, so no values are needed")]
mod cases;

fn allocated(k: &Kernel, avx512: bool) -> Option<alloc::Allocated> {
    let mut f = build::function(k).ok()?;
    hoist::run(&mut f, if avx512 { 32 } else { 16 });
    legalise::run(&mut f, avx512);
    alloc::run(&mut f, avx512).ok()
}

/// Blocks of one image, and of one and two vectors of images.
fn check(cases: Vec<Case>) {
    for c in cases {
        let nest = c.nest();
        for isa in [Isa::Avx2, Isa::Avx512] {
            for block in [1, isa.lanes(), 2 * isa.lanes()] {
                let (kernel, _) = schedule(&nest, Options::new(isa, block));
                let avx512 = isa == Isa::Avx512;
                let Some(allocated) = allocated(&kernel, avx512) else {
                    continue;
                };
                let checked = alloc::check(&allocated, avx512);
                assert_eq!(checked, Ok(()), "{} {isa} {block}", c.name);
            }
        }
    }
}

every_family!(check);

#[test]
fn a_wrong_register_is_noticed() {
    let nest = cases::linear_and_biases()[0].nest();
    let (kernel, _) = schedule(&nest, Options::new(Isa::Avx512, 16));
    let mut a = allocated(&kernel, true).expect("a kernel that is not declined");
    let vector = |r: &&mut regalloc2::Allocation| {
        r.as_reg()
            .is_some_and(|r| r.class() == regalloc2::RegClass::Float)
    };
    let last = a
        .output
        .allocs
        .iter_mut()
        .rev()
        .find(vector)
        .expect("a vector");
    *last = regalloc2::Allocation::reg(regalloc2::PReg::new(31, regalloc2::RegClass::Float));
    assert!(alloc::check(&a, true).is_err());
}
