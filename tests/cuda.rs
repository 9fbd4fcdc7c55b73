//! Every operator's CUDA C on the software GPU: NVRTC's PTX under the real driver path, against the nest in f64.
//!
//! A family of operators is one program, a launch for each. It runs in three orders of warps and blocks, under all
//! sanitizers, on full and on partial batches; elements that nobody may read are NaN.

use std::sync::Mutex;

use lenetc::backend::cuda::{Options, Plan, Unit, single};
use lenetc::ir::{DType, Leading};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{TensorId, TensorRole};
use lenetc_runtime::cuda::{Choice, Device, Engine, Place, software_configure, software_report};
use lenetc_runtime::exec::{Bytes, Examples, Mode};

#[macro_use]
#[path = "common/cases.rs"]
mod cases;
#[path = "common/tolerance.rs"]
mod tolerance;
use cases::Case;

/// Images of a full batch, valid ones, multiprocessors.
const BATCHES: [(u32, usize, u32); 2] = [(9, 4, 132), (40, 37, 16)];
/// In order, reversed, at random.
const ORDERS: [u32; 3] = [0, 1, 5];
const LEARNING_RATE: f32 = 0.5;

/// The software GPU's settings are the process's: one test at a time.
static SETTINGS: Mutex<()> = Mutex::new(());

/// A tensor of a case, in the region of parameters.
struct Region {
    case: usize,
    output: usize,
    first: usize,
    shards: usize,
}

/// A family as one program.
struct Family {
    plan: Plan,
    values: Vec<f32>,
    outputs: Vec<Region>,
    wanted: Vec<Vec<Vec<f64>>>,
    /// How far each case's results may be off.
    tolerances: Vec<f64>,
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
                parameters: vec![],
                arena_bytes: 0,
                parameter_bytes: 0,
                partial_bytes: 0,
            },
            values: vec![],
            outputs: vec![],
            wanted: vec![],
            tolerances: vec![],
            data: vec![0; valid],
            order: (0..valid as u32).collect(),
        };
        for (k, c) in cases.iter().enumerate() {
            f.add(k, c, valid, options);
        }
        f.plan.train.push(Unit::close(options));
        f.plan.parameter_bytes = 4 * f.values.len() as u64;
        f
    }

    fn add(&mut self, number: usize, c: &Case, valid: usize, options: Options) {
        let nest = c.nest();
        let inputs = c.values(valid);
        let refs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let env = Env {
            batch: valid,
            learning_rate: f64::from(LEARNING_RATE),
        };
        self.wanted.push(interp::run(&nest, &refs, env));
        self.tolerances.push(tolerance::of(&nest, valid));
        let (kernel, shards) = single(&nest, options);
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
            extra: None,
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

    fn check(&self, cases: &[Case], order: u32) {
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
        engine
            .begin(Mode::Train, &self.order, LEARNING_RATE)
            .expect("memory");
        engine.run(1).unwrap_or_else(|e| {
            panic!(
                "order {order}: {e}\n{}",
                software_report().unwrap_or_default()
            )
        });
        let found = engine.parameters().expect("memory");
        for r in &self.outputs {
            let want = &self.wanted[r.case][r.output];
            for (at, &w) in want.iter().enumerate() {
                let parts = (0..r.shards).map(|p| f64::from(found[r.first + p * want.len() + at]));
                let got: f64 = parts.sum();
                let same = got == w || (got.is_nan() && w.is_nan());
                assert!(
                    same || (got - w).abs() <= self.tolerances[r.case] * (1.0 + w.abs()),
                    "{} (case {}, order {order}) at {at}: {got} for {w}",
                    cases[r.case].name,
                    r.case
                );
            }
        }
    }
}

fn run(cases: Vec<Case>) {
    let _one = SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for batch in BATCHES {
        let family = Family::new(&cases, batch);
        for order in ORDERS {
            family.check(&cases, order);
        }
    }
}

every_family!(run);
