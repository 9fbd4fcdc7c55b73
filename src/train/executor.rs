//! Where steps run: on the processor, a batch at a time, or on a GPU, some batches between two looks at it.
//!
//! Knows neither epochs nor metrics: it goes through an order and says what each batch gave.

use std::time::{Duration, Instant};

use lenetc_runtime::cuda::{Engine, RING};
use lenetc_runtime::exec::{Machine, Mode, StepResult};

use super::{Loaded, RunError, Set};
use crate::ir::{Scalar, Scalars};

/// Images of a batch on the processor when nothing is learned.
pub(super) const EVAL_BATCH: usize = 1024;
/// How long a GPU runs before it is looked at: short enough for a signal to be heeded.
const ROUND: Duration = Duration::from_millis(200);

/// The numbers of a step, by its number in the order and its images.
pub(super) type Row<'a> = &'a dyn Fn(usize, usize) -> Scalars;

/// Runs batches of an order, one after the other.
pub(super) trait Executor {
    /// Starts over the examples at `order`: of the training set in [`Mode::Train`], else of the test set, or of
    /// the training set where there is none. `row` has the numbers of a step, by its number from 0 on and its images.
    fn begin(&mut self, mode: Mode, order: Vec<u32>, row: Row) -> Result<(), RunError>;
    /// Runs some of the batches that are left, at least one and at most `most`; none where none is left. Training
    /// ends at a loss that is not finite: it is the last result.
    fn run(&mut self, most: u64) -> Result<Vec<StepResult>, RunError>;
    /// Whether the processor is idle while batches run, so that other work costs nothing meanwhile.
    fn leaves_the_processor(&self) -> bool;
}

/// The processor's threads. Call it from inside their pool.
pub(super) struct Processor<'a> {
    machine: &'a mut Machine,
    data: &'a Loaded,
    batch: usize,
    mode: Mode,
    order: Vec<u32>,
    /// The numbers of all its steps.
    rows: Vec<f32>,
    /// Examples that are through.
    done: usize,
}

impl<'a> Processor<'a> {
    pub fn new(machine: &'a mut Machine, data: &'a Loaded, batch: usize) -> Self {
        Self {
            machine,
            data,
            batch,
            mode: Mode::Eval,
            order: vec![],
            rows: vec![],
            done: 0,
        }
    }

    /// The examples of the mode, and how many make a batch.
    fn examples(&self) -> (&'a Set, usize) {
        match self.mode {
            Mode::Train => (&self.data.train, self.batch),
            Mode::Eval => (self.data.tested(), EVAL_BATCH),
        }
    }
}

impl Executor for Processor<'_> {
    fn begin(&mut self, mode: Mode, order: Vec<u32>, row: Row) -> Result<(), RunError> {
        (self.mode, self.order, self.done) = (mode, order, 0);
        self.rows = Scalars::rows(self.order.len(), self.examples().1, row);
        Ok(())
    }

    fn run(&mut self, most: u64) -> Result<Vec<StepResult>, RunError> {
        let (set, most_images) = self.examples();
        let left = &self.order[self.done..];
        let batch = &left[..left.len().min(most_images)];
        if batch.is_empty() || most == 0 {
            return Ok(vec![]);
        }
        let slots = Scalar::ALL.len();
        let row = &self.rows[self.done / most_images * slots..][..slots];
        self.machine.run(self.mode, set.examples(), batch, row);
        self.done += batch.len();
        Ok(vec![StepResult {
            loss_sum: sum(self.machine.losses()),
            correct: sum(self.machine.correct()),
            examples: batch.len(),
        }])
    }

    fn leaves_the_processor(&self) -> bool {
        false
    }
}

fn sum(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v)).sum()
}

/// A GPU.
pub(super) struct Gpu<'a> {
    engine: &'a mut Engine,
    batch: usize,
    mode: Mode,
    /// Steps of the next round, of training and of evaluation.
    train_steps: usize,
    eval_steps: usize,
}

impl<'a> Gpu<'a> {
    pub fn new(engine: &'a mut Engine) -> Self {
        Self {
            batch: engine.batch(),
            engine,
            mode: Mode::Eval,
            train_steps: 1,
            eval_steps: 1,
        }
    }
}

impl Executor for Gpu<'_> {
    fn begin(&mut self, mode: Mode, order: Vec<u32>, row: Row) -> Result<(), RunError> {
        self.mode = mode;
        let rows = Scalars::rows(order.len(), self.batch, row);
        Ok(self.engine.begin(mode, &order, &rows)?)
    }

    fn run(&mut self, most: u64) -> Result<Vec<StepResult>, RunError> {
        let next = match self.mode {
            Mode::Train => &mut self.train_steps,
            Mode::Eval => &mut self.eval_steps,
        };
        let steps = usize::try_from(most).unwrap_or(usize::MAX).min(*next);
        let start = Instant::now();
        let results = self.engine.run(steps)?;
        *next = paced(results.len(), start.elapsed());
        Ok(results)
    }

    fn leaves_the_processor(&self) -> bool {
        true
    }
}

/// How many steps make a round, after some took a time: growing slowly, since a first step is slower than others.
fn paced(ran: usize, took: Duration) -> usize {
    let fitting = ran as f64 * ROUND.as_secs_f64() / took.as_secs_f64().max(1e-9);
    (fitting as usize).clamp(1, (4 * ran).clamp(1, RING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_to_take_their_time() {
        let ms = Duration::from_millis;
        assert_eq!(paced(1, ms(1000)), 1, "never less than a step");
        assert_eq!(
            paced(8, ms(800)),
            2,
            "a slow device is looked at more often"
        );
        assert_eq!(paced(1, ms(10)), 4, "no more than four times as many");
        assert_eq!(paced(200, ms(1)), RING, "no more than the device remembers");
        assert_eq!(paced(0, ms(0)), 1);
    }
}
