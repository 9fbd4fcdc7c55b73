//! Whole steps of training: operators one by one in f64, fused groups in f64, and the compiled program in f32.
//!
//! The oracle is [`lenetc::ops::evaluate`], which runs each operator's nest. The groups after folding, merging and
//! fusion must give the same numbers but for rounding in f64; the program the same but for rounding in f32.

use std::collections::BTreeMap;
use std::path::Path;

use lenetc::backend::cpu::clif::{self, Target};
use lenetc::backend::cpu::{Isa, Plan};
use lenetc::diag::Source as Text;
use lenetc::driver::{self, Model};
use lenetc::ir::{NodeKind, Role, Scalar, Source, Value};
use lenetc::nest::interp::{self, Env};
use lenetc::ops::{Graph, evaluate};
use lenetc::passes::fuse::storage;
use lenetc_runtime::exec::{Bytes, Examples, Machine, Mode};
use lenetc_runtime::rng::{Purpose, Stream};

#[path = "common/isas.rs"]
mod isas;

const EXAMPLES: usize = 11;
const RATE: f32 = 0.25;

struct Feed {
    images: Vec<f32>,
    targets: Vec<f32>,
    classes: Vec<i32>,
    indices: Vec<u32>,
    parameters: Vec<Vec<f32>>,
}

fn noise(place: u32, n: usize, scale: f32) -> Vec<f32> {
    let s = Stream::new(5, place, 1, Purpose::Init);
    (0..n as u32)
        .map(|i| (s.uniform(i) * 2.0 - 1.0) * scale)
        .collect()
}

fn model(path: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = Text {
        name: path.display().to_string(),
        text: std::fs::read_to_string(&path).expect("the model is here"),
    };
    driver::read(text, &[])
        .map_err(|f| f.diagnostics)
        .expect("the model is right")
}

fn value(feed: &Feed, classes: bool, s: &Source) -> Vec<f64> {
    match s {
        Source::Images => feed.images.iter().map(|&x| x.into()).collect(),
        Source::Targets if classes => feed.classes.iter().map(|&x| x.into()).collect(),
        Source::Targets => feed.targets.iter().map(|&x| x.into()).collect(),
        Source::Indices => feed.indices.iter().map(|&x| x.into()).collect(),
        Source::Parameter { place, .. } => feed.parameters[*place as usize]
            .iter()
            .map(|&x| x.into())
            .collect(),
        Source::Scalar(Scalar::LearningRate) => vec![RATE.into()],
        Source::Scalar(Scalar::InverseBatch) => vec![1.0 / feed.indices.len() as f64],
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
    assert!(
        difference <= tolerance * (change + 1e-9),
        "{what}: {difference:e} of {change:e}"
    );
}

/// The position of the parameter that an output updates.
fn place(g: &Graph, r: Role) -> Option<usize> {
    let Role::Update(id) = r else { return None };
    match &g.node(id).kind {
        NodeKind::Source(Source::Parameter { place, .. }) => Some(*place as usize),
        _ => None,
    }
}

fn check(path: &str, batch: usize) {
    let model = model(path);
    let built = model
        .build(false)
        .map_err(|f| f.diagnostics)
        .expect("the model builds");
    let per = |dims: &[u32]| dims.iter().map(|&d| d as usize).product::<usize>();
    let outputs = per(&built.output);
    let feed = Feed {
        images: noise(1000, EXAMPLES * per(&built.input), 1.0),
        targets: noise(1001, EXAMPLES * outputs, 1.0),
        classes: (0..EXAMPLES as i32).map(|i| i % outputs as i32).collect(),
        indices: (0..batch as u32)
            .map(|i| (i * 7 + 3) % EXAMPLES as u32)
            .collect(),
        parameters: built
            .parameters
            .iter()
            .map(|p| noise(p.place, per(&p.dims), 0.3))
            .collect(),
    };
    let classes = model.config.loss == lenetc::passes::config::Loss::CrossEntropy;
    let env = Env {
        batch,
        learning_rate: RATE.into(),
    };
    let g = model.differentiate(built.graph);
    let oracle = evaluate(&g, env, |s| value(&feed, classes, s));
    for join in [false, true] {
        let got = by_groups(&mut g.clone(), join, &feed, classes, env);
        for o in &g.outputs {
            let start: Vec<f64> = place(&g, o.role).map_or(vec![], |p| {
                feed.parameters[p].iter().map(|&x| x.into()).collect()
            });
            compare(
                &format!("{path} {:?}, joined: {join}", o.role),
                &got[&o.role],
                &oracle[&o.value],
                &start,
                1e-9,
            );
        }
        for isa in isas::here() {
            let plan = driver::plan(g.clone(), join, batch as u32, isa);
            on_machine(
                &format!("{path} on {isa}, joined: {join}"),
                &plan,
                &feed,
                classes,
                &g,
                &oracle,
            );
        }
    }
}

/// One step of the compiled program.
fn on_machine(
    name: &str,
    plan: &Plan,
    feed: &Feed,
    classes: bool,
    g: &Graph,
    oracle: &BTreeMap<Value, Vec<f64>>,
) {
    let mut machine = Machine::new(plan.compile().expect("Cranelift compiles it"), 1);
    for p in &plan.parameters {
        let data = &feed.parameters[p.place as usize];
        machine
            .parameter_mut(p.offset_bytes, data.len())
            .copy_from_slice(data);
    }
    let examples = Examples {
        inputs: Bytes::F32(&feed.images),
        targets: if classes {
            Bytes::I32(&feed.classes)
        } else {
            Bytes::F32(&feed.targets)
        },
        len: EXAMPLES,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    // A step taken apart, at a rate of 0, gives the same losses and changes nothing.
    pool.install(|| machine.profile(examples, &feed.indices));
    let apart = machine.losses().to_vec();
    pool.install(|| machine.run(Mode::Train, examples, &feed.indices, RATE));
    assert_eq!(machine.losses(), apart, "{name}");
    for o in &g.outputs {
        let (got, start): (Vec<f64>, Vec<f64>) = match (o.role, place(g, o.role)) {
            (Role::Loss, _) => (machine.losses().iter().map(|&x| x.into()).collect(), vec![]),
            (_, Some(k)) => {
                let p = plan
                    .parameters
                    .iter()
                    .find(|p| p.place as usize == k)
                    .expect("planned");
                let data = &feed.parameters[k];
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

#[test]
fn shipped_models() {
    for batch in [1, 5, 18] {
        check("models/edge.nn", batch);
    }
    check("models/lenet.nn", 5);
    check("models/branches.nn", 6);
}

#[test]
fn varied_models() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch");
    let mut cases: Vec<_> = std::fs::read_dir(root)
        .expect("the cases are here")
        .flatten()
        .map(|e| e.path().join("model.nn"))
        .filter(|p| p.exists() && !p.to_string_lossy().contains("lenet"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 12);
    for case in cases {
        for batch in [1, 7, 17] {
            check(case.to_str().expect("the path is text"), batch);
        }
    }
}

#[test]
fn every_model_compiles_for_aarch64() {
    for path in ["models/edge.nn", "models/lenet.nn", "models/branches.nn"] {
        let model = model(path);
        let built = model
            .build(true)
            .map_err(|f| f.diagnostics)
            .expect("the model builds");
        let plan = driver::plan(
            model.differentiate(built.graph),
            true,
            model.config.batch_size,
            Isa::Cranelift,
        );
        let target = Target::named("aarch64").expect("Cranelift knows it");
        let code = clif::assembly(&plan.kernels, &target).expect("it compiles");
        assert!(
            code.contains("fmla v"),
            "{path} multiplies and adds in vectors"
        );
    }
}
