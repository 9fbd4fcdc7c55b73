//! The shape of LeNet's step at batch 256: its launches, and its traffic in global memory against a lower bound.

use lenetc::backend::cuda::{Extra, Plan, Unit};
use lenetc::nest::loops::{Buffer, Space};
use lenetc_runtime::cuda::{Engine, Place, software_reset_counters};
use lenetc_runtime::data::{Inputs, Targets, subset};
use lenetc_runtime::exec::{Bytes, Examples, Mode};
use serde_json::Value;

#[path = "common/gpu.rs"]
mod gpu;

const BATCH: u32 = 256;
const MOST_LAUNCHES: usize = 12;
/// Bytes of the sectors that a step's distinct bytes lie in, over the bound.
const MOST_TRAFFIC: f64 = 1.5;
const SECTOR_BYTES: u64 = 32;

/// Bytes that a launch moves at least, if it reads every value that others made once and writes each of its own once.
///
/// A buffer is what it holds: a value of the whole batch has an element of four bytes for each image and place; the
/// gathered images have a byte for each; a sum over images has all of its shards, which one launch writes and another
/// reads. What a launch both writes and reads counts once: it could keep it. Beside its kernel's work, a launch may
/// add up the losses and right answers, four bytes each for an image. The step's own state, 24 bytes and two rows of numbers, is left
/// out.
fn least_bytes(unit: &Unit, batch: u64) -> u64 {
    let global = |b: &&Buffer| b.space == Space::Global;
    let buffers = unit.kernel.buffers.iter().filter(global);
    let moved = buffers.zip(&unit.places).map(|(b, place)| {
        let images = match place {
            // A buffer of the data set is declared as one example.
            Place::Inputs | Place::Targets => batch,
            _ => 1,
        };
        b.len * b.dtype.size_bytes() * images
    });
    let accounts = matches!(unit.extra, Some(Extra::Account | Extra::Close));
    moved.sum::<u64>() + if accounts { 8 * batch } else { 0 }
}

/// A step of training, counted.
fn counted(plan: &Plan) -> Value {
    let device = gpu::device("sanitize=none;warp_order=0;count=1");
    let set = subset().train;
    let (Inputs::U8(images), Targets::Classes(classes)) = (&set.inputs, &set.targets) else {
        panic!("Fashion-MNIST has bytes and classes")
    };
    let len = 2 * BATCH as usize;
    let examples = Examples {
        inputs: Bytes::U8(&images[..len * 784]),
        targets: Bytes::I32(&classes[..len]),
        len,
    };
    let engine = Engine::new(&device, plan.program(), examples, None);
    let mut engine = engine.unwrap_or_else(|e| panic!("{e}"));
    let order: Vec<u32> = (0..len as u32).rev().collect();
    let begun = engine.begin(Mode::Train, &order, &gpu::rows(len, BATCH as usize, 0.1));
    begun.unwrap_or_else(|e| panic!("{e}"));
    assert!(software_reset_counters());
    let steps = engine.run(1).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((steps.len(), steps[0].examples), (1, BATCH as usize));
    gpu::report()
}

#[test]
fn a_step_is_one_graph_of_few_launches_that_move_little_more_than_they_must() {
    let _one = gpu::alone();
    let model = gpu::named("lenet", &[format!("batch_size={BATCH}")]);
    let plan = gpu::plan(&model, 108);
    let launches = plan.program().train;
    let report = counted(&plan);
    assert_eq!(report["total"]["graph_launches"], 1);
    assert_eq!(report["total"]["launches"], launches.len());
    assert!(
        launches.len() <= MOST_LAUNCHES,
        "{} launches",
        launches.len()
    );
    println!(
        "{:<32}{:>10}{:>10}{:>8}{:>10}{:>8}{:>10}{:>8}",
        "MB: kernel", "least", "sectors*", "ratio", "by lanes", "ratio", "sectors", "ratio"
    );
    let (mut all, mut ideal) = (0.0, 0.0);
    for (unit, launch) in plan.train.iter().zip(&launches) {
        let least = least_bytes(unit, u64::from(BATCH)) as f64;
        let counts = &report["kernels"][&launch.kernel]["counts"];
        let get = |name: &str| counts[name].as_u64().expect("it is counted");
        let distinct = (SECTOR_BYTES * get("global_sectors_ideal")) as f64;
        let lanes = (get("global_bytes_read") + get("global_bytes_written")) as f64;
        let touched = (SECTOR_BYTES * get("global_sectors")) as f64;
        print!("{:<32}{:>10.2}", launch.kernel, least / 1e6);
        for bytes in [distinct, lanes, touched] {
            print!("{:>10.2}{:>8.2}", bytes / 1e6, bytes / least);
        }
        println!();
        all += least;
        ideal += distinct;
    }
    println!(
        "all {:.2} MB, at least {:.2} MB: {:.2}",
        ideal / 1e6,
        all / 1e6,
        ideal / all
    );
    assert!(
        ideal <= MOST_TRAFFIC * all,
        "{ideal} bytes, {:.2} times the {all} that a step needs",
        ideal / all
    );
}
