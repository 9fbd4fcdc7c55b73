//! exp, log, log1p, tanh and sigmoid of the emitted code against f64, in units of the last place of the f32 result, on each
//! instruction set that this machine runs.
//!
//! Where each is hard and on a fixed sample of all 2³² floats by default; all of them with `LENETC_EXHAUSTIVE=1` (minutes).

use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Options, clif, schedule};
use lenetc::ir::Scalars;
use lenetc_runtime::exec::Uniforms;

#[path = "common/hard.rs"]
mod hard;
#[path = "common/isas.rs"]
mod isas;
use hard::{FUNCTIONS, Function, ulps};

const CHUNK: usize = 1 << 16;

fn worst(function: &Function, isa: Isa, baseline: bool) -> (f64, f32) {
    let options = Options::new(isa, isa.lanes());
    let kernel = [schedule(&function.nest(CHUNK), options).0];
    let baseline =
        baseline.then(|| clif::Code::compile_baseline(&kernel).expect("Cranelift compiles it"));
    let code = Code::compile(&kernel).expect("there is memory for code");
    let entry = baseline.as_ref().map_or(code.entry(0), |b| b.entry(0));
    let all = std::env::var_os("LENETC_EXHAUSTIVE").is_some();
    let chunks = if all { (1u64 << 32) / CHUNK as u64 } else { 64 };
    // An odd step visits each bit pattern once before it returns.
    let step: u32 = if all { 1 } else { 0x9E37_79B1 };
    let (mut bits, mut worst) = (0u32, (0.0, 0.0));
    let (mut x, mut y) = (vec![0f32; CHUNK], vec![0f32; CHUNK]);
    let u = Uniforms::new(1.0, &Scalars::new(1, 0.0).floats());
    let points = function.all();
    for chunk in 0..=chunks {
        for (k, v) in x.iter_mut().enumerate() {
            *v = match chunk {
                0 => points[k % points.len()],
                _ => f32::from_bits(bits),
            };
            bits = bits.wrapping_add(step * u32::from(chunk > 0));
        }
        // SAFETY: both buffers have the elements that the kernel's have.
        unsafe {
            entry(
                [x.as_mut_ptr().cast(), y.as_mut_ptr().cast()].as_ptr(),
                &u,
                0,
            )
        };
        for (&x, &y) in x.iter().zip(&y) {
            let e = ulps(y, (function.exact)(f64::from(x)));
            if e > worst.0 {
                worst = (e, x);
            }
        }
    }
    worst
}

fn bound(number: usize) {
    let function = &FUNCTIONS[number];
    let (f, limit) = (function.unary, function.ulps);
    let all = isas::here().map(|isa| (isa, false));
    for (isa, baseline) in all.chain([(Isa::Cranelift, true)]) {
        let (e, x) = worst(function, isa, baseline);
        println!("{f:?}: {e:.2} ulp at {x:e} on {isa}, baseline: {baseline}");
        assert!(
            e <= limit,
            "{f:?}({x:e}) is off by {e} ulp on {isa}, baseline: {baseline}"
        );
    }
}

#[test]
fn exp() {
    bound(0);
}
#[test]
fn log() {
    bound(1);
}
#[test]
fn log1p() {
    bound(2);
}
#[test]
fn tanh() {
    bound(3);
}
#[test]
fn sigmoid() {
    bound(4);
}
