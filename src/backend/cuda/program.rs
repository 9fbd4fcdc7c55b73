//! From groups of operators to the launches of a step, and the place of every value.
//!
//! Values with one entry for each image live in one arena for the whole batch, by liveness over the launches; sums over
//! images as shards of their own; a parameter's next value where the parameter is. A step of training ends with
//! two launches that know each other: beside the sums the loss is accounted for, and the update moves on to the next
//! batch. Does not know how a kernel computes, nor how it is launched.

use std::collections::BTreeMap;

use lenetc_runtime::cuda::{self as runtime, Module, Place, Program};

use super::launches::{self, Launch};
use super::print;
use super::schedule::{self, Home, Images, Options, THREADS};
use crate::backend::memory::{self, Interval};
use crate::backend::origin::Origin;
use crate::backend::values::{self, ParameterPlace, needed_for_eval};
use crate::ir::{Leading, NodeId, NodeKind, Role, Source, Value};
use crate::nest::loops::{BufId, Dim, Kernel, Kind, Space, Stmt};
use crate::nest::{Affine, Nest, TensorRole};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// Images that a block of a chain has to itself, at most.
const MOST_IMAGES: u32 = 8;
/// Blocks of a chain, where the batch has enough images.
const CHAIN_BLOCKS: u32 = 32;

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
    pub extra: Option<Extra>,
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
            extra: Some(extra),
            stops: false,
        }
    }
}

/// Where everything lies, and what is launched, before any code exists.
pub struct Plan {
    pub options: Options,
    pub train: Vec<Unit>,
    pub eval: Vec<Unit>,
    pub parameters: Vec<ParameterPlace>,
    pub arena_bytes: u64,
    pub parameter_bytes: u64,
    pub partial_bytes: u64,
}

/// Plans the groups of a graph. One without a loss is evaluated only: it has no step of training.
pub fn plan(g: &Graph, groups: &[Group], options: Options) -> Plan {
    let groups = launches::inline_sources(g, groups.to_vec());
    let needed = needed_for_eval(g, &groups);
    let mut forward = groups.clone();
    let mut needed = needed.into_iter();
    forward.retain(|_| needed.next() == Some(true));
    let (parameters, parameter_bytes) = values::parameters(g);
    let trained = g.output_for(Role::Loss).is_some();
    let mut train = Planner::new(g, &groups, options, &parameters);
    if trained {
        train.run();
    }
    let mut eval = Planner::new(g, &forward, options, &parameters);
    eval.run();
    Plan {
        options,
        arena_bytes: train.arena_bytes.max(eval.arena_bytes),
        partial_bytes: train.partial_bytes,
        train: train.units,
        eval: eval.units,
        parameters: parameters.into_iter().map(|p| p.1).collect(),
        parameter_bytes,
    }
}

impl Plan {
    /// A kernel with a buffer whose elements 32 bits cannot count, as printed code counts them.
    pub fn too_large(&self) -> Option<&str> {
        let counts = |k: &Kernel| k.buffers.iter().all(|b| b.len <= i32::MAX as u64);
        let mut units = self.train.iter().chain(&self.eval);
        let found = units.find(|u| !counts(&u.kernel));
        found.map(|u| u.kernel.name.as_str())
    }

    /// The kernels of both steps, each once, in the order of their launches; and the program of those of them that
    /// `keep` says.
    pub fn printed(&self, keep: impl Fn(usize, &Printed) -> bool) -> (Vec<Printed>, Program) {
        let mut kernels = Vec::new();
        let mut launches = |units: &[Unit]| -> Vec<runtime::Launch> {
            units.iter().map(|u| launch(u, &mut kernels)).collect()
        };
        let (mut train, mut eval) = (launches(&self.train), launches(&self.eval));
        let kept = kernels.iter().enumerate().filter(|(at, k)| keep(*at, k));
        let kept: Vec<&Printed> = kept.map(|(_, k)| k).collect();
        for list in [&mut train, &mut eval] {
            list.retain(|l| kept.iter().any(|k| k.name == l.kernel));
        }
        let texts = kept.iter().map(|k| runtime::Kernel {
            name: k.name.clone(),
            text: k.text.clone(),
        });
        let program = Program {
            functions: print::FUNCTIONS.into(),
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

/// A launch of a kernel, which joins the list unless one of the same text is there.
fn launch(unit: &Unit, kernels: &mut Vec<Printed>) -> runtime::Launch {
    let mut base = unit.kernel.name.clone();
    if print::is_taken(&base) {
        base.push_str("_each");
    }
    let mut name = base.clone();
    let mut number = 1;
    loop {
        let printed = print::run(unit, &name);
        match kernels.iter_mut().find(|k| k.name == name) {
            Some(known) if known.text == printed.text => known.origin.join(&unit.origin),
            Some(_) => {
                number += 1;
                name = format!("{base}_{number}");
                continue;
            }
            None => kernels.push(Printed {
                name: name.clone(),
                text: printed.text,
                origin: unit.origin.clone(),
            }),
        }
        return runtime::Launch {
            kernel: name,
            blocks: printed.blocks,
            threads: unit.kernel.threads,
            arguments: printed.arguments,
        };
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

fn kernel(name: &str, options: Options) -> Kernel {
    let mut k = Kernel::new(name, 1);
    k.threads = THREADS;
    k.valid = Some((k.var("valid"), options.batch));
    k
}

fn part(p: schedule::Part) -> Stmt {
    Stmt::For {
        dims: p.dims,
        kind: p.kind,
        body: p.body,
    }
}

struct Planner<'a> {
    g: &'a Graph,
    groups: &'a [Group],
    options: Options,
    places: BTreeMap<Value, Place>,
    shards: BTreeMap<Value, u32>,
    units: Vec<Unit>,
    arena_bytes: u64,
    partial_bytes: u64,
}

impl<'a> Planner<'a> {
    fn new(
        g: &'a Graph,
        groups: &'a [Group],
        options: Options,
        parameters: &[(Value, ParameterPlace)],
    ) -> Self {
        let mut places = BTreeMap::new();
        for node in g.topological() {
            let place = match &g.node(node).kind {
                NodeKind::Source(Source::Images) => Place::Inputs,
                NodeKind::Source(Source::Targets) => Place::Targets,
                NodeKind::Source(Source::Indices) => Place::Order,
                _ => continue,
            };
            places.insert(Value { node, output: 0 }, place);
        }
        for (v, p) in parameters {
            places.insert(*v, Place::Parameters(p.offset_bytes));
        }
        for o in &g.outputs {
            let place = match o.role {
                Role::Loss => Place::Losses,
                Role::Correct => Place::Correct,
                Role::Logits => continue,
                Role::Update(node) => places[&Value { node, output: 0 }],
            };
            places.insert(storage(g, o.value), place);
        }
        Self {
            g,
            groups,
            options,
            places,
            shards: BTreeMap::new(),
            units: vec![],
            arena_bytes: 0,
            partial_bytes: 0,
        }
    }

    fn run(&mut self) {
        let launches = launches::form(self.g, self.groups);
        self.place_images(&launches);
        for launch in &launches {
            self.launch(launch);
        }
        // An update moves on to the next batch; where there is none, a launch of its own does.
        if self.units.iter().all(|u| u.extra != Some(Extra::Advance)) {
            self.units.push(match self.g.output_for(Role::Loss) {
                Some(_) => Unit::close(self.options),
                None => Unit::advance(self.options),
            });
        }
    }

    /// Places what has an entry for each image: alive from the launch that makes it to the last that reads it.
    fn place_images(&mut self, launches: &[Launch]) {
        let mut made: Vec<(Value, Interval)> = Vec::new();
        for (step, launch) in launches.iter().enumerate() {
            let groups = || launch.groups().iter().map(|&k| &self.groups[k]);
            for v in groups().flat_map(Group::stores) {
                if !self.g.ty(v).is_batch() || self.places.contains_key(&v) {
                    continue;
                }
                let images = u64::from(self.options.batch);
                let bytes = self.g.ty(v).elements().saturating_mul(4 * images);
                let interval = Interval {
                    bytes,
                    born: step,
                    dies: step,
                };
                made.push((v, interval));
            }
            for v in groups().flat_map(Group::reads) {
                if let Some(m) = made.iter_mut().find(|m| m.0 == v) {
                    m.1.dies = step;
                }
            }
        }
        let intervals: Vec<Interval> = made.iter().map(|m| m.1).collect();
        let (offsets, total) = memory::place(&intervals);
        let placed = made.iter().zip(offsets);
        self.places
            .extend(placed.map(|(m, at)| (m.0, Place::Arena(at as usize))));
        self.arena_bytes = total;
    }

    fn launch(&mut self, launch: &Launch) {
        let groups = launch.groups();
        let name = match launch {
            Launch::Level(_) => self.groups[groups[0]].nest.name.clone(),
            Launch::Chain(_) => "chain".into(),
            Launch::Gradients(_) => "gradients".into(),
            Launch::Update(_) => "update".into(),
        };
        let mut w = Writer {
            k: kernel(&name, self.options),
            values: vec![],
        };
        match launch {
            Launch::Chain(_) => self.chain(&mut w, groups),
            Launch::Gradients(_) => self.gradients(&mut w, groups),
            Launch::Level(_) | Launch::Update(_) => {
                for &at in groups {
                    let done = self.group(&mut w, at, None);
                    w.k.body.extend(done.into_iter().map(part));
                }
            }
        }
        let places = w.values.iter().map(|v| self.places[v]).collect();
        let extra = match launch {
            Launch::Gradients(_) => Some(Extra::Account),
            Launch::Update(_) => Some(Extra::Advance),
            _ => None,
        };
        let nodes = groups.iter().flat_map(|&at| &self.groups[at].nodes);
        let nodes: Vec<NodeId> = nodes.copied().collect();
        self.units.push(Unit {
            kernel: w.k,
            places,
            origin: Origin::of(self.g, &nodes),
            extra,
            stops: matches!(launch, Launch::Update(_)),
        });
    }

    /// Sums over images. What sums the rows of another sum's first factor is computed beside that.
    fn gradients(&mut self, w: &mut Writer, groups: &[usize]) {
        let mut left: Vec<usize> = groups.to_vec();
        let products = groups
            .iter()
            .copied()
            .filter(|&at| self.groups[at].nest.macs().padded > 0);
        for at in products.collect::<Vec<_>>() {
            let of = |k: &usize| launches::sums_rows_of(&self.groups[*k], &self.groups[at]);
            let beside = left.iter().copied().find(of);
            let done = self.group_beside(w, at, beside);
            left.retain(|k| *k != at && !(done.1 && Some(*k) == beside));
            w.k.body.extend(done.0.into_iter().map(part));
        }
        for at in left {
            let done = self.group(w, at, None);
            w.k.body.extend(done.into_iter().map(part));
        }
    }

    /// A block takes its images through all groups.
    fn chain(&mut self, w: &mut Writer, groups: &[usize]) {
        let batch = self.options.batch;
        let count = i64::from((batch / CHAIN_BLOCKS).clamp(1, MOST_IMAGES));
        let first = w.k.var("n0");
        let mut body = Vec::new();
        for &at in groups {
            for p in self.group(w, at, Some(Images { first, count })) {
                let kind = match p.kind {
                    Kind::Grid => Kind::Serial,
                    _ => Kind::Threads,
                };
                body.push(Stmt::For {
                    dims: p.dims,
                    kind,
                    body: p.body,
                });
            }
            body.push(Stmt::Barrier);
        }
        let (valid, _) = w.k.valid.expect("every kernel here knows the valid images");
        let some = vec![Stmt::If {
            conditions: vec![Affine::var(valid) - Affine::var(first) - 1],
            body,
        }];
        w.k.body.push(Stmt::For {
            dims: vec![Dim::range(first, 0, i64::from(batch), count)],
            kind: Kind::Grid,
            body: some,
        });
    }

    /// Schedules a group into a kernel.
    fn group(&mut self, w: &mut Writer, at: usize, images: Option<Images>) -> Vec<schedule::Part> {
        let homes = self.homes(w, at);
        let nest = &self.groups[at].nest;
        let done = schedule::run(nest, &mut w.k, &homes, self.options, images, None);
        self.sharded(at, &done);
        done.parts
    }

    /// A sum of products over images, with the sum of its first factor's rows, which another group is, where that
    /// can be.
    fn group_beside(
        &mut self,
        w: &mut Writer,
        at: usize,
        beside: Option<usize>,
    ) -> (Vec<schedule::Part>, bool) {
        let homes = self.homes(w, at);
        let rows = beside.map(|b| self.groups[b].outputs[0]);
        let to = rows.map(|v| w.buffer(self.g, v, "db", self.options.batch, None));
        let nest = &self.groups[at].nest;
        let done = schedule::run(nest, &mut w.k, &homes, self.options, None, to);
        self.sharded(at, &done);
        if let (Some(shards), Some(v), Some(to)) = (done.rows, rows, to) {
            w.k.buffers[to.0 as usize].len = self.g.ty(v).elements() * u64::from(shards);
            self.in_shards(v, shards);
            return (done.parts, true);
        }
        (done.parts, false)
    }

    /// Where each tensor of a group lives.
    fn homes(&self, w: &mut Writer, at: usize) -> Vec<Home> {
        let group = &self.groups[at];
        let mut values = group.values().into_iter();
        let tensors = group.nest.tensors.iter();
        tensors
            .map(|t| match t.role {
                TensorRole::Temp => Home::Register(w.k.reg(&t.name, &[])),
                _ => {
                    let v = values
                        .next()
                        .expect("a tensor that is not temporary has a value");
                    let shards = self.shards.get(&v).copied();
                    let buf = w.buffer(self.g, v, &t.name, self.options.batch, shards);
                    shards.map_or(Home::Memory(buf), |s| Home::Shards(buf, s))
                }
            })
            .collect()
    }

    /// Places the sums that a group left in shards.
    fn sharded(&mut self, at: usize, done: &schedule::Scheduled) {
        let group = &self.groups[at];
        for &(tensor, shards) in &done.shards {
            if let TensorRole::Output(k) = group.nest.tensors[tensor.0 as usize].role {
                self.in_shards(group.outputs[k as usize], shards);
            }
        }
    }

    fn in_shards(&mut self, v: Value, shards: u32) {
        let at = self.partial_bytes as usize;
        self.partial_bytes += values::padded_bytes(self.g, v) * u64::from(shards);
        self.places.insert(v, Place::Partials(at));
        self.shards.insert(v, shards);
    }
}

/// A kernel that is being written, and the value of each of its global buffers.
struct Writer {
    k: Kernel,
    values: Vec<Value>,
}

impl Writer {
    fn buffer(
        &mut self,
        g: &Graph,
        v: Value,
        name: &str,
        batch: u32,
        shards: Option<u32>,
    ) -> BufId {
        let global = |b: &crate::nest::loops::Buffer| b.space == Space::Global;
        let known = self.values.iter().position(|&x| x == v);
        let mut listed = (0..).zip(&self.k.buffers).filter(|b| global(b.1));
        if let Some((at, _)) = known.and_then(|at| listed.nth(at)) {
            return BufId(at);
        }
        let ty = g.ty(v);
        let copies = match ty.leading {
            Leading::Batch => batch,
            _ => shards.unwrap_or(1),
        };
        let len = ty.elements() * u64::from(copies);
        self.values.push(v);
        self.k.buffer(name, ty.dtype, len, Space::Global)
    }
}
