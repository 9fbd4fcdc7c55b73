//! Every operator's loops over blocks of threads against its nest, in f64: full and partial batches, devices with few
//! and with many multiprocessors. What the loops say is right here; that their CUDA C is, `tests/cuda.rs` shows.

use lenetc::backend::cuda::{Options, single};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::loops::Space;
use lenetc::nest::{self, Nest, TensorId, TensorRole, loops};

#[macro_use]
#[path = "common/cases.rs"]
mod cases;
use cases::Case;

/// Images of a full batch, valid ones, multiprocessors.
const BATCHES: [(u32, usize, u32); 4] = [(1, 1, 108), (7, 7, 4), (9, 4, 132), (40, 37, 16)];

fn check(name: &str, nest: &Nest, inputs: &[Vec<f64>], valid: usize, options: Options) {
    let (k, shards) = single(nest, options);
    loops::verify(&k).unwrap_or_else(|e| panic!("{name}: {e}\n{}", loops::text(&k)));
    let ends = k.buffers.iter().map(|b| match b.space {
        Space::Shared(at) => 4 * (u64::from(at) + b.len),
        Space::Global => 0,
    });
    assert!(ends.max().unwrap_or(0) <= 47 << 10, "{name}: shared memory");
    let env = Env::new(valid, 0.5);
    let refs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let want = interp::run(nest, &refs, env);
    let tensors: Vec<_> = (0..)
        .map(TensorId)
        .zip(&nest.tensors)
        .filter(|(_, t)| t.role != TensorRole::Temp)
        .collect();
    let mut buffers: Vec<Vec<f64>> = k
        .buffers
        .iter()
        .map(|b| vec![f64::NAN; b.len as usize])
        .collect();
    for ((_, t), b) in tensors.iter().zip(&mut buffers) {
        if let TensorRole::Input(i) = t.role {
            let given = &inputs[i as usize];
            b.resize(b.len().max(given.len()), f64::NAN);
            b[..given.len()].copy_from_slice(given);
        }
    }
    interp::run_kernel(&k, &mut buffers, valid, env);
    for ((id, t), b) in tensors.iter().zip(&buffers) {
        let TensorRole::Output(o) = t.role else {
            continue;
        };
        let parts = shards
            .iter()
            .find(|s| s.0 == *id)
            .map_or(1, |s| s.1 as usize);
        let want = &want[o as usize];
        for (at, &w) in want.iter().enumerate() {
            let got: f64 = (0..parts).map(|p| b[p * want.len() + at]).sum();
            let same = got == w || (got.is_nan() && w.is_nan());
            assert!(
                same || (got - w).abs() <= 1e-9 * (1.0 + w.abs()),
                "{name} {} at {at}, {valid} of {}: {got} for {w}\n{}\n{}",
                t.name,
                options.batch,
                nest::text(nest),
                loops::text(&k)
            );
        }
    }
}

fn run(cases: Vec<Case>) {
    for c in cases {
        let nest = c.nest();
        for (batch, valid, multiprocessors) in BATCHES {
            let options = Options {
                batch,
                multiprocessors,
            };
            check(c.name, &nest, &c.values(valid), valid, options);
        }
    }
}

every_family!(run);
