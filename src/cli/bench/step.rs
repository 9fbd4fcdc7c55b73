//! Where the time of a step of training goes, on one thread.
//!
//! Whole steps, the same steps taken apart, and the steps of the program without fusion are measured in turn, so that
//! a clock that changes its speed changes it for all. Does not know how the figures are shown.

use std::time::{Duration, Instant};

use lenetc::ir::{Scalar, Scalars};
use lenetc_runtime::exec::{Examples, Machine, Mode, Profile};

use super::latency::Batches;

/// Steps of one kind in a row; one more before them, which brings their memory into the caches, does not count.
const STINT: usize = 6;
/// A stint ends after this part of the time, and a first step that took as long counts.
const STINT_SHARE: f64 = 0.1;

/// Medians over the steps, in µs.
pub struct Step {
    /// As a step runs, nothing read but the clock before and after it.
    pub whole: f64,
    /// How far nine tenths of the whole steps are from one tenth, as a part of the median.
    pub spread: f64,
    pub parts: Parts,
    /// Of the program without fusion.
    pub unfused: Option<Parts>,
}

/// A step taken apart, in µs.
pub struct Parts {
    pub calls: Vec<Call>,
    /// Setting the shards to zero.
    pub clearing: f64,
    /// Adding them up.
    pub reduction: f64,
}

/// A kernel, over all blocks of the step.
pub struct Call {
    pub name: String,
    pub micros: f64,
    /// Multiply-adds and bytes for one image.
    pub macs: u64,
    pub bytes: f64,
}

/// Measures for about so many seconds; `progress` shows how much of them is over. Call it from inside a pool of one
/// thread.
pub fn measure(
    machine: &mut Machine,
    mut unfused: Option<&mut Machine>,
    examples: Examples,
    batches: Batches,
    seconds: f64,
    progress: impl Fn(f64),
) -> Step {
    let (mut whole, mut parts, mut apart) = (vec![], vec![], vec![]);
    let mut next = batches.cycle();
    let (start, most) = (Instant::now(), seconds * STINT_SHARE);
    while whole.is_empty() || start.elapsed().as_secs_f64() < seconds {
        progress(start.elapsed().as_secs_f64() / seconds);
        stint(&mut next, &mut whole, most, |batch| {
            run(machine, examples, batch)
        });
        stint(&mut next, &mut parts, most, |batch| {
            machine.profile(examples, batch, &still(batch))
        });
        if let Some(m) = &mut unfused {
            stint(&mut next, &mut apart, most, |batch| {
                m.profile(examples, batch, &still(batch))
            });
        }
    }
    Step {
        whole: median(whole.iter().copied()),
        spread: spread(&whole),
        parts: Parts::new(&parts),
        unfused: unfused.map(|_| Parts::new(&apart)),
    }
}

fn run(m: &mut Machine, examples: Examples, batch: &[u32]) -> Duration {
    let start = Instant::now();
    m.run(Mode::Train, examples, batch, &still(batch));
    start.elapsed()
}

/// The numbers of a step that changes no weight.
fn still(batch: &[u32]) -> [f32; Scalar::ALL.len()] {
    Scalars::new(batch.len(), 0.0).floats()
}

/// Steps of one kind, for about so many seconds at most.
fn stint<'a, T>(
    batches: &mut impl Iterator<Item = &'a [u32]>,
    results: &mut Vec<T>,
    seconds: f64,
    mut step: impl FnMut(&[u32]) -> T,
) {
    let start = Instant::now();
    for (k, batch) in batches.take(STINT + 1).enumerate() {
        let result = step(batch);
        let long = start.elapsed().as_secs_f64() > seconds;
        if k > 0 || long {
            results.push(result);
        }
        if long {
            break;
        }
    }
}

/// How far the slow steps are from the fast ones, as a part of the median; a few that were interrupted do not count.
fn spread(times: &[Duration]) -> f64 {
    let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    let at = |tenth: usize| times[(times.len() - 1) * tenth / 10];
    (at(9) - at(1)) / at(5)
}

/// The median in µs.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

impl Parts {
    fn new(profiles: &[Profile]) -> Self {
        let calls = profiles[0].calls.iter().enumerate();
        Self {
            calls: calls
                .map(|(k, c)| Call {
                    name: c.name.clone(),
                    micros: median(profiles.iter().map(|p| p.calls[k].time)),
                    macs: c.macs,
                    bytes: c.bytes,
                })
                .collect(),
            clearing: median(profiles.iter().map(|p| p.clearing)),
            reduction: median(profiles.iter().map(|p| p.reduction)),
        }
    }

    /// All kernels.
    pub fn kernels(&self) -> f64 {
        self.calls.iter().map(|c| c.micros).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_leaves_out_what_was_interrupted() {
        let mut steps: Vec<Duration> = (95..=105).map(Duration::from_millis).collect();
        assert!((spread(&steps) - 0.08).abs() < 1e-9);
        steps[3] = Duration::from_secs(9);
        assert!(spread(&steps) < 0.1);
        assert_eq!(spread(&steps[..1]), 0.0);
    }
}
