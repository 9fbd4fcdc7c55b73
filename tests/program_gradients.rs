//! The gradient of a whole program, as it is optimised and compiled, against differences of its loss.
//!
//! A step of plain SGD moves each parameter by −rate · gradient, so the gradient of a program follows from what its step
//! makes of the parameters. For each parameter and for random directions v, |g · v − (loss(w + h v) − loss(w − h v)) / 2h|
//! is held to 10⁻⁶ of ‖g‖ where the fused groups run in f64, and to 10⁻⁴ where the machine code of each instruction set
//! made the step in f32; of a thousandth and of a tenth of the largest ‖g‖ where that is more, as for a bias that a
//! norm takes back. The differences, of fourth order, are of the fused groups in f64. Dropout draws the same numbers in all of
//! them. Does not look at single operators; `tests/gradients.rs` does.

use std::collections::BTreeMap;

use lenetc::diag::Source as Text;
use lenetc::driver::{self, Grouped, Modes};
use lenetc::ir::{NodeKind, Role, Scalars, Source, StateId, StateKind, Value};
use lenetc::nest::interp::{self, Env};
use lenetc::ops::Graph;
use lenetc::passes::fuse::storage;
use lenetc_runtime::exec::{Bytes, Examples, Machine, Mode};
use lenetc_runtime::rng::{Purpose, Stream};

#[path = "common/isas.rs"]
mod isas;

const BATCH: usize = 5;
const EXAMPLES: usize = 7;
/// Large, so that a parameter is rounded to little beside what it moves by.
const RATE: f64 = 16.0;
const DIRECTIONS: u32 = 3;
const IN_F64: f64 = 1e-6;
const IN_F32: f64 = 1e-4;

const LENET: &str = "
    input(1, 12, 12)
    Conv2d(4, kernel_size=5, padding=2); Sigmoid; AvgPool2d(2)
    Conv2d(6, kernel_size=3); Sigmoid; MaxPool2d(2)
    Flatten; Linear(9); Tanh; Linear(4)";

const NORMS: &str = "
    input(2, 8, 8)
    Conv2d(6, kernel_size=3, padding=1); BatchNorm2d(); Tanh
    Add {
        { Conv2d(6, kernel_size=3, padding=1); BatchNorm2d(momentum=None); SiLU }
        { Identity }
    }
    AvgPool2d(4); Flatten
    Linear(7); BatchNorm1d(); Sigmoid; Linear(4)";

const DROPOUT: &str = "
    input(3, 7, 6)
    Conv2d(6, kernel_size=3); GroupNorm(3); GELU; Dropout2d(0.3)
    Concat {
        { Conv2d(3, kernel_size=1); LayerNorm() }
        { Conv2d(2, kernel_size=3, padding=1); Softmax }
    }
    Flatten; Linear(8); Softplus; Dropout(0.4); Linear(4)";

/// A model, ready to be computed with.
struct Program {
    modes: Modes,
    images: Vec<f32>,
    states: Vec<Vec<f64>>,
}

fn noise(place: u32, len: usize, scale: f64) -> Vec<f64> {
    let stream = Stream::new(11, place, 1, Purpose::Init);
    let number = |k| f64::from((stream.uniform(k) * 2.0 - 1.0) * scale as f32);
    (0..len as u32).map(number).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn indices() -> Vec<u32> {
    (0..BATCH as u32)
        .map(|k| (k * 3 + 1) % EXAMPLES as u32)
        .collect()
}

fn classes() -> Vec<i32> {
    (0..EXAMPLES as i32).map(|k| k % 4).collect()
}

fn scalars() -> Scalars {
    Scalars::new(BATCH, RATE).drawn(77, 2)
}

impl Program {
    fn new(layers: &str) -> Self {
        let train =
            format!("loss = CrossEntropyLoss; optimizer = SGD(lr={RATE}); batch_size = {BATCH}");
        let source = Text {
            name: "m.nn".into(),
            text: format!("model M {{{layers}\n}}\ntrain {{ {train} }}"),
        };
        let model = driver::read(source, &[]).unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
        let built = model
            .build(false)
            .unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
        let pixels: usize = built.input.iter().map(|&d| d as usize).product();
        let graphs = model.differentiate(built.graphs);
        let states = (0..).zip(graphs.step.states()).map(|(k, state)| {
            let values = noise(k, state.ty.elements() as usize, 0.4);
            match state.kind {
                StateKind::Parameter => values,
                _ => values.iter().map(|x| x.abs() + 0.25).collect(),
            }
        });
        Self {
            states: states.collect(),
            modes: Modes::new(graphs, true),
            images: noise(900, EXAMPLES * pixels, 1.0)
                .iter()
                .map(|&x| x as f32)
                .collect(),
        }
    }

    fn graph(&self) -> &Graph {
        &self.modes.step.graph
    }

    fn parameters(&self) -> Vec<StateId> {
        let all = (0..).map(StateId).zip(self.graph().states());
        let all = all.filter(|(_, state)| state.kind == StateKind::Parameter);
        all.map(|(id, _)| id).collect()
    }

    /// What the fused groups of a step make of these states, in f64.
    fn outputs(&self, states: &[Vec<f64>]) -> BTreeMap<Role, Vec<f64>> {
        let Grouped { graph, groups } = &self.modes.step;
        let mut values: BTreeMap<Value, Vec<f64>> = BTreeMap::new();
        for node in graph.topological() {
            if let NodeKind::Source(source) = &graph.node(node).kind {
                values.insert(Value { node, output: 0 }, self.source(source, states));
            }
        }
        let env = Env {
            scalars: scalars(),
            ..Env::new(BATCH, RATE)
        };
        for group in groups {
            let empty = vec![];
            let input = |v: &Value| values.get(v).unwrap_or(&empty).as_slice();
            let inputs: Vec<&[f64]> = group.inputs.iter().map(input).collect();
            let results = interp::run(&group.nest, &inputs, env);
            values.extend(group.outputs.iter().copied().zip(results));
        }
        let outputs = graph.outputs.iter();
        let outputs = outputs.map(|o| (o.role, values[&storage(graph, o.value)].clone()));
        outputs.collect()
    }

    fn source(&self, source: &Source, states: &[Vec<f64>]) -> Vec<f64> {
        match source {
            Source::Images => self.images.iter().map(|&x| x.into()).collect(),
            Source::Targets => classes().iter().map(|&x| x.into()).collect(),
            Source::Indices => indices().iter().map(|&x| x.into()).collect(),
            Source::State(id) => states[id.index()].clone(),
            Source::Scalar(scalar) => vec![scalars().get(*scalar)],
            Source::Constant(bits) => vec![f32::from_bits(*bits).into()],
        }
    }

    fn loss(&self, states: &[Vec<f64>]) -> f64 {
        let losses = &self.outputs(states)[&Role::Loss];
        losses.iter().sum::<f64>() / BATCH as f64
    }

    /// The slope of the loss where a parameter moves in this direction.
    fn slope(&self, id: StateId, direction: &[f64]) -> f64 {
        let at = |by: f64| {
            let mut states = self.states.clone();
            let moved = states[id.index()].iter_mut().zip(direction);
            moved.for_each(|(w, v)| *w += by * v);
            self.loss(&states)
        };
        let h = 1e-4;
        (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
    }

    /// The gradient by a parameter, of what a step made of it.
    fn gradient(&self, id: StateId, next: &[f64]) -> Vec<f64> {
        let each = self.states[id.index()].iter().zip(next);
        each.map(|(w, next)| (w - next) / RATE).collect()
    }

    /// The next value of each parameter from the machine code of an instruction set.
    fn compiled(&self, isa: lenetc::backend::cpu::Isa) -> BTreeMap<StateId, Vec<f64>> {
        let plan = self.modes.plan(BATCH as u32, isa);
        let mut machine = Machine::new(plan.compile().expect("it compiles"), 1);
        for (place, state) in plan.states.iter().zip(&self.states) {
            let floats = machine.parameter_mut(place.offset_bytes, state.len());
            floats
                .iter_mut()
                .zip(state)
                .for_each(|(to, &x)| *to = x as f32);
        }
        let classes = classes();
        let examples = Examples {
            inputs: Bytes::F32(&self.images),
            targets: Bytes::I32(&classes),
            len: EXAMPLES,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("a thread");
        pool.install(|| machine.run(Mode::Train, examples, &indices(), &scalars().floats()));
        let next = |id: StateId| {
            let place = &plan.states[id.index()];
            let floats = machine.parameter(place.offset_bytes, self.states[id.index()].len());
            floats.iter().map(|&x| x.into()).collect()
        };
        self.parameters()
            .into_iter()
            .map(|id| (id, next(id)))
            .collect()
    }
}

fn check(layers: &str) {
    let program = Program::new(layers);
    let outputs = program.outputs(&program.states);
    let compiled: Vec<_> = isas::here()
        .map(|isa| (isa, program.compiled(isa)))
        .collect();
    // A bias that a norm takes back has a gradient of rounding alone.
    let all = program.parameters().into_iter();
    let gradients: Vec<(StateId, Vec<f64>)> = all
        .map(|id| (id, program.gradient(id, &outputs[&Role::Next(id)])))
        .collect();
    let largest = gradients.iter().map(|(_, g)| norm(g)).fold(0.0, f64::max);
    let mut held = 0;
    for (id, gradient) in &gradients {
        let name = &program.graph().states()[id.index()].name;
        let size = norm(gradient);
        let scale = size.max(1e-3 * largest);
        held += usize::from(size > 1e-3 * largest);
        for k in 0..DIRECTIONS {
            let mut direction = noise(5000 + id.0 * DIRECTIONS + k, gradient.len(), 1.0);
            let length = norm(&direction);
            direction.iter_mut().for_each(|v| *v /= length);
            let slope = program.slope(*id, &direction);
            let error = (dot(gradient, &direction) - slope).abs() / scale;
            assert!(error <= IN_F64, "{name}: {error:e} of the gradient in f64");
            for (isa, next) in &compiled {
                let gradient = program.gradient(*id, &next[id]);
                let scale = size.max(0.1 * largest);
                let error = (dot(&gradient, &direction) - slope).abs() / scale;
                assert!(
                    error <= IN_F32,
                    "{name} on {isa}: {error:e} of the gradient"
                );
            }
        }
    }
    assert!(held >= 6, "{held} parameters have a gradient");
}

#[test]
fn lenet() {
    check(LENET);
}

#[test]
fn batch_norms_in_branches() {
    check(NORMS);
}

#[test]
fn dropout_and_norms_of_images() {
    check(DROPOUT);
}
