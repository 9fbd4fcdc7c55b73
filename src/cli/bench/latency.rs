//! How long single calls of the machine take, and how many images a second that makes.
//!
//! Knows nothing of kernels.

use std::time::Instant;

use lenetc::ir::Scalars;
use lenetc::train::{Numbers, Rate};
use lenetc_runtime::exec::{Examples, Machine, Mode};
use serde_json::{Value, json};

use super::progress::{Progress, STEPS};

/// Parts of the time, whose median gives the rate; each is a step of the bar.
const PARTS: usize = STEPS as usize;
/// The part of the time that passes before anything counts.
const WARM_UP: f64 = 0.1;

/// Calls of one kind: a step of training, or the inference of a batch.
pub struct Latency {
    /// Time of each call in µs, the shortest first.
    micros: Vec<f64>,
    /// Images a second.
    pub rate: Rate,
}

/// Which of the examples calls are measured on.
#[derive(Clone, Copy)]
pub struct Batches<'a> {
    /// Positions of the examples, of whole batches.
    pub indices: &'a [u32],
    /// Images in a batch.
    pub batch: usize,
    pub numbers: &'a Numbers,
}

impl<'a> Batches<'a> {
    /// The numbers of a step on some of the examples.
    pub fn scalars(&self, batch: &[u32]) -> Scalars {
        self.numbers.row(0, batch.len())
    }

    /// The batches, over and over.
    pub fn cycle(&self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        self.indices.chunks(self.batch).cycle()
    }
}

/// Runs batches for about so many seconds, after a tenth as many that do not count.
pub fn measure(
    m: &mut Machine,
    examples: Examples,
    mode: Mode,
    batches: Batches,
    seconds: f64,
    progress: &Progress,
) -> Latency {
    let mut next = batches.cycle();
    let mut part = |seconds: f64| {
        let (start, mut micros) = (Instant::now(), Vec::new());
        let mut done = 0;
        for batch in next.by_ref() {
            let call = Instant::now();
            m.run(mode, examples, batch, &batches.scalars(batch).floats());
            micros.push(call.elapsed().as_secs_f64() * 1e6);
            done += batch.len();
            if start.elapsed().as_secs_f64() > seconds {
                break;
            }
        }
        (micros, done as f64 / start.elapsed().as_secs_f64())
    };
    part(seconds * WARM_UP);
    let parts = (0..PARTS).map(|_| {
        let part = part(seconds / PARTS as f64);
        progress.step();
        part
    });
    let (micros, rates): (Vec<_>, Vec<f64>) = parts.unzip();
    let mut micros = micros.concat();
    micros.sort_by(f64::total_cmp);
    Latency {
        micros,
        rate: Rate::of(rates),
    }
}

impl Latency {
    /// The time that this share of the calls does not exceed, in µs.
    fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.micros.len() as f64).ceil() as usize;
        self.micros[rank.clamp(1, self.micros.len()) - 1]
    }

    pub fn json(&self) -> Value {
        json!({
            "p50": self.percentile(0.5),
            "p90": self.percentile(0.9),
            "p99": self.percentile(0.99),
            "samples": self.micros.len(),
        })
    }

    /// A row below [`head`].
    pub fn line(&self, name: &str) -> String {
        let [a, b, c] = [0.5, 0.9, 0.99].map(|p| self.percentile(p));
        let samples = self.micros.len();
        format!("{name:<36} {a:>9.1} {b:>9.1} {c:>9.1} {samples:>9}\n")
    }
}

/// Names the columns of rows.
pub fn head() -> String {
    let [a, b, c, d] = ["p50", "p90", "p99", "calls"];
    format!("{:<36} {a:>9} {b:>9} {c:>9} {d:>9}\n", "a call, µs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let of = |n: u32| Latency {
            micros: (1..=n).map(f64::from).collect(),
            rate: Rate::of(vec![1.0]),
        };
        assert_eq!(of(1).percentile(0.5), 1.0);
        assert_eq!(of(1).percentile(0.99), 1.0);
        assert_eq!(of(10).percentile(0.5), 5.0);
        assert_eq!(of(10).percentile(0.9), 9.0);
        assert_eq!(of(10).percentile(0.99), 10.0);
        assert_eq!(of(1000).percentile(0.99), 990.0);
    }
}
