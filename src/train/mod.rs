//! Training and evaluation of a compiled model: the loop over batches, its metrics, weights in and out.
//!
//! Everything that happens is told to a [`Watcher`]; this module prints nothing. Batches follow Philox's
//! permutation of each epoch, losses are summed in f64 in the order of the examples, so a run depends on the seed
//! and not on the number of threads. The same loop runs on the processor and on a GPU.

mod data;
mod epochs;
mod executor;
mod failed;
mod initial;
mod metrics;
mod numbers;
mod open;
mod order;
mod rate;
mod shares;
mod source;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use lenetc_runtime::cuda::{CudaError, Device, Engine, Program};
use lenetc_runtime::exec::{Examples, Machine, Mode};
use lenetc_runtime::files::WriteError;
use lenetc_runtime::weights::{self, Tensor, WeightsError};

use crate::backend::StatePlace;
use crate::backend::cpu::tune::Tuned;
use crate::backend::cpu::{Isa, Plan};
use crate::diag;
use crate::ir::StateKind;
use crate::passes::config::Config;
use epochs::{Loop, evaluate};
use executor::{EVAL_BATCH, Executor, Gpu, Processor};
use initial::{mismatches, start};

pub use data::{Loaded, Set, load, open, wanted};
pub use failed::Failed;
pub use metrics::Metrics;
pub use numbers::{Numbers, Start};
pub use open::{On, Prepared, Purpose, Refused, Setup};
pub use rate::{Rate, whole_batches};
pub use source::Source;

/// Why a run ends early. Each is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Data(String),
    /// The model names no data: what to write.
    #[error("{0}")]
    NoData(String),
    #[error("{why} for a batch of {batch}: --set train.batch_size= makes it smaller")]
    TooLarge { why: String, batch: u32 },
    #[error("cannot use the weights in {path}: {reason}")]
    Weights { path: String, reason: String },
    /// The reason begins with the file's name.
    #[error("cannot use the weights in {0}")]
    WeightsFile(#[from] WeightsError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the loss of step {step} is {loss}: lower the learning rate, or look at the data")]
    NotFinite { step: u64, loss: f64 },
    #[error(
        "the model has no parameters, so there is nothing to train: a Conv2d or a Linear has some; \
         `lenetc eval` gives the loss of the model as it is"
    )]
    NoParameters,
    #[error(
        "a batch of the epoch has {}, and a batch norm of one value an image takes {least} or more: choose another \
         train.batch_size",
        diag::count(*smallest as u64, "image")
    )]
    FewImages { smallest: usize, least: usize },
    #[error("the model needs {need} MiB of memory, the machine has {have} MiB")]
    Memory { need: u64, have: u64 },
    #[error("cannot generate code: {0}")]
    Code(String),
    #[error("cannot start {}: {reason}", diag::count(*threads as u64, "thread"))]
    Threads { threads: usize, reason: String },
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

/// What a run is asked for beside the model.
#[derive(Clone, Default)]
pub struct Options {
    /// Stop after so many updates.
    pub steps: Option<u64>,
    /// Where the weights go once the last step is made, before the last test pass.
    pub save: Option<PathBuf>,
    pub metrics: Option<Metrics>,
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

/// What a run is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Steps of an epoch.
    Steps,
    /// The test pass after an epoch that others follow; a run that is stopped leaves it.
    Test,
    Save,
    /// The test pass that the run ends with; whether the weights are written.
    LastTest {
        saved: bool,
    },
}

/// Is told nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn doing(&mut self, _: Doing) {}
    fn warning(&mut self, _: &str) {}
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, _: f64) {}
    fn epoch(&mut self, _: &Epoch, _: u32) {}
}

/// Is told what happens.
pub trait Watcher {
    /// From here on the run does this.
    fn doing(&mut self, what: Doing);
    /// Something went wrong that the run goes on without; it is an error at the end.
    fn warning(&mut self, text: &str);
    /// `done` of `all` examples of an epoch are through.
    fn progress(&mut self, epoch: u32, done: usize, all: usize, loss: f64);
    /// A step whose loss the model asks to see.
    fn step(&mut self, step: u64, loss: f64);
    /// An epoch is complete.
    fn epoch(&mut self, e: &Epoch, of: u32);
}

/// A compiled model with its memory, what it runs on, and its data.
pub struct Session {
    target: Target,
    pub states: Vec<StatePlace>,
    pub data: Loaded,
    pub config: Config,
    /// Steps of training so far.
    steps: u64,
    /// What tuning did, where it was asked for.
    pub tuned: Option<Tuned>,
}

/// What a session runs on.
enum Target {
    Cpu {
        machine: Box<Machine>,
        pool: rayon::ThreadPool,
        isa: Isa,
    },
    Cuda(Box<Engine>),
}

impl Session {
    /// Compiles a plan for the processor and allocates its memory. Parameters are zero.
    pub fn new(
        plan: &Plan,
        data: Loaded,
        config: Config,
        threads: usize,
    ) -> Result<Self, RunError> {
        let need = plan.run_bytes(config.batch_size.max(EVAL_BATCH as u32), threads);
        if let Some(have) = memory_bytes().filter(|&have| need > have) {
            return Err(RunError::Memory {
                need: need >> 20,
                have: have >> 20,
            });
        }
        let program = plan.compile().map_err(|e| RunError::Code(e.to_string()))?;
        let session = Self {
            target: Target::Cpu {
                machine: Box::new(Machine::new(program, threads)),
                pool: pool(threads)?,
                isa: plan.isa,
            },
            states: plan.states.clone(),
            data,
            config,
            steps: 0,
            tuned: None,
        };
        session.with_loss()
    }

    /// Compiles a program for a GPU, whose states lie as said, and copies the data there. Parameters are zero.
    pub fn on_gpu(
        device: &Device,
        program: Program,
        states: Vec<StatePlace>,
        data: Loaded,
        config: Config,
    ) -> Result<Self, RunError> {
        let test = data.test.as_ref().map(Set::examples);
        let engine = Engine::new(device, program, data.train.examples(), test)?;
        let session = Self {
            target: Target::Cuda(Box::new(engine)),
            states,
            data,
            config,
            steps: 0,
            tuned: None,
        };
        session.with_loss()
    }

    /// The GPU that it runs on.
    pub fn gpu(&self) -> Option<&Engine> {
        match &self.target {
            Target::Cpu { .. } => None,
            Target::Cuda(engine) => Some(engine),
        }
    }

    /// The instruction set that the processor's part is compiled for.
    pub fn isa(&self) -> Isa {
        match self.target {
            Target::Cpu { isa, .. } => isa,
            Target::Cuda(_) => Isa::Cranelift,
        }
    }

    /// Draws the initial values.
    pub fn initialise(&mut self) -> Result<(), RunError> {
        let seed = self.config.seed;
        self.set(|states, all| {
            for (place, state) in (0..).zip(states) {
                start(&state.info, seed, place, &mut all[floats(state)]);
            }
        })
    }

    /// With the numbers of the loss, which no file holds: an evaluation reads them too.
    fn with_loss(mut self) -> Result<Self, RunError> {
        let is_loss = |state: &StatePlace| state.info.kind == StateKind::Loss;
        if self.states.iter().any(is_loss) {
            self.set(|states, all| {
                for state in states.iter().filter(|state| is_loss(state)) {
                    start(&state.info, 0, 0, &mut all[floats(state)]);
                }
            })?;
        }
        Ok(self)
    }

    /// Takes all parameters from a file; names and shapes must match. What was converted, a sentence for each type.
    pub fn load_weights(&mut self, path: &std::path::Path) -> Result<Vec<String>, RunError> {
        let stored = weights::read(path)?;
        let expected: Vec<&StatePlace> = self.stored().collect();
        let problems = mismatches(&expected, &stored);
        if !problems.is_empty() {
            return Err(RunError::Weights {
                path: path.display().to_string(),
                reason: problems.join("; "),
            });
        }
        let tensors = stored.tensors;
        self.set(|states, all| {
            for state in states.iter().filter(|state| is_stored(state)) {
                let from = tensors.iter().find(|t| t.name == state.info.name);
                match from {
                    Some(tensor) => all[floats(state)].copy_from_slice(&tensor.data),
                    // A count that older files lack.
                    None => all[floats(state)].fill(0.0),
                }
            }
        })?;
        Ok(stored.notes)
    }

    /// Changes the states where they lie in their region.
    fn set(&mut self, change: impl FnOnce(&[StatePlace], &mut [f32])) -> Result<(), RunError> {
        match &mut self.target {
            Target::Cpu { machine, .. } => change(&self.states, machine.parameters_mut()),
            Target::Cuda(engine) => {
                let mut all = engine.parameters()?;
                change(&self.states, &mut all);
                engine.set_parameters(&all)?;
            }
        }
        Ok(())
    }

    /// Writes all parameters.
    pub fn save_weights(&self, path: &std::path::Path) -> Result<(), RunError> {
        Ok(weights::save(path, &self.tensors()?)?)
    }

    /// The parameters by name.
    pub fn tensors(&self) -> Result<Vec<Tensor>, RunError> {
        let all = match &self.target {
            Target::Cpu { machine, .. } => Cow::Borrowed(machine.parameters()),
            Target::Cuda(engine) => Cow::Owned(engine.parameters()?),
        };
        let tensor = |state: &StatePlace| Tensor {
            name: state.info.name.clone(),
            shape: state.dims(),
            data: all[floats(state)].to_vec(),
        };
        Ok(self.stored().map(tensor).collect())
    }

    /// The states that a weights file holds.
    fn stored(&self) -> impl Iterator<Item = &StatePlace> {
        self.states.iter().filter(|state| is_stored(state))
    }

    /// Whether the model has parameters.
    pub fn has_parameters(&self) -> bool {
        let mut states = self.states.iter();
        states.any(|state| state.info.kind == StateKind::Parameter)
    }

    /// Whether there is something to train.
    pub fn trainable(&self) -> Result<(), RunError> {
        match self.has_parameters() {
            true => Ok(()),
            false => Err(RunError::NoParameters),
        }
    }

    /// Trains; `stop` ends the run after the steps that are under way. Then the weights are saved, and tested at last:
    /// who cannot wait for the end of that has them. Fails where there is nothing to train. Weights that cannot be
    /// saved are told at once and fail at the end.
    pub fn train(
        &mut self,
        o: &Options,
        stop: &AtomicBool,
        watcher: &mut (dyn Watcher + Send),
    ) -> Result<Summary, Box<Failed>> {
        self.trainable()?;
        let metrics = o.metrics.as_ref();
        let earlier = self.steps;
        let ended = self.execute(|executor, data, config| {
            let steps = o.steps.unwrap_or(u64::MAX);
            let runs = Loop::new(executor, (data, config), stop, metrics, watcher);
            runs.after(earlier).run(steps)
        });
        if let Some(metrics) = metrics {
            metrics.flush();
        }
        let mut ended = ended?;
        self.steps += ended.summary.steps;
        let saved = o.save.as_ref().map(|path| {
            watcher.doing(Doing::Save);
            self.save_weights(path)
        });
        let mut tested = Ok(());
        if ended.untested {
            if let (Some(Err(e)), Some(_)) = (&saved, &self.data.test) {
                watcher.warning(&format!("{e}; the test pass goes on"));
            }
            let saved = matches!(saved, Some(Ok(())));
            watcher.doing(Doing::LastTest { saved });
            tested = self.test_last(&mut ended.summary);
            ended.summary.interrupted |= stop.load(Ordering::Relaxed);
            epochs::tell(&ended.summary, &self.config, metrics, watcher);
        }
        let finished = metrics.map_or(Ok(()), Metrics::finish);
        let all = [
            saved.unwrap_or(Ok(())),
            tested,
            finished.map_err(Into::into),
        ];
        Failed::any(ended.summary, all.into_iter().filter_map(Result::err))
    }

    /// The test pass of a run's last epoch, where there is a test set.
    fn test_last(&mut self, summary: &mut Summary) -> Result<(), RunError> {
        let last = &mut summary.last;
        self.execute(|executor, data, config| epochs::test(executor, data, config, None, last))
            .map(drop)
    }

    /// Mean loss and accuracy over the test set, or the training set where there is none.
    pub fn evaluate(&mut self) -> Result<(f64, Option<f64>), RunError> {
        self.execute(|executor, data, config| {
            let means = evaluate(executor, data.tested(), config, None)?;
            Ok(means.map_or((0.0, None), |m| (m.loss, m.acc)))
        })
    }

    /// Examples a second, over ten parts of `seconds`, each of whole batches.
    pub fn rate(&mut self, mode: Mode, seconds: f64) -> Result<Rate, RunError> {
        self.execute(|executor, data, config| rate::measure(executor, data, config, mode, seconds))
    }

    /// Runs one step of training.
    pub fn step(&mut self) -> Result<(), RunError> {
        self.execute(|executor, data, config| rate::step(executor, data, config))
    }

    /// Runs `work` with what runs steps, on the processor inside the pool: a fork from outside costs ten times one from
    /// inside.
    fn execute<T: Send>(
        &mut self,
        work: impl FnOnce(&mut dyn Executor, &Loaded, &Config) -> T + Send,
    ) -> T {
        let (data, config) = (&self.data, &self.config);
        match &mut self.target {
            Target::Cpu { machine, pool, .. } => pool.install(|| {
                let batch = config.batch_size as usize;
                work(&mut Processor::new(machine, data, batch), data, config)
            }),
            Target::Cuda(engine) => work(&mut Gpu::new(engine), data, config),
        }
    }

    /// Runs `step` inside the pool with the machine and the training examples; `None` on a GPU.
    pub fn with<T: Send>(
        &mut self,
        step: impl FnOnce(&mut Machine, Examples) -> T + Send,
    ) -> Option<T> {
        match &mut self.target {
            Target::Cpu { machine, pool, .. } => {
                let data = &self.data;
                Some(pool.install(|| step(machine, data.train.examples())))
            }
            Target::Cuda(_) => None,
        }
    }

    /// The same inside a pool of one thread.
    pub fn with_one_thread<T: Send>(
        &mut self,
        step: impl FnOnce(&mut Machine, Examples) -> T + Send,
    ) -> Result<Option<T>, RunError> {
        let alone = pool(1)?;
        Ok(self.with(|machine, examples| alone.install(|| step(machine, examples))))
    }
}

fn pool(threads: usize) -> Result<rayon::ThreadPool, RunError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| RunError::Threads {
        threads,
        reason: e.to_string(),
    })
}

/// Whether a weights file holds a state: those of the optimizer and of the loss are not the model's.
fn is_stored(state: &StatePlace) -> bool {
    matches!(state.info.kind, StateKind::Parameter | StateKind::Buffer)
}

/// Where a state lies among all.
fn floats(state: &StatePlace) -> std::ops::Range<usize> {
    let len: usize = state.dims().iter().product();
    let start = state.offset_bytes / 4;
    start..start + len
}

fn accuracy(c: &Config) -> bool {
    c.loss.metric().is_some()
}

/// Memory of the machine, where it says.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
