//! Random operators with random shapes, no larger than an interpreter in f64 takes at once.
//!
//! Sizes are around those that decide a schedule: rows shorter than a vector, as long, longer, and longer than what is
//! written out. Does not know schedules.

use lenetc::ir::{DType, Leading, TensorType};
use lenetc::ops::*;
use proptest::prelude::*;

use super::cases::{self, Case, activations};

/// Terms of one image at most.
const MOST_TERMS: u64 = 40_000;

/// An operator of any family.
pub fn case() -> impl Strategy<Value = Case> {
    prop_oneof![
        8 => convolution(),
        2 => large_sum(),
        3 => pool(),
        3 => linear(),
        2 => gather(),
        2 => elementwise(),
        1 => softmax(),
        1 => dropout(),
        2 => join(),
        1 => loss(),
        2 => norm(),
    ]
}

/// An operator of a norm or its gradient.
fn norm() -> impl Strategy<Value = Case> {
    let drawn = (
        shape(),
        0..4u32,
        any::<bool>(),
        any::<prop::sample::Index>(),
    );
    drawn.prop_map(|(mut dims, which, affine, index)| {
        let affine = ArgValue::Bool(affine);
        let vector = dims.len() == 1;
        let layer = match which {
            0 if vector => cases::layer("BatchNorm1d", &[("affine", affine)]),
            0 => cases::layer("BatchNorm2d", &[("affine", affine)]),
            1 | 2 if !vector => {
                dims[0] *= which;
                let groups = ("num_groups", ArgValue::Int(which.into()));
                cases::layer("GroupNorm", &[groups, ("affine", affine)])
            }
            _ => cases::layer("LayerNorm", &[("elementwise_affine", affine)]),
        };
        let all = cases::of_layer("random", &layer, &TensorType::batch(dims));
        all[index.index(all.len())].clone()
    })
}

fn named(op: impl Into<Op>, inputs: &[TensorType]) -> Case {
    let op = op.into();
    Case {
        name: "random",
        op,
        inputs: inputs.to_vec(),
    }
}

/// The height or width of an image.
fn side() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 1u32..=12,
        3 => 1u32..=45,
        1 => prop::sample::select(vec![4u32, 8, 16, 17, 31, 32, 33]),
    ]
}

fn shape() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        prop::collection::vec(1u32..=70, 1),
        (1u32..=5, side(), 1u32..=9).prop_map(|(c, h, w)| vec![c, h, w]),
        (1u32..=5, 1u32..=9, side()).prop_map(|(c, h, w)| vec![c, h, w]),
    ]
}

fn pair(most: u32) -> impl Strategy<Value = [u32; 2]> {
    prop_oneof![
        1 => Just([1, 1]),
        2 => [1..=most, 1..=most],
    ]
}

fn window(kernel: u32, dilation: u32) -> impl Strategy<Value = Window> {
    let sides = [0u32..=8, 0u32..=8];
    let sides = [sides.clone(), sides];
    let none = prop::bool::weighted(0.3);
    let drawn = (pair(kernel), pair(4), sides, pair(dilation), none);
    drawn.prop_map(|(kernel, stride, mut sides, dilation, none)| {
        for (side, k) in sides.iter_mut().zip(kernel) {
            let most = if none { 1 } else { k / 2 + 1 };
            side.iter_mut().for_each(|p| *p %= most);
        }
        Window {
            kernel,
            stride,
            padding: Padding::Sides(sides),
            dilation,
        }
    })
}

/// A convolution with channels of a group before and behind it, more padding than its kernel has, and its input.
fn layer() -> impl Strategy<Value = (Conv2d, [u32; 3])> {
    let groups = prop_oneof![3 => Just(1u32), 1 => 1u32..=3];
    let more = prop_oneof![5 => Just(0u32), 1 => 1u32..=9];
    let channels = (groups, 1u32..=6, 1u32..=9);
    let drawn = (window(7, 3), channels, side(), side(), any::<bool>(), more);
    drawn.prop_map(|(mut window, (groups, from, to), h, w, bias, more)| {
        if let Padding::Sides(sides) = &mut window.padding {
            sides[1][0] += more;
            sides[0][1] += more / 2;
        }
        let conv = Conv2d {
            out_channels: groups * to,
            window,
            groups,
            bias,
        };
        (conv, [groups * from, h, w])
    })
}

fn convolution() -> impl Strategy<Value = Case> {
    (layer(), 0..3).prop_filter_map("it is small", |((conv, input), which)| {
        let x = TensorType::batch(input);
        let y = conv.infer(std::slice::from_ref(&x)).ok()?.remove(0);
        let parameters = conv.states(&x);
        let [w, b] = [0, 1].map(|k| parameters.get(k).map(|p| TensorType::fixed(p.dims.clone())));
        let w = w?;
        let terms = y.elements() * w.elements() / u64::from(conv.out_channels);
        if terms > MOST_TERMS {
            return None;
        }
        Some(match which {
            0 => {
                let inputs: Vec<TensorType> = [x, w].into_iter().chain(b).collect();
                named(conv, &inputs)
            }
            1 => named(Conv2dGradInput { conv, input }, &[w, y]),
            _ => named(Conv2dGradWeight { conv }, &[y, x]),
        })
    })
}

/// The weight gradient of a convolution over an image that is summed in parts.
fn large_sum() -> impl Strategy<Value = Case> {
    let window = window(5, 1).prop_map(|w| Window {
        stride: [1, 1],
        ..w
    });
    let drawn = (window, 1u32..=2, 1u32..=3, 1u32..=40, 30u32..=50);
    drawn.prop_filter_map("it is small", |(window, from, to, h, w)| {
        let conv = Conv2d {
            out_channels: to,
            window,
            groups: 1,
            bias: false,
        };
        let x = TensorType::batch([from, h, w]);
        let y = conv.infer(std::slice::from_ref(&x)).ok()?.remove(0);
        let taps = window.kernel[0] * window.kernel[1];
        let terms = y.elements() * u64::from(from * taps);
        (terms <= MOST_TERMS).then(|| named(Conv2dGradWeight { conv }, &[y, x]))
    })
}

fn pool() -> impl Strategy<Value = Case> {
    let drawn = (window(5, 1), 1u32..=4, side(), side(), 0..4);
    drawn.prop_filter_map("it is small", |(mut window, c, h, w, which)| {
        if let Padding::Sides(sides) = &mut window.padding {
            for (side, k) in sides.iter_mut().zip(window.kernel) {
                side.iter_mut().for_each(|p| *p = (*p).min(k / 2));
            }
        }
        let input = [c, h, w];
        let x = TensorType::batch(input);
        let y = AvgPool2d { window }.infer(std::slice::from_ref(&x));
        let y = y.ok()?.remove(0);
        let taps = u64::from(window.kernel[0] * window.kernel[1]);
        (y.elements() * taps <= MOST_TERMS).then(|| match which {
            0 => named(AvgPool2d { window }, &[x]),
            1 => named(AvgPool2dGrad { window, input }, &[y]),
            2 => named(MaxPool2d { window }, &[x]),
            _ => named(MaxPool2dGrad { window, input }, &[y.clone(), y]),
        })
    })
}

fn linear() -> impl Strategy<Value = Case> {
    let features = || prop_oneof![3 => 1u32..=70, 1 => 1u32..=400];
    let drawn = (features(), features(), any::<bool>(), 0..4, shape());
    drawn.prop_filter_map("it is small", |(c, k, bias, which, image)| {
        let [x, y] = [c, k].map(|n| TensorType::batch([n]));
        let w = TensorType::fixed([k, c]);
        let b = bias.then(|| TensorType::fixed([k]));
        (u64::from(c * k) <= MOST_TERMS / 4).then(|| match which {
            0 => {
                let inputs: Vec<TensorType> = [x, w].into_iter().chain(b).collect();
                let out_features = k;
                named(Linear { out_features, bias }, &inputs)
            }
            1 => named(LinearGradInput, &[w, y]),
            2 => named(LinearGradWeight, &[y, x]),
            _ => named(BiasGrad, &[TensorType::batch(image)]),
        })
    })
}

fn gather() -> impl Strategy<Value = Case> {
    let dtype = prop::sample::select(vec![DType::U8, DType::F32, DType::I32]);
    let none = prop::bool::weighted(0.1);
    (dtype, shape(), any::<bool>(), none).prop_map(|(dtype, dims, scale, none)| {
        let data = TensorType {
            dtype,
            leading: Leading::Dataset,
            dims: if none { vec![] } else { dims },
        };
        let index = TensorType {
            dtype: DType::I32,
            leading: Leading::Batch,
            dims: vec![],
        };
        let scale = scale && dtype == DType::U8;
        named(Gather { scale }, &[data, index])
    })
}

fn elementwise() -> impl Strategy<Value = Case> {
    let drawn = (shape(), any::<prop::sample::Index>(), 0..7);
    drawn.prop_map(|(dims, function, which)| {
        let x = TensorType::batch(dims);
        let mut all = activations::all();
        let f = all.swap_remove(function.index(all.len()));
        match which {
            0..3 => named(f.layer, &[x]),
            3..6 => named(f.gradient, &[x.clone(), x]),
            _ => named(Add, &[x.clone(), x.clone(), x]),
        }
    })
}

fn dropout() -> impl Strategy<Value = Case> {
    let drawn = (shape(), 0u32..=10, 0u32..9, any::<bool>());
    drawn.prop_map(|(dims, tenths, stream, channels)| {
        let drop = Drop {
            p: (f64::from(tenths) / 10.0).into(),
            stream,
            channels: channels && dims.len() == 3,
        };
        named(drop, &[TensorType::batch(dims)])
    })
}

fn softmax() -> impl Strategy<Value = Case> {
    (shape(), 0..4).prop_map(|(dims, which)| {
        let x = TensorType::batch(dims);
        match which {
            0 => named(Softmax { dim: 1 }, &[x]),
            1 => named(LogSoftmax { dim: 1 }, &[x]),
            2 => named(SoftmaxGrad, &[x.clone(), x]),
            _ => named(LogSoftmaxGrad, &[x.clone(), x]),
        }
    })
}

fn join() -> impl Strategy<Value = Case> {
    let drawn = (shape(), prop::collection::vec(1u32..=5, 2..4), 0..4);
    drawn.prop_map(|(dims, channels, which)| {
        let part = |c: u32| {
            let mut dims = dims.clone();
            dims[0] = c;
            TensorType::batch(dims)
        };
        let flat = TensorType::batch([dims.iter().product::<u32>()]);
        let parts: Vec<TensorType> = channels.iter().map(|&c| part(c)).collect();
        match which {
            0 => named(Concat, &parts),
            1 => {
                let [first, channels] = [channels[0], channels[1]];
                let back = ConcatGrad { first, channels };
                named(back, &[part(first + channels + 1)])
            }
            2 => named(Reshape { dims }, &[flat]),
            _ => named(Flatten, &[part(dims[0])]),
        }
    })
}

fn loss() -> impl Strategy<Value = Case> {
    let drawn = (shape(), 1u32..=40, any::<bool>(), 0..12);
    drawn.prop_map(|(dims, classes, mean, which)| {
        let (x, t) = (TensorType::batch([classes]), TensorType::batch([]));
        let image = TensorType::batch(dims.clone());
        let w = TensorType::fixed(dims);
        let reduction = if mean {
            Reduction::Mean
        } else {
            Reduction::Sum
        };
        match which {
            0 => named(CrossEntropyLoss::default(), &[x, t]),
            7 => named(L1Loss { reduction }, &[image.clone(), image]),
            8 => named(NllLoss::default(), &[x, t]),
            9 => named(BceWithLogitsLoss::default(), &[image.clone(), image]),
            10 => {
                let loss = L1Loss { reduction };
                named(L1Grad { loss }, &[image.clone(), image, t])
            }
            11 => {
                let label_smoothing = 0.1.into();
                let loss = CrossEntropyLoss {
                    label_smoothing,
                    ..CrossEntropyLoss::default()
                };
                named(loss, &[x, t])
            }
            1 => named(CrossEntropyGrad::default(), &[vec![x], vec![t; 5]].concat()),
            2 => named(Correct, &[x, t]),
            3 => named(MseLoss { reduction }, &[image.clone(), image]),
            4 => {
                let loss = MseLoss { reduction };
                named(MseGrad { loss }, &[image.clone(), image, t])
            }
            5 => named(Fill, &[TensorType::fixed([])]),
            _ => {
                let optimizer = cases::optimizer("Adam", vec![]);
                let operands = cases::operands(&optimizer, &w);
                named(optimizer, &operands)
            }
        }
    })
}
