//! Softmax and its logarithm, over the channels of an image at each position, or over the features of a vector.
//!
//! With m = max x and S = Σ e^(x\[c\] − m): y\[c\] = e^(x\[c\] − m) / S, dx\[c\] = y\[c\] (dy\[c\] − Σ dy · y) (Dive into
//! Deep Learning, 4.1); the logarithm is y\[c\] = (x\[c\] − m) − ln S, dx\[c\] = dy\[c\] − e^y\[c\] · Σ dy. Nothing is
//! larger than the inputs' differences, so that a shift of all inputs changes nothing. ln S is off by less than 10⁻⁷,
//! absolutely.

use super::{
    ArgError, ArgValue, Args, Argument, GradCx, Layer, LayerCx, LayerState, Op, Operator,
    ShapeError, Signature, same_types,
};
use crate::ir::{TensorType, Value};
use crate::nest::{AxisId, Combine, ExprId, Nest, Stage, TensorId, Unary};

/// `Softmax`: x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// As written: 1, or the same axis counted from the end.
    pub dim: i64,
}

/// `LogSoftmax`: x → ln y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogSoftmax {
    /// As written: 1, or the same axis counted from the end.
    pub dim: i64,
}

/// (y, dy) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxGrad;

/// (ln y, dy) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogSoftmaxGrad;

const ARGUMENTS: &[Argument] = &[Argument::or("dim", "1")];

fn dim(args: &Args) -> Result<i64, ArgError> {
    match args.get("dim") {
        None => Ok(1),
        Some(ArgValue::Int(dim)) => Ok(*dim),
        Some(_) => args.size("dim", 0).map(i64::from),
    }
}

/// The type itself, where the axis is that of the channels or features.
fn along(dim: i64, input: &TensorType, who: &str) -> Result<Vec<TensorType>, ShapeError> {
    let axes = input.dims.len() as i64 + 1;
    let counted = if dim < 0 {
        dim.saturating_add(axes)
    } else {
        dim
    };
    let what = match input.dims.len() {
        1 => "features",
        3 => "channels",
        _ => "nothing",
    };
    if counted == 1 && what != "nothing" {
        return Ok(vec![input.clone()]);
    }
    let rule = format!("dim={dim} of {input} is not the axis of its {what}");
    let message = format!("{who} runs over channels or features");
    Err(ShapeError::new("E0206", &message, rule).help("write dim=1"))
}

/// A nest whose stages run over the common axes: the images, and the positions of each.
struct Rows {
    nest: Nest,
    /// Before the channels and behind them.
    image: AxisId,
    channel: AxisId,
    positions: Vec<AxisId>,
}

impl Rows {
    fn new(name: &str, inputs: &[TensorType], outputs: &[TensorType]) -> Self {
        let mut nest = Nest::new(name, inputs, outputs);
        let axes = nest.axes_of(&outputs[0], &["c", "i", "j"]);
        let (image, channel, positions) = (axes[0], axes[1], axes[2..].to_vec());
        nest.shared = [&[image][..], &positions].concat();
        Self {
            nest,
            image,
            channel,
            positions,
        }
    }

    /// The axes of an element.
    fn element(&self) -> Vec<AxisId> {
        [&[self.image, self.channel][..], &self.positions].concat()
    }

    /// A number for each position: `body` of the operands' elements, combined over the channels.
    fn combined(
        &mut self,
        name: &str,
        combine: Combine,
        body: impl FnOnce(&mut Stage, &[ExprId]) -> ExprId,
    ) -> TensorId {
        let (mut stage, values) = self.stage(&[]);
        let body = body(&mut stage, &values);
        stage.reduce(combine, &[self.channel], body);
        let (to, acc) = (self.nest.temp(name), stage.acc(0));
        stage.store_at(to, &self.nest.shared, acc);
        self.nest.stages.push(stage);
        to
    }

    /// The result: `value` of the operands' elements.
    fn result(&mut self, value: impl FnOnce(&mut Stage, &[ExprId]) -> ExprId) {
        let (mut stage, values) = self.stage(&[self.channel]);
        let value = value(&mut stage, &values);
        stage.store_at(self.nest.out(0), &self.element(), value);
        self.nest.stages.push(stage);
    }

    /// A stage with the operands' elements.
    fn stage(&self, own: &[AxisId]) -> (Stage, Vec<ExprId>) {
        let mut stage = Stage::new(own);
        let operands = (0..).map_while(|k| self.nest.with_role(crate::nest::TensorRole::Input(k)));
        let element = self.element();
        let values = operands.map(|t| stage.load_at(t, &element)).collect();
        (stage, values)
    }
}

/// m and S, and x − m in a stage.
struct Shifted {
    most: TensorId,
    total: TensorId,
    at: Vec<AxisId>,
}

impl Shifted {
    fn new(rows: &mut Rows) -> Self {
        let at = rows.nest.shared.clone();
        let most = rows.combined("m", Combine::Max, |_, v| v[0]);
        let total = rows.combined("total", Combine::Sum, |stage, v| {
            let max = stage.load_at(most, &at);
            let below = stage.sub(v[0], max);
            stage.unary(Unary::Exp, below)
        });
        Self { most, total, at }
    }

    /// x − m and S.
    fn load(&self, stage: &mut Stage, x: ExprId) -> [ExprId; 2] {
        let max = stage.load_at(self.most, &self.at);
        [stage.sub(x, max), stage.load_at(self.total, &self.at)]
    }
}

/// The rules that both layers have; `$grad` reads the result.
macro_rules! layer {
    ($layer:ident, $grad:ident) => {
        impl Layer for $layer {
            fn signature() -> Signature {
                Signature::plain(stringify!($layer), ARGUMENTS)
            }
            fn from_args(args: &Args) -> Result<Self, ArgError> {
                Ok(Self { dim: dim(args)? })
            }
            fn states(&self, _: &TensorType) -> Vec<LayerState> {
                vec![]
            }
            fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
                cx.plain(self.clone())
            }
            fn formula(&self, _: &TensorType) -> String {
                "as its input".into()
            }
        }

        impl Operator for $layer {
            fn attributes(&self) -> String {
                format!("dim={}", self.dim)
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                along(self.dim, &inputs[0], stringify!($layer))
            }
            fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
                let Some(dy) = cx.dy() else {
                    return vec![None];
                };
                let y = cx.results[0];
                vec![cx.when_wanted(0, |cx| cx.emit(Op::from($grad), &[y, dy]))]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                $layer::nest(inputs, outputs)
            }
        }

        impl Operator for $grad {
            fn attributes(&self) -> String {
                String::new()
            }
            fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
                Ok(vec![same_types(inputs, stringify!($layer))?])
            }
            fn grad(&self, _: &mut GradCx) -> Vec<Option<Value>> {
                vec![None, None]
            }
            fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
                $grad::nest(inputs, outputs)
            }
        }
    };
}

layer!(Softmax, SoftmaxGrad);
layer!(LogSoftmax, LogSoftmaxGrad);

impl Softmax {
    fn nest(inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut rows = Rows::new("softmax", inputs, outputs);
        let shifted = Shifted::new(&mut rows);
        rows.result(|stage, v| {
            let [below, total] = shifted.load(stage, v[0]);
            let part = stage.unary(Unary::Exp, below);
            stage.div(part, total)
        });
        rows.nest
    }
}

impl LogSoftmax {
    fn nest(inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut rows = Rows::new("log_softmax", inputs, outputs);
        let shifted = Shifted::new(&mut rows);
        rows.result(|stage, v| {
            let [below, total] = shifted.load(stage, v[0]);
            let log = stage.unary(Unary::Log, total);
            stage.sub(below, log)
        });
        rows.nest
    }
}

impl SoftmaxGrad {
    fn nest(inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut rows = Rows::new("softmax_grad", inputs, outputs);
        let at = rows.nest.shared.clone();
        let mean = rows.combined("mean", Combine::Sum, |stage, v| stage.mul(v[1], v[0]));
        rows.result(|stage, v| {
            let mean = stage.load_at(mean, &at);
            let apart = stage.sub(v[1], mean);
            stage.mul(v[0], apart)
        });
        rows.nest
    }
}

impl LogSoftmaxGrad {
    fn nest(inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut rows = Rows::new("log_softmax_grad", inputs, outputs);
        let at = rows.nest.shared.clone();
        let sum = rows.combined("sum", Combine::Sum, |_, v| v[1]);
        rows.result(|stage, v| {
            let (sum, part) = (stage.load_at(sum, &at), stage.unary(Unary::Exp, v[0]));
            let share = stage.mul(part, sum);
            stage.sub(v[1], share)
        });
        rows.nest
    }
}
