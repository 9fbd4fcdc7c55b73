//! What one core can do at most: bare multiply-adds, measured.
//!
//! The figure that the speed of kernels is held against, taken in the same run. Knows no kernel but its own.

use super::code::{CodeError, Isa};
use super::trial::Trial;
use super::wide;
use crate::ir::DType;
use crate::nest::Affine;
use crate::nest::loops::{BufId, Buffer, Dim, Expr, Kernel, Kind, Space, Stmt, Write};

/// Independent chains: more than the latency of a multiply-add times the units that do them.
const CHAINS: i64 = 12;
const ROUNDS: i64 = 4000;
/// Runs, of which the fastest counts.
const REPEATS: usize = 200;

/// Floating-point operations a second of one core that does nothing but multiply and add vectors.
pub fn peak(isa: Isa) -> Result<f64, CodeError> {
    let lanes = i64::from(isa.lanes());
    let kernel = kernel(lanes);
    let code = wide::compile(&kernel).ok();
    let least = Trial::new(&[kernel], &[code], 1)?.fastest(0, REPEATS);
    Ok((ROUNDS * CHAINS * lanes * 2) as f64 / least)
}

fn kernel(lanes: i64) -> Kernel {
    let mut k = Kernel::new("peak", lanes as u32);
    k.buffers.push(Buffer {
        name: "out".into(),
        dtype: DType::F32,
        len: (CHAINS * lanes) as u64,
        space: Space::Global,
    });
    let (reg, i, t) = (k.reg("acc", &[CHAINS as u32]), k.var("i"), k.var("t"));
    let at = [Affine::var(t)];
    let zero = k.constant(0.0);
    let old = k.get(reg, &at);
    // In registers of their own: as constants they would be read from memory in each round.
    let factors = [0.999, 1e-3].map(|x| (k.reg("f", &[]), k.constant(x)));
    let [x, y] = factors.map(|f| k.get(f.0, &[]));
    let fma = k.value(Expr::Fma(old, x, y));
    let set = |value| Stmt::Set {
        reg,
        index: at.to_vec(),
        value,
    };
    let store = Stmt::Store {
        buf: BufId(0),
        at: Affine::var(t) * lanes,
        how: Write::Vector,
        value: k.get(reg, &at),
    };
    let each = |s| Stmt::For {
        dims: vec![Dim::count(t, CHAINS)],
        kind: Kind::Unrolled,
        body: vec![s],
    };
    let hold = factors.map(|(reg, value)| Stmt::Set {
        reg,
        index: vec![],
        value,
    });
    k.body = hold.to_vec();
    k.body.extend([
        each(set(zero)),
        Stmt::For {
            dims: vec![Dim::count(i, ROUNDS)],
            kind: Kind::Serial,
            body: vec![each(set(fma))],
        },
        each(store),
    ]);
    k
}
