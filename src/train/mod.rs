//! Training and evaluation of a compiled model: the loop over batches, its metrics, weights in and out.
//!
//! Everything that happens is told to a [`Watcher`]; this module prints nothing. Batches follow Philox's
//! permutation of each epoch, losses are summed in f64 in the order of the examples, so a run depends on the seed
//! and not on the number of threads.

mod data;
mod metrics;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lenetc_runtime::exec::{Examples, Machine, Mode};
use lenetc_runtime::init::{self, Init};
use lenetc_runtime::rng;
use lenetc_runtime::weights::{self, Tensor};

use crate::backend::ParameterPlace;
use crate::backend::cpu::Plan;
use crate::passes::build::{Built, ParameterInfo};
use crate::passes::config::{Config, Initial, Loss};

pub use data::{Loaded, Set, load};
pub use metrics::Metrics;

/// Images of a batch when nothing is learned.
const EVAL_BATCH: usize = 1024;

/// Why a run ends early. Each is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Data(String),
    #[error("cannot use the weights in {path}: {reason}")]
    Weights { path: String, reason: String },
    #[error("cannot write {path}: {reason}")]
    Write { path: String, reason: String },
    #[error("the loss of step {step} is {loss}: lower the learning rate, or look at the data")]
    NotFinite { step: u64, loss: f64 },
    #[error("the model needs {need} MiB of memory, the machine has {have} MiB")]
    Memory { need: u64, have: u64 },
    #[error("cannot generate code: {0}")]
    Code(String),
    #[error("cannot start {threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
}

/// What a run is asked for beside the model.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub threads: usize,
    /// Stop after so many updates.
    pub steps: Option<u64>,
    pub weights: Option<PathBuf>,
    pub save: Option<PathBuf>,
    pub metrics: Option<PathBuf>,
}

/// What an epoch gave; of the test set where there is one. No accuracy where there are no classes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epoch {
    pub epoch: u32,
    pub train_loss: f64,
    pub train_acc: Option<f64>,
    pub test_loss: Option<f64>,
    pub test_acc: Option<f64>,
    pub examples_per_sec: f64,
    pub seconds: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// The last epoch; its training figures cover `covered` of its `examples`.
    pub last: Epoch,
    pub covered: usize,
    pub examples: usize,
    pub steps: u64,
    pub examples_per_sec: f64,
    pub interrupted: bool,
}

/// Is told what happens.
pub trait Watcher {
    /// `done` of `all` examples of an epoch are through.
    fn progress(&mut self, epoch: u32, done: usize, all: usize, loss: f64);
    /// A step whose loss the model asks to see.
    fn step(&mut self, step: u64, loss: f64);
    /// An epoch is complete.
    fn epoch(&mut self, e: &Epoch, of: u32);
}

/// A compiled model with its memory, its threads and its data.
pub struct Session {
    machine: Machine,
    pool: rayon::ThreadPool,
    pub parameters: Vec<ParameterPlace>,
    pub data: Loaded,
    pub config: Config,
}

impl Session {
    /// Compiles a plan and allocates its memory. Parameters are zero.
    pub fn new(
        plan: &Plan,
        data: Loaded,
        config: Config,
        threads: usize,
    ) -> Result<Self, RunError> {
        let need = plan.bytes(config.batch_size.max(EVAL_BATCH as u32), threads);
        if let Some(have) = memory_bytes().filter(|&have| need > have) {
            return Err(RunError::Memory {
                need: need >> 20,
                have: have >> 20,
            });
        }
        let program = plan.compile().map_err(|e| RunError::Code(e.to_string()))?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| RunError::Threads {
            threads,
            reason: e.to_string(),
        })?;
        Ok(Self {
            machine: Machine::new(program, threads),
            pool,
            parameters: plan.parameters.clone(),
            data,
            config,
        })
    }

    /// Draws the initial values.
    pub fn initialise(&mut self, infos: &[ParameterInfo]) {
        for p in &self.parameters {
            let info = &infos[p.place as usize];
            let out = self.machine.parameter_mut(p.offset_bytes, elements(p));
            init::fill(
                distribution(self.config.initial, info),
                self.config.seed,
                p.place,
                out,
            );
        }
    }

    /// Takes all parameters from a file; names and shapes must match.
    pub fn load_weights(&mut self, path: &std::path::Path) -> Result<(), RunError> {
        let wrong = |reason: String| RunError::Weights {
            path: path.display().to_string(),
            reason,
        };
        let tensors = weights::load(path).map_err(|e| wrong(e.to_string()))?;
        let problems = mismatches(&self.parameters, &tensors);
        if !problems.is_empty() {
            return Err(wrong(problems.join("; ")));
        }
        for p in &self.parameters {
            let from = tensors.iter().find(|t| t.name == p.name);
            let out = self.machine.parameter_mut(p.offset_bytes, elements(p));
            out.copy_from_slice(from.map_or(&[], |t| t.data.as_slice()));
        }
        Ok(())
    }

    /// Writes all parameters.
    pub fn save_weights(&self, path: &std::path::Path) -> Result<(), RunError> {
        weights::save(path, &self.tensors()).map_err(|e| RunError::Write {
            path: path.display().to_string(),
            reason: e.to_string(),
        })
    }

    /// The parameters by name.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.parameters
            .iter()
            .map(|p| Tensor {
                name: p.name.clone(),
                shape: p.dims.iter().map(|&d| d as usize).collect(),
                data: self.machine.parameter(p.offset_bytes, elements(p)).to_vec(),
            })
            .collect()
    }

    /// Trains; `stop` ends the run after the step that is under way.
    pub fn train(
        &mut self,
        o: &Options,
        stop: &AtomicBool,
        watcher: &mut (dyn Watcher + Send),
    ) -> Result<Summary, RunError> {
        let mut metrics = Metrics::create(o.metrics.as_deref())?;
        let Self {
            machine,
            pool,
            data,
            config,
            ..
        } = self;
        // The loop runs inside the pool: a fork from outside costs ten times one from inside.
        pool.install(|| {
            Loop {
                machine,
                data,
                config,
                stop,
                metrics: &mut metrics,
                watcher,
                summary: Summary::default(),
                spent: Duration::ZERO,
                used: 0,
            }
            .run(o.steps.unwrap_or(u64::MAX))
        })
    }

    /// Mean loss and accuracy over the test set, or the training set where there is none.
    pub fn evaluate(&mut self) -> (f64, Option<f64>) {
        let Self {
            machine,
            pool,
            data,
            config,
            ..
        } = self;
        pool.install(|| {
            let set = data.test.as_ref().unwrap_or(&data.train);
            evaluate(machine, set.examples(), accuracy(config))
        })
    }

    /// Runs `step` inside the pool with the machine and the training examples.
    pub fn with<T: Send>(&mut self, step: impl FnOnce(&mut Machine, Examples) -> T + Send) -> T {
        let (machine, data) = (&mut self.machine, &self.data);
        self.pool.install(|| step(machine, data.train.examples()))
    }
}

fn elements(p: &ParameterPlace) -> usize {
    p.dims.iter().map(|&d| d as usize).product()
}

fn accuracy(c: &Config) -> bool {
    c.loss == Loss::CrossEntropy
}

/// Memory of the machine, where it says.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn distribution(initial: Initial, p: &ParameterInfo) -> Init {
    let torch = Init::Uniform {
        bound: 1.0 / (p.fan_in as f32).sqrt(),
    };
    match initial {
        Initial::Constant(c) => Init::Constant(c),
        _ if p.bias => torch,
        Initial::XavierUniform => Init::Uniform {
            bound: (6.0 / (p.fan_in + p.fan_out) as f32).sqrt(),
        },
        Initial::TorchDefault => torch,
        Initial::Normal { std } => Init::Normal { std },
    }
}

/// What keeps a weights file from being this model's: a clause for each kind of difference.
fn mismatches(expected: &[ParameterPlace], got: &[Tensor]) -> Vec<String> {
    let find = |name: &str| got.iter().find(|t| t.name == name);
    let missing = expected
        .iter()
        .filter(|p| find(&p.name).is_none())
        .map(|p| p.name.clone());
    let unknown = got
        .iter()
        .filter(|t| expected.iter().all(|p| p.name != t.name))
        .map(|t| t.name.clone());
    let misshapen = expected.iter().filter_map(|p| {
        let dims: Vec<usize> = p.dims.iter().map(|&d| d as usize).collect();
        let t = find(&p.name).filter(|t| t.shape != dims)?;
        Some(format!("{} is {:?} for {dims:?}", p.name, t.shape))
    });
    [
        ("missing: ", listed(missing)),
        ("not in the model: ", listed(unknown)),
        ("of another shape: ", listed(misshapen)),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(what, list)| format!("{what}{list}"))
    .collect()
}

/// The first few, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    let list = names[..names.len() - more].join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

fn evaluate(machine: &mut Machine, examples: Examples, accuracy: bool) -> (f64, Option<f64>) {
    let mut loss = 0.0;
    let mut correct = 0.0;
    let all: Vec<u32> = (0..examples.len as u32).collect();
    for batch in all.chunks(EVAL_BATCH) {
        machine.run(Mode::Eval, examples, batch, 0.0);
        loss += sum(machine.losses());
        correct += sum(machine.correct());
    }
    let n = examples.len as f64;
    (loss / n, accuracy.then_some(correct / n))
}

fn sum(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v)).sum()
}

struct Loop<'a> {
    machine: &'a mut Machine,
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

impl Loop<'_> {
    fn run(mut self, steps: u64) -> Result<Summary, RunError> {
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
        let (n, repeats) = (self.data.train.len(), self.data.permutations);
        let all = n * repeats;
        let (mut loss, mut correct, mut covered) = (0.0, 0.0, 0);
        let started = (Instant::now(), self.spent, self.used);
        let mut complete = true;
        // Batches run on from one permutation into the next: a small rest after each would be a noisy step.
        let permutations = (0..repeats).map(|k| (epoch - 1) * repeats as u32 + k as u32);
        let order: Vec<u32> = permutations.flat_map(|p| self.order(p, n)).collect();
        for batch in order.chunks(self.config.batch_size as usize) {
            if self.summary.steps == steps || self.stop.load(Ordering::Relaxed) {
                complete = false;
                break;
            }
            let (batch_loss, right) = self.step(epoch, batch)?;
            loss += batch_loss;
            correct += right;
            covered += batch.len();
            self.watcher
                .progress(epoch, covered, all, loss / covered as f64);
        }
        // What a stopped run shows is about the steps since the last epoch, if there were any.
        if complete || covered > 0 {
            let (test_loss, test_acc) = match &self.data.test {
                Some(t) => {
                    let (loss, acc) = evaluate(self.machine, t.examples(), accuracy(self.config));
                    (Some(loss), acc)
                }
                None => (None, None),
            };
            let mean = |x: f64| x / covered.max(1) as f64;
            let time = (self.spent - started.1).as_secs_f64().max(1e-9);
            self.summary.last = Epoch {
                epoch,
                train_loss: mean(loss),
                train_acc: accuracy(self.config).then_some(mean(correct)),
                test_loss,
                test_acc,
                examples_per_sec: (self.used - started.2) as f64 / time,
                seconds: started.0.elapsed().as_secs_f64(),
            };
            (self.summary.covered, self.summary.examples) = (covered, all);
        }
        Ok(complete)
    }

    fn order(&self, permutation: u32, n: usize) -> Vec<u32> {
        if self.config.shuffle {
            rng::permutation(self.config.seed, permutation, n as u32)
        } else {
            (0..n as u32).collect()
        }
    }

    /// One update: the sum of the batch's losses before it, and the number of right answers.
    fn step(&mut self, epoch: u32, batch: &[u32]) -> Result<(f64, f64), RunError> {
        let start = Instant::now();
        let examples = self.data.train.examples();
        self.machine
            .run(Mode::Train, examples, batch, self.config.learning_rate);
        self.spent += start.elapsed();
        self.used += batch.len();
        self.summary.steps += 1;
        let total = sum(self.machine.losses());
        let loss = match self.config.loss {
            Loss::Mse { mean: false } => total,
            _ => total / batch.len() as f64,
        };
        let step = self.summary.steps;
        self.metrics.step(step, epoch, loss)?;
        if self.config.print_every > 0 && step.is_multiple_of(self.config.print_every) {
            self.watcher.step(step, loss);
        }
        if loss.is_finite() {
            Ok((total, sum(self.machine.correct())))
        } else {
            Err(RunError::NotFinite { step, loss })
        }
    }
}

/// The shapes that the data must have, checked before anything runs.
pub fn check_data(data: &Loaded, built: &Built, config: &Config) -> Result<(), RunError> {
    for (what, set) in [
        ("training", Some(&data.train)),
        ("test", data.test.as_ref()),
    ] {
        if let Some(set) = set {
            set.check(what, &built.input, &built.output, config.loss)
                .map_err(RunError::Data)?;
        }
    }
    Ok(())
}
