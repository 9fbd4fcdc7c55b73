//! Nests whose results are random numbers, one for each element. Does not know backends.

use lenetc::ir::TensorType;
use lenetc::nest::{Affine, Nest, Stage, ax};

pub const STREAM: u32 = 5;

/// Vectors and images, shorter and longer than lanes.
pub fn types() -> Vec<TensorType> {
    let dims: [&[u32]; 5] = [&[1], &[7], &[70], &[3, 2, 5], &[2, 3, 33]];
    dims.map(|d| TensorType::batch(d.to_vec())).into()
}

/// A number for each element, row-major; its operand is read, and adds nothing.
pub fn nest(ty: &TensorType) -> Nest {
    let mut nest = Nest::new("drawn", std::slice::from_ref(ty), std::slice::from_ref(ty));
    let axes = nest.axes_of(ty, &["c", "i", "j"]);
    let first = Affine::constant(0);
    let element = axes[1..]
        .iter()
        .fold(first, |flat, &a| flat * nest.size(a) + ax(a));
    let mut stage = Stage::new(&axes);
    let drawn = stage.random(STREAM, element);
    let zero = stage.load_at(nest.input(0), &axes);
    let y = stage.add(drawn, zero);
    stage.store_at(nest.out(0), &axes, y);
    nest.stages.push(stage);
    nest
}

/// Zeros.
pub fn operand(nest: &Nest, images: usize) -> Vec<f64> {
    vec![0.0; nest.ty(nest.input(0)).elements() as usize * images]
}
