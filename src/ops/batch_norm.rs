//! Batch normalisation (Dive into Deep Learning, 8.5; Ioffe and Szegedy, 2015), over each channel of images and over each
//! feature of vectors.
//!
//! In training, with N images of H·W positions and n = N·H·W: mean μ\[c\] = Σ x / n, variance σ²\[c\] = Σ (x − μ)² / n,
//! r\[c\] = 1 / √(σ² + ε) and y = γ\[c\] · r\[c\] · (x − μ\[c\]) + β\[c\]. The squares are those of differences from the mean,
//! which a pass over the batch of its own has found: no digits are lost where the mean is large.
//!
//! Gradients, with S\[c\] = Σ dy and T\[c\] = Σ dy · (x − μ): dβ = S, dγ = r · T, and since μ and r depend on every x,
//! dx = γ · r · (dy − S / n − (x − μ) · r² · T / n).
//!
//! The running mean becomes (1 − m) · mean + m · μ, and the running variance the same with n / (n − 1) · σ², the unbiased
//! one, as torch has it; m is the momentum, or one over the number of batches for the average of all. In evaluation the
//! running ones stand for μ and σ².

use super::{
    ArgError, Args, Argument, BiasGrad, ChannelSum, GradCx, Inferred, Layer, LayerCx, LayerState,
    Operator, Real, ShapeError, Signature, Start, above,
};
use crate::ir::{Mode, Scalar, StateKind, TensorType, Value};
use crate::nest::{AxisId, Combine, ExprId, Nest, Stage, Unary};

/// What both layers have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Normalisation {
    /// ε, added to the variance.
    pub eps: Real,
    /// The weight of the newest batch in the running statistics; without one all batches weigh the same.
    pub momentum: Option<Real>,
    /// Whether there are γ and β.
    pub affine: bool,
}

/// `BatchNorm2d(eps=1e-5, momentum=0.1, affine=true)`: of images.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchNorm2d(pub Normalisation);

/// `BatchNorm1d(eps=1e-5, momentum=0.1, affine=true)`: of vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchNorm1d(pub Normalisation);

const ARGUMENTS: &[Argument] = &[
    Argument::or("eps", "1e-5"),
    Argument::or("momentum", "0.1"),
    Argument::or("affine", "true"),
];

impl Normalisation {
    fn signature(name: &'static str) -> Signature {
        Signature {
            positional: 0,
            inferred: Some(Inferred {
                name: "num_features",
                what: "channels",
            }),
            ..Signature::plain(name, ARGUMENTS)
        }
    }

    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            eps: args.real_or("eps", above(0.0), 1e-5)?,
            momentum: args.real_or_none("momentum", 0.0..=1.0, 0.1)?,
            affine: args.flag("affine", true)?,
        })
    }

    fn states(self, input: &TensorType) -> Vec<LayerState> {
        let channels = input.dims.first().map_or(vec![], |&c| vec![c]);
        let state = |name, kind, dims: &[u32], start| LayerState {
            name,
            dims: dims.to_vec(),
            kind,
            start: Start::Constant(start),
        };
        let parameters = [("weight", 1.0), ("bias", 0.0)];
        let parameters = parameters.into_iter().filter(|_| self.affine);
        let parameters =
            parameters.map(|(name, start)| state(name, StateKind::Parameter, &channels, start));
        let buffers = [
            state("running_mean", StateKind::Buffer, &channels, 0.0),
            state("running_var", StateKind::Buffer, &channels, 1.0),
            state("num_batches_tracked", StateKind::Buffer, &[], 0.0),
        ];
        parameters.chain(buffers).collect()
    }

    fn build(self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        let x = cx.input;
        let (mean, variance) = match cx.mode() {
            Mode::Train => self.statistics(cx)?,
            Mode::Eval => (cx.state("running_mean"), cx.state("running_var")),
        };
        let scale = cx.emit(InverseDeviation { eps: self.eps }, &[variance])?;
        let mut operands = vec![x, mean, scale];
        if self.affine {
            operands.extend(["weight", "bias"].map(|name| cx.state(name)));
        }
        cx.emit(BatchNorm, &operands)
    }

    /// Mean and variance of the batch; declares what becomes of the running ones.
    fn statistics(self, cx: &mut LayerCx) -> Result<(Value, Value), ShapeError> {
        let x = cx.input;
        let positions = positions(&cx.ty(x));
        if positions == 1 {
            // One value has no variance.
            cx.least_images = 2;
        }
        let inverse_images = cx.graph.scalar(Scalar::InverseImages);
        let sum = cx.emit(ChannelSum, &[x])?;
        let mean = cx.emit(ChannelMean { positions }, &[sum, inverse_images])?;
        let squares = cx.emit(CenteredSquares, &[x, mean])?;
        let variance = cx.emit(ChannelMean { positions }, &[squares, inverse_images])?;
        let batches = cx.state("num_batches_tracked");
        let counted = cx.emit(Count, &[batches])?;
        cx.next(batches, counted);
        let unbiased = cx.emit(Unbiased { positions }, &[variance, inverse_images])?;
        let momentum = self.momentum;
        for (name, newest) in [("running_mean", mean), ("running_var", unbiased)] {
            let running = cx.state(name);
            let mut operands = vec![running, newest];
            operands.extend(momentum.is_none().then_some(counted));
            let next = cx.emit(RunningAverage { momentum }, &operands)?;
            cx.next(running, next);
        }
        Ok((mean, variance))
    }
}

macro_rules! batch_norm {
    ($layer:ident, $axes:literal, $fed:literal, $other:literal) => {
        impl Layer for $layer {
            fn signature() -> Signature {
                Normalisation::signature(stringify!($layer))
            }
            fn from_args(args: &Args) -> Result<Self, ArgError> {
                Normalisation::from_args(args).map(Self)
            }
            fn states(&self, input: &TensorType) -> Vec<LayerState> {
                self.0.states(input)
            }
            fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
                let ty = cx.ty(cx.input);
                if ty.dims.len() != $axes {
                    let rule = format!("its input is {ty}");
                    let message = concat!(stringify!($layer), " needs ", $fed, " for each example");
                    return Err(ShapeError::new("E0202", message, rule).help(concat!(
                        "write ",
                        $other,
                        ", which takes these"
                    )));
                }
                self.0.build(cx)
            }
            fn formula(&self, input: &TensorType) -> String {
                format!("of {} values an image", positions(input))
            }
        }
    };
}

batch_norm!(BatchNorm2d, 3, "channels, height and width", "BatchNorm1d");
batch_norm!(BatchNorm1d, 1, "a vector", "BatchNorm2d");

/// Values of a channel in one image.
fn positions(ty: &TensorType) -> u32 {
    ty.dims.iter().skip(1).product()
}

/// (sum\[c\], 1/N) → sum / n
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelMean {
    pub positions: u32,
}

/// (x, μ) → Σ (x − μ)² for each channel
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CenteredSquares;

/// (dy, x, μ) → Σ dy · (x − μ) for each channel
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CenteredProducts;

/// σ² → 1 / √(σ² + ε)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InverseDeviation {
    pub eps: Real,
}

/// (σ², 1/N) → n / (n − 1) · σ²
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unbiased {
    pub positions: u32,
}

/// batches → batches + 1
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count;

/// (average, newest, and without a momentum the number of batches, this one included) → next average
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunningAverage {
    pub momentum: Option<Real>,
}

/// (x, μ, r, and γ and β where there are some) → γ · r · (x − μ) + β
///
/// The gradient of x is that of a normalisation by the batch's own statistics, so μ and r have none of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchNorm;

/// (T, r) → r · T, the gradient of γ
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelProduct;

/// (T, r, 1/N) → r² · T / n
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Projection {
    pub positions: u32,
}

/// (dy, x, μ, r, S / n, r² · T / n, and γ where there is one) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchNormGrad;

impl BatchNorm {
    fn gradients(cx: &mut GradCx, dy: Value) -> Vec<Option<Value>> {
        let operands = cx.operands.clone();
        let (x, mean, scale) = (operands[0], operands[1], operands[2]);
        let (weight, bias) = (operands.get(3), operands.get(4));
        let positions = positions(cx.graph.ty(x));
        let products = cx.emit(CenteredProducts, &[dy, x, mean]);
        let dx = cx.when_wanted(0, |cx| {
            let inverse_images = cx.graph.scalar(Scalar::InverseImages);
            let sum = cx.emit(BiasGrad, &[dy]);
            let mean_dy = cx.emit(ChannelMean { positions }, &[sum, inverse_images]);
            let along = cx.emit(Projection { positions }, &[products, scale, inverse_images]);
            let mut all = vec![dy, x, mean, scale, mean_dy, along];
            all.extend(weight);
            cx.emit(BatchNormGrad, &all)
        });
        let mut gradients = vec![dx, None, None];
        if weight.is_some() && bias.is_some() {
            gradients.push(cx.when_wanted(3, |cx| cx.emit(ChannelProduct, &[products, scale])));
            gradients.push(cx.when_wanted(4, |cx| cx.emit(BiasGrad, &[dy])));
        }
        gradients
    }
}

/// A formula of one stage over the axes of the first result.
struct Formula {
    nest: Nest,
    stage: Stage,
    /// The axes of an image, where there is one: n, c, i, j.
    axes: Vec<AxisId>,
    channel: Option<AxisId>,
}

impl Formula {
    /// For operands of these names; of the axes of operand `like`, or of the result's where it is none.
    fn new(
        name: &str,
        names: &[&str],
        inputs: &[TensorType],
        outputs: &[TensorType],
        like: Option<usize>,
    ) -> Self {
        let mut nest = Nest::new(name, inputs, outputs);
        for (k, name) in (0..inputs.len() as u32).zip(names) {
            nest.rename(nest.input(k), name);
        }
        let ty = like.map_or(&outputs[0], |k| &inputs[k]);
        let axes = match ty.is_batch() {
            true => nest.axes_of(ty, &["c", "i", "j"]),
            false => nest.axes_of(ty, &["c"]),
        };
        let channel = axes.get(usize::from(ty.is_batch())).copied();
        let own = match outputs[0].is_batch() == ty.is_batch() {
            true => axes.clone(),
            false => channel.into_iter().collect(),
        };
        Self {
            stage: Stage::new(&own),
            nest,
            axes,
            channel,
        }
    }

    /// An operand at the point: of an image, of the channel, or one number.
    fn load(&mut self, k: u32) -> ExprId {
        let tensor = self.nest.input(k);
        let ty = self.nest.ty(tensor);
        let axes: Vec<AxisId> = match (ty.is_batch(), ty.dims.len()) {
            (true, _) => self.axes.clone(),
            (false, 0) => vec![],
            (false, _) => self.channel.into_iter().collect(),
        };
        self.stage.load_at(tensor, &axes)
    }

    fn operands<const N: usize>(&mut self) -> [ExprId; N] {
        std::array::from_fn(|k| self.load(k as u32))
    }

    /// The nest that stores this.
    fn stored(mut self, value: ExprId) -> Nest {
        let own = self.stage.own.clone();
        self.stage.store_at(self.nest.out(0), &own, value);
        self.nest.stages.push(self.stage);
        self.nest
    }

    /// The nest that sums this over all but the channel.
    fn summed(mut self, value: ExprId) -> Nest {
        let channel = self.channel;
        let rest = self.axes.iter().copied().filter(|&a| Some(a) != channel);
        let rest: Vec<AxisId> = rest.collect();
        self.stage.reduce(Combine::Sum, &rest, value);
        let sum = self.stage.acc(0);
        self.stored(sum)
    }

    /// 1/n from the operand that is 1/N.
    fn share(&mut self, inverse_images: ExprId, positions: u32) -> ExprId {
        // Divided by what f32 holds exactly, not multiplied by its rounded inverse.
        let positions = self.stage.constant(positions as f32);
        self.stage.div(inverse_images, positions)
    }
}

/// An operator without attributes or gradient whose result has the type of an operand, or of its channels.
macro_rules! derived {
    ($op:ident, $attributes:expr, $infer:expr, $lower:expr) => {
        impl Operator for $op {
            fn attributes(&self) -> String {
                let attributes: fn(&Self) -> String = $attributes;
                attributes(self)
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                let infer: fn(&[TensorType]) -> TensorType = $infer;
                Ok(vec![infer(inputs)])
            }
            fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
                vec![None; cx.operands.len()]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                let lower: fn(&Self, &[TensorType], &[TensorType]) -> Nest = $lower;
                lower(self, inputs, outputs)
            }
        }
    };
}

fn first(inputs: &[TensorType]) -> TensorType {
    inputs[0].clone()
}

fn of_channels(inputs: &[TensorType]) -> TensorType {
    TensorType::fixed([inputs[0].dims[0]])
}

derived!(
    ChannelMean,
    |op| format!("positions={}", op.positions),
    first,
    |op, inputs, outputs| {
        let mut f = Formula::new("channel_mean", &["sum", "share"], inputs, outputs, None);
        let [sum, inverse_images] = f.operands();
        let share = f.share(inverse_images, op.positions);
        let mean = f.stage.mul(sum, share);
        f.stored(mean)
    }
);

derived!(
    CenteredSquares,
    |_| String::new(),
    of_channels,
    |_, inputs, outputs| {
        let mut f = Formula::new("centered_squares", &["x", "mean"], inputs, outputs, Some(0));
        let [x, mean] = f.operands();
        let difference = f.stage.sub(x, mean);
        let square = f.stage.mul(difference, difference);
        f.summed(square)
    }
);

derived!(
    CenteredProducts,
    |_| String::new(),
    of_channels,
    |_, inputs, outputs| {
        let mut f = Formula::new(
            "centered_products",
            &["dy", "x", "mean"],
            inputs,
            outputs,
            Some(0),
        );
        let [dy, x, mean] = f.operands();
        let difference = f.stage.sub(x, mean);
        let product = f.stage.mul(dy, difference);
        f.summed(product)
    }
);

derived!(
    InverseDeviation,
    |op| format!("eps={}", op.eps),
    first,
    |op, inputs, outputs| {
        let mut f = Formula::new("inverse_deviation", &["variance"], inputs, outputs, None);
        let [variance] = f.operands();
        let eps = f.stage.constant(op.eps.single());
        let sum = f.stage.add(variance, eps);
        let (one, root) = (f.stage.constant(1.0), f.stage.unary(Unary::Sqrt, sum));
        let inverse = f.stage.div(one, root);
        f.stored(inverse)
    }
);

derived!(
    Unbiased,
    |op| format!("positions={}", op.positions),
    first,
    |op, inputs, outputs| {
        let mut f = Formula::new("unbiased", &["variance", "share"], inputs, outputs, None);
        let [variance, inverse_images] = f.operands();
        // n / (n − 1) = 1 / (1 − 1/n).
        let share = f.share(inverse_images, op.positions);
        let one = f.stage.constant(1.0);
        let rest = f.stage.sub(one, share);
        let unbiased = f.stage.div(variance, rest);
        f.stored(unbiased)
    }
);

derived!(Count, |_| String::new(), first, |_, inputs, outputs| {
    let mut f = Formula::new("count", &["batches"], inputs, outputs, None);
    let [batches] = f.operands();
    let one = f.stage.constant(1.0);
    let next = f.stage.add(batches, one);
    f.stored(next)
});

derived!(
    RunningAverage,
    |op| op
        .momentum
        .map_or(String::new(), |m| format!("momentum={m}")),
    first,
    |op, inputs, outputs| {
        let names = ["average", "newest", "batches"];
        let mut f = Formula::new("running_average", &names, inputs, outputs, None);
        let [average, newest] = f.operands();
        let one = f.stage.constant(1.0);
        let part = match op.momentum {
            Some(momentum) => f.stage.constant(momentum.single()),
            None => {
                let batches = f.load(2);
                f.stage.div(one, batches)
            }
        };
        let kept = match op.momentum {
            Some(momentum) => f.stage.constant((1.0 - momentum.get()) as f32),
            None => f.stage.sub(one, part),
        };
        let (old, new) = (f.stage.mul(kept, average), f.stage.mul(part, newest));
        let next = f.stage.add(old, new);
        f.stored(next)
    }
);

derived!(
    ChannelProduct,
    |_| String::new(),
    first,
    |_, inputs, outputs| {
        let mut f = Formula::new(
            "channel_product",
            &["products", "scale"],
            inputs,
            outputs,
            None,
        );
        let [products, scale] = f.operands();
        let product = f.stage.mul(products, scale);
        f.stored(product)
    }
);

derived!(
    Projection,
    |op| format!("positions={}", op.positions),
    first,
    |op, inputs, outputs| {
        let names = ["products", "scale", "share"];
        let mut f = Formula::new("projection", &names, inputs, outputs, None);
        let [products, scale, inverse_images] = f.operands();
        let share = f.share(inverse_images, op.positions);
        let square = f.stage.mul(scale, scale);
        let whole = f.stage.mul(products, square);
        let along = f.stage.mul(whole, share);
        f.stored(along)
    }
);

derived!(
    BatchNormGrad,
    |_| String::new(),
    first,
    |_, inputs, outputs| {
        let names = ["dy", "x", "mean", "scale", "mean_dy", "along", "w"];
        let mut f = Formula::new("batch_norm_grad", &names, inputs, outputs, Some(0));
        let [dy, x, mean, scale, mean_dy, along] = f.operands();
        let factor = factor(&mut f, scale, 6, inputs);
        let difference = f.stage.sub(x, mean);
        let shared = f.stage.mul(difference, along);
        let own = f.stage.sub(dy, mean_dy);
        let own = f.stage.sub(own, shared);
        let dx = f.stage.mul(factor, own);
        f.stored(dx)
    }
);

/// γ · r, or r alone where there is no γ, which is operand k.
fn factor(f: &mut Formula, scale: ExprId, k: u32, inputs: &[TensorType]) -> ExprId {
    if inputs.len() <= k as usize {
        return scale;
    }
    let weight = f.load(k);
    f.stage.mul(weight, scale)
}

impl Operator for BatchNorm {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        match cx.dy() {
            Some(dy) => Self::gradients(cx, dy),
            None => vec![None; cx.operands.len()],
        }
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let names = ["x", "mean", "scale", "w", "b"];
        let mut f = Formula::new("batch_norm", &names, inputs, outputs, None);
        let [x, mean, scale] = f.operands();
        let factor = factor(&mut f, scale, 3, inputs);
        let difference = f.stage.sub(x, mean);
        let mut y = f.stage.mul(factor, difference);
        if inputs.len() > 4 {
            let bias = f.load(4);
            y = f.stage.add(y, bias);
        }
        f.stored(y)
    }
}
