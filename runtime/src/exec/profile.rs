//! Where the time of a step of training goes, on one thread.
//!
//! Runs what [`Machine::run`] runs, in the same order, and reads the clock after each call. The cost of reading the
//! clock is measured and left out. Does not know what a call computes.

use std::time::{Duration, Instant};

use super::{
    Call, Examples, Frame, Machine, Mode, Phase, Uniforms, reduce, shards, share, uniforms,
    with_shard,
};

/// Reads of the clock that tell what one costs.
const CLOCK_READS: u32 = 200;

/// Time of a call in one step, summed over the blocks.
#[derive(Clone, Debug)]
pub struct Timing {
    pub name: String,
    /// Multiply-adds for one image, as the call has them.
    pub macs: u64,
    /// Bytes for one image, as the call has them.
    pub bytes: f64,
    pub time: Duration,
}

/// One step of training, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The calls in their order, phase by phase.
    pub calls: Vec<Timing>,
    /// Setting the shards to zero.
    pub clearing: Duration,
    /// Adding the shards up.
    pub reduction: Duration,
}

/// The time since the last lap, without what reading the clock takes.
struct Stopwatch {
    last: Instant,
    read: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        let first = Instant::now();
        let last = (0..CLOCK_READS).fold(first, |_, _| Instant::now());
        let read = (last - first) / CLOCK_READS;
        Self { last, read }
    }

    fn restart(&mut self) {
        self.last = Instant::now();
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        lap.saturating_sub(self.read)
    }
}

impl Machine {
    /// Runs a step of training and says where its time went. Call it from inside a pool of one thread: the sum of
    /// shards is spread over all threads of the pool.
    ///
    /// Panics as [`Machine::run`] does.
    pub fn profile(&mut self, examples: Examples, indices: &[u32], scalars: &[f32]) -> Profile {
        let frame = self.begin(Mode::Train, examples, indices);
        let (images, n) = (indices.len(), self.program.block);
        let blocks = images.div_ceil(n);
        let shards = shards(blocks, self.program.shard_bytes);
        let frame = Frame {
            arena: self.arenas[0].start(),
            ..frame
        };
        let mut profile = Profile::default();
        let mut watch = Stopwatch::start();
        for phase in &self.program.train {
            let timings = profile.add(phase.calls());
            watch.restart();
            match phase {
                Phase::Blocks { calls, sums } => {
                    for s in 0..shards {
                        let frame = with_shard(frame, &self.shards, s, sums);
                        profile.clearing += watch.lap();
                        for b in share(blocks, shards, s) {
                            let (frame, u) = (frame.block(b, n), uniforms(images, n, b, scalars));
                            let timings = &mut profile.calls[timings.clone()];
                            timed(&frame, calls, &u, timings, &mut watch);
                        }
                    }
                    watch.restart();
                    if !sums.is_empty() {
                        reduce(&self.shards[..shards], sums);
                    }
                    profile.reduction += watch.lap();
                }
                Phase::Once(calls) => {
                    let u = uniforms(images, n, 0, scalars);
                    timed(&frame, calls, &u, &mut profile.calls[timings], &mut watch);
                }
            }
        }
        profile
    }
}

impl Profile {
    /// Entries for the calls of a phase; where they are.
    fn add(&mut self, calls: &[Call]) -> std::ops::Range<usize> {
        let first = self.calls.len();
        self.calls.extend(calls.iter().map(|c| Timing {
            name: c.name.clone(),
            macs: c.macs,
            bytes: c.bytes,
            time: Duration::ZERO,
        }));
        first..self.calls.len()
    }
}

/// Runs calls and adds the time of each.
fn timed(
    frame: &Frame,
    calls: &[Call],
    u: &Uniforms,
    timings: &mut [Timing],
    watch: &mut Stopwatch,
) {
    for (c, t) in calls.iter().zip(timings) {
        frame.call(c, u);
        t.time += watch.lap();
    }
}
