//! Random small models, written as text: one step of training on few images, as `common/step.rs` checks it; some of them
//! on a software GPU of any size too.
//!
//! What the passes make of operators beside each other is what counts here: activations behind sums, gradients of
//! activations behind gradients of inputs, branches. The models are the same in each run; `LENETC_SEED` draws others,
//! `LENETC_CASES` more or fewer. Does not know which operators are fused.

use lenetc::diag::Source;
use lenetc::driver;
use proptest::prelude::*;

#[path = "common/isas.rs"]
mod isas;
#[path = "common/runner.rs"]
mod runner;
#[path = "common/step.rs"]
mod step;

/// Models of one run.
const CASES: u32 = 40;

fn pair(most: u32) -> impl Strategy<Value = String> {
    [1..=most, 1..=most].prop_map(|[a, b]| format!("({a}, {b})"))
}

/// Every layer that works element by element, and those over channels and features.
const ACTIVATIONS: [&str; 15] = [
    "Sigmoid",
    "ReLU",
    "Tanh",
    "LeakyReLU(0.2)",
    "ReLU6",
    "ELU(alpha=0.5)",
    "GELU",
    "GELU(approximate=tanh)",
    "SiLU",
    "Softplus(beta=2)",
    "Hardswish",
    "Hardsigmoid",
    "Softmax",
    "LogSoftmax(dim=1)",
    "Dropout(0.3)",
];

fn activation() -> impl Strategy<Value = String> {
    let one = prop::sample::select(&ACTIVATIONS[..]);
    prop_oneof![
        1 => Just(String::new()),
        3 => one.prop_map(|name| format!("; {name}")),
    ]
}

/// A convolution that may change the size of its image.
fn convolution() -> impl Strategy<Value = String> {
    let stride = prop_oneof![3 => Just("1".to_string()), 1 => pair(3)];
    let dilation = prop_oneof![3 => Just("1".to_string()), 1 => pair(2)];
    let sides = [0u32..=2, 0..=3, 0..=2, 0..=3];
    let drawn = (1u32..=6, pair(4), stride, sides, dilation, any::<bool>());
    let drawn = (drawn, 1u32..=2, activation());
    drawn.prop_map(|((out, kernel, stride, [t, l, b, r], dilation, bias), groups, then)| {
        let out = out * groups;
        format!(
            "Conv2d({out}, kernel_size={kernel}, stride={stride}, padding=(({t}, {b}), ({l}, {r})), \
             dilation={dilation}, groups={groups}, bias={bias}){then}"
        )
    })
}

/// A convolution that does not.
fn same(channels: u32) -> impl Strategy<Value = String> {
    let kernel = pair(4);
    (kernel, activation()).prop_map(move |(kernel, then)| {
        format!("Conv2d({channels}, kernel_size={kernel}, padding=same){then}")
    })
}

fn pool() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["MaxPool2d", "AvgPool2d"]);
    (kind, pair(3), pair(3), 0u32..=1, activation()).prop_map(
        |(kind, kernel, stride, padding, then)| {
            format!("{kind}({kernel}, stride={stride}, padding={padding}){then}")
        },
    )
}

fn branches() -> impl Strategy<Value = String> {
    let first = (1u32..=4).prop_flat_map(same);
    let branch = || (1u32..=4).prop_flat_map(same);
    let sum = (1u32..=4).prop_flat_map(|c| [same(c), same(c)]);
    let with = prop::sample::select(vec![
        "Identity",
        "Tanh",
        "ReLU",
        "Dropout2d(0.25)",
        "BatchNorm2d()",
    ]);
    prop_oneof![
        (first, branch(), with).prop_map(|(a, b, c)| format!(
            "Concat {{\n        {{ {a} }}\n        {{ {b} }}\n        {{ {c} }}\n    }}"
        )),
        (sum, activation()).prop_map(|([a, b], then)| format!(
            "Add {{\n        {{ {a} }}\n        {{ {b} }}\n    }}{then}"
        )),
    ]
}

/// A norm that any image fits.
fn norm() -> impl Strategy<Value = String> {
    let norms = vec![
        "BatchNorm2d()",
        "BatchNorm2d(affine=false, eps=0.1)",
        "BatchNorm2d(momentum=None)",
        "GroupNorm(1)",
        "LayerNorm()",
    ];
    let drawn = (prop::sample::select(norms), activation());
    drawn.prop_map(|(norm, then)| format!("{norm}{then}"))
}

fn layer() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => convolution(),
        2 => pool(),
        1 => branches(),
        1 => norm(),
        1 => prop::sample::select(&ACTIVATIONS[..]).prop_map(String::from),
        1 => Just("Dropout2d".to_string()),
    ]
}

/// The optimizer, and how gradients are clipped.
fn update() -> impl Strategy<Value = String> {
    let optimizers = vec![
        "SGD(lr=0.1)",
        "SGD(lr=0.1)",
        "SGD(lr=0.1, momentum=0.9, weight_decay=0.1)",
        "SGD(lr=0.1, momentum=0.9, nesterov=true)",
        "Adam(weight_decay=0.1)",
        "AdamW(decay_biases=false)",
        "RMSprop(momentum=0.9)",
        "Adagrad",
    ];
    let clips = vec![
        "",
        "",
        "clip_grad_norm = 0.5",
        "clip_grad_value = 0.05",
        "clip_grad_norm = 0.5\n    clip_grad_value = 0.05",
    ];
    let [optimizers, clips] = [optimizers, clips].map(prop::sample::select);
    (optimizers, clips).prop_map(|(optimizer, clip)| format!("optimizer = {optimizer}\n    {clip}"))
}

/// The text of a model and of how it is trained. Not every one fits its input.
fn text() -> impl Strategy<Value = String> {
    let input = (1u32..=3, 1u32..=20, 1u32..=20);
    let dense = (1u32..=20, activation()).prop_map(|(n, then)| format!("Linear({n}){then}"));
    let dense = prop::collection::vec(dense, 0..2);
    let losses = vec![
        "CrossEntropyLoss",
        "MSELoss(reduction=mean)",
        "MSELoss(reduction=sum)",
        "CrossEntropyLoss(label_smoothing=0.1)",
        "NLLLoss",
        "BCEWithLogitsLoss",
        "L1Loss(reduction=sum)",
        "SmoothL1Loss(beta=0.5)",
        "HuberLoss",
    ];
    let loss = prop::sample::select(losses);
    let layers = prop::collection::vec(layer(), 0..4);
    let drawn = (input, layers, dense, 2u32..=11, loss, update());
    drawn.prop_map(|((c, h, w), layers, dense, classes, loss, update)| {
        let flat = ["Flatten".to_string()];
        let last = [format!("Linear({classes})")];
        let lines = layers.iter().chain(&flat).chain(&dense).chain(&last);
        let lines: String = lines.map(|l| format!("    {l}\n")).collect();
        format!(
            "model Random {{\n    input({c}, {h}, {w})\n{lines}}}\n\ntrain {{\n    \
             data = npz(\"data.npz\")\n    loss = {loss}\n    {update}\n    \
             batch_size = 2\n    epochs = 1\n}}\n"
        )
    })
}

/// A GPU, for one model of four: NVRTC takes longer than all else.
fn gpu() -> impl Strategy<Value = Option<step::Gpu>> {
    let multiprocessors = prop_oneof![1 => 1u32..=8, 2 => 9u32..=200];
    let drawn = (
        multiprocessors,
        0u32..=9,
        0u32..=6,
        prop::bool::weighted(0.8),
    );
    let some = drawn.prop_map(|(multiprocessors, warp_order, spare, optimise)| {
        Some(step::Gpu {
            multiprocessors,
            warp_order,
            spare,
            optimise,
        })
    });
    prop_oneof![3 => Just(None), 1 => some]
}

#[test]
fn random_models() {
    let batch = prop_oneof![3 => 1usize..=5, 1 => 1usize..=33];
    let drawn = (text(), batch, any::<bool>(), gpu());
    let checked = runner::new(CASES).run(&drawn, |(text, batch, bytes, gpu)| {
        let source = Source {
            name: "random".into(),
            text: text.clone(),
        };
        let model = driver::read(source, &[]).ok();
        let checked = model.and_then(|m| step::check(&text, &m, batch, bytes, gpu));
        checked.ok_or_else(|| TestCaseError::reject("the layers do not fit"))
    });
    checked.unwrap_or_else(|e| panic!("{e}"));
}
