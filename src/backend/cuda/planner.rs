//! From the launches of a step to their kernels, and the place of every value.
//!
//! Launches of equal formulas are scheduled once, and so are the rounds of one: what differs is where their values lie.
//! Does not know how a kernel computes or is printed.

use std::collections::{BTreeMap, HashMap};

use lenetc_runtime::cuda::Place;

use super::launches;
use super::program::{Extra, Rounds, Unit, kernel, part};
use super::schedule::{self, Home, Images, Options};
use super::segments::{Classes, Launch, Numbers, Segment, Work, pack, values};
use crate::backend::memory::{self, Interval};
use crate::backend::origin::Origin;
use crate::backend::phases::{self, Slot};
use crate::backend::values::{StateLayout, padded_bytes};
use crate::ir::{Leading, NodeId, NodeKind, Role, Source, StateId, Value};
use crate::nest::loops::{BufId, Buffer, Dim, Kernel, Kind, Space, Stmt};
use crate::nest::{Affine, TensorRole};
use crate::ops::Graph;
use crate::passes::fuse::{Group, storage};

/// Images that a block of a chain has to itself, at most.
const MOST_IMAGES: u32 = 8;
/// Blocks of a chain, where the batch has enough images.
const CHAIN_BLOCKS: u32 = 32;

/// Plans the launches of one kind of step.
pub struct Planner<'a> {
    g: &'a Graph,
    groups: &'a [Group],
    classes: Classes,
    options: Options,
    places: BTreeMap<Value, Place>,
    shards: BTreeMap<Value, u32>,
    written: HashMap<Vec<usize>, Written>,
    pub units: Vec<Unit>,
    pub arena_bytes: u64,
    pub partial_bytes: u64,
}

/// The kernel of launches that are alike. Values have the numbers in which a launch's groups name them first.
#[derive(Clone)]
struct Written {
    kernel: Kernel,
    rounds: Vec<Rounds>,
    /// The value of each global buffer.
    values: Vec<usize>,
    /// Values that are left in shards, and in how many.
    shards: Vec<(usize, u32)>,
}

impl<'a> Planner<'a> {
    pub fn new(g: &'a Graph, groups: &'a [Group], options: Options, states: &StateLayout) -> Self {
        let state = |id: StateId| Place::Parameters(states.places[id.index()].offset_bytes);
        let mut places = BTreeMap::new();
        for node in g.topological() {
            let place = match &g.node(node).kind {
                NodeKind::Source(Source::Images) => Place::Inputs,
                NodeKind::Source(Source::Targets) => Place::Targets,
                NodeKind::Source(Source::Indices) => Place::Order,
                NodeKind::Source(Source::State(id)) => state(*id),
                _ => continue,
            };
            places.insert(Value { node, output: 0 }, place);
        }
        for o in &g.outputs {
            let place = match o.role {
                Role::Loss => Place::Losses,
                Role::Correct => Place::Correct,
                Role::Logits => continue,
                Role::Next(id) => state(id),
            };
            places.insert(storage(g, o.value), place);
        }
        Self {
            g,
            groups,
            classes: Classes::of(groups),
            options,
            places,
            shards: BTreeMap::new(),
            written: HashMap::new(),
            units: vec![],
            arena_bytes: 0,
            partial_bytes: 0,
        }
    }

    /// Plans all launches of a step.
    pub fn run(&mut self) {
        let slots = phases::slots(self.g, self.groups);
        let mut of_slots: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
        for (k, &slot) in slots.iter().enumerate() {
            of_slots.entry(slot).or_default().push(k);
        }
        let form = |(slot, phase): (&Slot, &Vec<usize>)| {
            let batch = self.options.batch;
            let form = |phase| launches::form(self.g, self.groups, &self.classes, phase, batch);
            (slot.work() == phases::Work::Blocks).then(|| (*slot, form(phase)))
        };
        let mut formed: BTreeMap<Slot, Vec<Launch>> = of_slots.iter().filter_map(form).collect();
        self.place_images(formed.values().flatten());
        let last = of_slots.keys().next_back().copied();
        for (slot, groups) in &of_slots {
            match formed.remove(slot) {
                Some(launches) => self.launches(&launches, None),
                None => self.once(groups, Some(*slot) == last),
            }
        }
        self.account();
        // An update moves on to the next batch; where there is none, a launch of its own does.
        if self.units.iter().all(|u| u.extra != Some(Extra::Advance)) {
            let accounted = self.units.iter().any(|u| u.extra == Some(Extra::Account));
            self.units.push(match self.g.output_for(Role::Loss) {
                Some(_) if !accounted => Unit::close(self.options),
                _ => Unit::advance(self.options),
            });
        }
    }

    /// Plans what runs once, between two phases or at the `end` of the step. In how many shards a sum lies is known once
    /// it is planned.
    fn once(&mut self, groups: &[usize], end: bool) {
        let work = match end {
            true => Work::Update,
            false => Work::Between,
        };
        let levels = launches::levels(self.groups, groups);
        for (k, level) in levels.iter().enumerate() {
            let rounds = level.iter().map(|&k| vec![k]).collect();
            let key = |round: &[usize]| self.key(round);
            let launches = pack(self.g, self.groups, self.options.batch, work, rounds, key);
            self.place_once(level);
            let last = end && k + 1 == levels.len();
            self.launches(&launches, last.then_some(Extra::Advance));
        }
    }

    /// Places what groups that run once leave for others, beside the sums over images; what they leave in shards is placed
    /// again.
    fn place_once(&mut self, groups: &[usize]) {
        for v in groups.iter().flat_map(|&k| self.groups[k].stores()) {
            if !self.places.contains_key(&v) {
                self.in_memory(v, 1);
            }
        }
    }

    /// Plans launches; the last of them does this beside.
    fn launches(&mut self, launches: &[Launch], extra: Option<Extra>) {
        for (k, launch) in launches.iter().enumerate() {
            let last = k + 1 == launches.len();
            self.launch(launch, extra.filter(|_| last));
        }
    }

    /// The last sums of a step, behind the losses and before the updates, account for the loss.
    fn account(&mut self) {
        let Some(loss) = self.g.output_for(Role::Loss).map(|v| storage(self.g, v)) else {
            return;
        };
        let place = self.places[&loss];
        let made = self.units.iter().rposition(|u| u.places.contains(&place));
        let sums = self.units.iter().rposition(|u| u.sums);
        if let (Some(made), Some(sums)) = (made, sums)
            && made < sums
        {
            self.units[sums].extra = Some(Extra::Account);
        }
    }

    /// Places what has an entry for each image: alive from the launch that makes it to the last that reads it.
    fn place_images<'l>(&mut self, launches: impl Iterator<Item = &'l Launch>) {
        let mut made: Vec<(Value, Interval)> = Vec::new();
        let mut known: BTreeMap<Value, usize> = BTreeMap::new();
        for (step, launch) in launches.enumerate() {
            let groups = || launch.groups().map(|k| &self.groups[k]);
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
                known.insert(v, made.len());
                made.push((v, interval));
            }
            for v in groups().flat_map(Group::reads) {
                if let Some(&at) = known.get(&v) {
                    made[at].1.dies = step;
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

    /// Equal for groups that are scheduled and printed alike, but for where their values lie.
    fn key(&self, groups: &[usize]) -> Vec<usize> {
        let mut out = self.classes.key(self.groups, groups);
        let shards = values(self.groups, groups).map(|v| self.shards.get(&v).copied());
        out.extend(shards.map(|s| s.unwrap_or(0) as usize));
        out
    }

    /// The same of a launch.
    fn launch_key(&self, launch: &Launch, groups: &[usize]) -> Vec<usize> {
        let mut out = vec![launch.work as usize, launch.segments.len()];
        let shape = |s: &Segment| [s.rounds.len(), s.rounds[0].len()];
        out.extend(launch.segments.iter().flat_map(shape));
        out.extend(self.key(groups));
        out
    }

    fn launch(&mut self, launch: &Launch, extra: Option<Extra>) {
        let groups: Vec<usize> = launch.groups().collect();
        let mut numbers = Numbers::default();
        values(self.groups, &groups).for_each(|v| _ = numbers.number(v));
        let key = self.launch_key(launch, &groups);
        if !self.written.contains_key(&key) {
            let written = self.write(launch, &mut numbers);
            self.written.insert(key.clone(), written);
        }
        let written = self.written[&key].clone();
        for (v, shards) in written.shards {
            self.in_shards(numbers.values[v], shards);
        }
        let place = |&v: &usize| self.places[&numbers.values[v]];
        let places = written.values.iter().map(place).collect();
        let nodes = groups.iter().flat_map(|&at| &self.groups[at].nodes);
        let nodes: Vec<NodeId> = nodes.copied().collect();
        self.units.push(Unit {
            kernel: written.kernel,
            places,
            origin: Origin::of(self.g, &nodes),
            rounds: written.rounds,
            extra,
            sums: launch.work == Work::Gradients,
            stops: launch.work == Work::Update || self.changes_states(&groups),
        });
    }

    /// Whether groups store the next value of a state, as a norm's statistics do between two phases.
    fn changes_states(&self, groups: &[usize]) -> bool {
        let mut stores = groups.iter().flat_map(|&k| self.groups[k].stores());
        stores.any(|v| matches!(self.places.get(&v), Some(Place::Parameters(_))))
    }

    /// Schedules the groups of a launch into a kernel.
    fn write(&self, launch: &Launch, numbers: &mut Numbers) -> Written {
        let first = launch.segments[0].rounds[0][0];
        let name = match launch.work {
            Work::Level | Work::Between => self.groups[first].nest.name.as_str(),
            Work::Chain => "chain",
            Work::Gradients => "gradients",
            Work::Update => "update",
        };
        let mut w = Writer {
            k: kernel(name, self.options),
            values: vec![],
            rounds: vec![],
            shards: vec![],
        };
        match launch.work {
            Work::Chain => self.chain(&mut w, &launch.segments),
            _ => launch.segments.iter().for_each(|s| self.parts(&mut w, s)),
        }
        Written {
            kernel: w.k,
            rounds: w.rounds,
            values: w.values.iter().map(|&v| numbers.number(v)).collect(),
            shards: w
                .shards
                .iter()
                .map(|&(v, n)| (numbers.number(v), n))
                .collect(),
        }
    }

    /// Groups that share out the blocks of a grid; a round's number is that of the outermost loop.
    fn parts(&self, w: &mut Writer, segment: &Segment) {
        let round = &segment.rounds[0];
        let mut parts = match round[..] {
            [at, rows] => self.with_rows(w, at, rows),
            _ => self.groups_of(w, round),
        };
        if let Some(d) = self.rounds(w, segment) {
            parts.iter_mut().for_each(|p| p.dims.insert(0, d.clone()));
        }
        w.k.body.extend(parts.into_iter().map(part));
    }

    fn groups_of(&self, w: &mut Writer, round: &[usize]) -> Vec<schedule::Part> {
        let all = round.iter().map(|&at| self.group(w, at, None));
        all.flatten().collect()
    }

    /// The loop over the rounds of a segment, whose first is scheduled; none where there is one only.
    fn rounds(&self, w: &mut Writer, segment: &Segment) -> Option<Dim> {
        let [first, others @ ..] = &segment.rounds[..] else {
            return None;
        };
        if others.is_empty() {
            return None;
        }
        // Values that are one in the first round have one pointer in all.
        let like = self.classes.key(self.groups, first);
        let alike = |round: &Vec<usize>| self.classes.key(self.groups, round) == like;
        assert!(
            others.iter().all(alike),
            "a bug in lenetc: rounds differ in what they read"
        );
        let of = |round| values(self.groups, round);
        let mut distinct = Numbers::default();
        let mut slots: Vec<(usize, BufId)> = Vec::new();
        let mut shards = Vec::new();
        for (k, v) in of(first).enumerate() {
            if distinct.number(v) == slots.len() {
                slots.push((k, w.known(v)));
                shards.extend(w.shards.iter().find(|s| s.0 == v).map(|s| (k, s.1)));
            }
        }
        let mut buffers = vec![slots.iter().map(|s| s.1).collect()];
        for round in others {
            let values: Vec<Value> = of(round).collect();
            let buffer = |&(k, like): &(usize, BufId)| w.buffer_like(values[k], like);
            buffers.push(slots.iter().map(buffer).collect());
            w.shards.extend(shards.iter().map(|&(k, n)| (values[k], n)));
        }
        let var = w.k.var("layer");
        w.rounds.push(Rounds { var, buffers });
        Some(Dim::count(var, segment.rounds.len() as i64))
    }

    /// A block takes its images through all groups.
    fn chain(&self, w: &mut Writer, segments: &[Segment]) {
        let batch = self.options.batch;
        let count = i64::from((batch / CHAIN_BLOCKS).clamp(1, MOST_IMAGES));
        let first = w.k.var("n0");
        let mut body = Vec::new();
        for segment in segments {
            let mut round = Vec::new();
            for &at in &segment.rounds[0] {
                let parts = self.group(w, at, Some(Images { first, count }));
                round.extend(parts.into_iter().map(within_block));
                round.push(Stmt::Barrier);
            }
            match self.rounds(w, segment) {
                None => body.extend(round),
                Some(d) => body.push(Stmt::For {
                    dims: vec![d],
                    kind: Kind::Serial,
                    body: round,
                }),
            }
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
    fn group(&self, w: &mut Writer, at: usize, images: Option<Images>) -> Vec<schedule::Part> {
        let homes = self.homes(w, at);
        let nest = &self.groups[at].nest;
        let done = schedule::run(nest, &mut w.k, &homes, self.options, images, None);
        self.sharded(w, at, &done);
        done.parts
    }

    /// A sum of products over images, and the sum of its first factor's rows, which another group is: beside it where
    /// that can be.
    fn with_rows(&self, w: &mut Writer, at: usize, rows: usize) -> Vec<schedule::Part> {
        let homes = self.homes(w, at);
        let v = self.groups[rows].outputs[0];
        let to = w.buffer(self.g, v, "db", self.options.batch, None);
        let nest = &self.groups[at].nest;
        let done = schedule::run(nest, &mut w.k, &homes, self.options, None, Some(to));
        self.sharded(w, at, &done);
        let mut parts = done.parts;
        match done.rows {
            Some(shards) => {
                w.k.buffers[to.0 as usize].len = self.g.ty(v).elements() * u64::from(shards);
                w.shards.push((v, shards));
            }
            None => parts.extend(self.group(w, rows, None)),
        }
        parts
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

    /// Notes the sums that a group leaves in shards.
    fn sharded(&self, w: &mut Writer, at: usize, done: &schedule::Scheduled) {
        let group = &self.groups[at];
        for &(tensor, shards) in &done.shards {
            if let TensorRole::Output(k) = group.nest.tensors[tensor.0 as usize].role {
                w.shards.push((group.outputs[k as usize], shards));
            }
        }
    }

    /// Places a sum of so many shards.
    fn in_shards(&mut self, v: Value, shards: u32) {
        self.in_memory(v, shards);
        self.shards.insert(v, shards);
    }

    /// Places so many copies of a value of parameters.
    fn in_memory(&mut self, v: Value, copies: u32) {
        let at = self.partial_bytes as usize;
        self.partial_bytes += padded_bytes(self.g, v) * u64::from(copies);
        self.places.insert(v, Place::Partials(at));
    }
}

/// A part as one block does all of it.
fn within_block(p: schedule::Part) -> Stmt {
    let kind = match p.kind {
        Kind::Grid => Kind::Serial,
        _ => Kind::Threads,
    };
    Stmt::For {
        dims: p.dims,
        kind,
        body: p.body,
    }
}

/// A kernel that is being written.
struct Writer {
    k: Kernel,
    /// The value of each of its global buffers.
    values: Vec<Value>,
    rounds: Vec<Rounds>,
    /// Sums that it leaves in shards, and in how many.
    shards: Vec<(Value, u32)>,
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
        if let Some(known) = self.find(v) {
            return known;
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

    /// The buffer of a value, which is of the same kind as that of another.
    fn buffer_like(&mut self, v: Value, like: BufId) -> BufId {
        if let Some(known) = self.find(v) {
            return known;
        }
        let Buffer {
            name, dtype, len, ..
        } = self.k.buffers[like.0 as usize].clone();
        let name = name.split('.').next().unwrap_or(&name);
        self.values.push(v);
        self.k.buffer(name, dtype, len, Space::Global)
    }

    fn find(&self, v: Value) -> Option<BufId> {
        let at = self.values.iter().position(|&x| x == v)?;
        let global = |b: &(u32, &Buffer)| b.1.space == Space::Global;
        let mut listed = (0..).zip(&self.k.buffers).filter(global);
        listed.nth(at).map(|(id, _)| BufId(id))
    }

    fn known(&self, v: Value) -> BufId {
        self.find(v)
            .expect("a group that is scheduled has a buffer for each of its values")
    }
}
