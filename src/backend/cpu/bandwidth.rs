//! How fast one core moves bytes that it keeps in a cache: a bare copy, measured.
//!
//! The other half of the roofline, beside the peak of multiply-adds. A working set is cut into two halves, and vectors
//! of the first are loaded and stored in the second, over and over; the bytes read and the bytes written both count.
//! A set of the size of a worker's arena lies where activations lie, in the second-level cache for the block sizes
//! that the plan chooses, so kernels whose operands still lie in the first-level cache exceed the figure, and kernels
//! that read more than they write may: a core loads more in a cycle than it stores. Knows no kernel but its own.

use super::code::{CodeError, Isa};
use super::trial::Trial;
use super::wide;
use crate::ir::DType;
use crate::nest::Affine;
use crate::nest::loops::{Dim, Expr, Kernel, Kind, Read, Space, Stmt, Write};

/// Bytes of the smallest working set and of the largest.
const LEAST_BYTES: u64 = 1 << 14;
const MOST_BYTES: u64 = 1 << 28;
/// Vectors copied in a round of the inner loop.
const UNROLLED: i64 = 8;
/// A run copies about so many bytes, in whole passes over the set.
const BYTES_A_RUN: u64 = 1 << 23;
/// Runs, of which the fastest counts.
const REPEATS: usize = 40;

/// Bytes a second, read and written, of one core that copies within a working set of about so many bytes.
pub fn bandwidth(isa: Isa, set_bytes: u64) -> Result<f64, CodeError> {
    let set = set_bytes.clamp(LEAST_BYTES, MOST_BYTES);
    let round = UNROLLED * i64::from(isa.lanes());
    let half = (set / 8).next_multiple_of(round as u64) as i64;
    let passes = (BYTES_A_RUN / set).max(1) as i64;
    let kernel = kernel(isa.lanes(), half, passes);
    let code = wide::compile(&kernel).ok();
    let least = Trial::new(&[kernel], &[code], 1)?.fastest(0, REPEATS);
    Ok((half * 8 * passes) as f64 / least)
}

/// Copies `half` f32, a multiple of what a round copies, so many times.
fn kernel(lanes: u32, half: i64, passes: i64) -> Kernel {
    let mut k = Kernel::new("copy", lanes);
    let [from, to] = ["from", "to"].map(|n| k.buffer(n, DType::F32, half as u64, Space::Global));
    let [p, i, u] = ["p", "i", "u"].map(|v| k.var(v));
    let vector = i64::from(lanes);
    let at = Affine::var(i) + Affine::var(u) * vector;
    let value = k.value(Expr::Load(from, at.clone(), Read::Vector));
    let copy = Stmt::Store {
        buf: to,
        at,
        how: Write::Vector,
        value,
    };
    let nest = |dim, kind, body| Stmt::For {
        dims: vec![dim],
        kind,
        body: vec![body],
    };
    let round = nest(Dim::count(u, UNROLLED), Kind::Unrolled, copy);
    let pass = nest(
        Dim::range(i, 0, half, UNROLLED * vector),
        Kind::Serial,
        round,
    );
    k.body = vec![nest(Dim::count(p, passes), Kind::Serial, pass)];
    k
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nest::loops;

    #[test]
    fn the_copy_is_well_formed_for_every_set() {
        for isa in Isa::ALL {
            for set in [0, 1 << 14, 802_816, 100_000_001] {
                let round = UNROLLED as u64 * u64::from(isa.lanes());
                let half = (set / 8u64).max(round).next_multiple_of(round);
                loops::verify(&kernel(isa.lanes(), half as i64, 2)).expect("well-formed");
            }
        }
    }
}
