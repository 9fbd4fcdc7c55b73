//! The operators. Each file is a family: a layer and the operators of its gradient, side by side.
//!
//! An operator's rules share one index formula, so they stand together: the shape rule, the gradient
//! (graph to graph, in gather form) and the formula itself as a [`Nest`], which every backend and the
//! interpreter read. To add one: a file here, a line in the list below, a golden. What a user can
//! write in a model is a [`Layer`], and beside it a [`Loss`] and an [`Optimizer`]; the others stand only in derived graphs.
//!
//! This module knows neither the text of models nor any backend.

mod activation;
mod args;
mod batch;
mod batch_norm;
mod bias;
mod clip;
mod conv;
mod dropout;
mod eval;
mod group_norm;
mod initial;
mod join;
mod layer;
mod linear;
mod loss;
mod optim;
mod pool;
mod registry;
mod reshape;
mod schedule;
mod softmax;
#[cfg(test)]
mod tests;
mod window;

use crate::ir::{self, NodeId, Operation, StateKind, TensorType, Value};
use crate::nest::{Macs, Nest};
pub use activation::{
    Activation, ActivationGrad, Approximation, ELU, GELU, Hardsigmoid, Hardswish, LeakyReLU, ReLU,
    ReLU6, Reads, SiLU, Sigmoid, Softplus, Tanh,
};
pub use args::{ArgError, ArgValue, Args, Argument, Fault, Inferred, Real, Signature, above};
pub use batch::{Fill, Gather};
pub use batch_norm::{
    BatchNorm, BatchNorm1d, BatchNorm2d, BatchNormGrad, CenteredProducts, CenteredSquares,
    ChannelMean, ChannelProduct, Count, InverseDeviation, Normalisation, Projection,
    RunningAverage, Unbiased,
};
pub use bias::{BiasGrad, ChannelSum};
pub use clip::{Clamp, ClipFactor, Scale, SquareSum};
pub use conv::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
pub use dropout::{Drop, Dropout, Dropout2d};
pub use eval::evaluate;
pub use group_norm::{
    AlongGrad, GroupMean, GroupNorm, GroupVariance, Groups, LayerNorm, MeanGrad, Normalised,
    NormalisedGrad, NormalisedGradBias, NormalisedGradWeight,
};
pub use initial::{AnyInitialiser, Initialiser};
pub use join::{Add, Concat, ConcatGrad};
pub use layer::{LayerCx, StateSource};
pub use linear::{Linear, LinearGradInput, LinearGradWeight};
pub use loss::{
    BceWithLogitsGrad, BceWithLogitsLoss, Correct, CrossEntropyGrad, CrossEntropyLoss, HuberGrad,
    HuberLoss, L1Grad, L1Loss, Loss, LossState, MseGrad, MseLoss, NllGrad, NllLoss, Reduction,
    SmoothL1Grad, SmoothL1Loss, Targets, Weights,
};
pub use optim::{Adagrad, Adam, AdamW, Moment, Optimizer, OptimizerState, RmsProp, Sgd};
pub use pool::{AvgPool2d, AvgPool2dGrad, MaxPool2d, MaxPool2dGrad};
pub use registry::Registry;
pub(crate) use registry::registry;
pub use reshape::{Flatten, Reshape};
pub use schedule::{AnySchedule, Progress, Schedule, Schedules};
pub use softmax::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
pub use window::{Padding, Window};

/// A graph of operators.
pub type Graph = ir::Graph<Op>;
/// The graphs of a model.
pub type Graphs = ir::Graphs<Op>;

/// Why operands do not fit an operator: the rule with its numbers put in, and a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    pub code: &'static str,
    pub message: String,
    /// The rule with its numbers.
    pub rule: String,
    pub help: Option<String>,
}

/// A state that a layer owns.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerState {
    /// Its name within the layer, as `weight`.
    pub name: &'static str,
    pub dims: Vec<u32>,
    pub kind: StateKind,
    pub start: Start,
}

/// What a layer says of how a state starts; a model's `init`, an [`Initialiser`], makes numbers of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    Weight {
        /// Inputs of one output element, groups counted as torch does.
        fan_in: u64,
        /// Outputs that one input element takes part in, as torch counts them.
        fan_out: u64,
    },
    Bias {
        /// That of the weight beside it.
        fan_in: u64,
    },
    /// The same whatever `init` says.
    Constant(f32),
}

/// The states of a layer of sums of products: a weight, and where it has one, a bias for each of its first dimension.
pub(crate) fn weight_and_bias(
    dims: Vec<u32>,
    fan_in: u64,
    fan_out: u64,
    bias: bool,
) -> Vec<LayerState> {
    let outputs = dims[..1].to_vec();
    let parameter = |name, dims, start| LayerState {
        name,
        dims,
        kind: StateKind::Parameter,
        start,
    };
    let weight = parameter("weight", dims, Start::Weight { fan_in, fan_out });
    let bias = bias.then(|| parameter("bias", outputs, Start::Bias { fan_in }));
    [weight].into_iter().chain(bias).collect()
}

/// The rules of an operator. There are no default bodies: an omission is a compile error.
pub trait Operator {
    /// Attributes as text for printed graphs; may be empty.
    fn attributes(&self) -> String;
    /// Types of the results.
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError>;
    /// Gradients of the operands, `None` for those that have none.
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>>;
    /// The formula. Called only with types that `infer` accepts.
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest;
}

/// What can be written in a model.
pub trait Layer: Sized {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>;
    /// States for an input that fits. Called before `build`, so it must bear any input.
    fn states(&self, input: &TensorType) -> Vec<LayerState>;
    /// Adds the layer to a graph, and returns its result.
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError>;
    /// The shape rule with its numbers. Called only with types that `build` accepts.
    fn formula(&self, input: &TensorType) -> String;
}

/// What an operator's gradient is built from and into.
pub struct GradCx<'a> {
    pub graph: &'a mut Graph,
    /// The node that is differentiated.
    pub node: NodeId,
    pub operands: Vec<Value>,
    pub results: Vec<Value>,
    /// Gradients of the results; `None` where nothing depends on one.
    pub upstream: Vec<Option<Value>>,
    /// Which operands need a gradient; building others costs time and is removed later.
    pub wanted: Vec<bool>,
}

impl GradCx<'_> {
    /// Adds an operation in the name of the differentiated layer and returns its first result.
    pub fn emit(&mut self, op: impl Into<Op>, operands: &[Value]) -> Value {
        let node = self.graph.node(self.node);
        let (layer, span) = (node.layer.clone(), node.span);
        let types: Vec<TensorType> = operands.iter().map(|&v| self.graph.ty(v).clone()).collect();
        let op = op.into();
        let results = op.infer(&types).unwrap_or_else(|e| {
            panic!(
                "gradient of {} does not type: {}",
                self.graph.node(self.node).layer,
                e.rule
            )
        });
        let node = self.graph.op(op, operands, results, &layer, span);
        Value { node, output: 0 }
    }

    /// The gradient of the first result.
    pub fn dy(&self) -> Option<Value> {
        self.upstream.first().copied().flatten()
    }

    /// `build` where operand k needs a gradient.
    pub fn when_wanted(
        &mut self,
        k: usize,
        build: impl FnOnce(&mut Self) -> Value,
    ) -> Option<Value> {
        if self.wanted[k] {
            Some(build(self))
        } else {
            None
        }
    }
}

macro_rules! operators {
    (
        layers: $($layer:ident),+;
        activations: $($function:ident / $slope:ident),+;
        composed: $($composed:ident),+;
        losses: $($loss:ident),+;
        optimizers: $($optimizer:ident),+;
        derived: $($derived:ident),+ $(,)?
    ) => {
        /// Every operator; an exhaustive list, so that a match over it misses none.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::large_enum_variant, reason = "attributes are small and nodes are few")]
        pub enum Op {
            $($layer($layer),)+
            $($function($function), $slope(ActivationGrad<$function>),)+
            $($loss($loss),)+
            $($optimizer($optimizer),)+
            $($derived($derived),)+
        }

        registry! {
            /// What a model can name as its loss.
            pub enum AnyLoss of Loss { $($loss),+ }
        }
        registry! {
            /// What a model can name as its optimizer.
            pub enum AnyOptimizer of Optimizer { $($optimizer),+ }
        }

        $(impl From<$layer> for Op { fn from(o: $layer) -> Op { Op::$layer(o) } })+
        $(
            impl From<$function> for Op { fn from(o: $function) -> Op { Op::$function(o) } }
            impl From<ActivationGrad<$function>> for Op {
                fn from(o: ActivationGrad<$function>) -> Op { Op::$slope(o) }
            }
        )+
        $(impl From<$loss> for Op { fn from(o: $loss) -> Op { Op::$loss(o) } })+
        $(impl From<$optimizer> for Op { fn from(o: $optimizer) -> Op { Op::$optimizer(o) } })+
        impl From<AnyLoss> for Op {
            fn from(any: AnyLoss) -> Op {
                match any { $(AnyLoss::$loss(o) => o.into(),)+ }
            }
        }
        impl From<AnyOptimizer> for Op {
            fn from(any: AnyOptimizer) -> Op {
                match any { $(AnyOptimizer::$optimizer(o) => o.into(),)+ }
            }
        }
        $(impl From<$derived> for Op { fn from(o: $derived) -> Op { Op::$derived(o) } })+

        impl Op {
            fn rules(&self) -> &dyn Operator {
                match self {
                    $(Op::$layer(o) => o,)+
                    $(Op::$function(o) => o, Op::$slope(o) => o,)+
                    $(Op::$loss(o) => o,)+
                    $(Op::$optimizer(o) => o,)+
                    $(Op::$derived(o) => o,)+
                }
            }

            /// The layer of this name with its arguments; `None` where no layer is called so.
            pub fn layer(name: &str, args: &Args) -> Option<Result<AnyLayer, ArgError>> {
                $(if $layer::signature().name == name {
                    return Some($layer::from_args(args).map(AnyLayer::$layer));
                })+
                $(if $function::NAME == name {
                    return Some($function::from_args(args).map(AnyLayer::$function));
                })+
                $(if $composed::signature().name == name {
                    return Some($composed::from_args(args).map(AnyLayer::$composed));
                })+
                None
            }

            /// What can be written in a model.
            pub fn signatures() -> Vec<Signature> {
                vec![
                    $($layer::signature(),)+
                    $($function::signature(),)+
                    $($composed::signature(),)+
                ]
            }
        }

        /// A layer as it is written in a model.
        #[derive(Clone, Debug)]
        pub enum AnyLayer { $($layer($layer),)+ $($function($function),)+ $($composed($composed),)+ }

        $(impl From<$layer> for AnyLayer { fn from(layer: $layer) -> Self { Self::$layer(layer) } })+
        $(impl From<$function> for AnyLayer { fn from(layer: $function) -> Self { Self::$function(layer) } })+
        $(impl From<$composed> for AnyLayer { fn from(layer: $composed) -> Self { Self::$composed(layer) } })+

        impl AnyLayer {
            /// See [`Layer::states`].
            pub fn states(&self, input: &TensorType) -> Vec<LayerState> {
                match self {
                    $(AnyLayer::$layer(layer) => layer.states(input),)+
                    $(AnyLayer::$function(layer) => layer.states(input),)+
                    $(AnyLayer::$composed(layer) => layer.states(input),)+
                }
            }

            /// See [`Layer::build`].
            pub fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
                match self {
                    $(AnyLayer::$layer(layer) => layer.build(cx),)+
                    $(AnyLayer::$function(layer) => layer.build(cx),)+
                    $(AnyLayer::$composed(layer) => layer.build(cx),)+
                }
            }

            /// See [`Layer::formula`].
            pub fn formula(&self, input: &TensorType) -> String {
                match self {
                    $(AnyLayer::$layer(layer) => layer.formula(input),)+
                    $(AnyLayer::$function(layer) => layer.formula(input),)+
                    $(AnyLayer::$composed(layer) => layer.formula(input),)+
                }
            }
        }

        impl Operation for Op {
            fn name(&self) -> &'static str {
                match self {
                    $(Op::$layer(_) => stringify!($layer),)+
                    $(
                        Op::$function(_) => stringify!($function),
                        Op::$slope(_) => stringify!($slope),
                    )+
                    $(Op::$loss(_) => stringify!($loss),)+
                    $(Op::$optimizer(_) => stringify!($optimizer),)+
                    $(Op::$derived(_) => stringify!($derived),)+
                }
            }
            fn attributes(&self) -> String { self.rules().attributes() }
        }
    };
}

operators! {
    layers: Conv2d, MaxPool2d, AvgPool2d, Flatten, Linear, Softmax, LogSoftmax;
    activations: Sigmoid / SigmoidGrad, ReLU / ReLUGrad, Tanh / TanhGrad, LeakyReLU / LeakyReLUGrad, ReLU6 / ReLU6Grad,
        ELU / ELUGrad, GELU / GELUGrad, SiLU / SiLUGrad, Softplus / SoftplusGrad, Hardswish / HardswishGrad,
        Hardsigmoid / HardsigmoidGrad;
    composed: BatchNorm1d, BatchNorm2d, LayerNorm, GroupNorm, Dropout, Dropout2d;
    losses: CrossEntropyLoss, NllLoss, BceWithLogitsLoss, MseLoss, L1Loss, SmoothL1Loss, HuberLoss;
    optimizers: Sgd, Adam, AdamW, RmsProp, Adagrad;
    derived: Conv2dGradInput, Conv2dGradWeight, LinearGradInput, LinearGradWeight, BiasGrad,
        MaxPool2dGrad, AvgPool2dGrad, SoftmaxGrad, LogSoftmaxGrad, Reshape, Add, Concat, ConcatGrad,
        CrossEntropyGrad, NllGrad, BceWithLogitsGrad, MseGrad, L1Grad, SmoothL1Grad, HuberGrad, Correct, Gather, Fill,
        Clamp, SquareSum, ClipFactor, Scale,
        ChannelSum, ChannelMean, CenteredSquares, CenteredProducts, InverseDeviation, Unbiased, Count,
        RunningAverage, BatchNorm, BatchNormGrad, ChannelProduct, Projection,
        GroupMean, GroupVariance, Normalised, NormalisedGrad, MeanGrad, AlongGrad, NormalisedGradWeight,
        NormalisedGradBias, Drop,
}

impl Op {
    /// See [`Operator::infer`].
    pub fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        self.rules().infer(inputs)
    }
    /// See [`Operator::grad`].
    pub fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        self.rules().grad(cx)
    }
    /// See [`Operator::lower`].
    pub fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        self.rules().lower(inputs, outputs)
    }
    /// Multiply-adds of its formula.
    pub fn macs(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Macs {
        self.lower(inputs, outputs).macs()
    }
}

impl ShapeError {
    /// An error with its rule.
    pub fn new(code: &'static str, message: &str, rule: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            rule: rule.into(),
            help: None,
        }
    }
    /// Adds a way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The first operation whose results have other types than it infers, if there is one. A violation is a bug of the
/// pass that made the graph.
pub fn verify(g: &Graph) -> Result<(), String> {
    for id in g.topological() {
        let Some(op) = g.operation(id) else { continue };
        let operands: Vec<TensorType> = g.operands(id).iter().map(|&v| g.ty(v).clone()).collect();
        let inferred = op
            .infer(&operands)
            .map_err(|e| format!("%{}: {}", id.index(), e.rule))?;
        if inferred != g.node(id).types {
            return Err(format!(
                "%{} has not the types of {}",
                id.index(),
                op.name()
            ));
        }
    }
    Ok(())
}

/// The dimensions of an image `[channels, height, width]` with a batch axis.
pub(crate) fn image(ty: &TensorType, who: &str) -> Result<[u32; 3], ShapeError> {
    match (ty.is_batch(), &ty.dims[..]) {
        (true, &[c, h, w]) => Ok([c, h, w]),
        _ => Err(ShapeError::new(
            "E0202",
            &format!("{who} needs images"),
            format!(
                "its input has {}: {ty}; an image has channels, height and width",
                crate::diag::count(ty.dims.len() as u64, "axis")
            ),
        )
        .help(format!("put {who} before Flatten and Linear"))),
    }
}

/// Where all operands have the type of the first.
pub(crate) fn same_types(inputs: &[TensorType], who: &str) -> Result<TensorType, ShapeError> {
    for t in inputs {
        if *t != inputs[0] {
            let rule = format!("{} and {t}", inputs[0]);
            return Err(
                ShapeError::new("E0205", &format!("the operands of {who} differ"), rule)
                    .help("branches that are joined must yield the same shape"),
            );
        }
    }
    Ok(inputs[0].clone())
}
