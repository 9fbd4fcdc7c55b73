//! The numbers of each step of a run: what the model's `train` block makes of them, in f64.
//!
//! No target computes them: an executor is given a row for each step. Does not know batches or targets.

use crate::ir::Scalars;
use crate::passes::config::Config;

/// The numbers of the steps of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    config: &'a Config,
}

impl<'a> Numbers<'a> {
    /// Those of a run's first steps.
    pub fn first(config: &'a Config) -> Self {
        Self { config }
    }

    /// The numbers of a step, counted from 0 on, which has so many images.
    pub fn row(&self, _step: usize, images: usize) -> Scalars {
        Scalars::new(images, self.config.learning_rate().into())
    }

    /// The rows of all steps over so many examples in batches of `batch`, as kernels read them.
    pub fn rows(&self, examples: usize, batch: usize) -> Vec<f32> {
        Scalars::rows(examples, batch, |step, images| self.row(step, images))
    }
}

/// The numbers of a step that learns nothing.
pub fn still(_step: usize, images: usize) -> Scalars {
    Scalars::new(images, 0.0)
}
