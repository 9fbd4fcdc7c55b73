//! The operators that every backend is tested on, with shapes that are not friendly: one list for all.

#[path = "activations.rs"]
pub mod activations;
#[path = "losses.rs"]
pub mod losses;

use lenetc::diag::Span;
use lenetc::ir::{DType, Distribution, Leading, Mode, Role, Source, StateInfo, TensorType, Value};
use lenetc::nest::Nest;
use lenetc::ops::*;
use lenetc::passes::grad::{self, Reduction};

/// An operator on operands of these types.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub op: Op,
    pub inputs: Vec<TensorType>,
}

impl Case {
    pub fn nest(&self) -> Nest {
        let outputs = self
            .op
            .infer(&self.inputs)
            .unwrap_or_else(|e| panic!("{}: {}", self.name, e.rule));
        self.op.lower(&self.inputs, &outputs)
    }

    /// Operands for a batch of so many images; a data set has as many examples.
    #[allow(
        dead_code,
        reason = "each test is a program of its own and uses what it needs"
    )]
    pub fn values(&self, batch: usize) -> Vec<Vec<f64>> {
        self.values_of(batch, batch)
    }

    /// Operands for a batch of so many images, taken from so many examples.
    pub fn values_of(&self, batch: usize, examples: usize) -> Vec<Vec<f64>> {
        let numbered = self.inputs.iter().zip(3..);
        let mut all: Vec<Vec<f64>> = numbered
            .map(|(t, salt)| data(t, salt, batch, examples))
            .collect();
        if let Op::MaxPool2dGrad(MaxPool2dGrad { window, .. }) = &self.op {
            let taps = f64::from(window.kernel[0] * window.kernel[1]);
            let position = |x: &mut f64| *x = ((*x + 1.0) / 2.0 * taps).floor().min(taps - 1.0);
            all[1].iter_mut().for_each(position);
        }
        // What a root is taken of, and what divides.
        let positive = match &self.op {
            Op::InverseDeviation(_) => 0,
            Op::RunningAverage(_) if self.inputs.len() > 2 => 2,
            _ => all.len(),
        };
        for x in all.iter_mut().skip(positive).take(1).flatten() {
            *x = x.abs() + 0.25;
        }
        // Sums and means of squares, and numbers of a step, are positive; what is centered has squares to spare.
        match &self.op {
            Op::Adam(_) | Op::AdamW(_) | Op::RmsProp(_) | Op::Adagrad(_) => {
                let (squares, others) = all[2..].split_at_mut(1);
                squares[0].iter_mut().for_each(|x| *x = x.abs() + 2.0);
                let others = others.iter_mut().flatten();
                others.for_each(|x| *x = x.abs() + 0.5);
            }
            Op::ClipFactor(_) => all.iter_mut().flatten().for_each(|x| *x = x.abs()),
            _ => {}
        }
        // Windows whose greatest elements are equal.
        if matches!(self.op, Op::MaxPool2d(_)) {
            all[0].iter_mut().for_each(|x| *x = (*x * 3.0).round());
        }
        all
    }
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &'static str, op: impl Into<Op>, inputs: &[TensorType]) {
        self.0.push(Case {
            name,
            op: op.into(),
            inputs: inputs.to_vec(),
        });
    }
}

fn noise(salt: u64, n: usize) -> Vec<f64> {
    let mut s = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    let mut next = || {
        s = s
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        // As f32 has it.
        f64::from((s >> 33) as f32 / (1u64 << 30) as f32 - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

fn data(ty: &TensorType, salt: u64, batch: usize, examples: usize) -> Vec<f64> {
    let images = match ty.leading {
        Leading::Batch => batch,
        Leading::Dataset => examples,
        Leading::None => 1,
    };
    let n = ty.elements() as usize * images;
    match (ty.dtype, ty.leading) {
        (DType::I32, Leading::Batch) => (0..n).map(|k| ((k * 5 + 2) % examples) as f64).collect(),
        (DType::I32, _) => noise(salt, n).iter().map(|x| (x * 1e6).round()).collect(),
        (DType::U8, _) => noise(salt, n)
            .iter()
            .map(|x| (x * 127.0).round() + 128.0)
            .collect(),
        // Labels, in the range of the classes of the cases below.
        (_, Leading::Batch) if ty.dims.is_empty() => (0..n).map(|k| (k % 3) as f64).collect(),
        _ => noise(salt, n),
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

impl Cases {
    /// A convolution of an image, and both of its gradients.
    fn with_gradients(&mut self, name: &'static str, conv: Conv2d, input: [u32; 3]) {
        let x = image(input);
        let y = conv.infer(std::slice::from_ref(&x)).expect("fits")[0].clone();
        let fixed = |p: &LayerState| TensorType::fixed(p.dims.clone());
        let parameters: Vec<TensorType> = conv.states(&x).iter().map(fixed).collect();
        let w = parameters[0].clone();
        let forward: Vec<TensorType> = [x.clone()].into_iter().chain(parameters).collect();
        self.add(name, conv.clone(), &forward);
        let back = Conv2dGradInput {
            conv: conv.clone(),
            input,
        };
        self.add(name, back, &[w, y.clone()]);
        self.add(name, Conv2dGradWeight { conv }, &[y, x]);
    }
}

pub fn convolutions() -> Vec<Case> {
    let mut cases = Cases::default();
    for (name, window) in windows() {
        for (groups, channels, out_channels) in [(1, 3, 5), (2, 4, 6), (4, 4, 4)] {
            let conv = Conv2d {
                out_channels,
                window,
                groups,
                bias: true,
            };
            cases.with_gradients(name, conv, [channels, 9, 13]);
        }
    }
    // Results that no product adds to; more taps than results, not all of which meet an element.
    for (name, kernel, stride, dilation, [channels, out_channels]) in [
        ("subsampled", [1, 1], [1, 3], [1, 1], [1, 2]),
        ("few results", [1, 6], [1, 1], [1, 2], [4, 1]),
    ] {
        let conv = Conv2d {
            out_channels,
            window: Window {
                kernel,
                stride,
                padding: Padding::Sides([[0; 2]; 2]),
                dilation,
            },
            groups: 1,
            bias: false,
        };
        cases.with_gradients(name, conv, [channels, 1, 13]);
    }
    cases.0
}

/// A convolution with so much more padding than its image that most of its results are borders.
fn bordered(width: u32, kernel: [u32; 2], padding: u32, dilation: u32) -> (Conv2d, [u32; 3]) {
    let conv = Conv2d {
        out_channels: 3,
        window: Window {
            kernel,
            stride: [1, 1],
            padding: Padding::Sides([[1, 1], [padding; 2]]),
            dilation: [1, dilation],
        },
        groups: 1,
        bias: false,
    };
    (conv, [2, 3, width])
}

pub fn wide_images_with_wide_borders() -> Vec<Case> {
    let mut cases = Cases::default();
    let (conv, input) = bordered(40, [3, 11], 30, 6);
    cases.with_gradients("wide", conv, input);
    let (conv, input) = borders(150);
    cases.with_gradients("borders", conv, input);
    cases.0
}

/// A small image in so wide a border on either side.
pub fn borders(padding: u32) -> (Conv2d, [u32; 3]) {
    bordered(5, [1, 3], padding, 1)
}

/// Rows that fill one tile of registers, that are cut in two, and sums over many channels with a single tap.
pub fn rows_of_many_widths() -> Vec<Case> {
    let mut cases = Cases::default();
    for (width, channels, side) in [
        (14, 2, 3),
        (17, 3, 3),
        (29, 1, 5),
        (9, 6, 1),
        (3, 7, 1),
        (3, 300, 3),
    ] {
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
        cases.with_gradients("row", conv, [channels, 4, width]);
    }
    cases.0
}

/// Rows and images that a weight gradient sums in parts, with as much padding on the left as on the right and with less.
pub fn sums_over_large_images() -> Vec<Case> {
    let mut cases = Cases::default();
    for (width, kernel, sides) in [
        (35, [3, 3], [[1, 1], [1, 1]]),
        (41, [2, 5], [[1, 0], [3, 1]]),
        (33, [1, 1], [[0, 0], [0, 0]]),
    ] {
        let window = Window {
            kernel,
            stride: [1, 1],
            padding: Padding::Sides(sides),
            dilation: [1, 1],
        };
        let conv = Conv2d {
            out_channels: 7,
            window,
            groups: 1,
            bias: false,
        };
        let x = image([2, 44, width]);
        let y = conv.infer(std::slice::from_ref(&x)).expect("fits")[0].clone();
        cases.add("large image", Conv2dGradWeight { conv }, &[y, x]);
    }
    cases.0
}

pub fn pools() -> Vec<Case> {
    let mut cases = Cases::default();
    for (name, window) in windows().into_iter().filter(|w| w.1.dilation == [1, 1]) {
        let input = [3, 9, 13];
        let y = AvgPool2d { window }.infer(&[image(input)]).expect("fits")[0].clone();
        cases.add(name, AvgPool2d { window }, &[image(input)]);
        cases.add(
            name,
            AvgPool2dGrad { window, input },
            std::slice::from_ref(&y),
        );
        if name != "beyond" {
            cases.add(name, MaxPool2d { window }, &[image(input)]);
        }
        cases.add(name, MaxPool2dGrad { window, input }, &[y.clone(), y]);
    }
    cases.0
}

pub fn linear_and_biases() -> Vec<Case> {
    let mut cases = Cases::default();
    for (c, k) in [(1, 1), (7, 10), (400, 5), (3, 13), (18, 60)] {
        let [x, y] = [c, k].map(|n| TensorType::batch([n]));
        let w = TensorType::fixed([k, c]);
        cases.add(
            "linear",
            Linear {
                out_features: k,
                bias: true,
            },
            &[x.clone(), w.clone(), TensorType::fixed([k])],
        );
        cases.add("linear", LinearGradInput, &[w, y.clone()]);
        cases.add("linear", LinearGradWeight, &[y.clone(), x]);
        cases.add("bias", BiasGrad, &[y]);
    }
    cases.add("bias", BiasGrad, &[image([5, 3, 2])]);
    cases.0
}

/// Strips of four vectors of inputs and less, with and without a rest; blocks that are transposed in parts.
pub fn linear_weight_gradients() -> Vec<Case> {
    let mut cases = Cases::default();

    for (c, k) in [(4, 1), (16, 3), (19, 4), (23, 13), (33, 7), (50, 12)] {
        let [x, y] = [c, k].map(|n| TensorType::batch([n]));
        cases.add("weight gradient", LinearGradWeight, &[y, x]);
    }
    cases.0
}

pub fn elementwise_and_joins() -> Vec<Case> {
    let mut cases = Cases::default();
    let x = image([3, 4, 5]);
    for f in activations::all() {
        cases.add("activation", f.layer, std::slice::from_ref(&x));
        cases.add("activation", f.gradient, &[x.clone(), x.clone()]);
    }
    cases.add("flatten", Flatten, std::slice::from_ref(&x));
    for (p, channels) in [(0.3, false), (0.3, true), (1.0, false)] {
        let stream = 7;
        let p = p.into();
        let drop = Drop {
            p,
            stream,
            channels,
        };
        cases.add("dropout", drop, std::slice::from_ref(&x));
    }
    let drop = Drop {
        p: 0.5.into(),
        stream: 0,
        channels: false,
    };
    cases.add("dropout", drop, &[TensorType::batch([37])]);
    for op in [Op::from(Add), Concat.into()] {
        cases.add("two operands", op, &[x.clone(), x.clone()]);
    }
    cases.add(
        "slice",
        ConcatGrad {
            first: 1,
            channels: 2,
        },
        &[x],
    );
    cases.add(
        "reshape",
        Reshape {
            dims: vec![2, 3, 2],
        },
        &[TensorType::batch([12])],
    );
    cases.0
}

/// Over the features of vectors and over the channels of images, fewer and more than lanes.
pub fn softmaxes() -> Vec<Case> {
    let mut cases = Cases::default();
    let dims: [&[u32]; 6] = [&[1], &[3], &[40], &[3, 4, 5], &[17, 2, 2], &[5, 1, 9]];
    for dims in dims {
        let x = TensorType::batch(dims.to_vec());
        for op in [Op::from(Softmax { dim: 1 }), LogSoftmax { dim: 1 }.into()] {
            cases.add("softmax", op, std::slice::from_ref(&x));
        }
        for op in [Op::from(SoftmaxGrad), LogSoftmaxGrad.into()] {
            cases.add("softmax", op, &[x.clone(), x.clone()]);
        }
    }
    cases.0
}

pub fn losses_and_batches() -> Vec<Case> {
    let mut cases = Cases::default();
    let (x, t) = (TensorType::batch([3]), TensorType::batch([]));
    cases.add(
        "cross-entropy",
        CrossEntropyLoss::default(),
        &[x.clone(), t.clone()],
    );
    cases.add(
        "cross-entropy",
        CrossEntropyGrad::default(),
        &[&[x.clone()][..], &vec![t.clone(); 5]].concat(),
    );
    cases.add("correct", Correct, &[x.clone(), t.clone()]);
    for reduction in [Reduction::Sum, Reduction::Mean] {
        let loss = MseLoss { reduction };
        cases.add(
            "squares",
            loss.clone(),
            &[image([2, 3, 2]), image([2, 3, 2])],
        );
        cases.add(
            "squares",
            MseGrad { loss },
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
    cases.add("gather", Gather { scale: true }, &[pixels, index]);
    cases.add("fill", Fill, &[TensorType::fixed([])]);
    cases.0
}

/// An optimizer as a model names it.
pub fn optimizer(name: &str, values: Vec<(&'static str, ArgValue)>) -> AnyOptimizer {
    let read = AnyOptimizer::read(name, &Args { values });
    let read = read.unwrap_or_else(|| panic!("there is no {name}"));
    read.unwrap_or_else(|e| panic!("{name}: {}", e.message))
}

/// What an update of a parameter reads.
pub fn operands(optimizer: &AnyOptimizer, parameter: &TensorType) -> Vec<TensorType> {
    let states = optimizer.states(parameter).len();
    let mut all = vec![parameter.clone(); 2 + states];
    all.extend(vec![TensorType::fixed([]); optimizer.scalars().len()]);
    all
}

/// Optimizers with their options, over parameters of one axis too, and what clips gradients.
pub fn updates() -> Vec<Case> {
    let float = |name, x| (name, ArgValue::Float(x));
    let flag = |name| (name, ArgValue::Bool(true));
    let all = [
        ("SGD", vec![]),
        ("SGD", vec![float("weight_decay", 0.3)]),
        ("SGD", vec![float("momentum", 0.9)]),
        (
            "SGD",
            vec![
                float("momentum", 0.9),
                flag("nesterov"),
                float("weight_decay", 0.3),
            ],
        ),
        ("SGD", vec![float("momentum", 0.9), float("dampening", 0.5)]),
        ("Adam", vec![]),
        ("Adam", vec![float("weight_decay", 0.3), flag("amsgrad")]),
        ("AdamW", vec![]),
        (
            "AdamW",
            vec![
                ("decay_biases", ArgValue::Bool(false)),
                float("weight_decay", 0.3),
            ],
        ),
        ("RMSprop", vec![float("weight_decay", 0.3)]),
        ("RMSprop", vec![float("momentum", 0.9)]),
        ("RMSprop", vec![flag("centered")]),
        ("RMSprop", vec![flag("centered"), float("momentum", 0.9)]),
        ("Adagrad", vec![float("weight_decay", 0.3)]),
    ];
    let mut cases = Cases::default();
    let shapes = [&[3, 7][..], &[37], &[2, 3, 1, 5]].map(TensorType::fixed);
    for (name, values) in all {
        let optimizer = optimizer(name, values);
        for shape in &shapes {
            cases.add(name, optimizer.clone(), &operands(&optimizer, shape));
        }
    }
    let number = TensorType::fixed([]);
    for shape in shapes {
        let most = 0.4.into();
        cases.add("clip", Clamp { most }, std::slice::from_ref(&shape));
        cases.add("clip", Scale, &[shape, number.clone()]);
    }
    for dims in [
        &[1][..],
        &[5],
        &[64],
        &[100],
        &[33, 5],
        &[40, 3, 5, 5],
        &[9001],
    ] {
        cases.add("norm", SquareSum, &[TensorType::fixed(dims)]);
    }
    for count in [1, 2, 70] {
        let most = 0.7.into();
        cases.add("norm", ClipFactor { most }, &vec![number.clone(); count]);
    }
    cases.0
}

/// The layer of these arguments, as a model has it.
pub fn layer(name: &str, args: &[(&'static str, ArgValue)]) -> AnyLayer {
    let args = Args {
        values: args.to_vec(),
    };
    let read = Op::layer(name, &args).unwrap_or_else(|| panic!("{name} is a layer"));
    read.unwrap_or_else(|e| panic!("{name}: {}", e.message))
}

/// Every operator that a layer and its gradient are made of in training, behind something that is trained.
pub fn of_layer(name: &'static str, layer: &AnyLayer, input: &TensorType) -> Vec<Case> {
    let mut g = Graph::new(name);
    let x = g.source(Source::Images, input.clone(), "", Span::ZERO);
    let first = match input.dims[..] {
        [features] => AnyLayer::from(Linear {
            out_features: features,
            bias: false,
        }),
        _ => AnyLayer::from(Conv2d {
            out_channels: input.dims[0],
            window: Window {
                kernel: [1, 1],
                stride: [1, 1],
                padding: Padding::Sides([[0; 2]; 2]),
                dilation: [1, 1],
            },
            groups: input.dims[0],
            bias: false,
        }),
    };
    let trained = apply(&mut g, "first", &first, x);
    let y = apply(&mut g, "layer", layer, trained);
    let targets = g.ty(y).clone();
    let targets = g.source(Source::Targets, targets, "", Span::ZERO);
    let loss = MseLoss {
        reduction: Reduction::Mean,
    };
    let types = loss
        .infer(&[g.ty(y).clone(), g.ty(targets).clone()])
        .expect("fits");
    let node = g.op(loss.into(), &[y, targets], types, "", Span::ZERO);
    g.output(Role::Loss, Value { node, output: 0 });
    grad::run(&mut g, Reduction::Mean);
    let nodes = g.topological().into_iter();
    let of_layer = nodes.filter(|&id| g.node(id).layer == "layer");
    let cases = of_layer.filter_map(|id| {
        let operands = g.operands(id);
        let op = g.operation(id)?.clone();
        Some(Case {
            name: Box::leak(format!("{name}: {op:?}").into_boxed_str()),
            op,
            inputs: operands.iter().map(|&v| g.ty(v).clone()).collect(),
        })
    });
    cases.collect()
}

fn apply(g: &mut Graph, path: &str, layer: &AnyLayer, x: Value) -> Value {
    let states = layer.states(g.ty(x)).into_iter().map(|state| {
        let info = StateInfo {
            name: format!("{path}.{}", state.name),
            ty: TensorType::fixed(state.dims),
            kind: state.kind,
            initial: Distribution::Constant(0.0),
        };
        let value = g.state(info, path, Span::ZERO);
        let name = state.name;
        StateSource { name, value }
    });
    let states = states.collect();
    let mut cx = LayerCx::new(g, Mode::Train, x, states, path, Span::ZERO);
    let built = layer.build(&mut cx);
    built.unwrap_or_else(|e| panic!("{path}: {} {}", e.message, e.rule))
}

/// Norms with their options, on shapes of one value a channel and more.
pub fn norm_layers() -> Vec<(AnyLayer, TensorType)> {
    let (no, none) = (ArgValue::Bool(false), ArgValue::Name("None".into()));
    let batch = |name| {
        [
            layer(name, &[]),
            layer(name, &[("affine", no.clone())]),
            layer(
                name,
                &[("momentum", none.clone()), ("eps", ArgValue::Float(0.5))],
            ),
        ]
    };
    let group = |groups, affine: bool| {
        let groups = ("num_groups", ArgValue::Int(groups));
        layer("GroupNorm", &[groups, ("affine", ArgValue::Bool(affine))])
    };
    let mut all: Vec<(AnyLayer, TensorType)> = Vec::new();
    let mut add = |layer: &AnyLayer, dims: &[u32]| {
        all.push((layer.clone(), TensorType::batch(dims)));
    };
    for dims in [[3, 4, 5], [1, 1, 1], [5, 17, 3], [33, 2, 2]] {
        batch("BatchNorm2d")
            .iter()
            .for_each(|layer| add(layer, &dims));
    }
    for features in [1, 7, 40] {
        batch("BatchNorm1d")
            .iter()
            .for_each(|layer| add(layer, &[features]));
    }
    for (groups, dims) in [
        (1, [4, 3, 5]),
        (2, [4, 3, 5]),
        (4, [4, 1, 1]),
        (3, [33, 2, 2]),
    ] {
        [true, false]
            .iter()
            .for_each(|&affine| add(&group(groups, affine), &dims));
    }
    for dims in [&[3, 4, 5][..], &[1], &[7], &[40], &[2, 1, 33]] {
        for affine in [true, false] {
            let affine = ("elementwise_affine", ArgValue::Bool(affine));
            add(&layer("LayerNorm", &[affine]), dims);
        }
    }
    all
}

pub fn norms() -> Vec<Case> {
    let all = norm_layers();
    all.iter()
        .flat_map(|(layer, input)| of_layer("norm", layer, input))
        .collect()
}

/// A test for each family, which `$run` is given.
#[allow(
    unused_macros,
    reason = "each test is a program of its own and uses what it needs"
)]
macro_rules! every_family {
    ($run:path) => {
        #[test]
        fn convolutions() {
            $run(cases::convolutions());
        }
        #[test]
        fn wide_images_with_wide_borders() {
            $run(cases::wide_images_with_wide_borders());
        }
        #[test]
        fn rows_of_many_widths() {
            $run(cases::rows_of_many_widths());
        }
        #[test]
        fn sums_over_large_images() {
            $run(cases::sums_over_large_images());
        }
        #[test]
        fn pools() {
            $run(cases::pools());
        }
        #[test]
        fn linear_and_biases() {
            $run(cases::linear_and_biases());
        }
        #[test]
        fn linear_weight_gradients() {
            $run(cases::linear_weight_gradients());
        }
        #[test]
        fn elementwise_and_joins() {
            $run(cases::elementwise_and_joins());
        }
        #[test]
        fn losses_of_elements() {
            $run(cases::losses::of_elements());
        }
        #[test]
        fn losses_of_classes() {
            $run(cases::losses::of_classes());
        }
        #[test]
        fn norms() {
            $run(cases::norms());
        }
        #[test]
        fn softmaxes() {
            $run(cases::softmaxes());
        }
        #[test]
        fn losses_and_batches() {
            $run(cases::losses_and_batches());
        }
        #[test]
        fn updates() {
            $run(cases::updates());
        }
    };
}
