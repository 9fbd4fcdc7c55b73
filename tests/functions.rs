//! Elementary functions of the emitted code against f64, in units of the last place of the f32 result, on each
//! instruction set that this machine runs.
//!
//! Where each is hard and on a fixed sample of all 2³² floats by default; all of them with `LENETC_EXHAUSTIVE=1` (minutes).

use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Options, clif, schedule};
use lenetc::ir::Scalars;
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{Nest, Unary};
use lenetc_runtime::exec::Uniforms;

#[path = "common/elementary.rs"]
mod elementary;
#[path = "common/isas.rs"]
mod isas;
use elementary::{EXTREMES, FIRST, FUNCTIONS, Function, ulps};

const CHUNK: usize = 1 << 16;

/// The code of a nest over [`CHUNK`] or fewer elements.
struct Compiled {
    code: Code,
    /// Without multiply-adds.
    baseline: Option<clif::Code>,
}

impl Compiled {
    fn new(nest: &Nest, isa: Isa, baseline: bool) -> Self {
        let kernel = [schedule(nest, Options::new(isa, isa.lanes())).0];
        let compile = || clif::Code::compile_baseline(&kernel).expect("Cranelift compiles it");
        Self {
            code: Code::compile(&kernel).expect("there is memory for code"),
            baseline: baseline.then(compile),
        }
    }

    /// The result of operands of one length.
    fn run(&self, operands: &mut [&mut Vec<f32>]) -> Vec<f32> {
        let entry = match &self.baseline {
            Some(baseline) => baseline.entry(0),
            None => self.code.entry(0),
        };
        let mut y = vec![0f32; operands[0].len()];
        let mut buffers: Vec<*mut u8> = Vec::new();
        for operand in operands {
            buffers.push(operand.as_mut_ptr().cast());
        }
        buffers.push(y.as_mut_ptr().cast());
        let u = Uniforms::new(1.0, &Scalars::new(1, 0.0).floats());
        // SAFETY: the buffers have the elements that the kernel's have, which is a multiple of all lanes.
        unsafe { entry(buffers.as_ptr(), &u) };
        y
    }
}

/// Every code that this machine runs, and whether it is without multiply-adds.
fn codes() -> impl Iterator<Item = (Isa, bool)> {
    let all = isas::here().map(|isa| (isa, false));
    all.chain([(Isa::Cranelift, true)])
}

fn worst(function: &Function, isa: Isa, baseline: bool) -> (f64, f32) {
    let compiled = Compiled::new(&function.nest(CHUNK), isa, baseline);
    let all = std::env::var_os("LENETC_EXHAUSTIVE").is_some();
    let chunks = if all { (1u64 << 32) / CHUNK as u64 } else { 64 };
    // An odd step visits each bit pattern once before it returns.
    let step: u32 = if all { 1 } else { 0x9E37_79B1 };
    let (mut bits, mut worst) = (0u32, (0.0, 0.0));
    let mut x = vec![0f32; CHUNK];
    let points = function.all();
    for chunk in 0..=chunks {
        for (k, v) in x.iter_mut().enumerate() {
            *v = match chunk {
                0 => points[k % points.len()],
                _ => f32::from_bits(bits),
            };
            bits = bits.wrapping_add(step * u32::from(chunk > 0));
        }
        let y = compiled.run(&mut [&mut x]);
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
    for (isa, baseline) in codes() {
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
#[test]
fn expm1() {
    bound(5);
}
#[test]
fn erf() {
    bound(6);
}
#[test]
fn roots_and_sizes() {
    (7..10).for_each(bound);
}

#[test]
fn zeros_keep_their_sign() {
    let odd = [Unary::Expm1, Unary::Erf, Unary::Sqrt, Unary::Log1p];
    let zeros = [0.0, -0.0];
    for function in FUNCTIONS.iter().filter(|f| odd.contains(&f.unary)) {
        for (isa, baseline) in codes() {
            let compiled = Compiled::new(&function.nest(CHUNK), isa, baseline);
            let mut x: Vec<f32> = (0..CHUNK).map(|k| zeros[k % 2]).collect();
            let y = compiled.run(&mut [&mut x]);
            let signs = [0, 1].map(|k| y[k].is_sign_negative());
            assert_eq!(signs, [false, true], "{:?} on {isa}", function.unary);
        }
    }
}

#[test]
fn the_greater_and_the_smaller() {
    let [a, b] = elementary::pairs().map(|side| side.iter().map(|&x| x as f32).collect::<Vec<_>>());
    for (f, &(function, _)) in EXTREMES.iter().enumerate() {
        for first in FIRST {
            let nest = elementary::extremes(function, first, a.len());
            for (isa, baseline) in codes() {
                let compiled = Compiled::new(&nest, isa, baseline);
                let y = compiled.run(&mut [&mut a.clone(), &mut b.clone()]);
                let y: Vec<f64> = y.into_iter().map(f64::from).collect();
                elementary::hold_extremes(f, first, &y, &format!("{isa}, baseline: {baseline}"));
            }
            let env = Env::new(1, 0.0);
            let [a, b] = elementary::pairs();
            let y = interp::run(&nest, &[&a, &b], env);
            elementary::hold_extremes(f, first, &y[0], "the interpreter");
        }
    }
}
