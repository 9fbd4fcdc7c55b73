//! What a program on the software GPU comes to: losses and weights, as its plan has them. Does not know what is tested.

use lenetc::backend::StatePlace;
use lenetc::backend::cuda::Plan;
use lenetc_runtime::cuda::{Engine, Program};
use lenetc_runtime::exec::{Bytes, Examples, Mode};
use lenetc_runtime::weights::Tensor;

use super::{compare, gpu};

/// Images of a whole batch, and of a partial one.
pub const BATCH: usize = 8;
pub const VALID: u32 = 5;

/// A program on the software GPU, with so many examples; why it does not get there.
pub fn engine(p: Program, settings: &str, examples: usize) -> Result<Engine, String> {
    let device = gpu::device(settings);
    let images: Vec<u8> = (0..examples * 784).map(|k| (k * k % 251) as u8).collect();
    let classes: Vec<i32> = (0..examples as i32).map(|k| k % 5).collect();
    let examples = Examples {
        inputs: Bytes::U8(&images),
        targets: Bytes::I32(&classes),
        len: examples,
    };
    Engine::new(&device, p, examples, None).map_err(|e| e.to_string())
}

/// What two epochs of a whole and a partial batch gave, and an evaluation.
#[derive(Debug, PartialEq)]
pub struct Numbers {
    losses: Vec<f64>,
    start: Vec<Tensor>,
    end: Vec<Tensor>,
}

impl Numbers {
    /// Those of a program that all sanitizers let pass; its parameters lie as the plan has them.
    pub fn of(plan: &Plan, p: Program) -> Result<Self, String> {
        let weights = (0..p.parameter_bytes / 4).map(|k| (k * k % 97) as f32 / 97.0 - 0.5);
        let weights: Vec<f32> = weights.map(|w| 0.4 * w).collect();
        let examples = BATCH + VALID as usize;
        let mut engine = engine(p, "sanitize=all", examples)?;
        let order: Vec<u32> = (0..examples as u32).collect();
        let mut losses = Vec::new();
        let set = engine.set_parameters(&weights);
        set.map_err(|e| e.to_string())?;
        for mode in [Mode::Train, Mode::Train, Mode::Eval] {
            let begun = engine.begin(mode, &order, &gpu::rows(examples, BATCH, 0.1));
            let results = begun.and_then(|()| engine.run(2));
            let found = |e| format!("{e}, {:?}", gpu::findings(&gpu::report()));
            let results = results.map_err(found)?;
            losses.extend(results.iter().flat_map(|r| [r.loss_sum, r.correct]));
        }
        let end = engine.parameters().map_err(|e| e.to_string())?;
        Ok(Self {
            losses,
            start: tensors(plan, &weights),
            end: tensors(plan, &end),
        })
    }

    /// What differs by more than any other test allows.
    pub fn difference(&self, right: &Self) -> Option<String> {
        let losses = compare::losses(&self.losses, &right.losses).err();
        losses.or_else(|| compare::updates(&right.start, &right.end, &self.end).err())
    }
}

/// The parameters of a plan, from all of them.
fn tensors(plan: &Plan, all: &[f32]) -> Vec<Tensor> {
    let tensor = |p: &StatePlace| {
        let shape = p.dims();
        let len: usize = shape.iter().product();
        Tensor {
            name: p.info.name.clone(),
            data: all[p.offset_bytes / 4..][..len].to_vec(),
            shape,
        }
    };
    plan.states.iter().map(tensor).collect()
}
