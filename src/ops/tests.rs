//! The operators' formulas against Dive into Deep Learning's examples and a naive reference.

use super::*;
use crate::nest::interp::{self, Env};

fn one_image() -> Env {
    Env::new(1, 0.0)
}

fn run(op: impl Into<Op>, inputs: &[(TensorType, Vec<f64>)], env: Env) -> Vec<Vec<f64>> {
    let op = op.into();
    let types: Vec<TensorType> = inputs.iter().map(|i| i.0.clone()).collect();
    let outputs = op.infer(&types).expect("the operands fit");
    let nest = op.lower(&types, &outputs);
    crate::nest::verify(&nest).expect("the nest is well-formed");
    let data: Vec<&[f64]> = inputs.iter().map(|i| i.1.as_slice()).collect();
    interp::run(&nest, &data, env)
}

fn count(n: usize) -> Vec<f64> {
    (0..n).map(|x| x as f64).collect()
}

fn window(kernel: [u32; 2], stride: [u32; 2], pad: [u32; 2]) -> Window {
    let padding = Padding::Sides(pad.map(|p| [p, p]));
    Window {
        kernel,
        stride,
        padding,
        dilation: [1, 1],
    }
}

fn conv(window: Window) -> Conv2d {
    Conv2d {
        out_channels: 1,
        window,
        groups: 1,
        bias: false,
    }
}

#[test]
fn correlation_of_the_book() {
    let one = conv(window([2, 2], [1, 1], [0, 0]));
    let x = (TensorType::batch([1, 3, 3]), count(9));
    let w = (TensorType::fixed([1, 1, 2, 2]), count(4));
    assert_eq!(
        run(one.clone(), &[x.clone(), w.clone()], one_image())[0],
        [19., 25., 37., 43.]
    );
    let more = |v: &[f64]| {
        v.iter()
            .copied()
            .chain(v.iter().map(|x| x + 1.0))
            .collect::<Vec<_>>()
    };
    let x = (TensorType::batch([2, 3, 3]), more(&x.1));
    let w = (TensorType::fixed([1, 2, 2, 2]), more(&w.1));
    assert_eq!(run(one, &[x, w], one_image())[0], [56., 72., 104., 120.]);
}

#[test]
fn output_sizes_of_the_book() {
    let cases = [
        (window([3, 3], [1, 1], [1, 1]), [8, 8]),
        (window([5, 3], [1, 1], [2, 1]), [8, 8]),
        (window([3, 3], [2, 2], [1, 1]), [4, 4]),
        (window([3, 5], [3, 4], [0, 1]), [2, 2]),
    ];
    for (w, out) in cases {
        assert_eq!(w.out([8, 8], "kernel").expect("fits"), out);
    }
}

#[test]
fn a_kernel_that_does_not_fit_names_the_largest_that_does() {
    let e = window([15, 15], [1, 1], [0, 0])
        .out([14, 14], "kernel")
        .expect_err("too large");
    assert_eq!(e.rule, "height: ⌊(14 + 0 + 0 − 15) / 1⌋ + 1 = 0");
    assert!(e.help.expect("a way out").starts_with("kernel_size=14"));
}

#[test]
fn pooling_of_the_book() {
    let x = (TensorType::batch([1, 4, 4]), count(16));
    let pool = |k, s, p| {
        run(
            MaxPool2d {
                window: window(k, s, p),
            },
            std::slice::from_ref(&x),
            one_image(),
        )
    };
    assert_eq!(pool([3, 3], [3, 3], [0, 0])[0], [10.]);
    assert_eq!(pool([3, 3], [2, 2], [1, 1])[0], [5., 7., 13., 15.]);
    assert_eq!(pool([2, 3], [2, 3], [0, 1])[0], [5., 7., 13., 15.]);
    let mean = run(
        AvgPool2d {
            window: window([2, 2], [2, 2], [1, 1]),
        },
        &[x],
        one_image(),
    );
    assert_eq!(mean[0], [0.0, 0.75, 0.75, 3.0, 7.5, 4.5, 3.0, 6.75, 3.75]);
}

#[test]
fn the_first_of_equals_wins_and_nan_propagates() {
    let pool = MaxPool2d {
        window: window([2, 2], [2, 2], [0, 0]),
    };
    let ty = TensorType::batch([1, 2, 4]);
    let y = run(
        pool,
        &[(ty, vec![1., 3., f64::NAN, 9., 3., 3., 2., 9.])],
        one_image(),
    );
    assert_eq!((y[0][0], y[1][0], y[1][1]), (3.0, 1.0, 0.0));
    assert!(y[0][1].is_nan());
}

#[test]
fn cross_entropy_of_one_row() {
    let x = (TensorType::batch([3]), vec![1.0, 2.0, 1000.0]);
    let t = (TensorType::batch([]), vec![1.0]);
    let y = run(CrossEntropyLoss::default(), &[x, t], one_image());
    assert_eq!(y[0], [998.0]);
}

#[test]
fn gather_divides_by_255() {
    let data = TensorType {
        dtype: crate::ir::DType::U8,
        leading: crate::ir::Leading::Dataset,
        dims: vec![1, 1, 2],
    };
    let index = TensorType {
        dtype: crate::ir::DType::I32,
        leading: crate::ir::Leading::Batch,
        dims: vec![],
    };
    let env = Env::new(2, 0.0);
    let y = run(
        Gather { scale: true },
        &[(data, vec![0., 51., 255., 102.]), (index, vec![1., 0.])],
        env,
    );
    assert_eq!(y[0], [1.0, 0.4, 0.0, 0.2]);
}

/// e^x over their sum, by the plain formula, for each position of each image.
fn plain_softmax(x: &[f64], channels: usize, positions: usize) -> Vec<f64> {
    let at = |image: usize, c: usize, p: usize| x[(image * channels + c) * positions + p].exp();
    let mut out = Vec::new();
    for image in 0..x.len() / (channels * positions) {
        for c in 0..channels {
            for p in 0..positions {
                let sum: f64 = (0..channels).map(|k| at(image, k, p)).sum();
                out.push(at(image, c, p) / sum);
            }
        }
    }
    out
}

#[test]
fn softmax_over_features_and_channels() {
    let env = Env::new(2, 0.0);
    for (dims, positions) in [(vec![5], 1), (vec![3, 2, 4], 8)] {
        let ty = TensorType::batch(dims);
        let len = 2 * ty.elements() as usize;
        let x: Vec<f64> = (0..len).map(|k| (k * 7 % 11) as f64 / 3.0 - 1.0).collect();
        let want = plain_softmax(&x, ty.dims[0] as usize, positions);
        let y = run(Softmax { dim: 1 }, &[(ty.clone(), x.clone())], env);
        let log = run(LogSoftmax { dim: 1 }, &[(ty.clone(), x.clone())], env);
        // A shift of all inputs changes nothing, however large.
        let shifted = x.iter().map(|x| x + 1e6).collect();
        let far = run(Softmax { dim: 1 }, &[(ty, shifted)], env);
        for (k, want) in want.iter().enumerate() {
            assert!((y[0][k] - want).abs() < 1e-14, "{k}");
            assert!((log[0][k] - want.ln()).abs() < 1e-13, "{k}");
            assert!((far[0][k] - want).abs() < 1e-9, "{k}");
        }
    }
}

#[test]
fn softmax_runs_over_the_first_axis_only() {
    let image = TensorType::batch([3, 4, 5]);
    let of = |dim, ty: &TensorType| Softmax { dim }.infer(std::slice::from_ref(ty));
    for dim in [1, -3] {
        assert_eq!(of(dim, &image), Ok(vec![image.clone()]));
    }
    let vector = TensorType::batch([3]);
    assert_eq!(of(-1, &vector), Ok(vec![vector.clone()]));
    for (dim, ty, rule) in [
        (
            0,
            &vector,
            "dim=0 of f32[N,3] is not the axis of its features",
        ),
        (
            -1,
            &image,
            "dim=-1 of f32[N,3,4,5] is not the axis of its channels",
        ),
        (i64::MIN, &image, ""),
        (2, &image, ""),
    ] {
        let e = of(dim, ty).expect_err("it is another axis");
        assert_eq!(e.help.as_deref(), Some("write dim=1"));
        assert!(rule.is_empty() || e.rule == rule, "{}", e.rule);
    }
}

/// What is left of ones, of images of these dimensions.
fn left(drop: &Drop, dims: &[u32], env: Env) -> Vec<f64> {
    let ty = TensorType::batch(dims.to_vec());
    let ones = vec![1.0; ty.elements() as usize * env.batch];
    run(drop.clone(), &[(ty, ones)], env).remove(0)
}

#[test]
fn dropout_leaves_its_share() {
    let env = Env::new(8, 0.0);
    for (p, channels, dims) in [(0.3, false, [4, 16, 16]), (0.75, true, [512, 2, 1])] {
        let drop = Drop {
            p: p.into(),
            stream: 1,
            channels,
        };
        let y = left(&drop, &dims, env);
        let positions = if channels { 2 } else { 1 };
        let draws = (y.len() / positions) as f64;
        let kept = y.iter().filter(|y| **y != 0.0).count() as f64 / positions as f64;
        let spread = (draws * p * (1.0 - p)).sqrt();
        assert!((kept - draws * (1.0 - p)).abs() < 4.0 * spread, "{kept}");
        let scale = f64::from((1.0 / (1.0 - p)) as f32);
        assert!(y.iter().all(|y| *y == 0.0 || *y == scale));
        if channels {
            assert!(y.chunks(2).all(|c| c[0] == c[1]));
        }
        // Another image, stream, step or seed leaves others.
        assert_ne!(y[..y.len() / 8], y[y.len() / 8..][..y.len() / 8]);
        let other = Drop {
            stream: 2,
            ..drop.clone()
        };
        assert_ne!(y, left(&other, &dims, env));
        for (seed, step) in [(0, 1), (1, 0), (1 << 32, 0)] {
            let scalars = env.scalars.drawn(seed, step);
            assert_ne!(y, left(&drop, &dims, Env { scalars, ..env }));
        }
        assert_eq!(y, left(&drop, &dims, env));
    }
}

#[test]
fn dropout_of_all_leaves_zeros_and_of_none_everything() {
    let ty = TensorType::batch([3]);
    let x = vec![1.0, f64::INFINITY, -2.0];
    for (p, want) in [(1.0, vec![0.0; 3]), (0.0, x.clone())] {
        let drop = Drop {
            p: p.into(),
            stream: 0,
            channels: false,
        };
        assert_eq!(run(drop, &[(ty.clone(), x.clone())], one_image())[0], want);
    }
}
