//! exp, log, tanh and sigmoid of the emitted code against f64, in units of the last place of the f32 result, on each
//! instruction set that this machine runs.
//!
//! A fixed sample of all 2³² floats by default; all of them with `LENETC_EXHAUSTIVE=1` (minutes).

use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Options, clif, schedule};
use lenetc::ir::TensorType;
use lenetc::nest::{Nest, Stage, Unary};
use lenetc_runtime::exec::Uniforms;

#[path = "common/isas.rs"]
mod isas;

const CHUNK: usize = 1 << 16;

/// Distance in units of the last place of the nearest f32; equal NaN and infinities are at 0.
fn ulps(got: f32, want: f64) -> f64 {
    let near = want as f32;
    if got == near || (got.is_nan() && near.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !near.is_finite() {
        return f64::INFINITY;
    }
    // Sigmoid flushes results below the normal numbers to zero.
    if got == 0.0 && near.abs() < f32::MIN_POSITIVE {
        return 0.0;
    }
    let spacing = f64::from(near.abs().max(f32::MIN_POSITIVE))
        .log2()
        .floor()
        .exp2()
        * f64::from(f32::EPSILON);
    (f64::from(got) - want).abs() / spacing
}

fn worst(f: Unary, isa: Isa, baseline: bool, exact: impl Fn(f64) -> f64) -> (f64, f32) {
    let ty = TensorType::fixed([CHUNK as u32]);
    let mut n = Nest::new("f", std::slice::from_ref(&ty), std::slice::from_ref(&ty));
    let axes = n.axes_of(&ty, &[]);
    let mut s = Stage::new(&axes);
    let x = s.load_at(n.input(0), &axes);
    let y = s.unary(f, x);
    s.store_at(n.out(0), &axes, y);
    n.stages.push(s);
    let options = Options::new(isa, isa.lanes());
    let kernel = [schedule(&n, options).0];
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
    let u = Uniforms {
        valid: 1.0,
        learning_rate: 0.0,
        inverse_batch: 1.0,
    };
    for _ in 0..chunks {
        for v in &mut x {
            *v = f32::from_bits(bits);
            bits = bits.wrapping_add(step);
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
            let e = ulps(y, exact(f64::from(x)));
            if e > worst.0 {
                worst = (e, x);
            }
        }
    }
    worst
}

fn bound(f: Unary, limit: f64, exact: impl Fn(f64) -> f64 + Copy) {
    let all = isas::here().map(|isa| (isa, false));
    for (isa, baseline) in all.chain([(Isa::Cranelift, true)]) {
        let (e, x) = worst(f, isa, baseline, exact);
        println!("{f:?}: {e:.2} ulp at {x:e} on {isa}, baseline: {baseline}");
        assert!(
            e <= limit,
            "{f:?}({x:e}) is off by {e} ulp on {isa}, baseline: {baseline}"
        );
    }
}

#[test]
fn exp() {
    bound(Unary::Exp, 1.5, f64::exp);
}
#[test]
fn log() {
    bound(Unary::Log, 1.0, f64::ln);
}
#[test]
fn tanh() {
    bound(Unary::Tanh, 1.5, f64::tanh);
}
#[test]
fn sigmoid() {
    bound(Unary::Sigmoid, 2.5, |x| 1.0 / (1.0 + (-x).exp()));
}
