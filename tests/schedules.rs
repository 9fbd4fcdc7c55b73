//! Every operator's loops and their machine code against its nest in f64, for full and partial blocks, with
//! each instruction set that this machine runs.

use iced_x86::{Decoder, DecoderOptions, Encoder, Mnemonic, OpKind};
use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Options, clif, schedule, wide};
use lenetc::ir::{DType, Leading, TensorType};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{self, Extent, Nest, TensorRole, loops};
use lenetc_runtime::exec::{Entry, Uniforms};

#[path = "common/cases.rs"]
mod cases;
#[path = "common/guard.rs"]
mod guard;
use cases::Case;
use guard::Guarded;

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

fn check(isa: Isa, name: &str, nest: &Nest, inputs: &[Vec<f64>], valid: usize, block: u32) {
    nest::verify(nest).expect("the nest is well-formed");
    let (k, _) = schedule(nest, Options::new(isa, block));
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
    if !isa.available() {
        return;
    }
    let kernels = std::slice::from_ref(&k);
    let name = format!("{name} on {isa}");
    let machine = |entry| {
        let found = run_code(entry, &k, &start, valid);
        let tolerance = 2e-5 * (terms(nest, valid) / 256.0).max(1.0).sqrt();
        compare(&name, &tensors, &found, &want, valid, block, tolerance);
    };
    if isa == Isa::Cranelift {
        let code = clif::Code::compile_baseline(kernels).expect("Cranelift compiles it");
        machine(code.entry(0));
    } else {
        match wide::compile(&k) {
            Ok(code) => decodes(&name, &code),
            Err(why) => return println!("{name}: left to Cranelift: {}", why.0),
        }
    }
    let code = Code::compile(kernels).expect("there is memory for code");
    machine(code.entry(0));
}

/// The longest sum: the error of rounding grows with the root of its terms.
fn terms(nest: &Nest, valid: usize) -> f64 {
    let size = |a: &nest::AxisId| match nest.extent(*a) {
        Extent::Static(n) => f64::from(n),
        Extent::Batch => valid as f64,
    };
    let sums = nest.stages.iter().map(|s| s.reduce.iter().map(size));
    sums.map(Iterator::product).fold(1.0, f64::max)
}

/// What was encoded is what the decoder reads, one instruction for each.
fn decodes(name: &str, code: &wide::Code) {
    let bytes = &code.bytes[code.entry..];
    let (mut at, mut count) = (code.entry, 0);
    let mut encoder = Encoder::new(64);
    for i in &mut Decoder::with_ip(64, bytes, at as u64, DecoderOptions::NONE) {
        assert!(!i.is_invalid(), "{name}: no instruction at {at}");
        if i.mnemonic() != Mnemonic::Nop {
            count += 1;
            encoder
                .encode(&i, at as u64)
                .expect("what is decoded can be encoded");
            let again = encoder.take_buffer();
            let is_branch = i.op0_kind() == OpKind::NearBranch64;
            assert!(
                is_branch || again == code.bytes[at..at + i.len()],
                "{name}: {i:?} at {at}"
            );
        }
        at += i.len();
    }
    assert_eq!((at, count), (code.bytes.len(), code.instructions), "{name}");
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

/// Runs the kernel's machine code on f32 (or integer) copies of the buffers, which end at pages that it may not touch.
fn run_code(entry: Entry, k: &loops::Kernel, buffers: &[Vec<f64>], valid: usize) -> Vec<Vec<f64>> {
    let bytes: Vec<Guarded> = buffers
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
            DType::U8 => data.iter().map(|&x| x as u8).collect::<Vec<u8>>(),
        })
        .map(|bytes| Guarded::new(&bytes))
        .collect();
    let pointers: Vec<*mut u8> = bytes.iter().map(Guarded::start).collect();
    let uniforms = Uniforms {
        valid: valid as f32,
        learning_rate: 0.5,
        inverse_batch: 1.0 / valid as f32,
    };
    // SAFETY: each buffer has the length that the kernel states, and nothing else uses them meanwhile.
    unsafe { entry(pointers.as_ptr(), &uniforms, 0) };
    bytes
        .iter()
        .zip(&k.buffers)
        .map(|(data, b)| match b.dtype {
            DType::F32 => data
                .bytes()
                .chunks(4)
                .map(|c| f64::from(f32::from_ne_bytes([c[0], c[1], c[2], c[3]])))
                .collect(),
            _ => vec![],
        })
        .collect()
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
                check(isa, c.name, &nest, &c.values(valid), valid, block);
            }
            check(isa, c.name, &nest, &c.values(1), 1, 1);
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
                check(isa, c.name, &c.nest(), &c.values(valid), valid, block);
            }
        }
    }
}

#[test]
fn elementwise_and_joins() {
    run(cases::elementwise_and_joins());
}

#[test]
fn losses_batches_and_updates() {
    run(cases::losses_batches_and_updates());
}
