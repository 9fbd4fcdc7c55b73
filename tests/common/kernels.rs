//! A nest's kernel for one block of images, in f64 and as machine code, against the nest itself.
//!
//! Buffers end at pages that nobody may touch; gradients are added to what is there already; and memory that holds
//! nothing, which is behind a value or where a result will be, decides not a bit of the results. Does not know operators.

use iced_x86::{Decoder, DecoderOptions, Encoder, Mnemonic, OpKind};
use lenetc::backend::beyond::Beyond;
use lenetc::backend::cpu::code::{Code, Isa};
use lenetc::backend::cpu::{Options, clif, schedule, wide};
use lenetc::ir::{DType, Leading, Scalars};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::loops::{self, Kernel};
use lenetc::nest::{self, Extent, Nest, Tensor, TensorRole};
use lenetc_runtime::exec::{Entry, Uniforms};

use super::guard::Guarded;
use super::tolerance;

/// What idle memory may hold: the bits of nothing, of a number that overflows in a product, of a NaN that signals.
const IDLE: [u32; 3] = [0, 0x7f7f_ffff, 0x7fa0_0001];

/// What random numbers are drawn for: a seed whose lower half would be a NaN that signals, a late step, and a block within
/// a batch.
pub const SEED: u64 = 0x1234_5678_7f80_0001;
pub const STEP: u64 = 0x9_0000_0007;
pub const FIRST: u32 = 4096;

/// The numbers of a step on so many images.
pub fn scalars(valid: usize) -> Scalars {
    Scalars::new(valid, 0.5).drawn(SEED, STEP)
}

/// A kernel's buffer before it runs: what it holds, and so many elements in all.
struct Start {
    data: Vec<f64>,
    len: usize,
}

/// Images of a block, and so many of them valid.
#[derive(Clone, Copy)]
struct Block {
    images: usize,
    valid: usize,
}

/// Checks the kernel that a nest has with these options for an instruction set, on `inputs` of `valid` images.
pub fn check(
    isa: Isa,
    options: Options,
    name: &str,
    nest: &Nest,
    inputs: &[Vec<f64>],
    valid: usize,
) {
    nest::verify(nest).expect("the nest is well-formed");
    // Lanes beyond the images are zero here.
    let options = options.with(Beyond::alone(nest));
    let (k, _) = schedule(nest, options);
    loops::verify(&k).unwrap_or_else(|e| panic!("{name}: {e}\n{}", loops::text(&k)));
    let env = Env {
        scalars: scalars(valid),
        first: FIRST as usize,
        ..Env::new(valid, 0.5)
    };
    let refs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let name = format!("{name}, {valid} in {} on {isa}", options.block);
    let block = Block {
        images: options.block as usize,
        valid,
    };
    let start = starts(nest, &k, inputs, block);
    let want = wanted(nest, interp::run(nest, &refs, env), &start);
    let mut buffers: Vec<Vec<f64>> = start.iter().map(Start::in_f64).collect();
    interp::run_kernel(&k, &mut buffers, valid, env);
    close(&name, &results(&name, nest, &buffers, block), &want, 1e-9);
    if isa.available() {
        let tolerance = tolerance::of(nest, valid);
        let found = machine(isa, &name, nest, &k, &start, block);
        found.iter().for_each(|f| close(&name, f, &want, tolerance));
    }
}

/// The results, as `[image][element]`, of each code that a nest's kernel becomes. None where an instruction set leaves
/// the kernel to another.
pub fn outcomes(
    isa: Isa,
    options: Options,
    name: &str,
    nest: &Nest,
    inputs: &[Vec<f64>],
    valid: usize,
) -> Vec<Vec<Vec<f64>>> {
    let (kernel, _) = schedule(nest, options.with(Beyond::alone(nest)));
    let block = Block {
        images: options.block as usize,
        valid,
    };
    let start = starts(nest, &kernel, inputs, block);
    machine(isa, name, nest, &kernel, &start, block)
}

/// The results of each code that the kernel becomes.
fn machine(
    isa: Isa,
    name: &str,
    nest: &Nest,
    k: &Kernel,
    start: &[Start],
    block: Block,
) -> Vec<Vec<Vec<f64>>> {
    let kernels = std::slice::from_ref(k);
    let run = |entry| {
        let [first, others @ ..] = IDLE.map(|idle| {
            let found = run_code(entry, k, start, idle, block.valid);
            results(name, nest, &found, block)
        });
        let bits =
            |x: &[Vec<f64>]| -> Vec<u64> { x.concat().iter().map(|x| x.to_bits()).collect() };
        for other in others {
            assert!(bits(&other) == bits(&first), "{name}: idle memory counts");
        }
        first
    };
    let mut found = Vec::new();
    if isa == Isa::Cranelift {
        let code = clif::Code::compile_baseline(kernels).expect("Cranelift compiles it");
        found.push(run(code.entry(0)));
    } else {
        match wide::compile(k) {
            Ok(code) => decodes(name, &code),
            Err(why) => {
                println!("{name}: left to Cranelift: {}", why.0);
                return found;
            }
        }
    }
    let code = Code::compile(kernels).expect("there is memory for code");
    found.push(run(code.entry(0)));
    found
}

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

/// The tensors of the kernel's buffers.
fn stored(nest: &Nest) -> impl Iterator<Item = &Tensor> {
    let all = nest.tensors.iter();
    all.filter(|t| t.role != TensorRole::Temp)
}

fn starts(nest: &Nest, k: &Kernel, inputs: &[Vec<f64>], block: Block) -> Vec<Start> {
    let numbered = nest.tensors.iter().enumerate();
    let tensors = numbered.filter(|(_, t)| t.role != TensorRole::Temp);
    let each = tensors.zip(&k.buffers).map(|((at, t), b)| {
        let elements = t.ty.elements() as usize;
        let data = match (t.role, t.ty.leading) {
            (TensorRole::Input(i), Leading::Batch) => {
                pack(&inputs[i as usize], elements, block.images)
            }
            (TensorRole::Input(i), _) => inputs[i as usize].clone(),
            _ if summed(nest, at) => (0..elements).map(|k| (k % 7) as f64 - 2.5).collect(),
            _ => vec![],
        };
        Start {
            len: data.len().max(b.len as usize),
            data,
        }
    });
    each.collect()
}

/// Whether a tensor's values are sums over images, which are added to what is there.
fn summed(nest: &Nest, tensor: usize) -> bool {
    nest.stages.iter().any(|s| {
        let images = s.reduce.iter().any(|a| nest.extent(*a) == Extent::Batch);
        images && s.outs.iter().any(|o| o.tensor.0 as usize == tensor)
    })
}

/// The oracle's results, added to what the buffers hold.
fn wanted(nest: &Nest, mut results: Vec<Vec<f64>>, start: &[Start]) -> Vec<Vec<f64>> {
    for (t, s) in stored(nest).zip(start) {
        if let TensorRole::Output(o) = t.role {
            let sums = results[o as usize].iter_mut().zip(&s.data);
            sums.for_each(|(x, start)| *x += start);
        }
    }
    results
}

impl Start {
    fn in_f64(&self) -> Vec<f64> {
        let mut all = self.data.clone();
        all.resize(self.len, f64::NAN);
        all
    }

    fn bytes(&self, dtype: DType, idle: u32) -> Vec<u8> {
        let data = self.data.iter();
        let mut bytes: Vec<u8> = match dtype {
            DType::F32 => data.flat_map(|&x| (x as f32).to_ne_bytes()).collect(),
            DType::I32 => data.flat_map(|&x| (x as i32).to_ne_bytes()).collect(),
            DType::U8 => data.map(|&x| x as u8).collect(),
        };
        let missing = self.len - self.data.len();
        let idle = idle.to_ne_bytes();
        bytes.extend(
            idle.iter()
                .cycle()
                .take(missing * dtype.size_bytes() as usize),
        );
        bytes
    }
}

/// The results that the buffers hold, as `[image][element]`.
fn results(name: &str, nest: &Nest, buffers: &[Vec<f64>], block: Block) -> Vec<Vec<f64>> {
    let mut out = vec![vec![]; buffers.len()];
    for (t, b) in stored(nest).zip(buffers) {
        let TensorRole::Output(o) = t.role else {
            continue;
        };
        let elements = t.ty.elements() as usize;
        let image = |k: usize| (0..elements).map(move |e| b[e * block.images + k]);
        out[o as usize] = match t.ty.is_batch() {
            true => (0..block.valid).flat_map(image).collect(),
            false => b[..elements].to_vec(),
        };
        if t.ty.is_batch() && t.ty.dims.is_empty() {
            let beyond = &b[block.valid..];
            let zeros = beyond.iter().all(|&x| x == 0.0);
            assert!(zeros, "{name}: lanes beyond the batch hold zeros");
        }
    }
    out
}

fn close(name: &str, got: &[Vec<f64>], want: &[Vec<f64>], tolerance: f64) {
    for (o, (got, want)) in got.iter().zip(want).enumerate() {
        for (at, (&g, &w)) in got.iter().zip(want).enumerate() {
            let same = g == w || (g.is_nan() && w.is_nan());
            assert!(
                same || (g - w).abs() <= tolerance * (1.0 + w.abs()),
                "{name}: result {o} is {g} at {at}, not {w}"
            );
        }
    }
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

/// Runs machine code on the buffers as f32 (or integers). Integers are not read back.
fn run_code(entry: Entry, k: &Kernel, start: &[Start], idle: u32, valid: usize) -> Vec<Vec<f64>> {
    let numbered = start.iter().zip(&k.buffers);
    let bytes: Vec<Guarded> = numbered
        .map(|(s, b)| Guarded::new(&s.bytes(b.dtype, idle)))
        .collect();
    let pointers: Vec<*mut u8> = bytes.iter().map(Guarded::start).collect();
    let uniforms = Uniforms::new(valid as f32, &scalars(valid).floats()).from(FIRST);
    // SAFETY: each buffer has the length that the kernel states, and nothing else uses them meanwhile.
    unsafe { entry(pointers.as_ptr(), &uniforms) };
    let float = |c: &[u8]| f64::from(f32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
    let after = bytes.iter().zip(&k.buffers);
    let after = after.map(|(data, b)| match b.dtype {
        DType::F32 => data.bytes().chunks(4).map(float).collect(),
        _ => vec![],
    });
    after.collect()
}
