//! Every gradient against central differences, in f64 through the interpreter: relative error ≤ 1e-6.
//!
//! A case is a small network with random weights and images; each parameter's gradient is compared
//! element by element. The images are a parameter here too, so that gradients of inputs are covered.

#[path = "common/cases.rs"]
#[allow(dead_code, reason = "layers alone are of use here")]
mod cases;
use cases::activations;

use lenetc::diag::Span;
use lenetc::ir::{
    self, DType, Distribution, Leading, Mode, NodeKind, Role, Source, StateId, StateInfo,
    StateKind, TensorType, Value,
};
use lenetc::nest::interp::Env;
use lenetc::ops::*;
use lenetc::passes::grad::{self, Reduction};

const BATCH: usize = 3;

/// A network under construction: layers are applied to the last value.
struct Net {
    g: Graph,
    at: Value,
}

impl Net {
    /// Starts from one learned image, repeated for the batch by a convolution of the data.
    fn new(dims: [u32; 3]) -> Self {
        let mut g = Graph::new("case");
        let data = TensorType {
            dtype: DType::F32,
            leading: Leading::Dataset,
            dims: dims.to_vec(),
        };
        let index = TensorType {
            dtype: DType::I32,
            leading: Leading::Batch,
            dims: vec![],
        };
        let images = g.source(Source::Images, data, "", Span::ZERO);
        let indices = g.source(Source::Indices, index, "", Span::ZERO);
        let x = g.op(
            Gather { scale: false }.into(),
            &[images, indices],
            vec![TensorType::batch(dims)],
            "",
            Span::ZERO,
        );
        let at = Value { node: x, output: 0 };
        let net = Self { g, at };
        // A depthwise 1×1 convolution in front makes the next layer's input depend on parameters.
        let window = Window {
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::Sides([[0; 2]; 2]),
            dilation: [1, 1],
        };
        net.layer(Conv2d {
            out_channels: dims[0],
            window,
            groups: dims[0],
            bias: true,
        })
    }

    fn layer(mut self, layer: impl Into<AnyLayer>) -> Self {
        let layer = layer.into();
        let mut states = vec![];
        for state in layer.states(self.g.ty(self.at)) {
            let info = StateInfo {
                name: format!("{}.{}", self.g.states().len(), state.name),
                ty: TensorType::fixed(state.dims),
                kind: state.kind,
                initial: Distribution::Constant(0.0),
            };
            let (name, value) = (state.name, self.g.state(info, "", Span::ZERO));
            states.push(StateSource { name, value });
        }
        let mut cx = LayerCx::new(&mut self.g, Mode::Train, self.at, states, "", Span::ZERO);
        let built = layer.build(&mut cx);
        self.at = built.unwrap_or_else(|e| panic!("{}: {}", e.message, e.rule));
        self
    }

    fn apply(mut self, op: Op, operands: &[Value]) -> Self {
        let types: Vec<TensorType> = operands.iter().map(|&v| self.g.ty(v).clone()).collect();
        let results = op
            .infer(&types)
            .unwrap_or_else(|e| panic!("{}: {}", e.message, e.rule));
        let node = self.g.op(op, operands, results, "", Span::ZERO);
        self.at = Value { node, output: 0 };
        self
    }

    fn targets(&mut self, dims: Vec<u32>) -> Value {
        self.g
            .source(Source::Targets, TensorType::batch(dims), "", Span::ZERO)
    }

    /// Ends in a loss, with its numbers.
    fn loss(mut self, loss: impl Into<AnyLoss>) -> Self {
        let loss = loss.into();
        let t = self.targets(loss.targets(self.g.ty(self.at)).dims());
        let mut operands = vec![self.at, t];
        for state in loss.states() {
            let info = StateInfo {
                name: format!("loss {}", state.name),
                ty: TensorType::fixed([state.values.len() as u32]),
                kind: StateKind::Loss,
                initial: Distribution::Values(state.values.into()),
            };
            operands.push(self.g.state(info, "", Span::ZERO));
        }
        self.apply(loss.into(), &operands)
    }

    fn cross_entropy(mut self) -> Self {
        let t = self.targets(vec![]);
        let operands = [self.at, t];
        self.apply(CrossEntropyLoss::default().into(), &operands)
    }

    fn squares(mut self, mean: bool) -> Self {
        let reduction = if mean {
            Reduction::Mean
        } else {
            Reduction::Sum
        };
        let t = self.targets(self.g.ty(self.at).dims.clone());
        let operands = [self.at, t];
        self.apply(MseLoss { reduction }.into(), &operands)
    }
}

/// Numbers in [−1, 1) that look random, the same at every run; `salt` tells tensors apart.
fn noise(salt: u64, n: usize) -> Vec<f64> {
    let step = |s: &mut u64| {
        *s = s
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*s >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    };
    let mut state = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    (0..n).map(|_| step(&mut state)).collect()
}

fn feed(g: &Graph, s: &Source, bump: Option<(StateId, usize, f64)>) -> Vec<f64> {
    let find = |s: &Source| {
        g.topological()
            .into_iter()
            .find(|&id| matches!(&g.node(id).kind, NodeKind::Source(x) if x == s))
    };
    let ty = g.node(find(s).expect("the source is there")).types[0].clone();
    match s {
        Source::Images => noise(7, ty.elements() as usize * BATCH),
        Source::Indices => vec![2.0, 0.0, 1.0],
        Source::Targets if ty.dims.is_empty() => vec![1.0, 0.0, 2.0],
        Source::Targets => noise(9, ty.elements() as usize * BATCH),
        Source::State(id) => {
            if let Distribution::Values(values) = &g.states()[id.index()].initial {
                return values.iter().map(|&x| x.into()).collect();
            }
            let mut v = noise(u64::from(id.0) + 100, ty.elements() as usize);
            if let Some((_, k, by)) = bump.filter(|b| b.0 == *id) {
                v[k] += by;
            }
            v
        }
        Source::Scalar(_) | Source::Constant(_) => unreachable!("the evaluator knows these"),
    }
}

fn check(name: &str, net: Net, reduction: Reduction) {
    let env = Env::new(BATCH, 0.5);
    let mut g = net.g;
    g.output(Role::Loss, net.at);
    let forward = g.clone();
    let gradients = grad::run(&mut g, reduction);
    ir::verify(&g).expect("the derived graph is well-formed");
    let values = evaluate(&g, env, |s| feed(&g, s, None));
    let loss = |bump| -> f64 {
        let v = evaluate(&forward, env, |s| feed(&forward, s, Some(bump)));
        let total: f64 = v[&net.at].iter().sum();
        if reduction == Reduction::Mean {
            total / BATCH as f64
        } else {
            total
        }
    };
    let parameters = g.states().iter().filter(|s| s.kind == StateKind::Parameter);
    assert_eq!(
        gradients.len(),
        parameters.count(),
        "{name}: every parameter has a gradient"
    );
    for found in &gradients {
        let id = g.state_of(found.parameter.node);
        let id = id.expect("a gradient is by a parameter");
        let parameter = &g.states()[id.index()].name;
        let dw = &values[&found.gradient];
        let scale = dw.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (k, &analytic) in dw.iter().enumerate() {
            let h = 1e-5;
            // Of the fourth order: behind a norm the third derivative is large.
            let far = |steps: f64| loss((id, k, steps * h)) - loss((id, k, -steps * h));
            let numeric = (8.0 * far(1.0) - far(2.0)) / (12.0 * h);
            let error = (analytic - numeric).abs() / scale;
            assert!(
                error <= 1e-6,
                "{name} {parameter}[{k}]: {analytic} against {numeric}"
            );
        }
    }
}

fn window(
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [[u32; 2]; 2],
    dilation: [u32; 2],
) -> Window {
    Window {
        kernel,
        stride,
        padding: Padding::Sides(padding),
        dilation,
    }
}

fn conv(out_channels: u32, window: Window, groups: u32) -> Conv2d {
    Conv2d {
        out_channels,
        window,
        groups,
        bias: true,
    }
}

#[test]
fn convolutions() {
    let cases = [
        (
            "plain",
            conv(2, window([3, 2], [1, 1], [[0; 2]; 2], [1, 1]), 1),
        ),
        (
            "padded",
            conv(2, window([3, 3], [1, 1], [[1, 2], [2, 0]], [1, 1]), 1),
        ),
        (
            "strided",
            conv(2, window([3, 2], [2, 3], [[1, 1], [0, 1]], [1, 1]), 1),
        ),
        (
            "dilated",
            conv(2, window([2, 3], [1, 1], [[1, 0], [2, 2]], [3, 2]), 1),
        ),
        (
            "strided and dilated",
            conv(2, window([3, 2], [3, 2], [[2, 2], [1, 1]], [2, 3]), 1),
        ),
        (
            "groups",
            conv(4, window([2, 2], [1, 2], [[1, 1], [1, 1]], [1, 1]), 2),
        ),
        (
            "stride beyond the kernel",
            conv(2, window([1, 2], [3, 3], [[0; 2]; 2], [1, 1]), 1),
        ),
        (
            "padding beyond the kernel",
            conv(2, window([2, 1], [1, 2], [[3, 3], [2, 1]], [1, 1]), 1),
        ),
    ];
    for (name, layer) in cases {
        check(
            name,
            Net::new([2, 6, 5]).layer(layer).squares(true),
            Reduction::Mean,
        );
    }
    let same = Window {
        kernel: [2, 4],
        stride: [1, 1],
        padding: Padding::Same,
        dilation: [2, 1],
    };
    check(
        "same",
        Net::new([2, 6, 5]).layer(conv(2, same, 1)).squares(false),
        Reduction::Sum,
    );
}

#[test]
fn pools() {
    let overlapping = window([3, 3], [2, 1], [[1, 1], [1, 0]], [1, 1]);
    let gaps = window([2, 1], [3, 2], [[0; 2]; 2], [1, 1]);
    for w in [
        overlapping,
        gaps,
        window([2, 2], [2, 2], [[0; 2]; 2], [1, 1]),
    ] {
        check(
            "mean",
            Net::new([2, 5, 6])
                .layer(AvgPool2d { window: w })
                .squares(true),
            Reduction::Mean,
        );
        check(
            "max",
            Net::new([2, 5, 6])
                .layer(MaxPool2d { window: w })
                .squares(true),
            Reduction::Mean,
        );
    }
}

#[test]
fn activations_linear_and_losses() {
    for f in activations::all() {
        let act = f.written;
        let net = Net::new([2, 2, 3]).layer(act.clone()).layer(Flatten);
        let net = net
            .layer(Linear {
                out_features: 4,
                bias: true,
            })
            .layer(act);
        check(
            "cross-entropy",
            net.layer(Linear {
                out_features: 3,
                bias: false,
            })
            .cross_entropy(),
            Reduction::Mean,
        );
    }
}

/// Each loss behind a small network, for the mean and for the sum.
#[test]
fn losses() {
    let weights = || Weights(Some([0.25, 2.0, 0.5].map(Real::from).to_vec()));
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let entropy = |weight, smoothing: f64| CrossEntropyLoss {
            weight,
            reduction,
            label_smoothing: smoothing.into(),
        };
        let bce = |pos_weight| BceWithLogitsLoss {
            reduction,
            pos_weight,
        };
        let nll = |weight| NllLoss { weight, reduction };
        let [half, two] = [0.5, 2.0].map(Real::from);
        let huber = |delta| HuberLoss { delta, reduction };
        let smooth = |beta| SmoothL1Loss { beta, reduction };
        for loss in [
            AnyLoss::from(L1Loss { reduction }),
            huber(half).into(),
            huber(two).into(),
            smooth(0.0.into()).into(),
            smooth(half).into(),
            smooth(two).into(),
            bce(Weights::default()).into(),
            bce(weights()).into(),
            nll(Weights::default()).into(),
            nll(weights()).into(),
            entropy(Weights::default(), 0.1).into(),
            entropy(weights(), 0.0).into(),
            entropy(weights(), 0.3).into(),
            entropy(weights(), 1.0).into(),
        ] {
            let name = format!("{loss:?}");
            let net = Net::new([2, 2, 3]).layer(Tanh).layer(Flatten);
            let net = net.layer(Linear {
                out_features: 3,
                bias: true,
            });
            check(&name, net.loss(loss), reduction);
        }
    }
}

/// What is left is the same in each evaluation of a step.
#[test]
fn dropouts() {
    let p = 0.4.into();
    for layer in [AnyLayer::from(Dropout { p }), Dropout2d { p }.into()] {
        let window = window([2, 2], [1, 1], [[0; 2]; 2], [1, 1]);
        let net = Net::new([3, 3, 3]).layer(layer.clone());
        let net = net.layer(conv(4, window, 1)).layer(Tanh).layer(layer);
        check("dropout", net.squares(true), Reduction::Mean);
    }
}

#[test]
fn softmaxes() {
    let layers = [
        AnyLayer::from(Softmax { dim: 1 }),
        LogSoftmax { dim: -3 }.into(),
    ];
    for layer in layers {
        let net = Net::new([3, 2, 3]).layer(layer);
        check("over channels", net.squares(true), Reduction::Mean);
    }
    let layers = [
        AnyLayer::from(Softmax { dim: -1 }),
        LogSoftmax { dim: 1 }.into(),
    ];
    for layer in layers {
        let linear = Linear {
            out_features: 4,
            bias: true,
        };
        let net = Net::new([2, 2, 2])
            .layer(Flatten)
            .layer(linear)
            .layer(layer);
        check("over features", net.squares(false), Reduction::Sum);
    }
}

#[test]
fn joins() {
    for concat in [false, true] {
        let net = Net::new([2, 3, 3]);
        let trunk = net.at;
        let mut net = net
            .layer(conv(2, window([3, 3], [1, 1], [[1, 1], [1, 1]], [1, 1]), 1))
            .layer(Tanh);
        let left = net.at;
        net.at = trunk;
        let op: Op = if concat { Concat.into() } else { Add.into() };
        check(
            "join",
            net.apply(op, &[left, trunk]).squares(true),
            Reduction::Mean,
        );
    }
}

/// In training: a batch norm's statistics are those of the batch.
#[test]
fn norms() {
    let (no, none) = (ArgValue::Bool(false), ArgValue::Name("None".into()));
    let batch = |name| {
        [
            cases::layer(name, &[]),
            cases::layer(name, &[("affine", no.clone()), ("momentum", none.clone())]),
        ]
    };
    let group = |groups| cases::layer("GroupNorm", &[("num_groups", ArgValue::Int(groups))]);
    let images = batch("BatchNorm2d")
        .into_iter()
        .chain([group(2), cases::layer("LayerNorm", &[])]);
    for layer in images {
        let net = Net::new([4, 2, 3]).layer(layer).layer(Tanh);
        let window = window([2, 2], [1, 1], [[0; 2]; 2], [1, 1]);
        let net = net.layer(conv(2, window, 1)).squares(true);
        check("of images", net, Reduction::Mean);
    }
    let vectors = batch("BatchNorm1d")
        .into_iter()
        .chain([cases::layer("LayerNorm", &[])]);
    for layer in vectors {
        let linear = |out_features| Linear {
            out_features,
            bias: true,
        };
        let net = Net::new([2, 2, 3])
            .layer(Flatten)
            .layer(linear(5))
            .layer(layer);
        check(
            "of vectors",
            net.layer(Tanh).layer(linear(3)).cross_entropy(),
            Reduction::Mean,
        );
    }
}
