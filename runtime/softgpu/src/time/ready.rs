//! When each warp of a block has its registers ready, and so how long a block takes when it is alone on a
//! multiprocessor: its span. Between two barriers a block takes as long as its slowest warp waits for operands, or as
//! long as the pipes need for all of its warps, whichever is longer. Knows no other blocks.

use super::plan::{MEMORY_UNIT, Merge, OF_SCHEDULER, Order, PIPES, PORT, Plan, SPACES};
use super::rates::Rates;

/// What an access took, as the caches and banks say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accessed {
    /// Cycles to the result.
    pub latency: f32,
    /// Cycles of the load and store unit.
    pub unit: f32,
    /// Bytes from or to the L2.
    pub port_bytes: u64,
}

/// A warp's time, in cycles from the block's start.
struct Warp {
    /// Straight code started here.
    start: f64,
    /// The latest issue of it.
    last: f64,
    /// Cycles of its scheduler's pipes for it.
    busy: [f64; OF_SCHEDULER],
    ready: Vec<f64>,
    /// The latest issue of a load and of a store, by space.
    loaded: [f64; SPACES],
    stored: [f64; SPACES],
}

impl Warp {
    /// Ends straight code: all of it is issued before what follows.
    fn close(&mut self) {
        let busy = self.busy.iter().copied().fold(0.0, f64::max);
        self.go_on(self.last.max(self.start + busy));
    }

    /// When an access goes that could at `at`.
    fn in_order(&mut self, order: Order, at: f64) -> f64 {
        match order {
            Order::Free => at,
            Order::Load(space) => {
                let at = at.max(self.stored[space]);
                self.loaded[space] = self.loaded[space].max(at);
                at
            }
            Order::Store(space) => {
                let at = at.max(self.stored[space]).max(self.loaded[space]);
                self.stored[space] = at;
                at
            }
        }
    }

    fn go_on(&mut self, at: f64) {
        self.start = at;
        self.last = at;
        self.busy = [0.0; OF_SCHEDULER];
    }
}

/// What a block takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BlockTime {
    /// Cycles from its start to its end, alone.
    pub span: f64,
    /// Cycles of each pipe.
    pub work: [f64; PIPES],
}

pub struct Clock {
    pub plan: Plan,
    rates: Rates,
    warps: Vec<Warp>,
    /// Since the last barrier.
    since: f64,
    work: [f64; PIPES],
    done: BlockTime,
}

impl Clock {
    pub fn new(plan: Plan, rates: Rates, warps: usize) -> Self {
        let warp = || Warp {
            start: 0.0,
            last: 0.0,
            busy: [0.0; OF_SCHEDULER],
            ready: vec![0.0; plan.registers],
            loaded: [0.0; SPACES],
            stored: [0.0; SPACES],
        };
        Self {
            warps: (0..warps).map(|_| warp()).collect(),
            plan,
            rates,
            since: 0.0,
            work: [0.0; PIPES],
            done: BlockTime::default(),
        }
    }

    /// A warp has executed the instruction at `pc`; `accessed` is what its access took, where it made one. The
    /// instructions issued.
    pub fn step(&mut self, warp: u32, pc: u32, accessed: Option<Accessed>) -> u32 {
        let step = &self.plan.steps[pc as usize];
        let warp = &mut self.warps[warp as usize];
        if step.starts {
            warp.close();
        }
        let ready = step
            .reads
            .iter()
            .map(|&register| warp.ready[register as usize]);
        let at = warp.in_order(step.order, ready.fold(warp.start, f64::max));
        let latency = accessed.map_or(step.latency, |accessed| accessed.latency);
        for &register in &step.writes {
            warp.ready[register as usize] = at + f64::from(latency);
        }
        // A load that goes with another has no instruction of its own.
        if matches!(step.merge, Merge::Follows(_)) && accessed.is_none() {
            return 0;
        }
        if step.issues > 0 {
            warp.last = warp.last.max(at);
        }
        for (busy, work) in warp.busy.iter_mut().zip(step.work) {
            *busy += f64::from(work * self.rates.schedulers);
        }
        for (sum, work) in self.work.iter_mut().zip(step.work) {
            *sum += f64::from(work);
        }
        if let Some(accessed) = accessed {
            self.work[MEMORY_UNIT] += f64::from((accessed.unit - step.work[MEMORY_UNIT]).max(0.0));
            self.work[PORT] += accessed.port_bytes as f64 / f64::from(self.rates.port_bytes);
        }
        step.issues
    }

    /// A warp has arrived at a barrier.
    pub fn arrive(&mut self, warp: u32) {
        self.warps[warp as usize].close();
    }

    /// A barrier lets these warps go on.
    pub fn release(&mut self, warps: &[u32], is_whole_block: bool) {
        let arrived = warps.iter().map(|&warp| self.warps[warp as usize].start);
        let mut at = arrived.fold(self.since, f64::max);
        if is_whole_block {
            at = at.max(self.settle());
            self.since = at;
        }
        let go_on = at + f64::from(self.rates.latency.barrier);
        for &warp in warps {
            self.warps[warp as usize].go_on(go_on);
        }
    }

    /// When the pipes are done with the work since the last barrier, which is added up.
    fn settle(&mut self) -> f64 {
        let mut longest = 0.0f64;
        for (sum, work) in self.done.work.iter_mut().zip(&mut self.work) {
            longest = longest.max(*work);
            *sum += std::mem::take(work);
        }
        self.since + longest
    }

    /// Ends the block.
    pub fn finish(&mut self) -> BlockTime {
        let mut end = self.settle();
        for warp in &mut self.warps {
            warp.close();
            end = end.max(warp.start);
            warp.go_on(0.0);
            warp.ready.fill(0.0);
            warp.loaded = [0.0; SPACES];
            warp.stored = [0.0; SPACES];
        }
        self.since = 0.0;
        let work = std::mem::take(&mut self.done).work;
        BlockTime { span: end, work }
    }
}
