//! The loop over epochs and batches, the same on every target: order, metrics, when to stop, evaluation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lenetc_runtime::exec::{Mode, StepResult};
use lenetc_runtime::rng;

use super::executor::Executor;
use super::{Epoch, Loaded, Metrics, RunError, Summary, Watcher, accuracy};
use crate::passes::config::{Config, Loss};

/// Mean loss and accuracy over the first `len` examples of the set that evaluation takes.
pub(super) fn evaluate(
    executor: &mut dyn Executor,
    len: usize,
    accuracy: bool,
) -> Result<(f64, Option<f64>), RunError> {
    let (mut loss, mut correct, mut seen) = (0.0, 0.0, 0);
    executor.begin(Mode::Eval, (0..len as u32).collect(), 0.0)?;
    while seen < len {
        for r in ran(executor.run(u64::MAX)?) {
            loss += r.loss_sum;
            correct += r.correct;
            seen += r.examples;
        }
    }
    let n = len as f64;
    Ok((loss / n, accuracy.then_some(correct / n)))
}

/// Results of a round with examples left: a program that counts none of them would never end.
fn ran(results: Vec<StepResult>) -> Vec<StepResult> {
    let advanced = results.iter().all(|r| r.examples > 0) && !results.is_empty();
    assert!(advanced, "a bug in lenetc: a step counts no examples");
    results
}

/// A run of training.
pub(super) struct Loop<'a> {
    executor: &'a mut dyn Executor,
    data: &'a Loaded,
    config: &'a Config,
    stop: &'a AtomicBool,
    metrics: &'a mut Metrics,
    watcher: &'a mut (dyn Watcher + Send),
    summary: Summary,
    /// Time in steps, and the examples that they used.
    spent: Duration,
    used: usize,
}

/// What an epoch has come to.
#[derive(Default)]
struct Sums {
    loss: f64,
    correct: f64,
    covered: usize,
}

impl<'a> Loop<'a> {
    pub fn new(
        executor: &'a mut dyn Executor,
        (data, config): (&'a Loaded, &'a Config),
        stop: &'a AtomicBool,
        metrics: &'a mut Metrics,
        watcher: &'a mut (dyn Watcher + Send),
    ) -> Self {
        Self {
            executor,
            data,
            config,
            stop,
            metrics,
            watcher,
            summary: Summary::default(),
            spent: Duration::ZERO,
            used: 0,
        }
    }

    /// Trains for `steps` updates at most.
    pub fn run(mut self, steps: u64) -> Result<Summary, RunError> {
        for epoch in 1..=self.config.epochs {
            let complete = self.epoch(epoch, steps)?;
            self.summary.examples_per_sec = self.used as f64 / self.spent.as_secs_f64().max(1e-9);
            if !complete {
                break;
            }
            self.metrics.epoch(&self.summary.last)?;
            self.watcher.epoch(&self.summary.last, self.config.epochs);
            if self.summary.steps == steps || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self.summary.interrupted = self.stop.load(Ordering::Relaxed);
        self.metrics.finish()?;
        Ok(self.summary)
    }

    /// One epoch; false where it was left before its end.
    fn epoch(&mut self, epoch: u32, steps: u64) -> Result<bool, RunError> {
        let all = self.data.train.len() * self.data.permutations;
        let started = (Instant::now(), self.spent, self.used);
        let mut sums = Sums::default();
        let order = self.order(epoch);
        self.executor
            .begin(Mode::Train, order, self.config.learning_rate)?;
        let mut complete = true;
        while sums.covered < all {
            if self.summary.steps == steps || self.stop.load(Ordering::Relaxed) {
                complete = false;
                break;
            }
            self.round(epoch, steps, &mut sums)?;
        }
        // What a stopped run shows is about the steps since the last epoch, if there were any.
        if complete || sums.covered > 0 {
            let (test_loss, test_acc) = self.test()?;
            let mean = |x: f64| x / sums.covered.max(1) as f64;
            let time = (self.spent - started.1).as_secs_f64().max(1e-9);
            self.summary.last = Epoch {
                epoch,
                train_loss: mean(sums.loss),
                train_acc: accuracy(self.config).then_some(mean(sums.correct)),
                test_loss,
                test_acc,
                examples_per_sec: (self.used - started.2) as f64 / time,
                seconds: started.0.elapsed().as_secs_f64(),
            };
            (self.summary.covered, self.summary.examples) = (sums.covered, all);
        }
        Ok(complete)
    }

    /// Loss and accuracy on the test set, where there is one.
    fn test(&mut self) -> Result<(Option<f64>, Option<f64>), RunError> {
        let Some(test) = &self.data.test else {
            return Ok((None, None));
        };
        let (loss, acc) = evaluate(self.executor, test.len(), accuracy(self.config))?;
        Ok((Some(loss), acc))
    }

    /// The examples of an epoch. Batches run on from one permutation into the next: a small rest after each would be a
    /// noisy step.
    fn order(&self, epoch: u32) -> Vec<u32> {
        let (n, repeats) = (self.data.train.len() as u32, self.data.permutations as u32);
        let permutations = (0..repeats).map(|k| (epoch - 1) * repeats + k);
        permutations
            .flat_map(|p| match self.config.shuffle {
                true => rng::permutation(self.config.seed, p, n),
                false => (0..n).collect(),
            })
            .collect()
    }

    /// Some updates: as many as the target runs in one go.
    fn round(&mut self, epoch: u32, steps: u64, sums: &mut Sums) -> Result<(), RunError> {
        let start = Instant::now();
        let results = self.executor.run(steps - self.summary.steps)?;
        self.spent += start.elapsed();
        let all = self.data.train.len() * self.data.permutations;
        for r in ran(results) {
            self.step(epoch, r)?;
            sums.loss += r.loss_sum;
            sums.correct += r.correct;
            sums.covered += r.examples;
            let mean = sums.loss / sums.covered as f64;
            self.watcher.progress(epoch, sums.covered, all, mean);
        }
        Ok(())
    }

    /// Tells of an update.
    fn step(&mut self, epoch: u32, r: StepResult) -> Result<(), RunError> {
        self.used += r.examples;
        self.summary.steps += 1;
        let loss = match self.config.loss {
            Loss::Mse { mean: false } => r.loss_sum,
            _ => r.loss_sum / r.examples as f64,
        };
        let step = self.summary.steps;
        self.metrics.step(step, epoch, loss)?;
        if self.config.print_every > 0 && step.is_multiple_of(self.config.print_every) {
            self.watcher.step(step, loss);
        }
        if loss.is_finite() {
            Ok(())
        } else {
            Err(RunError::NotFinite { step, loss })
        }
    }
}
