//! The training loop on a GPU: the same epochs, order, metrics and endings as on the processor.
//!
//! A model of one linear layer is compiled for the processor, and by hand for the software GPU; both sessions train
//! on the same data from the same weights. So this test is about the loop and not about the compiler.

#[path = "../runtime/tests/common/modules.rs"]
mod modules;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lenetc::backend::StatePlace;
use lenetc::backend::cpu::Isa;
use lenetc::data::Search;
use lenetc::diag::Source;
use lenetc::driver::{self, Model};
use lenetc::ir::{Distribution, Scalar, StateInfo, StateKind, TensorType};
use lenetc::train::{self, Doing, Epoch, Loaded, Metrics, Options, RunError, Session, Watcher};
use lenetc_runtime::cuda::{Choice, Device, Launch, Place, Program};
use lenetc_runtime::exec::Mode;

use modules::modules;

const EXAMPLES: usize = 50;
const BIAS_BYTES: usize = 64;

const KERNELS: &str = r#"
extern "C" __global__ void forward(const float* x, const float* t, const u32* order, const Step* step,
                                   const float* weight, const float* bias, float* losses, float* correct, float* grad) {
    u32 n = threadIdx.x;
    if (n < step->valid) {
        u32 i = order[step->position + n];
        float e = fmaf(x[2 * i], weight[0], fmaf(x[2 * i + 1], weight[1], bias[0])) - t[i];
        losses[n] = e * e;
        correct[n] = 0.0f;
        grad[n] = 2.0f * e * step->scalars.inverse_batch;
    }
}

extern "C" __global__ void sums(Step* step, const float* losses, const float* correct, Result* results) {
    account(step, losses, correct, results);
}

extern "C" __global__ void update(const float* x, const u32* order, Step* step, float* weight, float* bias,
                                  const float* grad) {
    float sum = 0.0f;
    u32 p = threadIdx.x;
    for (u32 n = 0; n < step->valid; n++) {
        u32 i = order[step->position + n];
        sum = fmaf(grad[n], p < 2 ? x[2 * i + p] : 1.0f, sum);
    }
    if (!step->stopped && p < 2) weight[p] -= step->ending.learning_rate * sum;
    if (!step->stopped && p == 2) bias[0] -= step->ending.learning_rate * sum;
    __syncthreads();
    if (p == 0) advance(step);
}

extern "C" __global__ void onward(Step* step) {
    advance(step);
}
"#;

fn program(batch: usize) -> (Program, Vec<StatePlace>) {
    use Place::*;
    let launch = |kernel: &str, threads, arguments: &[Place]| Launch {
        kernel: kernel.into(),
        blocks: 1,
        threads,
        arguments: arguments.to_vec(),
    };
    let (functions, modules) = modules(KERNELS);
    let (weight, bias) = (Parameters(0), Parameters(BIAS_BYTES));
    let forward = [
        Inputs,
        Targets,
        Order,
        Step,
        weight,
        bias,
        Losses,
        Correct,
        Arena(0),
    ];
    let forward = launch("forward", 64, &forward);
    let sums = launch("sums", 64, &[Step, Losses, Correct, Results]);
    let update = launch("update", 3, &[Inputs, Order, Step, weight, bias, Arena(0)]);
    let onward = launch("onward", 1, &[Step]);
    let parameter = |name: &str, offset_bytes, dims: &[u32]| StatePlace {
        info: StateInfo {
            name: name.into(),
            ty: TensorType::fixed(dims),
            kind: StateKind::Parameter,
            initial: Distribution::Constant(0.0),
        },
        offset_bytes,
    };
    (
        Program {
            scalars: Scalar::ALL.iter().map(|s| s.word().into()).collect(),
            functions,
            modules,
            train: vec![forward.clone(), sums.clone(), update],
            eval: vec![forward, sums, onward],
            batch,
            arena_bytes: 4 * batch,
            parameter_bytes: 2 * BIAS_BYTES,
            partial_bytes: 0,
        },
        vec![
            parameter("0.weight", 0, &[1, 2]),
            parameter("0.bias", BIAS_BYTES, &[1]),
        ],
    )
}

/// A model of a line, with the data in its text.
fn model(learning_rate: f32) -> Model {
    let x = |k: usize| ((k * 7 % 11) as f32 / 11.0, (k * 5 % 13) as f32 / 13.0);
    let rows: Vec<String> = (0..EXAMPLES)
        .map(|k| format!("[{}, {}]", x(k).0, x(k).1))
        .collect();
    let targets: Vec<String> = (0..EXAMPLES)
        .map(|k| format!("[{}]", x(k).0 - 2.0 * x(k).1 + 0.5))
        .collect();
    let text = format!(
        "model Line {{\n input(2)\n Linear(1)\n}}\ntrain {{\n data = inline {{ x = [{}] y = [{}] }}\n loss = MSELoss\n \
         optimizer = SGD(lr={learning_rate:e})\n batch_size = 16\n epochs = 4\n seed = 5\n print_every = 3\n}}\n",
        rows.join(", "),
        targets.join(", ")
    );
    let source = Source {
        name: "line.nn".into(),
        text,
    };
    match driver::read(source, &[]) {
        Ok(model) => model,
        Err(f) => panic!("{:?}", f.diagnostics),
    }
}

fn data(model: &Model) -> Loaded {
    let source = model.config.data.as_ref().expect("the text names data");
    let search = Search {
        folder: Path::new("."),
        given: None,
    };
    let wanted = train::wanted(&[2], &[1], &model.config.loss);
    let loaded = train::open(source, search).and_then(|source| train::load(source, &wanted));
    loaded.unwrap_or_else(|e| panic!("{e}"))
}

fn gpu(model: Model) -> Session {
    let device = Device::open(Choice::Software)
        .unwrap_or_else(|e| panic!("tests/run installs and builds what the tests need: {e}"));
    let (program, states) = program(16);
    let session = Session::on_gpu(&device, program, states, data(&model), model.config);
    started(session, &[1.0, -0.25])
}

fn cpu(model: Model) -> Session {
    let built = model
        .build(false)
        .unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
    let plan = driver::plan(model.differentiate(built.graphs), true, 16, Isa::Cranelift);
    let session = Session::new(&plan, data(&model), model.config, 1);
    started(session, &[1.0, -0.25])
}

/// Both start from the same weights, through a file.
fn started(session: Result<Session, RunError>, weight: &[f32]) -> Session {
    let mut session = session.unwrap_or_else(|e| panic!("{e}"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("w.safetensors");
    let tensor = |name: &str, shape: &[usize], data: &[f32]| lenetc_runtime::weights::Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        data: data.to_vec(),
    };
    let tensors = [
        tensor("0.weight", &[1, 2], weight),
        tensor("0.bias", &[1], &[0.125]),
    ];
    lenetc_runtime::weights::save(&path, &tensors).expect("written");
    session
        .load_weights(&path)
        .unwrap_or_else(|e| panic!("{e}"));
    session
}

/// What a run told.
#[derive(Default)]
struct Told {
    steps: Vec<(u64, f64)>,
    epochs: Vec<Epoch>,
    progress: Vec<usize>,
    doing: Vec<Doing>,
    stop_at: Option<usize>,
}

static STOP: AtomicBool = AtomicBool::new(false);
static GO: AtomicBool = AtomicBool::new(false);

impl Watcher for Told {
    fn doing(&mut self, what: Doing) {
        self.doing.push(what);
    }
    fn warning(&mut self, text: &str) {
        panic!("{text}");
    }
    fn progress(&mut self, _: u32, done: usize, all: usize, _: f64) {
        assert!(done <= all && all == EXAMPLES);
        self.progress.push(done);
        if self.stop_at == Some(self.progress.len()) {
            STOP.store(true, Ordering::Relaxed);
        }
    }
    fn step(&mut self, step: u64, loss: f64) {
        self.steps.push((step, loss));
    }
    fn epoch(&mut self, e: &Epoch, _: u32) {
        self.epochs.push(*e);
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-7 + 1e-5 * b.abs()
}

#[test]
fn both_targets_tell_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut runs =
        [(gpu(model(0.1)), "gpu"), (cpu(model(0.1)), "cpu")].map(|(mut session, name)| {
            let options = Options {
                metrics: Some(Metrics::create(&dir.path().join(name)).expect("writable")),
                ..Options::default()
            };
            let mut told = Told::default();
            let summary = session
                .train(&options, &GO, &mut told)
                .unwrap_or_else(|e| panic!("{e}"));
            let lines = std::fs::read_to_string(dir.path().join(name)).expect("written");
            (session, told, summary, lines.lines().count())
        });
    let [(gpu, g, gs, gn), (cpu, c, cs, cn)] = &mut runs;
    assert_eq!(
        (gs.steps, gs.covered, gs.examples, &*gn),
        (cs.steps, cs.covered, cs.examples, &*cn)
    );
    assert_eq!((gs.steps, g.epochs.len(), g.steps.len()), (16, 4, 5));
    assert_eq!(g.progress, c.progress);
    let mut doing = [Doing::Steps, Doing::Test].repeat(4);
    *doing.last_mut().expect("four epochs") = Doing::LastTest { saved: false };
    assert_eq!((&g.doing, &c.doing), (&doing, &doing));
    assert!(gs.examples_per_sec > 0.0 && !gs.interrupted);
    for (a, b) in g.steps.iter().zip(&c.steps) {
        assert!(a.0 == b.0 && near(a.1, b.1), "{a:?} {b:?}");
    }
    for (a, b) in g.epochs.iter().zip(&c.epochs) {
        assert!(near(a.train_loss, b.train_loss) && a.test_loss.is_none() && a.train_acc.is_none());
    }
    let [a, b] = [&*gpu, &*cpu].map(|s| s.tensors().unwrap_or_else(|e| panic!("{e}")));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        let all = a.data.iter().zip(&b.data);
        assert!(
            all.into_iter()
                .all(|(x, y)| near(f64::from(*x), f64::from(*y))),
            "{}",
            a.name
        );
    }
    let [a, b] = [gpu, cpu].map(|s| s.evaluate().unwrap_or_else(|e| panic!("{e}")));
    assert!(
        near(a.0, b.0) && a.1.is_none() && b.1.is_none(),
        "{a:?} {b:?}"
    );
}

/// Told when the last test pass begins: by then the weights must be there.
struct Saved(std::path::PathBuf, Vec<Doing>);

impl Watcher for Saved {
    fn doing(&mut self, what: Doing) {
        self.1.push(what);
        let last = what == Doing::LastTest { saved: true };
        assert_eq!(self.0.exists(), last, "{what:?}");
    }
    fn warning(&mut self, text: &str) {
        panic!("{text}");
    }
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, _: f64) {}
    fn epoch(&mut self, _: &Epoch, _: u32) {}
}

#[test]
fn weights_are_saved_before_the_last_test_pass() {
    for (mut session, steps) in [
        (gpu(model(0.1)), None),
        (cpu(model(0.1)), None),
        (cpu(model(0.1)), Some(6)),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let options = Options {
            steps,
            save: Some(dir.path().join("w.safetensors")),
            ..Options::default()
        };
        let mut saved = Saved(dir.path().join("w.safetensors"), vec![]);
        let trained = session.train(&options, &GO, &mut saved);
        trained.unwrap_or_else(|e| panic!("{e}"));
        assert!(
            saved
                .1
                .ends_with(&[Doing::Save, Doing::LastTest { saved: true }])
        );
    }
}

/// Hears warnings, and keeps them with what was done before each.
#[derive(Default)]
struct Warned(Vec<String>, Vec<Doing>);

impl Watcher for Warned {
    fn doing(&mut self, what: Doing) {
        self.1.push(what);
    }
    fn warning(&mut self, text: &str) {
        // Metrics may be noticed at any step.
        let saving = text.contains("/none/");
        assert!(
            !saving || self.1.last() == Some(&Doing::Save),
            "not at once"
        );
        self.0.push(text.into());
    }
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, _: f64) {}
    fn epoch(&mut self, _: &Epoch, _: u32) {}
}

/// Folders that are missing and `/dev/full` take nothing.
#[test]
fn a_run_whose_weights_and_metrics_are_lost_gives_its_figures() {
    for tested in [false, true] {
        let mut session = cpu(model(0.1));
        if tested {
            session.data.test = Some(data(&model(0.1)).train);
        }
        let options = Options {
            save: Some("/none/w.st".into()),
            metrics: Some(Metrics::create(Path::new("/dev/full")).expect("it opens")),
            ..Options::default()
        };
        let mut warned = Warned::default();
        let failed = session.train(&options, &GO, &mut warned);
        let failed = failed.expect_err("nothing is written");
        let save = "cannot write /none/w.st: there is no folder /none";
        let metrics = "cannot write /dev/full: the disk is full";
        assert_eq!(failed.to_string(), format!("{save}\n{metrics}"));
        let summary = failed.summary.expect("the training came to its end");
        assert_eq!((summary.steps, summary.last.epoch), (16, 4));
        assert_eq!(summary.last.test_loss.is_some(), tested);
        let told = tested.then(|| format!("{save}; the test pass goes on"));
        let saving = warned.0.iter().filter(|w| w.contains("/none"));
        assert_eq!(saving.collect::<Vec<_>>(), told.iter().collect::<Vec<_>>());
        let last = warned.1.last();
        assert_eq!(last, Some(&Doing::LastTest { saved: false }));
    }
}

#[test]
fn a_number_of_steps_ends_a_run_inside_an_epoch() {
    let options = Options {
        steps: Some(6),
        ..Options::default()
    };
    let mut told = Told::default();
    let s = gpu(model(0.1))
        .train(&options, &GO, &mut told)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (s.steps, s.covered, s.last.epoch, told.epochs.len()),
        (6, 32, 2, 1)
    );
}

#[test]
fn a_signal_ends_a_run_after_its_round() {
    let mut told = Told {
        stop_at: Some(3),
        ..Told::default()
    };
    let s = gpu(model(0.1)).train(&Options::default(), &STOP, &mut told);
    let s = s.unwrap_or_else(|e| panic!("{e}"));
    assert!(
        s.interrupted && (3..=5).contains(&s.steps),
        "{} steps",
        s.steps
    );
}

#[test]
fn a_loss_that_is_not_finite_ends_a_run_with_its_step() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("m.jsonl");
    let [g, c] = [gpu(model(1e30)), cpu(model(1e30))].map(|mut session| {
        let options = Options {
            metrics: Some(Metrics::create(&path).expect("writable")),
            ..Options::default()
        };
        let ended = session.train(&options, &GO, &mut Told::default());
        let lines = std::fs::read_to_string(&path).expect("written");
        let line = |l: &str| serde_json::from_str::<serde_json::Value>(l).expect("JSON");
        let lines: Vec<_> = lines.lines().map(line).collect();
        let [.., step, end] = &lines[..] else {
            panic!("too few lines: {lines:?}");
        };
        assert_eq!(
            (&step["kind"], &end["kind"]),
            (&"step".into(), &"end".into())
        );
        assert!(
            step["loss"].is_null() && end["train_loss"].is_null(),
            "{end}"
        );
        assert_eq!(
            (&end["steps"], &end["epoch"]),
            (&step["step"], &step["epoch"])
        );
        assert_eq!(end["of_examples"], EXAMPLES);
        ended.expect_err("the loss overflows").to_string()
    });
    assert_eq!(g, c);
    assert!(g.contains("the loss of step"), "{g}");
}

#[test]
fn rates_are_measured() {
    let mut session = gpu(model(0.01));
    for mode in [Mode::Train, Mode::Eval] {
        let rate = session.rate(mode, 0.1).unwrap_or_else(|e| panic!("{e}"));
        assert!(rate.per_sec.is_finite() && rate.per_sec > 0.0, "{rate:?}");
        assert!(rate.spread >= 0.0, "{rate:?}");
    }
}
