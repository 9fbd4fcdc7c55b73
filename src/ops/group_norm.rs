//! Normalisation of each image by itself: of groups of its channels (Wu and He, 2018), or of all of it (Ba et al., 2016;
//! Dive into Deep Learning, 11.7).
//!
//! The channels of an image fall into G groups of K neighbours, with m = K·H·W values each; a layer norm has one group.
//! Mean μ\[n,g\] = Σ x / m, variance σ²\[n,g\] = Σ (x − μ)² / m, r = 1 / √(σ² + ε), x̂ = r · (x − μ) and y = γ · x̂ + β, where γ
//! and β have an element for each channel, or in a layer norm for each element of an image, as torch has it.
//!
//! Gradients, with e = γ · dy: dγ = Σ dy · x̂ and dβ = Σ dy over the images and all that shares an element of γ,
//! dx = r · (e − Σ e / m − x̂ · r · Σ e · (x − μ) / m), summed over the group. Nothing depends on other images, so training
//! and evaluation are the same.

use super::{
    ArgError, Args, Argument, GradCx, Inferred, InverseDeviation, Layer, LayerCx, LayerState,
    Operator, Real, ShapeError, Signature, Start, above, image,
};
use crate::ir::{StateKind, TensorType, Value};
use crate::nest::{Affine, AxisId, Combine, ExprId, Nest, Stage, TensorRole, ax};

/// `GroupNorm(num_groups, eps=1e-5, affine=true)`: of images.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupNorm {
    pub groups: u32,
    pub eps: Real,
    pub affine: bool,
}

/// `LayerNorm(eps=1e-5, elementwise_affine=true)`: of images and vectors, over all axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayerNorm {
    pub eps: Real,
    pub affine: bool,
}

/// How the channels of an image are grouped, and what has an element of γ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Groups {
    pub count: u32,
    /// Each element of an image; else each channel.
    pub elementwise: bool,
}

/// Builds the layer of these groups.
fn build(groups: Groups, eps: Real, affine: bool, cx: &mut LayerCx) -> Result<Value, ShapeError> {
    let x = cx.input;
    let mean = cx.emit(GroupMean(groups), &[x])?;
    let variance = cx.emit(GroupVariance(groups), &[x, mean])?;
    let scale = cx.emit(InverseDeviation { eps }, &[variance])?;
    let mut operands = vec![x, mean, scale];
    if affine {
        operands.extend(["weight", "bias"].map(|name| cx.state(name)));
    }
    cx.emit(Normalised(groups), &operands)
}

/// γ and β, of these dimensions.
fn states(dims: Vec<u32>, affine: bool) -> Vec<LayerState> {
    let state = |(name, start)| LayerState {
        name,
        dims: dims.clone(),
        kind: StateKind::Parameter,
        start: Start::Constant(start),
    };
    let all = [("weight", 1.0), ("bias", 0.0)].into_iter();
    all.filter(|_| affine).map(state).collect()
}

impl Layer for GroupNorm {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::required("num_groups"),
            Argument::or("eps", "1e-5"),
            Argument::or("affine", "true"),
        ];
        Signature {
            positional: 1,
            inferred: Some(Inferred {
                name: "num_channels",
                what: "channels",
            }),
            ..Signature::plain("GroupNorm", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            groups: args.size("num_groups", 1)?,
            eps: args.real_or("eps", above(0.0), 1e-5)?,
            affine: args.flag("affine", true)?,
        })
    }
    fn states(&self, input: &TensorType) -> Vec<LayerState> {
        states(input.dims.iter().take(1).copied().collect(), self.affine)
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        let [channels, ..] = image(&cx.ty(cx.input), "GroupNorm")?;
        if !channels.is_multiple_of(self.groups) {
            let rule = format!("{channels} channels, {} groups", self.groups);
            let message = "the channels of GroupNorm are a multiple of its groups";
            return Err(ShapeError::new("E0203", message, rule));
        }
        let groups = Groups {
            count: self.groups,
            elementwise: false,
        };
        build(groups, self.eps, self.affine, cx)
    }
    fn formula(&self, input: &TensorType) -> String {
        let group = input.elements() / u64::from(self.groups);
        format!("{} groups of {group} values", self.groups)
    }
}

impl Layer for LayerNorm {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[
            Argument::or("eps", "1e-5"),
            Argument::or("elementwise_affine", "true"),
        ];
        Signature {
            positional: 0,
            inferred: Some(Inferred {
                name: "normalized_shape",
                what: "sizes of the input",
            }),
            ..Signature::plain("LayerNorm", ARGUMENTS)
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            eps: args.real_or("eps", above(0.0), 1e-5)?,
            affine: args.flag("elementwise_affine", true)?,
        })
    }
    fn states(&self, input: &TensorType) -> Vec<LayerState> {
        states(input.dims.clone(), self.affine)
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        let groups = Groups {
            count: 1,
            elementwise: true,
        };
        build(groups, self.eps, self.affine, cx)
    }
    fn formula(&self, input: &TensorType) -> String {
        format!("of {} values", input.elements())
    }
}

/// x → μ
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupMean(pub Groups);

/// (x, μ) → σ²
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupVariance(pub Groups);

/// (x, μ, r, and γ and β where there are some) → y. The gradient of x is that of a normalisation by these statistics of
/// its own, so μ and r have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Normalised(pub Groups);

/// (dy, and γ where there is one) → Σ e / m
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeanGrad(pub Groups);

/// (dy, x, μ, r, and γ where there is one) → r² · Σ e · (x − μ) / m
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlongGrad(pub Groups);

/// (dy, x, μ, r, Σ e / m, r² · Σ e · (x − μ) / m, and γ where there is one) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalisedGrad(pub Groups);

/// (dy, x, μ, r) → dγ
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalisedGradWeight(pub Groups);

/// dy → dβ
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NormalisedGradBias(pub Groups);

impl Groups {
    fn text(self) -> String {
        let each = if self.elementwise {
            "element"
        } else {
            "channel"
        };
        format!("groups={} weight={each}", self.count)
    }

    /// The type of γ and its gradient for an input.
    fn weight(self, input: &TensorType) -> TensorType {
        let axes = if self.elementwise {
            input.dims.len()
        } else {
            1
        };
        TensorType::fixed(&input.dims[..axes])
    }

    fn gradients(self, cx: &mut GradCx, dy: Value) -> Vec<Option<Value>> {
        let operands = cx.operands.clone();
        let (x, mean, scale) = (operands[0], operands[1], operands[2]);
        let weight = operands.get(3).copied();
        let with_weight =
            |all: &[Value]| -> Vec<Value> { all.iter().copied().chain(weight).collect() };
        let dx = cx.when_wanted(0, |cx| {
            let mean_grad = cx.emit(MeanGrad(self), &with_weight(&[dy]));
            let along = cx.emit(AlongGrad(self), &with_weight(&[dy, x, mean, scale]));
            let all = [dy, x, mean, scale, mean_grad, along];
            cx.emit(NormalisedGrad(self), &with_weight(&all))
        });
        let mut gradients = vec![dx, None, None];
        if weight.is_some() {
            let operands = [dy, x, mean, scale];
            gradients.push(cx.when_wanted(3, |cx| cx.emit(NormalisedGradWeight(self), &operands)));
            gradients.push(cx.when_wanted(4, |cx| cx.emit(NormalisedGradBias(self), &[dy])));
        }
        gradients
    }
}

/// What there is one number for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Each {
    /// Each element of each image.
    Element,
    /// Each group of each image.
    Group,
    /// Each element of γ.
    Weight,
}

/// The formula of one operator over images whose channels are written as (group, channel in the group).
struct Formula {
    elementwise: bool,
    nest: Nest,
    stage: Stage,
    batch: AxisId,
    group: AxisId,
    /// The channel in the group, then the positions.
    within: Vec<AxisId>,
}

impl Formula {
    /// For operands of these names, the first of which has the type of the images.
    fn new(
        groups: Groups,
        name: &str,
        names: &[&str],
        inputs: &[TensorType],
        outputs: &[TensorType],
    ) -> Self {
        let mut nest = Nest::new(name, inputs, outputs);
        for (k, name) in (0..inputs.len() as u32).zip(names) {
            nest.rename(nest.input(k), name);
        }
        let dims = &inputs[0].dims;
        let (batch, group) = (nest.batch(), nest.axis("g", groups.count));
        let mut within = vec![nest.axis("c", dims[0] / groups.count)];
        for (&size, name) in dims[1..].iter().zip(["i", "j"]) {
            within.push(nest.axis(name, size));
        }
        Self {
            elementwise: groups.elementwise,
            nest,
            stage: Stage::new(&[]),
            batch,
            group,
            within,
        }
    }

    /// A sum over a group, divided by the number of its values.
    fn mean(&mut self, sum: ExprId) -> ExprId {
        let sizes = self.within.iter().map(|&a| self.nest.size(a));
        let count = self.stage.constant(sizes.product::<i64>() as f32);
        self.stage.div(sum, count)
    }

    /// The axes that a result for each of these has.
    fn own(&self, each: Each) -> Vec<AxisId> {
        let within = match (each, self.elementwise) {
            (Each::Group, _) => 0,
            (Each::Weight, false) => 1,
            _ => self.within.len(),
        };
        let batch = (each != Each::Weight).then_some(self.batch);
        let all = batch.into_iter().chain([self.group]);
        all.chain(self.within[..within].iter().copied()).collect()
    }

    fn index(&self, each: Each) -> Vec<Affine<AxisId>> {
        let own = self.own(each);
        let from = usize::from(each != Each::Weight);
        let mut index: Vec<Affine<AxisId>> = own.iter().map(|&a| ax(a)).collect();
        if each != Each::Group {
            let channel = index.remove(from + 1);
            let channels = self.nest.size(self.within[0]);
            index[from] = ax(self.group) * channels + channel;
        }
        index
    }

    fn load(&mut self, k: u32, each: Each) -> ExprId {
        let index = self.index(each);
        self.stage.load(self.nest.input(k), &index)
    }

    /// The elements of the operands from the first on.
    fn elements<const N: usize>(&mut self) -> [ExprId; N] {
        std::array::from_fn(|k| self.load(k as u32, Each::Element))
    }

    /// γ · value, where γ is operand k; the value where there is none.
    fn weighted(&mut self, value: ExprId, k: u32) -> ExprId {
        if self.nest.with_role(TensorRole::Input(k)).is_none() {
            return value;
        }
        let weight = self.load(k, Each::Weight);
        self.stage.mul(value, weight)
    }

    /// x − μ, where these are operands k and k + 1.
    fn centered(&mut self, k: u32) -> ExprId {
        let (x, mean) = (self.load(k, Each::Element), self.load(k + 1, Each::Group));
        self.stage.sub(x, mean)
    }

    /// The nest that sums `value` over all that shares one of `each`, and stores what `finish` makes of the sum.
    fn summed(
        mut self,
        each: Each,
        value: ExprId,
        finish: impl FnOnce(&mut Self, ExprId) -> ExprId,
    ) -> Nest {
        let own = self.own(each);
        let all = self.own(Each::Element).into_iter();
        let rest: Vec<AxisId> = all.filter(|a| !own.contains(a)).collect();
        self.stage.reduce(Combine::Sum, &rest, value);
        let sum = self.stage.acc(0);
        let value = finish(&mut self, sum);
        self.stored(each, value)
    }

    /// The nest that stores `value` for `each`.
    fn stored(mut self, each: Each, value: ExprId) -> Nest {
        self.stage.own = self.own(each);
        let index = self.index(each);
        self.stage.store(self.nest.out(0), &index, value);
        self.nest.stages.push(self.stage);
        self.nest
    }
}

impl GroupMean {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut f = Formula::new(self.0, "group_mean", &["x"], inputs, outputs);
        let [x] = f.elements();
        f.summed(Each::Group, x, Formula::mean)
    }
}

impl GroupVariance {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut f = Formula::new(self.0, "group_variance", &["x", "mean"], inputs, outputs);
        let difference = f.centered(0);
        let square = f.stage.mul(difference, difference);
        f.summed(Each::Group, square, Formula::mean)
    }
}

impl Normalised {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let names = ["x", "mean", "scale", "w", "b"];
        let mut f = Formula::new(self.0, "normalised", &names, inputs, outputs);
        let difference = f.centered(0);
        let scale = f.load(2, Each::Group);
        let normal = f.stage.mul(difference, scale);
        let mut y = f.weighted(normal, 3);
        if inputs.len() > 4 {
            let bias = f.load(4, Each::Weight);
            y = f.stage.add(y, bias);
        }
        f.stored(Each::Element, y)
    }
}

impl MeanGrad {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut f = Formula::new(self.0, "mean_grad", &["dy", "w"], inputs, outputs);
        let [dy] = f.elements();
        let weighted = f.weighted(dy, 1);
        f.summed(Each::Group, weighted, Formula::mean)
    }
}

impl AlongGrad {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let names = ["dy", "x", "mean", "scale", "w"];
        let mut f = Formula::new(self.0, "along_grad", &names, inputs, outputs);
        let (dy, difference) = (f.load(0, Each::Element), f.centered(1));
        let weighted = f.weighted(dy, 4);
        let product = f.stage.mul(weighted, difference);
        f.summed(Each::Group, product, |f, sum| {
            let (mean, scale) = (f.mean(sum), f.load(3, Each::Group));
            let square = f.stage.mul(scale, scale);
            f.stage.mul(mean, square)
        })
    }
}

impl NormalisedGrad {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let names = ["dy", "x", "mean", "scale", "mean_grad", "along", "w"];
        let mut f = Formula::new(self.0, "normalised_grad", &names, inputs, outputs);
        let (dy, difference) = (f.load(0, Each::Element), f.centered(1));
        let [scale, mean, along] = [3, 4, 5].map(|k| f.load(k, Each::Group));
        let weighted = f.weighted(dy, 6);
        let shared = f.stage.mul(difference, along);
        let own = f.stage.sub(weighted, mean);
        let own = f.stage.sub(own, shared);
        let dx = f.stage.mul(scale, own);
        f.stored(Each::Element, dx)
    }
}

impl NormalisedGradWeight {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let names = ["dy", "x", "mean", "scale"];
        let mut f = Formula::new(self.0, "normalised_grad_weight", &names, inputs, outputs);
        let (dy, difference) = (f.load(0, Each::Element), f.centered(1));
        let scale = f.load(3, Each::Group);
        let normal = f.stage.mul(difference, scale);
        let product = f.stage.mul(dy, normal);
        f.summed(Each::Weight, product, |_, sum| sum)
    }
}

impl NormalisedGradBias {
    fn nest(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut f = Formula::new(self.0, "normalised_grad_bias", &["dy"], inputs, outputs);
        let [dy] = f.elements();
        f.summed(Each::Weight, dy, |_, sum| sum)
    }
}

/// An operator that has no gradient, or one that only `Groups` knows, with a result for `$each`.
macro_rules! operator {
    ($op:ident, $each:ident, $grad:expr) => {
        impl Operator for $op {
            fn attributes(&self) -> String {
                self.0.text()
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                Ok(vec![match Each::$each {
                    Each::Element => inputs[0].clone(),
                    Each::Group => TensorType::batch([self.0.count]),
                    Each::Weight => self.0.weight(&inputs[0]),
                }])
            }
            fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
                let gradients: Option<fn(Groups, &mut GradCx, Value) -> Vec<Option<Value>>> = $grad;
                match (gradients, cx.dy()) {
                    (Some(gradients), Some(dy)) => gradients(self.0, cx, dy),
                    _ => vec![None; cx.operands.len()],
                }
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                self.nest(inputs, outputs)
            }
        }
    };
}

operator!(GroupMean, Group, None);
operator!(GroupVariance, Group, None);
operator!(Normalised, Element, Some(Groups::gradients));
operator!(MeanGrad, Group, None);
operator!(AlongGrad, Group, None);
operator!(NormalisedGrad, Element, None);
operator!(NormalisedGradWeight, Weight, None);
operator!(NormalisedGradBias, Weight, None);
