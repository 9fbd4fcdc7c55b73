//! Pooling over windows: the greatest value, or the mean.
//!
//! Max: y\[n,c,i,j\] = max over (r, s) of x\[n,c,i·S+r−P,j·S+s−P\]; the padding counts as −∞, the first
//! among equals in row-major order wins, NaN propagates. The winner's position in the window is a second
//! result, so that the gradient reaches exactly the winner (comparing values would misroute ties).
//! Mean: the sum divided by kh·kw, the padding counted as zeros, as torch does.
//! Both gradients are sums over the windows that contain an input (Dive into Deep Learning, 6.5).

use super::args::wrong;
use super::{
    ArgError, Args, Argument, GradCx, Layer, LayerCx, LayerState, Operator, Padding, ShapeError,
};
use super::{Signature, Window, image};
use crate::ir::{TensorType, Value};
use crate::nest::{Affine, AxisId, Combine, Compare, Nest, Stage, ax};

/// `MaxPool2d(kernel_size, stride=kernel_size, padding=0)`: x → (y, position)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool2d {
    pub window: Window,
}

/// (dy, position) → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool2dGrad {
    pub window: Window,
    /// Channels, height and width of the input.
    pub input: [u32; 3],
}

/// `AvgPool2d(kernel_size, stride=kernel_size, padding=0)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2d {
    pub window: Window,
}

/// dy → dx
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2dGrad {
    pub window: Window,
    /// Channels, height and width of the input.
    pub input: [u32; 3],
}

const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "kernel_size",
        default: None,
    },
    Argument {
        name: "stride",
        default: Some("kernel_size"),
    },
    Argument {
        name: "padding",
        default: Some("0"),
    },
];

fn window(args: &Args) -> Result<Window, ArgError> {
    let kernel = args.pair("kernel_size", 1)?;
    let padding = args.padding("padding", false)?;
    if let Padding::Sides(sides) = padding {
        for (side, k) in sides.iter().zip(kernel) {
            if side.iter().any(|&p| p > k / 2) {
                let message = format!("may be at most half of the kernel, ⌊{k} / 2⌋ = {}", k / 2);
                return Err(wrong("padding", message));
            }
        }
    }
    Ok(Window {
        kernel,
        stride: args.pair_or("stride", 1, kernel)?,
        padding,
        dilation: [1, 1],
    })
}

fn pooled(w: &Window, input: &TensorType, who: &str) -> Result<TensorType, ShapeError> {
    let [c, h, width] = image(input, who)?;
    let [oh, ow] = w.out([h, width], "kernel")?;
    Ok(TensorType::batch([c, oh, ow]))
}

fn shape_of(cx: &GradCx) -> [u32; 3] {
    let dims = &cx.graph.ty(cx.operands[0]).dims;
    [dims[0], dims[1], dims[2]]
}

/// Axes of a pooling: batch, channel, output and kernel.
struct Axes {
    n: AxisId,
    c: AxisId,
    o: [AxisId; 2],
    k: [AxisId; 2],
}

impl Axes {
    fn new(n: &mut Nest, w: &Window, out: &TensorType) -> Self {
        let axes = n.axes_of(out, &["c", "i", "j"]);
        let k = [n.axis("r", w.kernel[0]), n.axis("s", w.kernel[1])];
        Self {
            n: axes[0],
            c: axes[1],
            o: [axes[2], axes[3]],
            k,
        }
    }

    fn input(&self, w: &Window) -> [Affine<AxisId>; 4] {
        let [h, width] = [0, 1].map(|d| w.input_index(d, self.o[d], self.k[d]));
        [ax(self.n), ax(self.c), h, width]
    }

    fn output(&self) -> [AxisId; 4] {
        [self.n, self.c, self.o[0], self.o[1]]
    }
}

fn lower_pool(
    w: &Window,
    name: &str,
    combine: Combine,
    inputs: &[TensorType],
    outputs: &[TensorType],
) -> Nest {
    let mut n = Nest::new(name, inputs, outputs);
    n.rename(n.input(0), "x");
    let a = Axes::new(&mut n, w, &outputs[0]);
    let mut s = Stage::new(&a.output());
    let x = s.load(n.input(0), &a.input(w));
    s.reduce(combine, &a.k, x);
    let size = [inputs[0].dims[1], inputs[0].dims[2]];
    w.within(
        &mut s,
        a.o,
        a.k,
        size,
        [outputs[0].dims[1], outputs[0].dims[2]],
    );
    let acc = s.acc(0);
    if combine == Combine::Sum {
        let share = s.constant(1.0 / (w.kernel[0] as f32 * w.kernel[1] as f32));
        let mean = s.mul(acc, share);
        s.store_at(n.out(0), &a.output(), mean);
    } else {
        let position = s.acc(1);
        s.store_at(n.out(0), &a.output(), acc);
        s.store_at(n.out(1), &a.output(), position);
    }
    n.stages.push(s);
    n
}

/// The stage of a pooling's gradient: dx over the windows that contain it, of what `body` makes.
fn lower_grad(
    w: &Window,
    n: &mut Nest,
    dy: &TensorType,
    body: impl FnOnce(&mut Stage, &Nest, &Axes) -> crate::nest::ExprId,
) {
    let a = Axes::new(n, w, dy);
    let dims = n.ty(n.out(0)).dims.clone();
    let [h, width] = [n.axis("h", dims[1]), n.axis("w", dims[2])];
    let mut s = Stage::new(&[a.n, a.c, h, width]);
    let value = body(&mut s, n, &a);
    s.reduce(Combine::Sum, &[a.o[0], a.k[0], a.o[1], a.k[1]], value);
    w.meets(&mut s, [h, width], a.o, a.k);
    let dx = s.acc(0);
    s.store_at(n.out(0), &[a.n, a.c, h, width], dx);
    n.stages.push(s);
}

impl Layer for MaxPool2d {
    fn signature() -> Signature {
        Signature {
            name: "MaxPool2d",
            arguments: ARGUMENTS,
            positional: ARGUMENTS.len(),
            inferred: None,
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            window: window(args)?,
        })
    }
    fn states(&self, _: &TensorType) -> Vec<LayerState> {
        vec![]
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, input: &TensorType) -> String {
        self.window.rules([input.dims[1], input.dims[2]])
    }
}

impl Operator for MaxPool2d {
    fn attributes(&self) -> String {
        self.window.text()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let y = pooled(&self.window, &inputs[0], "MaxPool2d")?;
        if u64::from(self.window.kernel[0]) * u64::from(self.window.kernel[1]) > 1 << 24 {
            let rule = "a window has at most 2^24 elements, so that a position is exact in f32";
            return Err(ShapeError::new("E0204", "the kernel is too large", rule));
        }
        Ok(vec![y.clone(), y])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else { return vec![None] };
        let position = cx.results[1];
        let back = MaxPool2dGrad {
            window: self.window,
            input: shape_of(cx),
        };
        vec![cx.when_wanted(0, |cx| cx.emit(back, &[dy, position]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        lower_pool(
            &self.window,
            "max_pool2d",
            Combine::ArgMaxFirst,
            inputs,
            outputs,
        )
    }
}

impl Operator for MaxPool2dGrad {
    fn attributes(&self) -> String {
        self.window.text()
    }
    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::batch(self.input)])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("max_pool2d_grad", inputs, outputs);
        n.rename(n.input(0), "dy");
        n.rename(n.input(1), "position");
        n.rename(n.out(0), "dx");
        let width = i64::from(self.window.kernel[1]);
        lower_grad(&self.window, &mut n, &inputs[0], |s, n, a| {
            let dy = s.load_at(n.input(0), &a.output());
            let winner = s.load_at(n.input(1), &a.output());
            let here = s.push(crate::nest::Expr::Axis(ax(a.k[0]) * width + ax(a.k[1])));
            let zero = s.constant(0.0);
            s.select(Compare::Eq, winner, here, dy, zero)
        });
        n
    }
}

impl Layer for AvgPool2d {
    fn signature() -> Signature {
        Signature {
            name: "AvgPool2d",
            arguments: ARGUMENTS,
            positional: ARGUMENTS.len(),
            inferred: None,
        }
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        Ok(Self {
            window: window(args)?,
        })
    }
    fn states(&self, _: &TensorType) -> Vec<LayerState> {
        vec![]
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, input: &TensorType) -> String {
        self.window.rules([input.dims[1], input.dims[2]])
    }
}

impl Operator for AvgPool2d {
    fn attributes(&self) -> String {
        self.window.text()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![pooled(&self.window, &inputs[0], "AvgPool2d")?])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else { return vec![None] };
        let back = AvgPool2dGrad {
            window: self.window,
            input: shape_of(cx),
        };
        vec![cx.when_wanted(0, |cx| cx.emit(back, &[dy]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        lower_pool(&self.window, "avg_pool2d", Combine::Sum, inputs, outputs)
    }
}

impl Operator for AvgPool2dGrad {
    fn attributes(&self) -> String {
        self.window.text()
    }
    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::batch(self.input)])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("avg_pool2d_grad", inputs, outputs);
        n.rename(n.input(0), "dy");
        n.rename(n.out(0), "dx");
        let [kh, kw] = self.window.kernel;
        lower_grad(&self.window, &mut n, &inputs[0], |s, n, a| {
            let dy = s.load_at(n.input(0), &a.output());
            let share = s.constant(1.0 / (kh as f32 * kw as f32));
            s.mul(dy, share)
        });
        n
    }
}
