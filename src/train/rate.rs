//! How fast steps are, beside any epoch.

use std::time::Instant;

use lenetc_runtime::exec::Mode;
use lenetc_runtime::rng;

use super::executor::Executor;
use super::numbers::Numbers;
use super::{Loaded, RunError};
use crate::passes::config::Config;

/// Parts of the time.
const PARTS: usize = 10;

/// How fast something is that was repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The median of the repeats.
    pub per_sec: f64,
    /// How far the slowest and the fastest of them are apart, as a part of the median.
    pub spread: f64,
}

impl Rate {
    /// From what each repeat gave, at least one.
    pub fn of(mut repeats: Vec<f64>) -> Self {
        repeats.sort_by(f64::total_cmp);
        let per_sec = repeats[repeats.len() / 2];
        let range = repeats[repeats.len() - 1] - repeats[0];
        Self {
            per_sec,
            spread: range / per_sec,
        }
    }
}

/// Examples a second. Batches are whole where there are enough examples.
pub(super) fn measure(
    executor: &mut dyn Executor,
    data: &Loaded,
    config: &Config,
    mode: Mode,
    seconds: f64,
) -> Result<Rate, RunError> {
    let set = match mode {
        Mode::Train => &data.train,
        Mode::Eval => data.tested(),
    };
    let order = whole_batches(set.len(), config);
    let numbers = Numbers::first(config);
    let row = |step, images| numbers.row(step, images);
    let mut rates = Vec::new();
    for _ in 0..PARTS {
        executor.begin(mode, order.clone(), &row)?;
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < seconds / PARTS as f64 {
            let results = executor.run(u64::MAX)?;
            if results.is_empty() {
                executor.begin(mode, order.clone(), &row)?;
            }
            done += results.iter().map(|r| r.examples).sum::<usize>();
        }
        rates.push(done as f64 / start.elapsed().as_secs_f64());
    }
    Ok(Rate::of(rates))
}

/// One step of training on a whole batch, where there are enough examples.
pub(super) fn step(
    executor: &mut dyn Executor,
    data: &Loaded,
    config: &Config,
) -> Result<(), RunError> {
    let mut order = whole_batches(data.train.len(), config);
    order.truncate(config.batch_size as usize);
    let numbers = Numbers::first(config);
    let row = |step, images| numbers.row(step, images);
    executor.begin(Mode::Train, order, &row)?;
    executor.run(1).map(|_| ())
}

/// Positions of examples in a random order, for whole batches where there are enough of them.
pub fn whole_batches(examples: usize, config: &Config) -> Vec<u32> {
    let mut order = rng::permutation(1, 0, examples as u32);
    let batch = (config.batch_size as usize).min(order.len());
    order.truncate(order.len() / batch.max(1) * batch);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_median_and_how_far_the_repeats_are_apart() {
        let rate = Rate::of(vec![90.0, 120.0, 100.0]);
        assert_eq!((rate.per_sec, rate.spread), (100.0, 0.3));
        assert_eq!(Rate::of(vec![7.0]).spread, 0.0);
    }
}
