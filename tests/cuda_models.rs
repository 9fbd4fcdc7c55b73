//! Every model on the software GPU against the processor: thirty steps from the same weights on the same batches, with
//! a partial one at the end of each epoch, and a few steps on devices of other sizes; and every model's kernels under the
//! sanitizers, as each of these devices has them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lenetc::driver::Model;
use lenetc::train::{Doing, Epoch, Options, Session, Watcher};
use lenetc_runtime::weights::Tensor;
use tempfile::TempDir;

#[path = "common/compare.rs"]
mod compare;
#[path = "common/gpu.rs"]
mod gpu;

const STEPS: u64 = 30;
/// Steps on devices of other sizes: an epoch with its partial batch.
const FEW: u64 = 3;
/// In order, reversed, at random.
const ORDERS: [u32; 3] = [0, 1, 5];

/// What a run gave.
#[derive(Default)]
struct Told {
    steps: Vec<f64>,
    tests: Vec<f64>,
}

impl Watcher for Told {
    fn doing(&mut self, _: Doing) {}
    fn warning(&mut self, _: &str) {}
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, loss: f64) {
        self.steps.push(loss);
    }
    fn epoch(&mut self, e: &Epoch, _: u32) {
        self.tests.extend(e.test_loss);
    }
}

/// A model with its data: three batches an epoch, of which the last has a third of the images.
struct Case {
    name: &'static str,
    batch: usize,
    data: TempDir,
    weights: Option<PathBuf>,
}

impl Case {
    fn new(name: &'static str, batch: usize) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        gpu::first_images(data.path(), Self::images(batch), 2 * batch / 3);
        Self {
            name,
            batch,
            data,
            weights: None,
        }
    }

    fn images(batch: usize) -> usize {
        2 * batch + batch / 3
    }

    fn model(&self) -> Model {
        let entries = [
            format!("batch_size={}", self.batch),
            "print_every=1".into(),
            "epochs=1000".into(),
        ];
        let text = match self.name {
            "edge" => stripes(&gpu::text("edge"), Self::images(self.batch)),
            name => gpu::text(name),
        };
        gpu::read(self.name, text, &entries)
    }

    /// The weights before, what was told, and the weights behind so many steps.
    fn train(&self, mut session: Session, steps: u64) -> (Vec<Tensor>, Told, Vec<Tensor>) {
        if let Some(path) = &self.weights {
            let taken = session.load_weights(path);
            taken.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        }
        let options = Options {
            steps: Some(steps),
            ..Options::default()
        };
        let tensors = |s: &Session| s.tensors().unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let start = tensors(&session);
        let mut told = Told::default();
        session
            .train(&options, &AtomicBool::new(false), &mut told)
            .unwrap_or_else(|e| panic!("{}: {e}\n{}", self.name, gpu::report()));
        (start, told, tensors(&session))
    }

    /// On each device, and on the processor.
    fn all(&self) {
        for on in gpu::DEVICES {
            self.both(on, if on == gpu::USUAL { STEPS } else { FEW });
        }
    }

    /// So many steps on a device and on the processor.
    fn both(&self, on: &str, steps: u64) {
        let device = gpu::device(&format!("{on};sanitize=none;warp_order=0"));
        let cuda = gpu::session(self.model(), self.data.path(), Some(&device));
        let (w0, cuda, cuda_end) = self.train(cuda, steps);
        let cpu = gpu::session(self.model(), self.data.path(), None);
        let (cpu_w0, cpu, cpu_end) = self.train(cpu, steps);
        assert_eq!(w0, cpu_w0, "{}: both start from the same", self.name);
        assert_eq!(cpu.steps.len() as u64, steps);
        let named = |e: String| panic!("{} with {on}: {e}", self.name);
        compare::losses(&cuda.steps, &cpu.steps).unwrap_or_else(named);
        compare::updates(&w0, &cpu_end, &cuda_end).unwrap_or_else(named);
        if !cpu.tests.is_empty() {
            compare::losses(&cuda.tests, &cpu.tests).unwrap_or_else(named);
        }
    }

    /// An epoch under all sanitizers.
    fn sanitized(&self, on: &str, order: u32) -> (Vec<f64>, Vec<Tensor>) {
        let device = gpu::device(&format!("{on};sanitize=all;warp_order={order}"));
        let session = gpu::session(self.model(), self.data.path(), Some(&device));
        let (_, told, end) = self.train(session, 3);
        let found = gpu::findings(&gpu::report());
        let name = self.name;
        assert!(found.is_empty(), "{name}, {on}, order {order}: {found:?}");
        (told.steps, end)
    }
}

/// Edge with other images: columns of ones and zeros. Its loss is a sum, so the rate is lower than for one image.
fn stripes(text: &str, images: usize) -> String {
    let (head, rest) = text.split_once("data = inline").expect("it has its data");
    let (_, rest) = rest.split_once("loss = ").expect("it has a loss");
    let bit = |image: usize, column: usize| (image * 7 + column * column * 5) / 3 % 2;
    let rows = |of: &dyn Fn(usize) -> String, columns: usize| {
        let row: Vec<String> = (0..columns).map(of).collect();
        format!(
            "[[{}]]",
            vec![format!("[{}]", row.join(", ")); 6].join(", ")
        )
    };
    let list = |all: Vec<String>| format!("[{}]", all.join(", "));
    let x = (0..images).map(|n| rows(&|c| bit(n, c).to_string(), 8));
    let edge = |n, c| (bit(n, c) as i32 - bit(n, c + 1) as i32).to_string();
    let y = (0..images).map(|n| rows(&|c| edge(n, c), 7));
    let rest = rest.replace("lr=0.03", "lr=0.0003");
    format!(
        "{head}data = inline {{\n x = {}\n y = {}\n }}\n loss = {rest}",
        list(x.collect()),
        list(y.collect())
    )
}

fn torch(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/torch")
        .join(file)
}

#[test]
fn lenet_trains_as_on_the_processor() {
    let _one = gpu::alone();
    Case::new("lenet", 32).all();
}

#[test]
fn lenet_trains_on_from_a_checkpoint_as_on_the_processor() {
    let _one = gpu::alone();
    let weights = Some(torch("lenet_trained/start.safetensors"));
    Case {
        weights,
        ..Case::new("lenet", 32)
    }
    .both(gpu::USUAL, STEPS);
}

#[test]
fn edge_trains_as_on_the_processor() {
    let _one = gpu::alone();
    Case::new("edge", 32).all();
}

#[test]
fn branches_train_as_on_the_processor() {
    let _one = gpu::alone();
    Case::new("branches", 32).all();
}

/// Not all of them have one plan.
#[test]
fn devices_are_of_different_sizes() {
    let _one = gpu::alone();
    let counts = gpu::DEVICES.map(|on| gpu::device(on).found.multiprocessors);
    assert_eq!(counts, [6, 40, 108, 132, 170]);
    for (name, least) in [("lenet", 4), ("branches", 3)] {
        let model = Case::new(name, 32).model();
        let mut plans = counts.map(|count| {
            let program = gpu::plan(&model, count).program();
            let kernels = program.kernels().map(|k| k.text.clone());
            kernels.collect::<String>()
        });
        plans.sort_unstable();
        let different = 1 + plans.windows(2).filter(|w| w[0] != w[1]).count();
        assert!(different >= least, "{name} has {different} plans");
    }
}

#[test]
fn no_model_gives_the_sanitizers_a_finding_and_the_order_of_warps_changes_no_bit() {
    let _one = gpu::alone();
    for name in gpu::MODELS {
        let case = Case::new(name, 8);
        let [first, rest @ ..] = ORDERS.map(|order| case.sanitized(gpu::USUAL, order));
        assert!(rest.iter().all(|r| *r == first), "{name}");
        let others = gpu::DEVICES.into_iter().filter(|&on| on != gpu::USUAL);
        for (on, order) in others.zip(ORDERS.into_iter().cycle()) {
            case.sanitized(on, order);
        }
    }
}
