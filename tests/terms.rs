//! How many multiply-adds a nest has, beside the slow and obvious count: every point visited.

use lenetc::nest::{Affine, AxisId, Combine, Constraint, Extent, Macs, Nest, Stage, ax};
use lenetc::ops::*;
use proptest::prelude::*;

#[path = "common/cases.rs"]
mod cases;

/// The points of a stage for one image, visited one by one.
fn visited(n: &Nest, s: &Stage) -> u128 {
    let axes: Vec<AxisId> = [&n.shared[..], &s.own, &s.reduce].concat();
    let extents: Vec<i64> = axes.iter().map(|&a| extent(n, a)).collect();
    let mut at = vec![0; axes.len()];
    let mut count = 0;
    loop {
        let value = |a: AxisId| at[axes.iter().position(|&b| a == b).expect("its own axis")];
        count += u128::from(s.domain.iter().all(|c| match c {
            Constraint::Zero(a) => a.eval(value) == 0,
            Constraint::NonNegative(a) => a.eval(value) >= 0,
        }));
        let Some(next) = (0..at.len()).rev().find(|&k| at[k] + 1 < extents[k]) else {
            return count;
        };
        at[next] += 1;
        at[next + 1..].fill(0);
    }
}

fn extent(n: &Nest, a: AxisId) -> i64 {
    match n.extent(a) {
        Extent::Static(n) => i64::from(n),
        Extent::Batch => 1,
    }
}

fn convolutions() -> Vec<cases::Case> {
    [
        cases::convolutions(),
        cases::rows_of_many_widths(),
        cases::wide_images_with_wide_borders(),
    ]
    .concat()
}

fn others() -> Vec<cases::Case> {
    [
        cases::sums_over_large_images(),
        cases::pools(),
        cases::linear_and_biases(),
        cases::linear_weight_gradients(),
        cases::elementwise_and_joins(),
        cases::softmaxes(),
        cases::norms(),
        cases::losses_and_batches(),
        cases::losses::of_elements(),
        cases::losses::of_classes(),
        cases::updates(),
    ]
    .concat()
}

#[test]
fn the_points_of_every_operator_are_counted() {
    for case in convolutions().into_iter().chain(others()) {
        let nest = case.nest();
        for s in &nest.stages {
            let points = nest.points(s);
            assert_eq!(points, Some(visited(&nest, s)), "{case:?}");
        }
    }
}

/// A convolution and its gradients multiply the same: an output's gradient, a weight and an element of the image.
#[test]
fn gradients_have_the_terms_of_their_convolution() {
    for three in convolutions().chunks(3) {
        let [forward, input, weight] = [0, 1, 2].map(|k| three[k].nest().macs());
        assert!(forward == input && forward == weight, "{three:?}");
        assert!(0 < forward.terms && forward.terms <= forward.padded);
        let outputs = three[2].inputs[0].elements();
        let taps: u64 = three[0].inputs[1].dims[1..]
            .iter()
            .map(|&d| u64::from(d))
            .product();
        assert_eq!(forward.padded, outputs * taps, "{three:?}");
    }
}

#[test]
fn what_multiplies_no_two_elements_has_none() {
    for case in others() {
        let name = case.name;
        let multiplies = match &case.op {
            Op::CenteredProducts(_)
            | Op::AlongGrad(_)
            | Op::NormalisedGradWeight(_)
            | Op::SoftmaxGrad(_) => true,
            Op::MeanGrad(_) => case.inputs.len() > 1,
            // The sum over all classes of what smoothed labels share.
            Op::CrossEntropyLoss(loss) => case.inputs.len() > 2 && loss.label_smoothing.get() > 0.0,
            _ => ["linear", "weight gradient", "large image"].contains(&name),
        };
        assert_eq!(case.nest().macs().terms > 0, multiplies, "{case:?}");
    }
}

fn convolution(input: [u32; 3], out_channels: u32, kernel: [u32; 2], padding: u32) -> Macs {
    let conv = Conv2d {
        out_channels,
        window: Window {
            kernel,
            stride: [1, 1],
            padding: Padding::Sides(kernel.map(|k| [if k > 1 { padding } else { 0 }; 2])),
            dilation: [1, 1],
        },
        groups: 1,
        bias: false,
    };
    let x = lenetc::ir::TensorType::batch(input);
    let y = conv.infer(std::slice::from_ref(&x)).expect("fits");
    let dims = conv.states(&x)[0].dims.clone();
    Op::from(conv).macs(&[x, lenetc::ir::TensorType::fixed(dims)], &y)
}

#[test]
fn known_layers() {
    // LeNet's first: of 28 · 5 positions and taps in each direction six meet padding.
    let conv1 = convolution([1, 28, 28], 6, [5, 5], 2);
    assert_eq!((conv1.terms, conv1.padded), (6 * 134 * 134, 6 * 140 * 140));
    let conv2 = convolution([6, 14, 14], 16, [5, 5], 0);
    assert_eq!((conv2.terms, conv2.padded), (240_000, 240_000));
}

/// Each of 2^29 elements meets each of as many taps at a position of its own.
#[test]
fn long_axes_are_not_visited() {
    let n = 1 << 29;
    let long = convolution([1, 1, n], 1, [1, n], n - 1);
    assert_eq!(long.terms, 1 << 58);
    assert_eq!(long.padded, ((1 << 30) - 1) << 29);
}

/// Two forms over the same long axes: not counted rather than waited for.
#[test]
fn what_would_take_too_long_is_not_counted() {
    let mut n = Nest::new("long", &[], &[]);
    let [a, b] = ["a", "b"].map(|name| n.axis(name, 1 << 30));
    let mut s = Stage::new(&[a]);
    s.reduce = vec![b];
    s.where_within(ax(a) + ax(b), 1 << 20);
    assert_eq!(n.points(&s), Some((1 << 20) * ((1 << 20) + 1) / 2));
    s.where_within(ax(a) * 2 + ax(b) * 3, 1 << 20);
    assert_eq!(n.points(&s), None);
}

/// A stage over these extents, with these conditions: factors of the axes, a constant, and whether it is an equation.
fn stage(extents: &[u32], conditions: &[(Vec<i64>, i64, bool)]) -> (Nest, Stage) {
    let mut n = Nest::new("random", &[], &[]);
    let axes: Vec<AxisId> = extents.iter().map(|&e| n.axis("a", e)).collect();
    let mut s = Stage::new(&axes[..1]);
    s.combine = Combine::Sum;
    s.reduce = axes[1..].to_vec();
    for (factors, constant, zero) in conditions {
        let terms = axes.iter().zip(factors).map(|(&a, &f)| ax(a) * f);
        let sum = terms.fold(Affine::constant(*constant), |sum, t| sum + t);
        // A factor of zero leaves no term behind.
        let sum = sum.substitute(ax);
        s.domain.push(match zero {
            true => Constraint::Zero(sum),
            false => Constraint::NonNegative(sum),
        });
    }
    (n, s)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn points_of_random_domains(
        extents in prop::collection::vec(1u32..=7, 1..=5),
        conditions in prop::collection::vec(
            (prop::collection::vec(-4i64..=4, 5), -8i64..=8, prop::bool::weighted(0.3)), 0..=3),
    ) {
        let (n, s) = stage(&extents, &conditions);
        prop_assert_eq!(n.points(&s), Some(visited(&n, &s)));
    }

    #[test]
    fn points_of_random_windows(
        extents in [1u32..=40, 1u32..=40],
        factors in [-9i64..=9, -9i64..=9],
        offset in -90i64..=90,
        width in 0i64..=90,
    ) {
        let low = (factors.to_vec(), offset, false);
        let high = (factors.map(|f| -f).to_vec(), width - offset, false);
        let (n, s) = stage(&extents, &[low, high]);
        prop_assert_eq!(n.points(&s), Some(visited(&n, &s)));
    }
}
