//! Every operator's loops and their Cranelift code against its nest in f64, for full and partial blocks.

use lenetc::backend::cpu::clif::{Code, Uniforms};
use lenetc::backend::cpu::{Options, schedule};
use lenetc::ir::{DType, Leading, TensorType};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{self, Nest, TensorRole, loops};

#[path = "common/cases.rs"]
mod cases;
use cases::Case;

const LANES: u32 = 4;

/// From `[image][element]` to `[element][lane]`, lanes beyond the images zero.
fn pack(data: &[f64], elements: usize, block: usize) -> Vec<f64> {
    let mut out = vec![0.0; elements * block];
    for (image, row) in data.chunks(elements.max(1)).enumerate() {
        for (e, &v) in row.iter().enumerate() {
            out[e * block + image] = v;
        }
    }
    out
}

fn buffer(ty: &TensorType, data: &[f64], block: usize, len: u64) -> Vec<f64> {
    let mut out = match ty.leading {
        Leading::Batch => pack(data, ty.elements() as usize, block),
        _ => data.to_vec(),
    };
    out.resize(out.len().max(len as usize), 0.0);
    out
}

fn close(name: &str, got: f64, want: f64, tolerance: f64) {
    let same = got == want || (got.is_nan() && want.is_nan());
    assert!(
        same || (got - want).abs() <= tolerance * (1.0 + want.abs()),
        "{name}: {got} for {want}"
    );
}

fn check(name: &str, nest: &Nest, inputs: &[Vec<f64>], valid: usize, block: u32) {
    nest::verify(nest).expect("the nest is well-formed");
    let k = schedule(
        nest,
        Options {
            lanes: LANES,
            block,
        },
    );
    loops::verify(&k).unwrap_or_else(|e| panic!("{name}: {e}\n{}", loops::text(&k)));
    let env = Env {
        batch: valid,
        learning_rate: 0.5,
    };
    let refs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let want = interp::run(nest, &refs, env);
    let tensors: Vec<_> = nest
        .tensors
        .iter()
        .filter(|t| t.role != TensorRole::Temp)
        .collect();
    let mut buffers: Vec<Vec<f64>> = tensors
        .iter()
        .zip(&k.buffers)
        .map(|(t, b)| match t.role {
            TensorRole::Input(i) => buffer(&t.ty, &inputs[i as usize], block as usize, b.len),
            _ => vec![0.0; b.len as usize],
        })
        .collect();
    let start = buffers.clone();
    interp::run_kernel(&k, &mut buffers, 0, valid, env);
    compare(name, &tensors, &buffers, &want, valid, block, 1e-9);
    for compile in [Code::compile, Code::compile_baseline] {
        let code = compile(std::slice::from_ref(&k)).expect("Cranelift compiles it");
        let machine = run_code(&code, &k, &start, valid);
        compare(name, &tensors, &machine, &want, valid, block, 2e-5);
    }
}

fn compare(
    name: &str,
    tensors: &[&nest::Tensor],
    buffers: &[Vec<f64>],
    want: &[Vec<f64>],
    valid: usize,
    block: u32,
    tolerance: f64,
) {
    for (t, b) in tensors.iter().zip(buffers) {
        let TensorRole::Output(o) = t.role else {
            continue;
        };
        let elements = t.ty.elements() as usize;
        for (at, &w) in want[o as usize].iter().enumerate() {
            let at = if t.ty.is_batch() {
                at % elements * block as usize + at / elements
            } else {
                at
            };
            close(
                &format!("{name} {} of {valid} in {block}", t.name),
                b[at],
                w,
                tolerance,
            );
        }
        if t.ty.is_batch() && t.ty.dims.is_empty() {
            assert!(
                b[valid..].iter().all(|&x| x == 0.0),
                "{name}: lanes beyond the batch hold zeros"
            );
        }
    }
}

/// Runs the kernel's machine code on f32 (or integer) copies of the buffers.
fn run_code(code: &Code, k: &loops::Kernel, buffers: &[Vec<f64>], valid: usize) -> Vec<Vec<f64>> {
    let mut bytes: Vec<Vec<u8>> = buffers
        .iter()
        .zip(&k.buffers)
        .map(|(data, b)| match b.dtype {
            DType::F32 => data
                .iter()
                .flat_map(|&x| (x as f32).to_ne_bytes())
                .collect(),
            DType::I32 => data
                .iter()
                .flat_map(|&x| (x as i32).to_ne_bytes())
                .collect(),
            DType::U8 => data.iter().map(|&x| x as u8).collect(),
        })
        .collect();
    let pointers: Vec<*mut u8> = bytes.iter_mut().map(Vec::as_mut_ptr).collect();
    let uniforms = Uniforms {
        valid: valid as f32,
        learning_rate: 0.5,
        inverse_batch: 1.0 / valid as f32,
    };
    // SAFETY: each buffer has the length that the kernel states, and nothing else uses them meanwhile.
    unsafe { code.call(0, &pointers, &uniforms, 0) };
    bytes
        .iter()
        .zip(&k.buffers)
        .map(|(data, b)| match b.dtype {
            DType::F32 => data
                .chunks(4)
                .map(|c| f64::from(f32::from_ne_bytes([c[0], c[1], c[2], c[3]])))
                .collect(),
            _ => vec![],
        })
        .collect()
}

/// Batch sizes that fill a block, leave a tail of one image, and one lane group short of three.
const BLOCKS: [(usize, u32); 4] = [(4, 4), (1, 4), (7, 8), (16, 16)];

fn run(cases: Vec<Case>, blocks: &[(usize, u32)]) {
    for c in cases {
        let nest = c.nest();
        for &(valid, block) in blocks {
            check(c.name, &nest, &c.values(valid), valid, block);
        }
    }
}

#[test]
fn convolutions() {
    run(cases::convolutions(), &BLOCKS);
}

#[test]
fn wide_images_with_wide_borders() {
    run(cases::wide_images_with_wide_borders(), &BLOCKS);
}

#[test]
fn rows_of_many_widths() {
    run(cases::rows_of_many_widths(), &BLOCKS);
}

#[test]
fn pools() {
    run(cases::pools(), &BLOCKS);
}

#[test]
fn linear_and_biases() {
    run(cases::linear_and_biases(), &BLOCKS);
}

/// Blocks that are transposed in parts.
#[test]
fn linear_weight_gradients() {
    let blocks = [
        (1, 4),
        (3, 4),
        (7, 8),
        (16, 16),
        (13, 20),
        (17, 32),
        (32, 32),
    ];
    run(cases::linear_weight_gradients(), &blocks);
}

#[test]
fn elementwise_and_joins() {
    run(cases::elementwise_and_joins(), &BLOCKS);
}

#[test]
fn losses_batches_and_updates() {
    run(cases::losses_batches_and_updates(), &BLOCKS);
}
