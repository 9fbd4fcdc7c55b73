//! One step of training of a model: operators one by one in f64, fused groups in f64, and the compiled program in f32,
//! on the processor and, where that is asked for, on the software GPU under its sanitizers.
//!
//! The oracle is [`lenetc::ops::evaluate`], which runs each operator's nest. The groups after folding, merging and
//! fusion must give the same numbers but for rounding in f64; the program the same but for rounding in f32. Does not know
//! where models come from.

use std::collections::BTreeMap;

use lenetc::backend::cpu::Plan;
use lenetc::driver::{self, Model};
use lenetc::ir::{NodeKind, Role, Scalar, Scalars, Source, StateId, StateKind, Value};
use lenetc::nest::interp::{self, Env};
use lenetc::ops::{Graph, Graphs, Op, evaluate};
use lenetc::passes::build::Built;
use lenetc::passes::fuse::storage;
use lenetc_runtime::cuda::{
    Choice, CudaError, Device, Engine, software_configure, software_report,
};
use lenetc_runtime::exec::{Bytes, Examples, Machine, Mode};
use lenetc_runtime::rng::{Purpose, Stream};

use super::isas;

const EXAMPLES: usize = 11;
const RATE: f32 = 0.25;
/// Activations of about 1 are off by less in f32.
const UNDECIDED: f64 = 1e-6;

/// A software GPU, and how a program for it is made.
#[derive(Clone, Copy, Debug)]
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
pub struct Gpu {
    pub multiprocessors: u32,
    /// Of warps and blocks: in order, reversed, and seeds of others.
    pub warp_order: u32,
    /// Images of a full batch beyond those of the step.
    pub spare: u32,
    /// Whether the optional passes run.
    pub optimise: bool,
}

/// What a step reads.
struct Feed {
    images: Vec<f32>,
    /// The images in the place of those, where a data set holds bytes.
    bytes: Option<Vec<u8>>,
    targets: Vec<f32>,
    classes: Vec<i32>,
    indices: Vec<u32>,
    states: Vec<Vec<f32>>,
}

fn noise(place: u32, n: usize, scale: f32) -> Vec<f32> {
    let s = Stream::new(5, place, 1, Purpose::Init);
    (0..n as u32)
        .map(|i| (s.uniform(i) * 2.0 - 1.0) * scale)
        .collect()
}

fn value(feed: &Feed, classes: bool, s: &Source) -> Vec<f64> {
    match s {
        Source::Images => match &feed.bytes {
            Some(bytes) => bytes.iter().map(|&x| x.into()).collect(),
            None => feed.images.iter().map(|&x| x.into()).collect(),
        },
        Source::Targets if classes => feed.classes.iter().map(|&x| x.into()).collect(),
        Source::Targets => feed.targets.iter().map(|&x| x.into()).collect(),
        Source::Indices => feed.indices.iter().map(|&x| x.into()).collect(),
        Source::State(id) => feed.states[id.index()].iter().map(|&x| x.into()).collect(),
        Source::Scalar(scalar) => vec![feed.scalars().get(*scalar)],
        Source::Constant(bits) => vec![f32::from_bits(*bits).into()],
    }
}

/// The next value of each parameter and the losses, from the groups.
fn by_groups(
    g: &mut Graph,
    join: bool,
    feed: &Feed,
    classes: bool,
    env: Env,
) -> BTreeMap<Role, Vec<f64>> {
    let groups = driver::group(g, join);
    let mut values: BTreeMap<Value, Vec<f64>> = BTreeMap::new();
    for id in g.topological() {
        if let NodeKind::Source(s) = &g.node(id).kind {
            values.insert(
                Value {
                    node: id,
                    output: 0,
                },
                value(feed, classes, s),
            );
        }
    }
    for group in &groups {
        let empty = Vec::new();
        let inputs: Vec<&[f64]> = group
            .inputs
            .iter()
            .map(|v| values.get(v).unwrap_or(&empty).as_slice())
            .collect();
        let results = interp::run(&group.nest, &inputs, env);
        for (&v, data) in group.outputs.iter().zip(results) {
            values.insert(v, data);
        }
    }
    let outputs = g.outputs.clone();
    outputs
        .iter()
        .map(|o| (o.role, values[&storage(g, o.value)].clone()))
        .collect()
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|v| v * v).sum::<f64>().sqrt()
}

fn compare(what: &str, a: &[f64], b: &[f64], start: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    let difference = norm(a.iter().zip(b).map(|(a, b)| a - b));
    let zero = vec![0.0; b.len()];
    let from = if start.len() == b.len() { start } else { &zero };
    let change = norm(b.iter().zip(from).map(|(b, w)| b - w));
    // What is updated by less than it can express is rounded.
    let rounded = tolerance.min(f64::from(f32::EPSILON)) * norm(from.iter().copied());
    assert!(
        difference <= tolerance * (change + 1e-9) + rounded,
        "{what}: {difference:e} of {change:e}"
    );
}

/// The state whose next value an output is.
fn state(r: Role) -> Option<StateId> {
    match r {
        Role::Next(id) => Some(id),
        _ => None,
    }
}

impl Feed {
    fn new(built: &Built, batch: usize, bytes: bool) -> Self {
        let per = |dims: &[u32]| dims.iter().map(|&d| d as usize).product::<usize>();
        let outputs = per(&built.output);
        let images = noise(1000, EXAMPLES * per(&built.input), 1.0);
        let byte = |x: &f32| (x * 127.0 + 128.0).round() as u8;
        Self {
            bytes: bytes.then(|| images.iter().map(byte).collect()),
            images,
            targets: noise(1001, EXAMPLES * outputs, 1.0),
            classes: (0..EXAMPLES as i32).map(|i| i % outputs as i32).collect(),
            indices: (0..batch as u32)
                .map(|i| (i * 7 + 3) % EXAMPLES as u32)
                .collect(),
            states: vec![],
        }
    }

    /// Draws the states of a step. What an optimizer keeps may be a sum of squares, and a
    /// running variance is above 0.
    fn draw(&mut self, step: &Graph) {
        let states = (0..).zip(step.states());
        let drawn = states.map(|(k, state)| {
            let values = noise(k, state.ty.elements() as usize, 0.3).into_iter();
            match state.kind {
                StateKind::Optimizer | StateKind::Buffer => values.map(|x| x.abs() + 0.1).collect(),
                _ => values.collect(),
            }
        });
        self.states = drawn.collect();
    }

    fn scalars(&self) -> Scalars {
        self.scalars_at(RATE.into())
    }

    /// The numbers of the step at another learning rate.
    fn scalars_at(&self, rate: f64) -> Scalars {
        Scalars::new(self.indices.len(), rate)
            .drawn(0x5_7f80_0001, 3)
            .with(Scalar::StepSize, if rate == 0.0 { 0.0 } else { 0.2 })
            .with(Scalar::Momentum, 0.7)
            .with(Scalar::Blend, 0.4)
            .with(Scalar::Correction, 0.8)
            .with(Scalar::Decay, 0.9)
    }

    fn examples(&self, classes: bool) -> Examples<'_> {
        Examples {
            inputs: match &self.bytes {
                Some(bytes) => Bytes::U8(bytes),
                None => Bytes::F32(&self.images),
            },
            targets: if classes {
                Bytes::I32(&self.classes)
            } else {
                Bytes::F32(&self.targets)
            },
            len: EXAMPLES,
        }
    }
}

/// Where the slope of an activation jumps.
fn kinks(op: &Op) -> &'static [f64] {
    match op {
        Op::ReLU(_) | Op::LeakyReLU(_) | Op::ELU(_) => &[0.0],
        Op::ReLU6(_) => &[0.0, 6.0],
        Op::Hardswish(_) | Op::Hardsigmoid(_) => &[-3.0, 3.0],
        Op::Softplus(_) => &[10.0, 20.0],
        _ => &[],
    }
}

/// Whether no activation decides by less than rounding may change.
fn decided(g: &Graph, oracle: &BTreeMap<Value, Vec<f64>>) -> bool {
    g.topological().into_iter().all(|n| {
        let kinks = g.operation(n).map_or(&[][..], kinks);
        let apart = |x: f64, kink: f64| (kink == 0.0 && x == 0.0) || (x - kink).abs() > UNDECIDED;
        let of = |&kink: &f64| oracle[&g.operands(n)[0]].iter().all(|&x| apart(x, kink));
        kinks.iter().all(of)
    })
}

/// Checks a step on `batch` images; `bytes` says that the data set holds bytes. `None` where the model does not build, or
/// where a gradient is a matter of rounding.
pub fn check(name: &str, model: &Model, batch: usize, bytes: bool, gpu: Option<Gpu>) -> Option<()> {
    let built = model.build(bytes).ok()?;
    if batch < built.least_images as usize {
        return None;
    }
    let mut feed = Feed::new(&built, batch, bytes);
    let classes = model.config.loss.metric().is_some();
    let graphs = model.differentiate(built.graphs);
    feed.draw(&graphs.step);
    let env = Env {
        scalars: feed.scalars(),
        ..Env::new(batch, RATE.into())
    };
    let oracles = graphs
        .iter()
        .map(|g| evaluate(g, env, |s| value(&feed, classes, s)));
    let oracles: Vec<BTreeMap<Value, Vec<f64>>> = oracles.collect();
    let both = || graphs.iter().zip(&oracles);
    if !both().all(|(g, oracle)| decided(g, oracle)) {
        return None;
    }
    let wanted = Wanted {
        graphs: &graphs,
        oracles: &oracles,
    };
    for join in [false, true] {
        for (g, oracle) in both() {
            let got = by_groups(&mut g.clone(), join, &feed, classes, env);
            for o in &g.outputs {
                let start: Vec<f64> = state(o.role).map_or(vec![], |id| {
                    let state = &feed.states[id.index()];
                    state.iter().map(|&x| x.into()).collect()
                });
                let what = format!("{name} {:?}, joined: {join}", o.role);
                compare(&what, &got[&o.role], &oracle[&o.value], &start, 1e-9);
            }
        }
        for isa in isas::here() {
            let plan = driver::plan(graphs.clone(), join, batch as u32, isa);
            let name = format!("{name} on {isa}, joined: {join}");
            on_machine(&name, &plan, &feed, classes, &wanted);
        }
    }
    if let Some(gpu) = gpu {
        on_gpu(&format!("{name} on {gpu:?}"), gpu, &feed, classes, &wanted);
    }
    Some(())
}

/// The graphs of a model, and the values of each as the interpreter has them.
struct Wanted<'a> {
    graphs: &'a Graphs,
    oracles: &'a [BTreeMap<Value, Vec<f64>>],
}

impl Wanted<'_> {
    /// The losses of a step's examples in evaluation.
    fn evaluated(&self) -> Option<&[f64]> {
        let eval = self.graphs.eval.as_ref().unwrap_or(&self.graphs.step);
        let oracle = self.oracles.last()?;
        Some(&oracle[&eval.output_for(Role::Loss)?])
    }
}

/// What the software GPU did; else what it found.
fn fine<T>(name: &str, done: Result<T, CudaError>) -> T {
    done.unwrap_or_else(|e| panic!("{name}: {e}\n{}", software_report().unwrap_or_default()))
}

/// One step of the program for a GPU.
fn on_gpu(name: &str, gpu: Gpu, feed: &Feed, classes: bool, wanted: &Wanted) {
    let (g, oracle) = (&wanted.graphs.step, &wanted.oracles[0]);
    let Gpu {
        multiprocessors,
        warp_order,
        spare,
        optimise,
    } = gpu;
    let batch = feed.indices.len() as u32 + spare;
    let plan = driver::plan_cuda(wanted.graphs.clone(), optimise, batch, multiprocessors);
    let open = || {
        Device::open(Choice::Software)
            .unwrap_or_else(|e| panic!("tests/run installs and builds what the tests need: {e}"))
    };
    drop(open());
    let settings = format!("reset=1;sanitize=all;warp_order={warp_order}");
    assert!(software_configure(&settings), "{settings}");
    let examples = feed.examples(classes);
    let engine = Engine::new(&open(), plan.program(), examples, None);
    let mut engine = fine(name, engine);
    let mut all = vec![0.0; plan.parameter_bytes as usize / 4];
    for (p, data) in plan.states.iter().zip(&feed.states) {
        all[p.offset_bytes / 4..][..data.len()].copy_from_slice(data);
    }
    fine(name, engine.set_parameters(&all));
    let rows = feed.scalars().floats();
    fine(name, engine.begin(Mode::Eval, &feed.indices, &rows));
    let evaluated = fine(name, engine.run(1));
    if let Some(losses) = wanted.evaluated() {
        let loss = losses.iter().sum::<f64>();
        compare(
            &format!("{name}, evaluated"),
            &[evaluated[0].loss_sum],
            &[loss],
            &[],
            2e-4,
        );
    }
    fine(name, engine.begin(Mode::Train, &feed.indices, &rows));
    let results = fine(name, engine.run(1));
    let now = fine(name, engine.parameters());
    for o in &g.outputs {
        let wanted = &oracle[&o.value];
        let name = format!("{name} {:?}", o.role);
        match (o.role, state(o.role)) {
            (Role::Loss, _) => {
                let wanted = wanted.iter().sum::<f64>();
                compare(&name, &[results[0].loss_sum], &[wanted], &[], 2e-4);
            }
            (_, Some(id)) => {
                let p = &plan.states[id.index()];
                let start = feed.states[id.index()].iter();
                let start: Vec<f64> = start.map(|&x| x.into()).collect();
                let got = &now[p.offset_bytes / 4..][..start.len()];
                let got: Vec<f64> = got.iter().map(|&x| x.into()).collect();
                compare(&name, &got, wanted, &start, 2e-4);
            }
            _ => {}
        }
    }
}

/// One step of the compiled program.
fn on_machine(name: &str, plan: &Plan, feed: &Feed, classes: bool, wanted: &Wanted) {
    let (g, oracle) = (&wanted.graphs.step, &wanted.oracles[0]);
    let mut machine = Machine::new(plan.compile().expect("Cranelift compiles it"), 1);
    let fill = |machine: &mut Machine| {
        for (p, data) in plan.states.iter().zip(&feed.states) {
            let state = machine.parameter_mut(p.offset_bytes, data.len());
            state.copy_from_slice(data);
        }
    };
    fill(&mut machine);
    let examples = feed.examples(classes);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let scalars = feed.scalars().floats();
    let still = feed.scalars_at(0.0).floats();
    pool.install(|| machine.run(Mode::Eval, examples, &feed.indices, &scalars));
    if let Some(losses) = wanted.evaluated() {
        let got: Vec<f64> = machine.losses().iter().map(|&x| x.into()).collect();
        compare(&format!("{name}, evaluated"), &got, losses, &[], 2e-4);
    }
    // A step taken apart, at a rate of 0, gives the same losses and changes nothing but what an optimizer keeps.
    pool.install(|| machine.profile(examples, &feed.indices, &still));
    let apart = machine.losses().to_vec();
    let parameters = plan.states.iter().zip(&feed.states);
    for (p, data) in parameters.filter(|(p, _)| p.info.kind == StateKind::Parameter) {
        let now = machine.parameter(p.offset_bytes, data.len());
        assert_eq!(now, data, "{name}: {}", p.info.name);
    }
    fill(&mut machine);
    pool.install(|| machine.run(Mode::Train, examples, &feed.indices, &scalars));
    assert_eq!(machine.losses(), apart, "{name}");
    for o in &g.outputs {
        let (got, start): (Vec<f64>, Vec<f64>) = match (o.role, state(o.role)) {
            (Role::Loss, _) => (machine.losses().iter().map(|&x| x.into()).collect(), vec![]),
            (_, Some(id)) => {
                let (p, data) = (&plan.states[id.index()], &feed.states[id.index()]);
                let now = machine.parameter(p.offset_bytes, data.len());
                (
                    now.iter().map(|&x| x.into()).collect(),
                    data.iter().map(|&x| x.into()).collect(),
                )
            }
            _ => continue,
        };
        compare(
            &format!("{name} {:?}", o.role),
            &got,
            &oracle[&o.value],
            &start,
            2e-4,
        );
    }
}
