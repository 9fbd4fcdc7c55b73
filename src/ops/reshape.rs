//! Other dimensions for the same elements in the same order: no memory moves, the result is a view.

use super::{ArgError, Args, GradCx, Layer, LayerCx, LayerState, Operator, ShapeError, Signature};
use crate::ir::{TensorType, Value};
use crate::nest::{Affine, AxisId, Nest, Stage, ax};

/// `Flatten`: an image becomes a vector, row-major.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flatten;

/// x with dimensions `dims`; one of the two shapes is a vector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reshape {
    pub dims: Vec<u32>,
}

impl Layer for Flatten {
    fn signature() -> Signature {
        Signature::bare("Flatten")
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn states(&self, _: &TensorType) -> Vec<LayerState> {
        vec![]
    }
    fn build(&self, cx: &mut LayerCx) -> Result<Value, ShapeError> {
        cx.plain(self.clone())
    }
    fn formula(&self, input: &TensorType) -> String {
        let dims: Vec<String> = input.dims.iter().map(u32::to_string).collect();
        format!("{} = {}", dims.join(" · "), input.elements())
    }
}

impl Operator for Flatten {
    fn attributes(&self) -> String {
        String::new()
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let n = u32::try_from(inputs[0].elements())
            .ok()
            .filter(|&n| n <= 1 << 30);
        let n = n.ok_or_else(|| {
            ShapeError::new("E0204", "the vector is too large", inputs[0].to_string())
        })?;
        Ok(vec![TensorType::batch([n])])
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else { return vec![None] };
        let dims = cx.graph.ty(cx.operands[0]).dims.clone();
        vec![cx.when_wanted(0, |cx| cx.emit(Reshape { dims }, &[dy]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        lower(inputs, outputs)
    }
}

impl Operator for Reshape {
    fn attributes(&self) -> String {
        format!("dims={:?}", self.dims)
    }
    fn infer(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let ty = TensorType {
            dims: self.dims.clone(),
            ..inputs[0].clone()
        };
        if ty.elements() == inputs[0].elements() {
            Ok(vec![ty])
        } else {
            Err(ShapeError::new(
                "E0205",
                "the shapes differ in size",
                format!("{} and {ty}", inputs[0]),
            ))
        }
    }
    fn grad(&self, cx: &mut GradCx) -> Vec<Option<Value>> {
        let Some(dy) = cx.dy() else { return vec![None] };
        let dims = cx.graph.ty(cx.operands[0]).dims.clone();
        vec![cx.when_wanted(0, |cx| cx.emit(Reshape { dims }, &[dy]))]
    }
    fn lower(&self, inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
        lower(inputs, outputs)
    }
}

/// Runs over the longer shape; the index into the vector is the row-major sum.
fn lower(inputs: &[TensorType], outputs: &[TensorType]) -> Nest {
    let mut n = Nest::new("reshape", inputs, outputs);
    let long = if inputs[0].dims.len() >= outputs[0].dims.len() {
        &inputs[0]
    } else {
        &outputs[0]
    };
    let axes = n.axes_of(long, &["c", "i", "j"]);
    let mut s = Stage::new(&axes);
    let index = |ty: &TensorType| -> Vec<Affine<AxisId>> {
        if ty.dims.len() == long.dims.len() {
            return axes.iter().map(|&a| ax(a)).collect();
        }
        let flat = axes[1..]
            .iter()
            .zip(&long.dims)
            .fold(Affine::constant(0), |f, (&a, &d)| f * i64::from(d) + ax(a));
        vec![ax(axes[0]), flat]
    };
    let x = s.load(n.input(0), &index(&inputs[0]));
    s.store(n.out(0), &index(&outputs[0]), x);
    n.stages.push(s);
    n
}
