//! 2-D cross-correlation, NCHW, with groups.
//!
//! y\[n,k,i,j\] = b\[k\] + Σ_{c,r,s} w\[k,c,r,s\] · x\[n,g·C+c,i·S+r·D−P,j·S+s·D−P\], where g = ⌊k / K⌋ is the
//! group of k, C = channels / groups, K = out_channels / groups (Dive into Deep Learning, 6.2 to 6.4).
//!
//! dx\[n,c,h,w\] = Σ w\[k,c,r,s\] · dy\[n,k,i,j\] over the windows that contain (h, w): those with
//! h = i·S+r·D−P and w = j·S+s·D−P. dw\[k,c,r,s\] = Σ_{n,i,j} dy\[n,k,i,j\] · x\[n,c,i·S+r·D−P,j·S+s·D−P\].
//! Channels are written as (group, channel in the group) so that every index is affine.

use super::args::wrong;
use super::{
    ArgError, Args, Argument, BiasGrad, GradCx, Inferred, Layer, LayerCx, LayerState, Operator,
    Padding, ShapeError, Signature, Window, image, weight_and_bias,
};
use crate::ir::{TensorType, Value};
use crate::nest::{Affine, AxisId, Combine, Nest, Stage, ax};

/// `Conv2d(out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=true)`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    pub out_channels: u32,
    pub window: Window,
    pub groups: u32,
    pub bias: bool,
}

/// Gradient with respect to the input: (w, dy) → dx.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dGradInput {
    pub conv: Conv2d,
    /// Channels, height and width of the input.
    pub input: [u32; 3],
}

/// Gradient with respect to the weight: (dy, x) → dw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dGradWeight {
    pub conv: Conv2d,
}

impl Conv2d {
    fn weight(&self, channels: u32) -> Vec<u32> {
        vec![
            self.out_channels,
            channels / self.groups,
            self.window.kernel[0],
            self.window.kernel[1],
        ]
    }
}

impl Layer for Conv2d {
    fn signature() -> Signature {
        Signature {
            name: "Conv2d",
            arguments: &[
                Argument {
                    name: "out_channels",
                    default: None,
                },
                Argument {
                    name: "kernel_size",
                    default: None,
                },
                Argument {
                    name: "stride",
                    default: Some("1"),
                },
                Argument {
                    name: "padding",
                    default: Some("0"),
                },
                Argument {
                    name: "dilation",
                    default: Some("1"),
                },
                Argument {
                    name: "groups",
                    default: Some("1"),
                },
                Argument {
                    name: "bias",
                    default: Some("true"),
                },
            ],
            positional: 2,
            inferred: Some(Inferred {
                name: "in_channels",
                what: "input channels",
            }),
        }
    }

    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let window = Window {
            kernel: args.pair("kernel_size", 1)?,
            stride: args.pair_or("stride", 1, [1, 1])?,
            padding: args.padding("padding", true)?,
            dilation: args.pair_or("dilation", 1, [1, 1])?,
        };
        if window.padding == Padding::Same && window.stride != [1, 1] {
            return Err(wrong("padding", "is `same`, which needs stride=1".into()));
        }
        Ok(Self {
            out_channels: args.size("out_channels", 1)?,
            window,
            groups: args.size_or("groups", 1, 1)?,
            bias: args.flag("bias", true)?,
        })
    }

    fn states(&self, input: &TensorType) -> Vec<LayerState> {
        let channels = input.dims.first().copied().unwrap_or(1);
        let dims = self.weight(channels);
        let area = u64::from(dims[2]) * u64::from(dims[3]);
        let fan_in = u64::from(dims[1]) * area;
        let fan_out = u64::from(self.out_channels) * area;
        weight_and_bias(dims, fan_in, fan_out, self.bias)
    }

    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, input: &TensorType) -> String {
        self.window.rules([input.dims[1], input.dims[2]])
    }
}

impl Operator for Conv2d {
    fn attributes(&self) -> String {
        format!(
            "out_channels={} {} groups={}",
            self.out_channels,
            self.window.text(),
            self.groups
        )
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let [c, h, w] = image(&inputs[0], "Conv2d")?;
        for (n, what) in [(c, "input channels"), (self.out_channels, "out_channels")] {
            if !n.is_multiple_of(self.groups) {
                let rule = format!("groups={} does not divide the {n} {what}", self.groups);
                let fits = (1..=self.groups)
                    .rev()
                    .find(|g| c.is_multiple_of(*g) && self.out_channels.is_multiple_of(*g));
                return Err(
                    ShapeError::new("E0206", "groups do not fit the channels", rule)
                        .help(format!("groups={} fits", fits.unwrap_or(1))),
                );
            }
        }
        let [oh, ow] = self.window.out([h, w], "kernel")?;
        Ok(vec![TensorType::batch([self.out_channels, oh, ow])])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else {
            return vec![None; cx.operands.len()];
        };
        let (x, w) = (cx.operands[0], cx.operands[1]);
        let dims = &cx.graph.ty(x).dims;
        let input = [dims[0], dims[1], dims[2]];
        let back = Conv2dGradInput {
            conv: self.clone(),
            input,
        };
        let dx = cx.when_wanted(0, |cx| cx.emit(back, &[w, dy]));
        let dw = cx.when_wanted(1, |cx| {
            cx.emit(Conv2dGradWeight { conv: self.clone() }, &[dy, x])
        });
        let mut grads = vec![dx, dw];
        if self.bias {
            grads.push(cx.when_wanted(2, |cx| cx.emit(BiasGrad, &[dy])));
        }
        grads
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("conv2d", inputs, outputs);
        let a = Axes::new(&mut n, self, &inputs[0].dims, &outputs[0].dims);
        for (t, name) in [(0, "x"), (1, "w"), (2, "b")]
            .into_iter()
            .take(inputs.len())
        {
            n.rename(n.input(t), name);
        }
        let mut s = Stage::new(&a.per_group(self.groups, &[a.n, a.g, a.k, a.i, a.j]));
        let w = s.load(n.input(1), &a.weight());
        let x = s.load(n.input(0), &a.x());
        let body = s.mul(w, x);
        s.reduce(Combine::Sum, &[a.c, a.r, a.s], body);
        self.window
            .within(&mut s, [a.i, a.j], [a.r, a.s], a.size, a.out);
        let mut y = s.acc(0);
        if self.bias {
            let b = s.load(n.input(2), std::slice::from_ref(&a.channel_out));
            y = s.add(y, b);
        }
        s.store(n.out(0), &a.y(), y);
        n.stages.push(s);
        n
    }
}

impl Operator for Conv2dGradInput {
    fn attributes(&self) -> String {
        self.conv.attributes()
    }

    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::batch(self.input)])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("conv2d_grad_input", inputs, outputs);
        n.rename(n.input(0), "w");
        n.rename(n.input(1), "dy");
        n.rename(n.out(0), "dx");
        let conv = &self.conv;
        let a = Axes::new(&mut n, conv, &outputs[0].dims, &inputs[1].dims);
        let (h, w) = (n.axis("h", a.size[0]), n.axis("w", a.size[1]));
        let mut s = Stage::new(&a.per_group(conv.groups, &[a.n, a.g, a.c, h, w]));
        let weight = s.load(n.input(0), &a.weight());
        let dy = s.load(n.input(1), &a.y());
        let body = s.mul(weight, dy);
        s.reduce(Combine::Sum, &[a.k, a.i, a.r, a.j, a.s], body);
        conv.window.meets(&mut s, [h, w], [a.i, a.j], [a.r, a.s]);
        let dx = s.acc(0);
        s.store(n.out(0), &[ax(a.n), a.channel_in.clone(), ax(h), ax(w)], dx);
        n.stages.push(s);
        n
    }
}

impl Operator for Conv2dGradWeight {
    fn attributes(&self) -> String {
        self.conv.attributes()
    }

    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::fixed(self.conv.weight(inputs[1].dims[0]))])
    }

    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        vec![None; cx.operands.len()]
    }

    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        let mut n = Nest::new("conv2d_grad_weight", inputs, outputs);
        n.rename(n.input(0), "dy");
        n.rename(n.input(1), "x");
        n.rename(n.out(0), "dw");
        let conv = &self.conv;
        let a = Axes::new(&mut n, conv, &inputs[1].dims, &inputs[0].dims);
        let mut s = Stage::new(&a.per_group(conv.groups, &[a.g, a.k, a.c, a.r, a.s]));
        let dy = s.load(n.input(0), &a.y());
        let x = s.load(n.input(1), &a.x());
        let body = s.mul(dy, x);
        s.reduce(Combine::Sum, &[a.n, a.i, a.j], body);
        conv.window
            .within(&mut s, [a.i, a.j], [a.r, a.s], a.size, a.out);
        let dw = s.acc(0);
        s.store(n.out(0), &a.weight(), dw);
        n.stages.push(s);
        n
    }
}

/// The axes of a convolution: batch, group, channel out and in within the group, output and kernel.
struct Axes {
    n: AxisId,
    g: AxisId,
    k: AxisId,
    c: AxisId,
    i: AxisId,
    j: AxisId,
    r: AxisId,
    s: AxisId,
    window: Window,
    channel_in: Affine<AxisId>,
    channel_out: Affine<AxisId>,
    size: [u32; 2],
    out: [u32; 2],
}

impl Axes {
    fn new(n: &mut Nest, conv: &Conv2d, x: &[u32], y: &[u32]) -> Self {
        let (channels, filters) = (x[0] / conv.groups, conv.out_channels / conv.groups);
        let batch = n.batch();
        let [g, k, c] =
            [("g", conv.groups), ("k", filters), ("c", channels)].map(|(a, e)| n.axis(a, e));
        let [i, j] = [("i", y[1]), ("j", y[2])].map(|(a, e)| n.axis(a, e));
        let [r, s] =
            [("r", conv.window.kernel[0]), ("s", conv.window.kernel[1])].map(|(a, e)| n.axis(a, e));
        let group = |per: u32| {
            if conv.groups == 1 {
                Affine::constant(0)
            } else {
                ax(g) * i64::from(per)
            }
        };
        Self {
            n: batch,
            g,
            k,
            c,
            i,
            j,
            r,
            s,
            window: conv.window,
            channel_in: group(channels) + ax(c),
            channel_out: group(filters) + ax(k),
            size: [x[1], x[2]],
            out: [y[1], y[2]],
        }
    }

    /// The axes without that of the groups where there is one group only.
    fn per_group(&self, groups: u32, axes: &[AxisId]) -> Vec<AxisId> {
        axes.iter()
            .copied()
            .filter(|&a| groups > 1 || a != self.g)
            .collect()
    }

    fn weight(&self) -> [Affine<AxisId>; 4] {
        [self.channel_out.clone(), ax(self.c), ax(self.r), ax(self.s)]
    }

    fn x(&self) -> [Affine<AxisId>; 4] {
        let [h, w] = [(0, self.i, self.r), (1, self.j, self.s)]
            .map(|(d, o, k)| self.window.input_index(d, o, k));
        [ax(self.n), self.channel_in.clone(), h, w]
    }

    fn y(&self) -> [Affine<AxisId>; 4] {
        [ax(self.n), self.channel_out.clone(), ax(self.i), ax(self.j)]
    }
}
