//! Time and GFLOP/s of LeNet's contractions on one core, for each instruction set that the machine has, beside the
//! speed of bare multiply-adds on twelve vectors of the same width. Run with `cargo bench`; quote ratios of one run only.

use std::time::Instant;

use lenetc::backend::beyond::Beyond;
use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Chosen, choose, peak};
use lenetc::ir::{Leading, Scalars, TensorType};
use lenetc::nest::loops::Kernel;
use lenetc::ops::*;
use lenetc_runtime::exec::Uniforms;

const REPEATS: usize = 200;

fn seconds(k: &Kernel, block: u32) -> f64 {
    let code = Code::compile(std::slice::from_ref(k)).expect("the kernel compiles");
    let mut data: Vec<Vec<f32>> = k
        .buffers
        .iter()
        .map(|b| vec![0.01; b.len as usize + 16])
        .collect();
    let pointers: Vec<*mut u8> = data.iter_mut().map(|d| d.as_mut_ptr().cast()).collect();
    let uniforms = Uniforms::new(block as f32, &Scalars::new(1, 0.1).floats());
    let run = || {
        let start = Instant::now();
        // SAFETY: every buffer has at least the length that the kernel states.
        unsafe { code.call(0, &pointers, &uniforms) };
        start.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let window = |pad| Window {
        kernel: [5, 5],
        stride: [1, 1],
        padding: Padding::Sides([[pad; 2]; 2]),
        dilation: [1, 1],
    };
    let conv = |out_channels, pad| Conv2d {
        out_channels,
        window: window(pad),
        groups: 1,
        bias: true,
    };
    let (conv1, conv2) = (conv(6, 2), conv(16, 0));
    let [x1, y1, x2, y2] =
        [[1, 28, 28], [6, 28, 28], [6, 14, 14], [16, 10, 10]].map(TensorType::batch);
    let [w1, w2] = [vec![6, 1, 5, 5], vec![16, 6, 5, 5]].map(TensorType::fixed);
    let [b1, b2, b3] = [6, 16, 120].map(|n| TensorType::fixed([n]));
    let (x3, y3, w3) = (
        TensorType::batch([400]),
        TensorType::batch([120]),
        TensorType::fixed([120, 400]),
    );
    let cases: Vec<(&str, Op, Vec<TensorType>)> = vec![
        (
            "conv1 forward",
            conv1.clone().into(),
            vec![x1.clone(), w1, b1],
        ),
        (
            "conv1 weight gradient",
            Conv2dGradWeight { conv: conv1 }.into(),
            vec![y1, x1],
        ),
        (
            "conv2 forward",
            conv2.clone().into(),
            vec![x2.clone(), w2.clone(), b2],
        ),
        (
            "conv2 weight gradient",
            Conv2dGradWeight {
                conv: conv2.clone(),
            }
            .into(),
            vec![y2.clone(), x2],
        ),
        (
            "conv2 input gradient",
            Conv2dGradInput {
                conv: conv2,
                input: [6, 14, 14],
            }
            .into(),
            vec![w2, y2],
        ),
        (
            "linear forward",
            Linear {
                out_features: 120,
                bias: true,
            }
            .into(),
            vec![x3.clone(), w3.clone(), b3],
        ),
        (
            "linear input gradient",
            LinearGradInput.into(),
            vec![w3, y3.clone()],
        ),
        (
            "linear weight gradient",
            LinearGradWeight.into(),
            vec![y3, x3],
        ),
    ];
    for isa in Isa::ALL.into_iter().filter(|i| i.available()) {
        let peak = peak(isa).expect("the kernel compiles") / 1e9;
        println!("{isa}: {peak:.1} GFLOP/s, multiply-adds alone");
        for (name, op, inputs) in &cases {
            report(name, op, inputs, isa, peak);
        }
    }
}

fn report(name: &str, op: &Op, inputs: &[TensorType], isa: Isa, peak: f64) {
    let outputs = op.infer(inputs).expect("LeNet's shapes fit");
    let block = isa.lanes().max(8);
    let Chosen { kernel: k, .. } =
        choose(&op.lower(inputs, &outputs), isa, block, Beyond::default());
    assert!(inputs.iter().all(|t| t.leading != Leading::Dataset));
    let flops = 2.0 * op.macs(inputs, &outputs).terms as f64 * f64::from(block);
    let start = Instant::now();
    drop(Code::compile(std::slice::from_ref(&k)));
    let compile = start.elapsed().as_secs_f64() * 1e3;
    let time = seconds(&k, block);
    let rate = flops / time / 1e9;
    let share = 100.0 * rate / peak;
    println!(
        "{name:28} {rate:8.1} GFLOP/s {share:5.0} % {:8.2} µs/image, compiled in {compile:.1} ms",
        time * 1e6 / f64::from(block)
    );
}
