//! Every operator's loops and their Cranelift code against its nest in f64, for full and partial blocks.

use lenetc::backend::cpu::clif::{Code, Uniforms};
use lenetc::backend::cpu::{Options, schedule};
use lenetc::ir::{DType, Leading, TensorType};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{self, Nest, TensorRole, loops};
use lenetc::ops::*;

const LANES: u32 = 4;

fn noise(salt: u64, n: usize) -> Vec<f64> {
    let mut s = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    let mut next = || {
        s = s
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (s >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
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

fn data(ty: &TensorType, salt: u64, batch: usize) -> Vec<f64> {
    match (ty.dtype, ty.leading) {
        (DType::I32, _) => (0..batch).map(|k| ((k * 5 + 2) % batch) as f64).collect(),
        (DType::U8, _) => noise(salt, ty.elements() as usize * batch)
            .iter()
            .map(|x| (x * 127.0).round() + 128.0)
            .collect(),
        // Labels, in the range of the classes of the cases below.
        (_, Leading::Batch) if ty.dims.is_empty() => (0..batch).map(|k| (k % 3) as f64).collect(),
        (_, Leading::Batch) => noise(salt, ty.elements() as usize * batch),
        _ => noise(salt, ty.elements() as usize),
    }
}

/// Batch sizes that fill a block, leave a tail of one image, and one lane group short of three.
const BLOCKS: [(usize, u32); 4] = [(4, 4), (1, 4), (7, 8), (16, 16)];

fn case(name: &str, op: impl Into<Op>, inputs: &[TensorType]) {
    case_in(&BLOCKS, name, op, inputs);
}

fn case_in(blocks: &[(usize, u32)], name: &str, op: impl Into<Op>, inputs: &[TensorType]) {
    let op = op.into();
    let outputs = op
        .infer(inputs)
        .unwrap_or_else(|e| panic!("{name}: {}", e.rule));
    let nest = op.lower(inputs, &outputs);
    for &(valid, block) in blocks {
        let values: Vec<Vec<f64>> = inputs
            .iter()
            .enumerate()
            .map(|(k, t)| data(t, k as u64 + 3, valid))
            .collect();
        check(name, &nest, &values, valid, block);
    }
}

fn image(dims: [u32; 3]) -> TensorType {
    TensorType::batch(dims)
}

fn windows() -> Vec<(&'static str, Window)> {
    let w = |kernel, stride, sides, dilation| Window {
        kernel,
        stride,
        padding: Padding::Sides(sides),
        dilation,
    };
    vec![
        ("plain", w([3, 3], [1, 1], [[0; 2]; 2], [1, 1])),
        ("padded", w([5, 5], [1, 1], [[2; 2]; 2], [1, 1])),
        ("odd padding", w([2, 3], [1, 1], [[1, 2], [0, 2]], [1, 1])),
        ("strided", w([3, 3], [2, 3], [[1, 1], [1, 0]], [1, 1])),
        ("dilated", w([3, 2], [1, 1], [[2, 1], [3, 3]], [2, 3])),
        (
            "strided, dilated",
            w([2, 3], [3, 2], [[1, 1], [2, 2]], [2, 3]),
        ),
        ("gaps", w([1, 2], [2, 4], [[0; 2]; 2], [1, 1])),
        ("beyond", w([2, 1], [2, 2], [[4, 3], [5, 4]], [1, 1])),
        ("long", w([1, 14], [1, 1], [[0, 0], [7, 6]], [1, 1])),
    ]
}

#[test]
fn convolutions() {
    for (name, window) in windows() {
        for (groups, channels, out) in [(1, 3, 5), (2, 4, 6), (4, 4, 4)] {
            let input = [channels, 9, 13];
            let conv = Conv2d {
                out_channels: out,
                window,
                groups,
                bias: true,
            };
            let x = image(input);
            let y = conv.infer(std::slice::from_ref(&x)).expect("fits")[0].clone();
            let [w, b] = [0, 1].map(|k| TensorType::fixed(conv.parameters(&x)[k].dims.clone()));
            case(name, conv.clone(), &[x.clone(), w.clone(), b]);
            case(
                name,
                Conv2dGradInput {
                    conv: conv.clone(),
                    input,
                },
                &[w, y.clone()],
            );
            case(name, Conv2dGradWeight { conv }, &[y, x]);
        }
    }
}

#[test]
fn wide_images_with_wide_borders() {
    let window = Window {
        kernel: [3, 11],
        stride: [1, 1],
        padding: Padding::Sides([[1, 1], [30, 30]]),
        dilation: [1, 6],
    };
    let conv = Conv2d {
        out_channels: 3,
        window,
        groups: 1,
        bias: false,
    };
    let x = image([2, 3, 40]);
    let w = TensorType::fixed(conv.parameters(&x)[0].dims.clone());
    let y = conv.infer(std::slice::from_ref(&x)).expect("fits")[0].clone();
    case("wide", conv.clone(), &[x.clone(), w.clone()]);
    case(
        "wide",
        Conv2dGradInput {
            conv: conv.clone(),
            input: [2, 3, 40],
        },
        &[w, y.clone()],
    );
    case("wide", Conv2dGradWeight { conv }, &[y, x]);
}

/// Rows that fill one tile of registers, that are cut in two, and sums over many channels with a single tap.
#[test]
fn rows_of_many_widths() {
    for (width, channels, side) in [(14, 2, 3), (17, 3, 3), (29, 1, 5), (9, 6, 1), (3, 7, 1)] {
        let window = Window {
            kernel: [side; 2],
            stride: [1, 1],
            padding: Padding::Sides([[side / 2; 2]; 2]),
            dilation: [1, 1],
        };
        let conv = Conv2d {
            out_channels: 5,
            window,
            groups: 1,
            bias: false,
        };
        let input = [channels, 4, width];
        let x = image(input);
        let w = TensorType::fixed(conv.parameters(&x)[0].dims.clone());
        let y = conv.infer(std::slice::from_ref(&x)).expect("fits")[0].clone();
        case("row", conv.clone(), &[x.clone(), w.clone()]);
        let back = Conv2dGradInput {
            conv: conv.clone(),
            input,
        };
        case("row", back, &[w, y.clone()]);
        case("row", Conv2dGradWeight { conv }, &[y, x]);
    }
}

#[test]
fn pools() {
    for (name, window) in windows().into_iter().filter(|w| w.1.dilation == [1, 1]) {
        let input = [3, 9, 13];
        let y = AvgPool2d { window }.infer(&[image(input)]).expect("fits")[0].clone();
        case(name, AvgPool2d { window }, &[image(input)]);
        case(
            name,
            AvgPool2dGrad { window, input },
            std::slice::from_ref(&y),
        );
        if name != "beyond" {
            case(name, MaxPool2d { window }, &[image(input)]);
        }
        case(name, MaxPool2dGrad { window, input }, &[y.clone(), y]);
    }
}

#[test]
fn linear_and_biases() {
    for (c, k) in [(1, 1), (7, 10), (400, 5), (3, 13), (18, 60)] {
        let [x, y] = [c, k].map(|n| TensorType::batch([n]));
        let w = TensorType::fixed([k, c]);
        case(
            "linear",
            Linear {
                out_features: k,
                bias: true,
            },
            &[x.clone(), w.clone(), TensorType::fixed([k])],
        );
        case("linear", LinearGradInput, &[w, y.clone()]);
        case("linear", LinearGradWeight, &[y.clone(), x]);
        case("bias", BiasGrad, &[y]);
    }
    case("bias", BiasGrad, &[image([5, 3, 2])]);
}

/// Strips of four vectors of inputs and less, with and without a rest; blocks that are transposed in parts.
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
    for (c, k) in [(4, 1), (16, 3), (19, 4), (23, 13), (33, 7), (50, 12)] {
        let [x, y] = [c, k].map(|n| TensorType::batch([n]));
        case_in(&blocks, "weight gradient", LinearGradWeight, &[y, x]);
    }
}

#[test]
fn elementwise_and_joins() {
    let x = image([3, 4, 5]);
    for op in [Op::from(Sigmoid), ReLU.into(), Tanh.into(), Flatten.into()] {
        case("activation", op, std::slice::from_ref(&x));
    }
    for op in [
        Op::from(SigmoidGrad),
        ReLUGrad.into(),
        TanhGrad.into(),
        Add.into(),
        Concat.into(),
    ] {
        case("two operands", op, &[x.clone(), x.clone()]);
    }
    case(
        "slice",
        ConcatGrad {
            first: 1,
            channels: 2,
        },
        &[x],
    );
    case(
        "reshape",
        Reshape {
            dims: vec![2, 3, 2],
        },
        &[TensorType::batch([12])],
    );
}

#[test]
fn losses_batches_and_updates() {
    let (x, t) = (TensorType::batch([3]), TensorType::batch([]));
    case("cross-entropy", CrossEntropyLoss, &[x.clone(), t.clone()]);
    case(
        "cross-entropy",
        CrossEntropyGrad,
        &[x.clone(), t.clone(), t.clone(), t.clone()],
    );
    case("correct", Correct, &[x.clone(), t.clone()]);
    for mean in [false, true] {
        case(
            "squares",
            MseLoss { mean },
            &[image([2, 3, 2]), image([2, 3, 2])],
        );
        case(
            "squares",
            MseGrad { mean },
            &[x.clone(), x.clone(), t.clone()],
        );
    }
    let pixels = TensorType {
        dtype: DType::U8,
        leading: Leading::Dataset,
        dims: vec![2, 3, 2],
    };
    let index = TensorType {
        dtype: DType::I32,
        leading: Leading::Batch,
        dims: vec![],
    };
    case("gather", Gather { scale: true }, &[pixels, index]);
    case("fill", Fill, &[TensorType::fixed([])]);
    let w = TensorType::fixed([3, 7]);
    case("sgd", Sgd, &[w.clone(), w, TensorType::fixed([])]);
}
