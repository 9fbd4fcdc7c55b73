//! The loop over epochs and batches, the same on every target: order, metrics, when to stop, evaluation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lenetc_runtime::exec::{Mode, StepResult};

use super::executor::Executor;
use super::numbers::{Numbers, Start, still};
use super::order::Orders;
use super::shares::Shares;
use super::{Doing, Epoch, Loaded, Metrics, RunError, Set, Summary, Watcher, accuracy};
use crate::ops::Reduction;
use crate::passes::config::Config;

/// Means over a set of examples; no accuracy where there are no classes.
pub(super) struct Means {
    pub loss: f64,
    pub acc: Option<f64>,
}

/// Means over the set that evaluation takes; none where `stop` ends it.
pub(super) fn evaluate(
    executor: &mut dyn Executor,
    set: &Set,
    config: &Config,
    stop: Option<&AtomicBool>,
) -> Result<Option<Means>, RunError> {
    let (mut loss, mut correct, mut seen) = (0.0, 0.0, 0);
    let (len, mut shares) = (set.len(), Shares::of(&config.loss, set));
    let order: Vec<u32> = (0..len as u32).collect();
    shares.begin(&order);
    executor.begin(Mode::Eval, order, &still)?;
    while seen < len {
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        for r in ran(executor.run(u64::MAX)?) {
            loss += r.loss_sum;
            correct += r.correct;
            seen += r.examples;
        }
    }
    Ok(Some(Means {
        loss: loss / shares.sum(0..len),
        acc: accuracy(config).then_some(correct / len as f64),
    }))
}

/// Completes an epoch with the figures of the test set, where there is one; false where `stop` ends that.
pub(super) fn test(
    executor: &mut dyn Executor,
    data: &Loaded,
    config: &Config,
    stop: Option<&AtomicBool>,
    epoch: &mut Epoch,
) -> Result<bool, RunError> {
    let start = Instant::now();
    if let Some(test) = &data.test {
        let Some(means) = evaluate(executor, test, config, stop)? else {
            return Ok(false);
        };
        (epoch.test_loss, epoch.test_acc) = (Some(means.loss), means.acc);
    }
    epoch.seconds += start.elapsed().as_secs_f64();
    Ok(true)
}

/// Tells of the last epoch of a run, whether it came to its end or not.
pub(super) fn tell(
    s: &Summary,
    config: &Config,
    metrics: Option<&Metrics>,
    watcher: &mut (dyn Watcher + Send),
) {
    let complete = s.covered == s.examples;
    if let Some(metrics) = metrics {
        match complete {
            true => metrics.epoch(&s.last),
            false => metrics.end(s),
        }
    }
    if complete {
        watcher.epoch(&s.last, config.epochs);
    }
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
    metrics: Option<&'a Metrics>,
    watcher: &'a mut (dyn Watcher + Send),
    summary: Summary,
    /// Steps of earlier runs.
    earlier: u64,
    orders: Orders,
    shares: Shares<'a>,
    /// The order of the next epoch, where it is made already.
    next: Option<Vec<u32>>,
    /// Time in steps, and the examples that they used.
    spent: Duration,
    used: usize,
}

/// How the loop ended.
pub(super) struct Ended {
    pub summary: Summary,
    /// Whether the last epoch's figures lack those of the test set and have not been told.
    pub untested: bool,
}

/// What an epoch has come to.
#[derive(Default)]
struct Sums {
    loss: f64,
    /// What the examples of the loss count.
    share: f64,
    correct: f64,
    covered: usize,
}

impl<'a> Loop<'a> {
    pub fn new(
        executor: &'a mut dyn Executor,
        (data, config): (&'a Loaded, &'a Config),
        stop: &'a AtomicBool,
        metrics: Option<&'a Metrics>,
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
            earlier: 0,
            orders: Orders::new(data, config),
            shares: Shares::of(&config.loss, &data.train),
            next: None,
            spent: Duration::ZERO,
            used: 0,
        }
    }

    /// The same behind so many steps of earlier runs.
    pub fn after(self, earlier: u64) -> Self {
        Self { earlier, ..self }
    }

    /// Trains for `steps` updates at most. The last epoch is not tested.
    pub fn run(mut self, steps: u64) -> Result<Ended, RunError> {
        let mut untested = false;
        for epoch in 1..=self.config.epochs {
            let covered = self.epoch(epoch, steps)?;
            // What a stopped run shows is about the steps since the last epoch, if there were any.
            untested |= covered > 0;
            let last = epoch == self.config.epochs || self.ends(steps);
            if last || !self.test()? {
                break;
            }
            tell(&self.summary, self.config, self.metrics, self.watcher);
            untested = false;
        }
        self.summary.interrupted = self.stopped();
        Ok(Ended {
            summary: self.summary,
            untested,
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether no further step is made.
    fn ends(&self, steps: u64) -> bool {
        self.summary.steps == steps || self.stopped()
    }

    /// The steps of one epoch, or those before the run ends; of how many examples.
    fn epoch(&mut self, epoch: u32, steps: u64) -> Result<usize, RunError> {
        let all = self.data.train.len() * self.data.permutations;
        let started = (Instant::now(), self.spent, self.used);
        let mut sums = Sums::default();
        let order = self.next.take();
        let order = order.unwrap_or_else(|| self.orders.of(epoch));
        self.watcher.doing(Doing::Steps);
        let start = Start {
            epoch: epoch - 1,
            step: self.summary.steps,
            steps_an_epoch: all.div_ceil(self.config.batch_size as usize) as u64,
            earlier: self.earlier,
        };
        let numbers = Numbers::new(self.config, start);
        self.shares.begin(&order);
        let shares = &self.shares;
        let batch = self.config.batch_size as usize;
        let (seed, before) = (self.config.seed, self.earlier + self.summary.steps);
        let row = |step, images| {
            let first = step * batch;
            let row = shares.row(numbers.row(step, images), first..first + images);
            row.drawn(seed, before + step as u64)
        };
        self.executor.begin(Mode::Train, order, &row)?;
        let ran = match self.executor.leaves_the_processor() {
            true => {
                let orders = self.orders;
                let rounds = || self.rounds(epoch, steps, &mut sums);
                let (ran, next) = orders.next_beside(epoch, rounds);
                self.next = next;
                ran
            }
            false => self.rounds(epoch, steps, &mut sums),
        };
        if sums.covered > 0 {
            let time = (self.spent - started.1).as_secs_f64().max(1e-9);
            self.summary.last = Epoch {
                epoch,
                train_loss: sums.loss / sums.share,
                train_acc: accuracy(self.config).then_some(sums.correct / sums.covered as f64),
                test_loss: None,
                test_acc: None,
                examples_per_sec: (self.used - started.2) as f64 / time,
                seconds: started.0.elapsed().as_secs_f64(),
            };
            (self.summary.covered, self.summary.examples) = (sums.covered, all);
            self.summary.examples_per_sec = self.used as f64 / self.spent.as_secs_f64().max(1e-9);
            if let (Err(_), Some(metrics)) = (&ran, self.metrics) {
                metrics.end(&self.summary);
            }
        }
        ran.map(|()| sums.covered)
    }

    /// The test pass of an epoch that others follow; false where the run was stopped in it.
    fn test(&mut self) -> Result<bool, RunError> {
        self.watcher.doing(Doing::Test);
        if let Some(metrics) = self.metrics {
            metrics.flush();
        }
        let last = &mut self.summary.last;
        test(self.executor, self.data, self.config, Some(self.stop), last)
    }

    /// The updates of an epoch, or those before the run ends.
    fn rounds(&mut self, epoch: u32, steps: u64, sums: &mut Sums) -> Result<(), RunError> {
        let all = self.data.train.len() * self.data.permutations;
        let mut ran = Ok(());
        while ran.is_ok() && sums.covered < all && !self.ends(steps) {
            ran = self.round(epoch, steps, sums);
        }
        ran
    }

    /// Some updates: as many as the target runs in one go.
    fn round(&mut self, epoch: u32, steps: u64, sums: &mut Sums) -> Result<(), RunError> {
        let start = Instant::now();
        let results = self.executor.run(steps - self.summary.steps)?;
        self.spent += start.elapsed();
        let all = self.data.train.len() * self.data.permutations;
        for r in ran(results) {
            sums.loss += r.loss_sum;
            sums.correct += r.correct;
            let share = self.shares.sum(sums.covered..sums.covered + r.examples);
            sums.share += share;
            sums.covered += r.examples;
            self.step(epoch, r, share)?;
            let mean = sums.loss / sums.share;
            self.watcher.progress(epoch, sums.covered, all, mean);
        }
        Ok(())
    }

    /// Tells of an update, whose examples count so much.
    fn step(&mut self, epoch: u32, r: StepResult, share: f64) -> Result<(), RunError> {
        self.used += r.examples;
        self.summary.steps += 1;
        let loss = match self.config.loss.reduction() {
            Reduction::Sum => r.loss_sum,
            Reduction::Mean => r.loss_sum / share,
        };
        let step = self.summary.steps;
        if let Some(metrics) = self.metrics {
            metrics.step(step, epoch, loss);
            if let Some(e) = metrics.news() {
                self.watcher.warning(&format!("{e}; the training goes on"));
            }
        }
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
