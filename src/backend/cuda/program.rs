//! From groups of operators to the launches of a step, and the place of every value.
//!
//! Values with one entry for each image live in one arena for the whole batch, by liveness over the launches; sums over
//! images as shards of their own; a state's next value where the state is. A step of training ends with
//! two launches that know each other: beside the sums the loss is accounted for, and the update moves on to the next
//! batch. Does not know how a kernel computes, nor how it is launched.

use std::collections::{BTreeSet, HashMap};

use lenetc_runtime::cuda::{self as runtime, Module, Place, Program};

use super::launches;
use super::planner::Planner;
use super::print;
use super::schedule::{self, Home, Options, THREADS};
use crate::backend::origin::Origin;
use crate::backend::values::{Part, StateLayout, StatePlace, needed_for_eval};
use crate::ir::{Role, Scalar};
use crate::nest::loops::{BufId, Kernel, Space, Stmt, Var};
use crate::nest::{Nest, TensorRole};

/// What a launch does beside its kernel's work, in a block of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Adds up the losses.
    Account,
    /// Moves on to the next batch.
    Advance,
    /// Both, one after the other.
    Close,
}

/// A kernel, and what its buffers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub kernel: Kernel,
    /// The places of the global buffers, in their order.
    pub places: Vec<Place>,
    /// What it computes.
    pub origin: Origin,
    /// What rounds of equal formulas work on.
    pub rounds: Vec<Rounds>,
    pub extra: Option<Extra>,
    /// Whether it leaves sums over the batch.
    pub sums: bool,
    /// Whether it does nothing once a loss was not finite.
    pub stops: bool,
}

impl Unit {
    /// Ends a step: adds up the losses and moves on.
    pub fn close(options: Options) -> Self {
        Self::alone("close", Extra::Close, options)
    }

    /// Moves on to the next batch: all that ends a step without losses.
    pub fn advance(options: Options) -> Self {
        Self::alone("next_batch", Extra::Advance, options)
    }

    fn alone(name: &str, extra: Extra, options: Options) -> Self {
        Self {
            kernel: kernel(name, options),
            places: vec![],
            origin: Origin::default(),
            rounds: vec![],
            extra: Some(extra),
            sums: false,
            stops: false,
        }
    }
}

/// Buffers that change from round to round of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// The loop's variable, which counts the rounds.
    pub var: Var,
    /// The buffers of each round. The loop's body names those of the first.
    pub buffers: Vec<Vec<BufId>>,
}

/// Why a kernel cannot be launched: what it works on is more than can be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// Printed code counts elements, and points of a loop, in 32 bits.
    #[error("{kernel} has a tensor of more than 2^31 elements")]
    Elements { kernel: String },
    /// A driver takes 2^31 - 1 blocks.
    #[error("{kernel} has a grid of more than 2^31 - 1 blocks")]
    Blocks { kernel: String, blocks: u64 },
}

impl TooLarge {
    fn of(unit: &Unit) -> Option<Self> {
        const MOST: u64 = i32::MAX as u64;
        let kernel = unit.kernel.name.clone();
        let blocks = print::grid(unit);
        if unit.kernel.buffers.iter().any(|b| b.len > MOST) {
            return Some(Self::Elements { kernel });
        }
        (blocks > MOST).then_some(Self::Blocks { kernel, blocks })
    }
}

/// Where everything lies, and what is launched, before any code exists.
pub struct Plan {
    pub options: Options,
    pub train: Vec<Unit>,
    pub eval: Vec<Unit>,
    pub states: Vec<StatePlace>,
    pub arena_bytes: u64,
    pub parameter_bytes: u64,
    pub partial_bytes: u64,
}

/// Plans the groups of a graph. One without a loss is evaluated only: it has no step of training.
pub fn plan(step: Part, eval: Option<Part>, options: Options) -> Plan {
    let groups = launches::inline_sources(step.graph, step.groups.to_vec());
    let states = StateLayout::new(step.graph);
    let trained = step.graph.output_for(Role::Loss).is_some();
    let mut train = Planner::new(step.graph, &groups, options, &states);
    if trained {
        train.run();
    }
    let forward = match eval {
        Some(eval) => launches::inline_sources(eval.graph, eval.groups.to_vec()),
        None => {
            let needed = needed_for_eval(step.graph, &groups);
            let groups = groups.iter().zip(needed);
            let needed = groups.filter(|(_, needed)| *needed);
            let needed = needed.map(|(group, _)| group.clone());
            needed.collect()
        }
    };
    let graph = eval.map_or(step.graph, |eval| eval.graph);
    let mut eval = Planner::new(graph, &forward, options, &states);
    eval.run();
    Plan {
        options,
        arena_bytes: train.arena_bytes.max(eval.arena_bytes),
        partial_bytes: train.partial_bytes.max(eval.partial_bytes),
        train: train.units,
        eval: eval.units,
        parameter_bytes: states.bytes,
        states: states.places,
    }
}

impl Plan {
    /// A kernel that works on more than printed code and a grid can count; its program is not to be run.
    pub fn too_large(&self) -> Option<TooLarge> {
        let mut units = self.train.iter().chain(&self.eval);
        units.find_map(TooLarge::of)
    }

    /// The kernels of both steps, each once, in the order of their launches; and the program of those of them that
    /// `keep` says.
    pub fn printed(&self, keep: impl Fn(usize, &Printed) -> bool) -> (Vec<Printed>, Program) {
        let mut kernels = Kernels::default();
        let mut launches = |units: &[Unit]| -> Vec<runtime::Launch> {
            units.iter().map(|u| kernels.launch(u)).collect()
        };
        let (mut train, mut eval) = (launches(&self.train), launches(&self.eval));
        let kernels = kernels.list();
        let kept = kernels.iter().enumerate().filter(|(at, k)| keep(*at, k));
        let kept: Vec<&Printed> = kept.map(|(_, k)| k).collect();
        let names: BTreeSet<&str> = kept.iter().map(|k| k.name.as_str()).collect();
        for list in [&mut train, &mut eval] {
            list.retain(|l| names.contains(l.kernel.as_str()));
        }
        let texts = kept.iter().map(|k| runtime::Kernel {
            name: k.name.clone(),
            text: k.text.clone(),
        });
        let program = Program {
            scalars: Scalar::ALL.iter().map(|s| s.word().into()).collect(),
            functions: print::functions(),
            modules: Module::group(texts.collect(), &train, &eval),
            train,
            eval,
            batch: self.options.batch as usize,
            arena_bytes: self.arena_bytes as usize,
            parameter_bytes: self.parameter_bytes as usize,
            partial_bytes: self.partial_bytes as usize,
        };
        (kernels, program)
    }

    /// The program: the text of its kernels, each once, and the launches of a step.
    pub fn program(&self) -> Program {
        self.printed(|_, _| true).1
    }
}

/// A kernel as CUDA C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    pub name: String,
    pub text: String,
    /// What all its launches compute.
    pub origin: Origin,
}

/// The kernels of a plan as they are printed, each once.
#[derive(Default)]
struct Kernels {
    list: Vec<Printed>,
    /// What each kernel computes, launch by launch.
    origins: Vec<Vec<Origin>>,
    /// Kernels by what their text would be under the name that all of their kind start from.
    known: HashMap<String, usize>,
    /// How many texts there are of a name.
    named: HashMap<String, u32>,
}

impl Kernels {
    /// A launch of a kernel, which joins the list unless one of the same text is there.
    fn launch(&mut self, unit: &Unit) -> runtime::Launch {
        let mut base = unit.kernel.name.clone();
        if print::is_taken(&base) {
            base.push_str("_each");
        }
        let mut printed = print::run(unit, &base);
        let at = match self.known.get(&printed.text) {
            Some(&at) => at,
            None => {
                let number = self.named.entry(base.clone()).or_default();
                *number += 1;
                self.known.insert(printed.text.clone(), self.list.len());
                let mut name = base.clone();
                if *number > 1 {
                    name = format!("{base}_{number}");
                    printed = print::run(unit, &name);
                }
                self.list.push(Printed {
                    name,
                    text: printed.text,
                    origin: Origin::default(),
                });
                self.origins.push(vec![]);
                self.list.len() - 1
            }
        };
        self.origins[at].push(unit.origin.clone());
        runtime::Launch {
            kernel: self.list[at].name.clone(),
            blocks: printed.blocks.try_into().unwrap_or(u32::MAX),
            threads: unit.kernel.threads,
            arguments: printed.arguments,
        }
    }

    /// The kernels with what they compute.
    fn list(self) -> Vec<Printed> {
        let all = self.list.into_iter().zip(self.origins);
        all.map(|(k, origins)| Printed {
            origin: Origin::joined(&origins),
            ..k
        })
        .collect()
    }
}

/// One nest as a kernel of its own, with a buffer for each tensor in their order; and in how many shards each
/// of its sums over images comes.
pub fn single(n: &Nest, options: Options) -> (Kernel, Vec<(crate::nest::TensorId, u32)>) {
    let mut k = kernel(&n.name, options);
    let homes: Vec<Home> = n
        .tensors
        .iter()
        .map(|t| match t.role {
            TensorRole::Temp => Home::Register(k.reg(&t.name, &[])),
            _ => {
                let images = if t.ty.is_batch() { options.batch } else { 1 };
                let len = t.ty.elements() * u64::from(images);
                Home::Memory(k.buffer(&t.name, t.ty.dtype, len, Space::Global))
            }
        })
        .collect();
    let done = schedule::run(n, &mut k, &homes, options, None, None);
    k.body = done.parts.into_iter().map(part).collect();
    (k, done.shards)
}

pub(super) fn kernel(name: &str, options: Options) -> Kernel {
    let mut k = Kernel::new(name, 1);
    k.threads = THREADS;
    k.valid = Some((k.var("valid"), options.batch));
    k
}

pub(super) fn part(p: schedule::Part) -> Stmt {
    Stmt::For {
        dims: p.dims,
        kind: p.kind,
        body: p.body,
    }
}
