//! How fast steps are, beside any epoch.

use std::time::Instant;

use lenetc_runtime::exec::Mode;
use lenetc_runtime::rng;

use super::executor::Executor;
use super::{Loaded, RunError};
use crate::passes::config::Config;

/// Parts of the time, whose median is the result.
const PARTS: usize = 10;

/// Examples a second. Batches are whole where there are enough examples.
pub(super) fn measure(
    executor: &mut dyn Executor,
    data: &Loaded,
    config: &Config,
    mode: Mode,
    seconds: f64,
) -> Result<f64, RunError> {
    let set = match mode {
        Mode::Train => &data.train,
        Mode::Eval => data.tested(),
    };
    let order = whole_batches(set.len(), config);
    let mut rates = Vec::new();
    for _ in 0..PARTS {
        executor.begin(mode, order.clone(), config.learning_rate)?;
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < seconds / PARTS as f64 {
            let results = executor.run(u64::MAX)?;
            if results.is_empty() {
                executor.begin(mode, order.clone(), config.learning_rate)?;
            }
            done += results.iter().map(|r| r.examples).sum::<usize>();
        }
        rates.push(done as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// One step of training on a whole batch, where there are enough examples.
pub(super) fn step(
    executor: &mut dyn Executor,
    data: &Loaded,
    config: &Config,
) -> Result<(), RunError> {
    let mut order = whole_batches(data.train.len(), config);
    order.truncate(config.batch_size as usize);
    executor.begin(Mode::Train, order, config.learning_rate)?;
    executor.run(1).map(|_| ())
}

fn whole_batches(examples: usize, config: &Config) -> Vec<u32> {
    let mut order = rng::permutation(1, 0, examples as u32);
    let batch = (config.batch_size as usize).min(order.len());
    order.truncate(order.len() / batch.max(1) * batch);
    order
}
