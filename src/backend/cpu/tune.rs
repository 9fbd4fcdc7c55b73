//! Which of a kernel's tiles is the fastest on this machine: measured once and remembered in the user's cache.
//!
//! Only schedules with the same order of sums take part, see [`candidates`], so a tuned program gives the same bits
//! as one that is not, whatever the measurement says. Nothing is read or measured unless somebody asks for it.
//!
//! Does not know graphs; what a nest computes is of no concern, only what it is, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use lenetc_runtime::cache::{Cache, Key};
use serde_json::{Value, json};

use super::choose::{Chosen, candidates, tiled};
use super::program::Plan;
use super::schedule::TileSize;
use super::trial::Trial;
use crate::diag;
use crate::nest::loops::Dialect;
use crate::nest::{self, Nest};

/// Changes when entries of the cache mean something else.
const FORMAT: &str = "1";
/// A tile must take less than this part of the time of the static choice: differences below are noise.
const WORTH: f64 = 0.97;
/// The candidates of a kernel run in turn, so often at most,
const MOST_ROUNDS: usize = 12;
/// at least, and for so many seconds.
const LEAST_ROUNDS: usize = 3;
const KERNEL_SECONDS: f64 = 0.5;
/// A candidate runs about so long in a round.
const ROUND_SECONDS: f64 = 2e-4;
const MOST_RUNS: f64 = 500.0;
/// A tile of the cache that has more results is none that was ever written.
const MOST_RESULTS: i64 = 64;

/// What tuning did.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// Different nests that have a choice of tiles.
    pub nests: usize,
    /// Kernels that are not as the static cost has them.
    pub changed: usize,
    /// Seconds that were spent on measurements; none where the cache had the tiles.
    pub seconds: Option<f64>,
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let nests = diag::count(self.nests as u64, "kernel");
        let changed = self.changed;
        match self.seconds {
            Some(s) => write!(f, "measured {nests} in {s:.1} s, {changed} changed"),
            None => write!(f, "from the cache, {changed} of {nests} changed"),
        }
    }
}

/// Gives each kernel of a plan, made of these nests, the tile that is the fastest here.
pub fn run(plan: &mut Plan, nests: &[&Nest], cache: Option<&Cache>) -> Tuned {
    let key = key(plan, nests);
    let known = cache.and_then(|c| decode(&c.get(&key)?, nests.len()));
    let (found, seconds) = known.map_or_else(
        || {
            let start = Instant::now();
            let found = measure(plan, nests);
            (found, Some(start.elapsed().as_secs_f64()))
        },
        |known| (known, None),
    );
    if let Some(c) = cache.filter(|_| seconds.is_some()) {
        c.put(&key, encode(&found).as_bytes());
    }
    let mut changed = 0;
    for (k, tile) in found.tiles.iter().enumerate() {
        let beyond = plan.steps[k].beyond();
        let by = tile.and_then(|tile| tiled(nests[k], plan.isa, plan.block, beyond, tile));
        changed += usize::from(by.is_some());
        if let Some(by) = by {
            plan.steps[k].chosen = by;
        }
    }
    Tuned {
        nests: found.nests,
        changed,
        seconds,
    }
}

/// What measurements gave.
struct Found {
    /// Different nests with a choice.
    nests: usize,
    /// Of each kernel the tile, where it is not that of the static choice.
    tiles: Vec<Option<TileSize>>,
}

/// Everything that the fastest tiles depend on.
fn key(plan: &Plan, nests: &[&Nest]) -> Key {
    let texts: String = nests.iter().map(|n| nest::text(n)).collect();
    let block = plan.block.to_string();
    let version = env!("CARGO_PKG_VERSION");
    let machine = processor();
    Key::of(&[
        "tiles",
        FORMAT,
        version,
        &machine,
        plan.isa.name(),
        &block,
        &texts,
    ])
}

/// What the system calls the processor, in as many lines as it takes.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = ["model name", "CPU implementer", "CPU part"];
    let named = |name: &&str| text.lines().find(|l| l.starts_with(name));
    let lines: Vec<&str> = names.iter().filter_map(named).collect();
    format!("{}\n{}", std::env::consts::ARCH, lines.join("\n"))
}

fn encode(found: &Found) -> String {
    let tiles = found.tiles.iter();
    let tiles: Value = tiles
        .map(|t| t.map(|t| [t.channels, t.positions]))
        .collect();
    json!({ "nests": found.nests, "tiles": tiles }).to_string()
}

/// What `encode` wrote for so many kernels.
fn decode(text: &[u8], kernels: usize) -> Option<Found> {
    let v: Value = serde_json::from_slice(text).ok()?;
    let size = |t: &Value| {
        let [channels, positions] = [t[0].as_i64()?, t[1].as_i64()?];
        let fits =
            channels > 0 && positions > 0 && channels.checked_mul(positions)? <= MOST_RESULTS;
        fits.then_some(TileSize {
            channels,
            positions,
        })
    };
    let tile = |t: &Value| {
        (!t.is_null())
            .then(|| size(t))
            .map_or(Some(None), |t| t.map(Some))
    };
    let tiles: Option<Vec<_>> = v["tiles"].as_array()?.iter().map(tile).collect();
    Some(Found {
        nests: v["nests"].as_u64()? as usize,
        tiles: tiles.filter(|t| t.len() == kernels)?,
    })
}

/// The fastest tile of each kernel; equal nests are measured once.
fn measure(plan: &Plan, nests: &[&Nest]) -> Found {
    let mut known: BTreeMap<String, Option<TileSize>> = BTreeMap::new();
    let mut choices = 0;
    let tiles = nests.iter().zip(&plan.steps).map(|(n, step)| {
        let beyond = step.beyond();
        let entry = known.entry(format!("{beyond:?} {}", nest::text(n)));
        *entry.or_insert_with(|| {
            let all = candidates(n, plan.isa, plan.block, beyond);
            choices += usize::from(all.len() > 1);
            fastest(all, plan.block)
        })
    });
    let tiles = tiles.collect();
    Found {
        nests: choices,
        tiles,
    }
}

/// The tile that wins twice over the first, if there is one.
fn fastest(all: Vec<Chosen>, block: u32) -> Option<TileSize> {
    let tiles: Vec<_> = all.iter().map(|c| c.choice.options.tile).collect();
    let (kernels, code): (Vec<_>, Vec<_>) = all.into_iter().map(|c| (c.kernel, c.code)).unzip();
    if kernels.len() < 2 {
        return None;
    }
    // A trial runs them all, whether they win or not.
    kernels.iter().for_each(|k| Dialect::Processor.hold(k));
    let mut trial = Trial::new(&kernels, &code, block).ok()?;
    let everyone: Vec<usize> = (0..kernels.len()).collect();
    let best = winner(&mut trial, &everyone)?;
    winner(&mut trial, &[0, best])?;
    tiles[best]
}

/// The fastest of these kernels, unless it is the first or hardly faster.
fn winner(trial: &mut Trial, which: &[usize]) -> Option<usize> {
    let times = times(trial, which);
    let (&best, time) = which.iter().zip(&times).min_by(|a, b| a.1.total_cmp(b.1))?;
    (*time < WORTH * times[0]).then_some(best)
}

/// The least time of each, in seconds. They take turns, so that a clock that changes its speed changes it for all.
fn times(trial: &mut Trial, which: &[usize]) -> Vec<f64> {
    let start = Instant::now();
    let runs = |once: f64| (ROUND_SECONDS / once).clamp(1.0, MOST_RUNS) as usize;
    let runs: Vec<usize> = which.iter().map(|&k| runs(trial.run(k))).collect();
    let mut least = vec![f64::INFINITY; which.len()];
    for round in 0..MOST_ROUNDS {
        if round >= LEAST_ROUNDS && start.elapsed().as_secs_f64() > KERNEL_SECONDS {
            break;
        }
        for ((&k, &runs), least) in which.iter().zip(&runs).zip(&mut least) {
            *least = least.min(trial.fastest(k, runs));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_read_as_they_were_written() {
        let tile = TileSize {
            channels: 3,
            positions: 7,
        };
        let found = Found {
            nests: 2,
            tiles: vec![None, Some(tile), None],
        };
        let text = encode(&found);
        let read = decode(text.as_bytes(), 3).expect("it was written so");
        assert_eq!((read.nests, read.tiles), (found.nests, found.tiles));
        assert!(decode(text.as_bytes(), 4).is_none(), "of another program");
    }

    #[test]
    fn what_nobody_wrote_is_passed_by() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"nests": 1}"#,
            r#"{"nests": 1, "tiles": [[0, 4]]}"#,
            r#"{"nests": 1, "tiles": [[4, -4]]}"#,
            r#"{"nests": 1, "tiles": [[9223372036854775807, 2]]}"#,
            r#"{"nests": 1, "tiles": [[1000, 1000]]}"#,
            r#"{"nests": 1, "tiles": ["4 x 4"]}"#,
            r#"{"nests": -1, "tiles": [null]}"#,
        ] {
            assert!(decode(text.as_bytes(), 1).is_none(), "{text}");
        }
    }
}
