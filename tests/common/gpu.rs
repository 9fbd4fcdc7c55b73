//! What the tests on the software GPU share: from a model's text to a session, its settings, and what it reports.
//! Does not know what is tested.

#![allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use lenetc::backend::cpu::Isa;
use lenetc::backend::cuda::Plan;
use lenetc::data::Search;
use lenetc::diag::{self, Source};
use lenetc::driver::{self, Failure, Model};
use lenetc::ir::Scalars;
use lenetc::train::{self, Session};
use lenetc_runtime::cuda::{Choice, Device, software_configure, software_report};
use lenetc_runtime::data::{Inputs, Split, Targets, subset};
use serde_json::Value;

/// The models of the repository.
pub const MODELS: [&str; 3] = ["lenet", "edge", "branches"];

/// Settings of devices whose plans differ: with 6, 40, 108, 132 and 170 multiprocessors. Those of 108 are what is meant
/// where nothing is said.
pub const DEVICES: [&str; 5] = [
    "multiprocessors=6",
    "card=t4",
    "card=software",
    "card=h100",
    "card=rtx5090",
];
/// The third of them.
pub const USUAL: &str = DEVICES[2];

/// The software GPU's settings are the process's: one test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// A text with entries of `train` replaced, each as `batch_size=32`.
pub fn read(name: &str, text: String, entries: &[String]) -> Model {
    let source = Source {
        name: name.into(),
        text,
    };
    let overrides: Vec<String> = entries.iter().map(|e| format!("train.{e}")).collect();
    shown(driver::read(source, &overrides))
}

/// The numbers of all steps over so many examples, at one learning rate.
pub fn rows(examples: usize, batch: usize, learning_rate: f64) -> Vec<f32> {
    let row = |_, images| Scalars::new(images, learning_rate);
    Scalars::rows(examples, batch, row)
}

/// The text of a model of the repository.
pub fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.nn"));
    std::fs::read_to_string(path).expect("models are part of the repository")
}

/// A model of the repository.
pub fn named(name: &str, entries: &[String]) -> Model {
    read(name, text(name), entries)
}

fn shown<T>(r: Result<T, Box<Failure>>) -> T {
    r.unwrap_or_else(|f| panic!("{}", diag::render(&f.diagnostics, &f.source, false)))
}

/// A step of training for a device with so many multiprocessors.
pub fn plan(model: &Model, multiprocessors: u32) -> Plan {
    let built = shown(model.build(driver::holds_bytes(&model.config)));
    let graph = model.differentiate(built.graphs);
    driver::plan_cuda(graph, true, model.config.batch_size, multiprocessors)
}

/// The software GPU as new, under settings.
pub fn device(settings: &str) -> Device {
    let open = || {
        Device::open(Choice::Software)
            .unwrap_or_else(|e| panic!("tests/run installs and builds what the tests need: {e}"))
    };
    // Settings need the library, and a reset ends what is open.
    drop(open());
    assert!(
        software_configure(&format!("reset=1;card=software;{settings}")),
        "{settings}"
    );
    open()
}

/// What the software GPU has to say.
pub fn report() -> Value {
    let text = software_report().expect("the software GPU is loaded");
    serde_json::from_str(&text).expect("the report is JSON")
}

/// What sanitizers found.
pub fn findings(report: &Value) -> Vec<Value> {
    report["findings"].as_array().cloned().unwrap_or_default()
}

/// A session on the software GPU, or on one thread of the processor; weights are initial. `data` is a folder for
/// models that name a data set.
pub fn session(model: Model, data: &Path, device: Option<&Device>) -> Session {
    let built = shown(model.build(driver::holds_bytes(&model.config)));
    let graph = model.differentiate(built.graphs.clone());
    let source = model.config.data.as_ref().expect("the model names data");
    let search = Search {
        folder: data,
        given: Some(data),
    };
    let wanted = train::wanted(&built.input, &built.output, &model.config.loss);
    let loaded = train::open(source, search).and_then(|source| train::load(source, &wanted));
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
    let batch = model.config.batch_size;
    let session = match device {
        None => Session::new(
            &driver::plan(graph, true, batch, Isa::Cranelift),
            loaded,
            model.config,
            1,
        ),
        Some(device) => {
            let plan = driver::plan_cuda(graph, true, batch, device.found.multiprocessors);
            Session::on_gpu(device, plan.program(), plan.states, loaded, model.config)
        }
    };
    let mut session = session.unwrap_or_else(|e| panic!("{e}"));
    let drawn = session.initialise();
    drawn.unwrap_or_else(|e| panic!("{e}"));
    session
}

/// Writes the first images of Fashion-MNIST as a data set of its own.
pub fn first_images(folder: &Path, train: usize, test: usize) {
    let set = subset();
    let tests = set.test.expect("the subset has test images");
    for (part, split, n) in [("train", set.train, train), ("t10k", tests, test)] {
        write(folder, part, &split, n);
    }
}

fn write(folder: &Path, part: &str, split: &Split, n: usize) {
    let (Inputs::U8(images), Targets::Classes(classes)) = (&split.inputs, &split.targets) else {
        panic!("Fashion-MNIST has bytes and classes")
    };
    let size = images.len() / classes.len();
    let labels: Vec<u8> = classes[..n].iter().map(|&c| c as u8).collect();
    let count = n as u32;
    let file = |name: &str, dims: &[u32], data: &[u8]| {
        let head = [0, 0, 8, dims.len() as u8];
        let sizes: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
        let path = folder.join(format!("{part}-{name}-ubyte"));
        std::fs::write(path, [&head, &*sizes, data].concat()).expect("writable");
    };
    file("images-idx3", &[count, 28, 28], &images[..n * size]);
    file("labels-idx1", &[count], &labels);
}
