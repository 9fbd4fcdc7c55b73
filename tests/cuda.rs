//! Every operator's CUDA C on the software GPU: NVRTC's PTX under the real driver path, against the nest in f64.
//!
//! A family of operators is one program, a launch for each. It runs in three orders of warps and blocks, under all
//! sanitizers, on full and on partial batches; elements that nobody may read are NaN.

use std::sync::Mutex;

use lenetc::backend::cuda::{Options, Plan, Unit, single};
use lenetc::ir::{DType, Leading, Scalars};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{Nest, TensorId, TensorRole};
use lenetc_runtime::cuda::{Choice, Device, Engine, Place, software_configure, software_report};
use lenetc_runtime::exec::{Bytes, Examples, Mode};

#[macro_use]
#[path = "common/cases.rs"]
mod cases;
#[allow(dead_code, reason = "its operand is made here")]
#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/elementary.rs"]
mod elementary;
#[path = "common/hard.rs"]
mod hard;
#[path = "common/tolerance.rs"]
mod tolerance;
use cases::{Case, activations};
use elementary::Function;
use hard::Hard;

/// Images of a full batch, valid ones, multiprocessors.
const BATCHES: [(u32, usize, u32); 2] = [(9, 4, 132), (40, 37, 16)];
/// In order, reversed, at random.
const ORDERS: [u32; 3] = [0, 1, 5];
const LEARNING_RATE: f64 = 0.5;

/// The software GPU's settings are the process's: one test at a time.
static SETTINGS: Mutex<()> = Mutex::new(());

/// A tensor of a case, in the region of parameters.
struct Region {
    case: usize,
    output: usize,
    first: usize,
    shards: usize,
}

/// What the results of a nest must be.
enum Check {
    /// Each of them, off by no more than the tolerance relative to one or more.
    Near {
        name: &'static str,
        wanted: Vec<Vec<f64>>,
        tolerance: f64,
    },
    /// The first, at points that are hard.
    Hard(Hard),
    /// The first, a function at its points.
    Function(&'static Function),
    /// The first, one of [`elementary::EXTREMES`] of pairs, or of a constant and their second numbers.
    Extremes(usize, Option<f32>),
}

/// A family as one program.
struct Family {
    plan: Plan,
    values: Vec<f32>,
    outputs: Vec<Region>,
    checks: Vec<Check>,
    /// The data set, for the one case that reads it.
    data: Vec<u8>,
    order: Vec<u32>,
}

impl Family {
    fn new(cases: &[Case], (batch, valid, multiprocessors): (u32, usize, u32)) -> Self {
        let options = Options {
            batch,
            multiprocessors,
        };
        let mut f = Self {
            plan: Plan {
                options,
                train: vec![],
                eval: vec![Unit::close(options)],
                states: vec![],
                arena_bytes: 0,
                parameter_bytes: 0,
                partial_bytes: 0,
            },
            values: vec![],
            outputs: vec![],
            checks: vec![],
            data: vec![0; valid],
            order: (0..valid as u32).collect(),
        };
        for c in cases {
            let (nest, inputs) = (c.nest(), c.values(valid));
            let check = Check::Near {
                name: c.name,
                wanted: interpreted(&nest, &inputs, valid),
                tolerance: tolerance::of(&nest, valid),
            };
            f.add(&nest, &inputs, check);
        }
        f
    }

    /// Adds a launch of a nest's kernel.
    fn add(&mut self, nest: &Nest, inputs: &[Vec<f64>], check: Check) {
        let number = self.checks.len();
        self.checks.push(check);
        let (kernel, shards) = single(nest, self.plan.options);
        let tensors = (0..).map(TensorId).zip(&nest.tensors);
        let tensors = tensors.filter(|(_, t)| t.role != TensorRole::Temp);
        let mut places = Vec::new();
        for ((id, t), b) in tensors.zip(&kernel.buffers) {
            let given = match t.role {
                TensorRole::Input(i) => inputs[i as usize].as_slice(),
                _ => &[],
            };
            places.push(match (t.ty.leading, t.ty.dtype) {
                (Leading::Dataset, _) => {
                    self.data = given.iter().map(|&x| x as u8).collect();
                    Place::Inputs
                }
                (_, DType::I32) => {
                    self.order = given.iter().map(|&x| x as u32).collect();
                    Place::Order
                }
                _ => Place::Parameters(4 * self.region(given, b.len as usize)),
            });
            if let (TensorRole::Output(o), Some(Place::Parameters(at))) = (t.role, places.last()) {
                let shards = shards.iter().find(|s| s.0 == id);
                self.outputs.push(Region {
                    case: number,
                    output: o as usize,
                    first: at / 4,
                    shards: shards.map_or(1, |s| s.1 as usize),
                });
            }
        }
        self.plan.train.push(Unit {
            kernel,
            places,
            origin: lenetc::backend::Origin::default(),
            rounds: vec![],
            extra: None,
            sums: false,
            stops: false,
        });
    }

    /// Room for a tensor, NaN where nothing is given, from a multiple of 64 bytes on.
    fn region(&mut self, given: &[f64], len: usize) -> usize {
        let first = self.values.len();
        self.values.extend(given.iter().map(|&x| x as f32));
        let end = first + len.max(given.len());
        self.values.resize(end.next_multiple_of(16), f32::NAN);
        first
    }

    /// Runs all launches under the sanitizers, and holds their results to what they must be.
    fn check(&mut self, order: u32) {
        let options = self.plan.options;
        if self.plan.train.last().is_none_or(|u| u.extra.is_none()) {
            self.plan.train.push(Unit::close(options));
        }
        self.plan.parameter_bytes = 4 * self.values.len() as u64;

        let settings = format!("reset=1;sanitize=all;warp_order={order}");
        let device = Device::open(Choice::Software)
            .unwrap_or_else(|e| panic!("tests/run builds what is missing: {e}"));
        assert!(software_configure(&settings), "settings");
        drop(device);
        let device = Device::open(Choice::Software).expect("it was there");
        let targets = vec![0i32; self.order.len()];
        let examples = Examples {
            inputs: Bytes::U8(&self.data),
            targets: Bytes::I32(&targets),
            len: targets.len(),
        };
        let mut engine = Engine::new(&device, self.plan.program(), examples, None)
            .unwrap_or_else(|e| panic!("{e}"));
        engine.set_parameters(&self.values).expect("room");
        let row = |_, images| scalars(images);
        let rows = Scalars::rows(self.order.len(), options.batch as usize, row);
        engine
            .begin(Mode::Train, &self.order, &rows)
            .expect("memory");
        engine.run(1).unwrap_or_else(|e| {
            panic!(
                "order {order}: {e}\n{}",
                software_report().unwrap_or_default()
            )
        });
        let found = engine.parameters().expect("memory");
        for r in &self.outputs {
            let on = format!("the software GPU, order {order}");
            let at = |at: usize, len: usize| -> f64 {
                let parts = (0..r.shards).map(|p| f64::from(found[r.first + p * len + at]));
                parts.sum()
            };
            let all = |len: usize| -> Vec<f64> { (0..len).map(|k| at(k, len)).collect() };
            match &self.checks[r.case] {
                Check::Near {
                    name,
                    wanted,
                    tolerance,
                } => {
                    let want = &wanted[r.output];
                    for (k, (got, &w)) in all(want.len()).into_iter().zip(want).enumerate() {
                        let same = got == w || (got.is_nan() && w.is_nan());
                        assert!(
                            same || (got - w).abs() <= tolerance * (1.0 + w.abs()),
                            "{name} (case {}) on {on} at {k}: {got} for {w}",
                            r.case
                        );
                    }
                }
                Check::Hard(hard) if r.output == 0 => hard.hold(&all(hard.wanted.len()), &on),
                Check::Hard(_) => {}
                Check::Extremes(f, first) => {
                    elementary::hold_extremes(*f, *first, &all(elementary::pairs()[0].len()), &on)
                }
                Check::Function(f) => {
                    let points = f.all();
                    for (x, y) in points.iter().zip(all(points.len())) {
                        let off = elementary::ulps(y as f32, (f.exact)(f64::from(*x)));
                        assert!(
                            off <= elementary::GPU_ULPS,
                            "{:?}({x:e}) = {y:e} is off by {off} ulp on {on}",
                            f.unary
                        );
                    }
                }
            }
        }
    }
}

/// The numbers of a step: the lower half of its seed would be a NaN that signals.
fn scalars(images: usize) -> Scalars {
    Scalars::new(images, LEARNING_RATE).drawn(0x1234_5678_7f80_0001, 0x9_0000_0007)
}

/// Random numbers are the same bits as the interpreter's.
#[test]
fn random_numbers() {
    let _one = SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for (batch, valid, multiprocessors) in BATCHES {
        let mut family = Family::new(&[], (batch, valid, multiprocessors));
        for ty in drawn::types() {
            let (nest, inputs) = (
                drawn::nest(&ty),
                [vec![0.0; ty.elements() as usize * valid]],
            );
            let check = Check::Near {
                name: "drawn",
                wanted: interpreted(&nest, &inputs, valid),
                tolerance: 0.0,
            };
            family.add(&nest, &inputs, check);
        }
        family.check(0);
    }
}

/// What a nest's results are in f64.
fn interpreted(nest: &Nest, inputs: &[Vec<f64>], images: usize) -> Vec<Vec<f64>> {
    let refs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let env = Env {
        scalars: scalars(images),
        ..Env::new(images, LEARNING_RATE)
    };
    interp::run(nest, &refs, env)
}

/// Losses, slopes and functions where their obvious forms fail.
#[test]
fn hard_points() {
    let _one = SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    let rows = hard::rows_with_gradients();
    let mut all = hard::cross_entropies();
    all.extend(hard::elementwise());
    all.extend(hard::losses::binary_cross_entropies());
    all.extend(hard::losses::absolutes());
    all.extend(hard::activations());
    for (rows, loss) in rows.iter().zip(hard::cross_entropies_of(&rows)) {
        let saved = interpreted(&nest_of(&loss), &loss.operands, loss.images);
        all.push(hard::cross_entropy_gradient(rows, saved[1..].to_vec()));
    }
    // Images of an operator are a batch, so operators with as many images are one program.
    let mut sizes: Vec<usize> = all.iter().map(|h| h.images).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for images in sizes {
        let mut family = Family::new(&[], (images as u32, images, 132));
        for function in &elementary::FUNCTIONS {
            let points: Vec<f64> = function.all().iter().map(|&x| f64::from(x)).collect();
            let nest = function.nest(points.len());
            family.add(&nest, &[points], Check::Function(function));
        }
        let pairs = elementary::pairs();
        for (f, &(function, _)) in elementary::EXTREMES.iter().enumerate() {
            for first in elementary::FIRST {
                let nest = elementary::extremes(function, first, pairs[0].len());
                family.add(&nest, &pairs, Check::Extremes(f, first));
            }
        }
        let (now, later): (Vec<Hard>, _) = all.into_iter().partition(|h| h.images == images);
        all = later;
        for hard in now {
            family.add(&nest_of(&hard), &hard.operands.clone(), Check::Hard(hard));
        }
        family.check(0);
    }
}

fn nest_of(hard: &Hard) -> Nest {
    let outputs = hard.op.infer(&hard.types);
    let outputs = outputs.unwrap_or_else(|e| panic!("{}", e.rule));
    hard.op.lower(&hard.types, &outputs)
}

fn run(cases: Vec<Case>) {
    let _one = SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for batch in BATCHES {
        let mut family = Family::new(&cases, batch);
        for order in ORDERS {
            family.check(order);
        }
    }
}

every_family!(run);
