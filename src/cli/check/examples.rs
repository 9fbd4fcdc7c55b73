//! Examples and weights that are made up, of the shapes and types that a model takes, and the steps that run over them.
//!
//! The same for every check of a model. Does not know what the steps compute.

use lenetc::backend::StatePlace;
use lenetc::driver::Model;
use lenetc::ir::{DType, NodeId, NodeKind, Source, Value};
use lenetc::ops::Graph;
use lenetc::passes::build::Built;
use lenetc::train::{self, Numbers};
use lenetc_runtime::cuda::{CudaError, Engine};
use lenetc_runtime::data::TargetKind;
use lenetc_runtime::exec::{Bytes, Examples, Mode};
use lenetc_runtime::init::{self, Init};
use lenetc_runtime::rng::{Purpose, Stream};

/// What the made-up inputs and targets are drawn as, among the tensors of a seed.
const INPUTS: u32 = 1000;
const TARGETS: u32 = 1001;
const SEED: u64 = 1;

/// The steps of a check: of training a whole batch and a partial one, of evaluation a partial one; of a model that is
/// not trained an evaluation of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    batch: u32,
    /// Examples of the partial batch; none where a batch is a single one.
    tail: u32,
    trained: bool,
}

impl Steps {
    pub fn new(batch: u32, trained: bool) -> Self {
        // A number that no tile divides, and few: they are slow to run.
        let tail = (batch / 8 + 3).min(batch.saturating_sub(1));
        Self {
            batch,
            tail,
            trained,
        }
    }

    /// Examples that they take.
    pub fn examples(self) -> usize {
        (self.batch + self.tail) as usize
    }

    /// Runs them; whether a loss was not finite.
    pub fn run(self, engine: &mut Engine, numbers: Numbers) -> Result<bool, CudaError> {
        let all: Vec<u32> = (0..self.batch + self.tail).collect();
        let tail = match self.tail {
            0 => &all[..],
            n => &all[..n as usize],
        };
        let mut finite = true;
        let mut run = |mode, order: &[u32]| {
            let rows = numbers.rows(order.len(), self.batch as usize);
            engine.begin(mode, order, &rows)?;
            let results = engine.run(2)?;
            finite &= results.iter().all(|r| r.loss_sum.is_finite());
            Ok(())
        };
        if self.trained {
            run(Mode::Train, &all)?;
            run(Mode::Eval, tail)?;
        } else {
            run(Mode::Eval, &all)?;
        }
        Ok(!finite)
    }
}

impl std::fmt::Display for Steps {
    /// `steps of 256 and 35 images, an evaluation of 35`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batch, tail, .. } = *self;
        let what = if self.trained { "steps" } else { "evaluations" };
        match tail {
            0 => write!(f, "{what} of {batch}")?,
            _ => write!(f, "{what} of {batch} and of {tail}")?,
        }
        let images = if batch == 1 { "image" } else { "images" };
        write!(f, " {images}")?;
        match (self.trained, tail) {
            (false, _) => Ok(()),
            (true, 0) => write!(f, ", an evaluation of {batch}"),
            (true, _) => write!(f, ", an evaluation of {tail}"),
        }
    }
}

/// Examples that are made up.
pub struct Made {
    bytes: Vec<u8>,
    floats: Vec<f32>,
    classes: Vec<i32>,
    values: Vec<f32>,
    trained: bool,
    len: usize,
}

impl Made {
    /// So many examples of what a model takes.
    pub fn new(model: &Model, built: &Built, len: usize) -> Self {
        let mut made = Self {
            bytes: vec![],
            floats: vec![],
            classes: vec![],
            values: vec![],
            trained: model.trained,
            len,
        };
        let wanted = train::wanted(&built.input, &built.output, &model.config.loss);
        let inputs = len * wanted.input.iter().product::<usize>();
        if reads_bytes(&built.graphs.step) {
            made.bytes = drawn(INPUTS, inputs, |bits, _| (bits >> 24) as u8);
        } else {
            made.floats = drawn(INPUTS, inputs, |_, unit| 2.0 * unit - 1.0);
        }
        match wanted.targets {
            _ if !model.trained => {}
            TargetKind::Classes(n) => {
                let class = |bits: u32, _| (bits as usize % n.max(1)) as i32;
                made.classes = drawn(TARGETS, len, class);
            }
            TargetKind::Values(sizes) => {
                let all = len * sizes.iter().product::<usize>();
                made.values = drawn(TARGETS, all, |_, unit| 2.0 * unit - 1.0);
            }
        }
        made
    }

    /// As compiled code reads them.
    pub fn examples(&self) -> Examples<'_> {
        Examples {
            inputs: match self.bytes.is_empty() {
                true => Bytes::F32(&self.floats),
                false => Bytes::U8(&self.bytes),
            },
            targets: match (self.trained, self.classes.is_empty()) {
                (false, _) => Bytes::None,
                (true, true) => Bytes::F32(&self.values),
                (true, false) => Bytes::I32(&self.classes),
            },
            len: self.len,
        }
    }
}

/// Whether images are bytes.
fn reads_bytes(g: &Graph) -> bool {
    let is_bytes = |node: NodeId| g.ty(Value { node, output: 0 }).dtype == DType::U8;
    let images = |node: &NodeId| matches!(g.node(*node).kind, NodeKind::Source(Source::Images));
    g.topological().into_iter().filter(images).any(is_bytes)
}

/// So many numbers, each from its bits and from a number of [0, 1).
fn drawn<T>(tensor: u32, len: usize, make: impl Fn(u32, f32) -> T) -> Vec<T> {
    let stream = Stream::new(SEED, tensor, 0, Purpose::Init);
    let one = |i: u32| make(stream.bits(i), stream.uniform(i));
    (0..len as u32).map(one).collect()
}

/// Draws states for which no activation grows or fades, whatever the model starts from: weights as Glorot and Bengio
/// do, with as many inputs as elements for each of the first dimension, and outputs for each of the second.
pub fn weights(states: &[StatePlace], all: &mut [f32]) {
    for (place, state) in (0..).zip(states) {
        let dims = state.dims();
        let len: usize = dims.iter().product();
        let fans: usize = dims.iter().take(2).map(|&d| len / d).sum();
        let bound = (6.0 / fans.max(1) as f32).sqrt().min(1.0);
        let start = state.offset_bytes / 4;
        let to = &mut all[start..start + len];
        init::fill(Init::Uniform { bound }, SEED, place, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_batch_is_smaller_than_a_whole_one() {
        for (batch, tail) in [(1, 0), (2, 1), (3, 2), (4, 3), (8, 4), (32, 7), (256, 35)] {
            let steps = Steps::new(batch, true);
            assert_eq!(steps.examples(), (batch + tail) as usize, "{batch}");
        }
    }

    #[test]
    fn steps_are_said_in_words() {
        let said = |batch, trained| Steps::new(batch, trained).to_string();
        assert_eq!(
            said(256, true),
            "steps of 256 and of 35 images, an evaluation of 35"
        );
        assert_eq!(said(1, true), "steps of 1 image, an evaluation of 1");
        assert_eq!(said(64, false), "evaluations of 64 and of 11 images");
        assert_eq!(said(1, false), "evaluations of 1 image");
    }
}
