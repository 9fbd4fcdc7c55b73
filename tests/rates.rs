//! The learning rate and the momentum of each step of a schedule, held to what torch's schedule of that name gives.
//!
//! `tests/torch/rates.json` has the values, as `tests/torch/updates.py` recorded them: per epoch, or per step where a
//! schedule goes by steps. They must agree to 1e-9 of themselves.

use lenetc::diag::Source;
use lenetc::driver;
use lenetc::ir::Scalar;
use lenetc::train::{Numbers, Start};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;
/// The optimizer that torch's schedules were given.
const OPTIMIZER: &str = "SGD(lr=0.3, momentum=0.5)";
/// Steps of an epoch, where a schedule goes by epochs.
const STEPS_AN_EPOCH: u64 = 3;

fn floats(value: &Value) -> Vec<f64> {
    let list = value.as_array().into_iter().flatten();
    list.map(|x| x.as_f64().expect("a number")).collect()
}

/// Learning rate and momentum of the first step of each epoch, or of each step, in rounds of `epochs`.
fn found(schedule: &str, epochs: u32, steps_an_epoch: u64) -> Vec<[f64; 2]> {
    let source = Source {
        name: "rates.nn".into(),
        text: format!(
            "model M {{\n input(1)\n Linear(1)\n}}\ntrain {{\n optimizer = {OPTIMIZER}\n schedule = {schedule}\n \
             epochs = {epochs}\n}}\n"
        ),
    };
    let model = driver::read(source, &[]);
    let model = model.unwrap_or_else(|f| panic!("{schedule}: {:?}", f.diagnostics));
    let mut all = Vec::new();
    for epoch in 0..epochs {
        let start = Start {
            epoch,
            step: u64::from(epoch) * steps_an_epoch,
            steps_an_epoch,
            earlier: 0,
        };
        let numbers = Numbers::new(&model.config, start);
        for step in 0..steps_an_epoch as usize {
            let row = numbers.row(step, 8);
            all.push([Scalar::LearningRate, Scalar::Momentum].map(|s| row.get(s)));
        }
    }
    all
}

fn hold(schedule: &str, wanted: &[f64], found: &[f64]) {
    assert_eq!(wanted.len(), found.len(), "{schedule}");
    for (k, (a, b)) in wanted.iter().zip(found).enumerate() {
        let near = (a - b).abs() <= TOLERANCE * a.abs();
        assert!(near, "{schedule}, {k}: {b}, where torch has {a}");
    }
}

#[test]
fn rates_are_those_of_torch() {
    let recorded: Value = serde_json::from_str(include_str!("torch/rates.json")).expect("JSON");
    let entries = recorded["entries"].as_array().expect("a list");
    assert!(entries.len() > 20, "all are there");
    for entry in entries {
        let schedule = entry["schedule"].as_str().expect("a text");
        let rates = floats(&entry["rates"]);
        let by_epoch = entry["by"] == "epoch";
        let each = if by_epoch { STEPS_AN_EPOCH } else { 1 };
        assert!(rates.len() >= 30, "{schedule}");
        let all = found(schedule, rates.len() as u32, each);
        let firsts = all.iter().step_by(each as usize);
        let (found_rates, momenta): (Vec<f64>, Vec<f64>) = firsts.map(|&[a, b]| (a, b)).unzip();
        hold(schedule, &rates, &found_rates);
        // Within an epoch nothing changes.
        let epochs = all.chunks(each as usize);
        assert!(
            epochs
                .into_iter()
                .all(|steps| steps.iter().all(|s| s == &steps[0]))
        );
        let wanted = match by_epoch {
            true => vec![0.5; rates.len()],
            false => floats(&entry["momenta"]),
        };
        hold(schedule, &wanted, &momenta);
    }
}

/// A run of so many epochs of several steps is one cycle, wherever its epochs begin.
#[test]
fn a_cycle_goes_over_all_steps_of_the_run() {
    let one = found("OneCycleLR(0.8)", 36, 1);
    let by_epochs = found("OneCycleLR(0.8)", 4, 9);
    assert_eq!(one, by_epochs);
}
