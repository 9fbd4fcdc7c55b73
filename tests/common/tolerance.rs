//! How far results in f32 may be off, relative to one or more. Does not know in which order a backend adds.

use lenetc::nest::{AxisId, Extent, Nest};

/// Of the results of a nest for so many images: the error of rounding grows with the root of a sum's terms.
pub fn of(nest: &Nest, images: usize) -> f64 {
    let size = |a: &AxisId| match nest.extent(*a) {
        Extent::Static(n) => f64::from(n),
        Extent::Batch => images as f64,
    };
    let sums = nest.stages.iter().map(|s| s.reduce.iter().map(size));
    let terms = sums.map(Iterator::product).fold(1.0, f64::max);
    2e-5 * (terms / 256.0).max(1.0).sqrt()
}
