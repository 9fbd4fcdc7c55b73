//! The numbers of each step of a run: what the optimizer and the schedule of the model's `train` block make of them, in
//! f64.
//!
//! No target computes them: an executor is given a row for each step. Does not know batches or targets.

use crate::ir::Scalars;
use crate::ops::{AnyOptimizer, Moment, Progress, Schedules};
use crate::passes::config::Config;

/// The numbers of the steps of an epoch.
#[derive(Clone, Debug)]
pub struct Numbers {
    optimizer: AnyOptimizer,
    schedules: Schedules,
    learning_rate: f64,
    start: Start,
    /// Steps of the whole run.
    steps: u64,
}

/// Where an epoch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Epochs before it.
    pub epoch: u32,
    /// Steps before it.
    pub step: u64,
    /// Steps of a whole epoch.
    pub steps_an_epoch: u64,
    /// Steps of earlier runs, which the optimizer remembers.
    pub earlier: u64,
}

impl Numbers {
    /// Those of the epoch that starts there.
    pub fn new(config: &Config, start: Start) -> Self {
        let steps = start.steps_an_epoch.saturating_mul(config.epochs.into());
        Self {
            optimizer: config.updates(),
            schedules: config.schedules(),
            learning_rate: config.optimizer.learning_rate().get(),
            start,
            steps: steps.max(1),
        }
    }

    /// Those of a run's first steps, whose whole length does not matter.
    pub fn first(config: &Config) -> Self {
        let start = Start {
            epoch: 0,
            step: 0,
            steps_an_epoch: 1,
            earlier: 0,
        };
        Self::new(config, start)
    }

    /// The numbers of a step of the epoch, counted from 0 on, which has so many images.
    pub fn row(&self, step: usize, images: usize) -> Scalars {
        let before = self.start.step + step as u64;
        let at = Progress {
            epoch: self.start.epoch,
            step: before,
            steps: self.steps,
        };
        let moment = Moment {
            step: self.start.earlier + before + 1,
            learning_rate: self.schedules.rate(self.learning_rate, &at),
            momentum: self.schedules.momentum(&at),
        };
        let plain = Scalars::new(images, moment.learning_rate);
        let numbers = self.optimizer.numbers(&moment).into_iter();
        numbers.fold(plain, |row, (scalar, value)| row.with(scalar, value))
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
