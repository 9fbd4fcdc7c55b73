//! Dropout: in training each element, or each channel, is 0 with probability p, and 1 / (1 − p) times what it was else
//! (Srivastava and others 2014; Dive into Deep Learning, 5.6). In evaluation nothing changes.
//!
//! Which elements are left follows from the run's seed, the step, the image's position in the batch and the layer's
//! stream: they are drawn again where the gradient needs them, and not kept. The gradient is the same operator of dy.

use super::{
    ArgError, Args, Argument, GradCx, Layer, LayerCx, LayerState, Operator, Real, ShapeError,
    Signature, image,
};
use crate::ir::{Mode, TensorType, Value};
use crate::nest::{Affine, AxisId, Compare, Nest, Stage, ax};

/// `Dropout(p=0.5)`: of elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dropout {
    pub p: Real,
}

/// `Dropout2d(p=0.5)`: of whole channels of images.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dropout2d {
    pub p: Real,
}

/// x → y
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Drop {
    /// From 0 to 1.
    pub p: Real,
    /// Operators of one stream leave the same elements.
    pub stream: u32,
    /// Whether all of a channel shares a number.
    pub channels: bool,
}

const ARGUMENTS: &[Argument] = &[Argument::or("p", "0.5")];

fn probability(args: &Args) -> Result<Real, ArgError> {
    args.real_or("p", 0.0..=1.0, 0.5)
}

fn build(p: Real, channels: bool, cx: &mut LayerCx) -> Result<Value, ShapeError> {
    let x = cx.input;
    let drop = Drop {
        p,
        stream: cx.graph.new_stream(),
        channels,
    };
    // What does not fit is wrong in evaluation too.
    drop.infer(&[cx.ty(x)])?;
    match cx.mode() {
        Mode::Train if p.get() > 0.0 => cx.emit(drop, &[x]),
        Mode::Train | Mode::Eval => Ok(x),
    }
}

macro_rules! layer {
    ($layer:ident, $channels:literal) => {
        impl Layer for $layer {
            fn signature() -> Signature {
                Signature::plain(stringify!($layer), ARGUMENTS)
            }
            fn from_args(args: &Args) -> Result<Self, ArgError> {
                let p = probability(args)?;
                Ok(Self { p })
            }
            fn states(&self, _: &TensorType) -> Vec<LayerState> {
                vec![]
            }
            fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
                build(self.p, $channels, cx)
            }
            fn formula(&self, _: &TensorType) -> String {
                "as its input".into()
            }
        }
    };
}

layer!(Dropout, false);
layer!(Dropout2d, true);

impl Operator for Drop {
    fn attributes(&self) -> String {
        let of = if self.channels { " channels" } else { "" };
        format!("p={} stream={}{of}", self.p, self.stream)
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        if self.channels {
            image(&inputs[0], "Dropout2d")?;
        }
        Ok(vec![inputs[0].clone()])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else {
            return vec![None];
        };
        vec![cx.when_wanted(0, |cx| cx.emit(self.clone(), &[dy]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("dropout", inputs, outputs);
        let axes = n.axes_of(&outputs[0], &["c", "i", "j"]);
        let within = match self.channels {
            true => &axes[1..2],
            false => &axes[1..],
        };
        let element = counted(&n, within);
        let mut s = Stage::new(&axes);
        let x = s.load_at(n.input(0), &axes);
        let drawn = s.random(self.stream, element);
        let [p, zero, scale] = [self.p.single(), 0.0, self.scale()].map(|c| s.constant(c));
        let kept = s.mul(x, scale);
        let y = s.select(Compare::Lt, drawn, p, zero, kept);
        s.store_at(n.out(0), &axes, y);
        n.stages.push(s);
        n
    }
}

impl Drop {
    /// 1 / (1 − p); where nothing is left, any number does.
    fn scale(&self) -> f32 {
        let left = 1.0 - self.p.get();
        if left > 0.0 { (1.0 / left) as f32 } else { 0.0 }
    }
}

/// The number of an element, row-major over these axes.
fn counted(n: &Nest, axes: &[AxisId]) -> Affine<AxisId> {
    let first = Affine::constant(0);
    axes.iter().fold(first, |flat, &a| flat * n.size(a) + ax(a))
}
