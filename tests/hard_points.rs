//! Losses, activations and slopes where their obvious forms fail, by the machine code of each instruction set and by the nest in
//! f64, in blocks of images and image by image. The software GPU has the same list in `tests/cuda.rs`.

use lenetc::backend::cpu::{Isa, Options};
use lenetc::ir::{Operation, TensorType};
use lenetc::nest::Nest;
use lenetc::nest::interp::{self, Env};
use lenetc::ops::{CrossEntropyLoss, Op, Reads};

#[path = "common/activations.rs"]
mod activations;
#[path = "common/elementary.rs"]
mod elementary;
#[path = "common/guard.rs"]
mod guard;
#[path = "common/hard.rs"]
mod hard;
#[path = "common/isas.rs"]
mod isas;
#[allow(dead_code, reason = "checks against the nest in f64 are other tests'")]
#[path = "common/kernels.rs"]
mod kernels;
#[path = "common/tolerance.rs"]
mod tolerance;
use hard::Hard;

fn nest(op: &Op, types: &[TensorType]) -> Nest {
    let outputs = op.infer(types).unwrap_or_else(|e| panic!("{}", e.rule));
    op.lower(types, &outputs)
}

/// The results of each code that an instruction set has for an operator, for all images at once.
fn together(isa: Isa, hard: &Hard) -> Vec<Vec<Vec<f64>>> {
    let nest = nest(&hard.op, &hard.types);
    let block = (hard.images as u32).next_multiple_of(isa.lanes());
    let options = Options::new(isa, block);
    kernels::outcomes(isa, options, hard.name, &nest, &hard.operands, hard.images)
}

/// The same image by image.
fn one_by_one(isa: Isa, hard: &Hard) -> Vec<Vec<Vec<f64>>> {
    let nest = nest(&hard.op, &hard.types);
    let mut all: Vec<Vec<Vec<f64>>> = Vec::new();
    for image in 0..hard.images {
        let part = |values: &Vec<f64>| {
            let size = values.len() / hard.images;
            values[image * size..][..size].to_vec()
        };
        let operands: Vec<Vec<f64>> = hard.operands.iter().map(part).collect();
        let found = kernels::outcomes(isa, Options::new(isa, 1), hard.name, &nest, &operands, 1);
        if all.is_empty() {
            all = found;
            continue;
        }
        for (code, more) in all.iter_mut().zip(found) {
            for (result, more) in code.iter_mut().zip(more) {
                result.extend(more);
            }
        }
    }
    all
}

fn hold(hard: &Hard) {
    let nest = nest(&hard.op, &hard.types);
    let env = Env::new(hard.images, 0.0);
    let operands: Vec<&[f64]> = hard.operands.iter().map(Vec::as_slice).collect();
    hard.hold(&interp::run(&nest, &operands, env)[0], "the interpreter");
    for isa in isas::here() {
        for (how, found) in [
            ("blocks", together(isa, hard)),
            ("images", one_by_one(isa, hard)),
        ] {
            for results in found {
                hard.hold(&results[0], &format!("{isa} by {how}"));
            }
        }
    }
}

#[test]
fn cross_entropy() {
    hard::cross_entropies().iter().for_each(hold);
}

#[test]
fn cross_entropy_s_gradient() {
    let rows = hard::rows_with_gradients();
    let losses = hard::cross_entropies_of(&rows);
    for (rows, loss) in rows.iter().zip(&losses) {
        for isa in isas::here() {
            for results in together(isa, loss) {
                hold(&hard::cross_entropy_gradient(rows, results[1..4].to_vec()));
            }
        }
    }
}

#[test]
fn binary_cross_entropy() {
    hard::losses::binary_cross_entropies().iter().for_each(hold);
}

#[test]
fn absolute_differences() {
    hard::losses::absolutes().iter().for_each(hold);
}

#[test]
fn squares_and_slopes() {
    hard::elementwise().iter().for_each(hold);
}

#[test]
fn activations() {
    hard::activations().iter().for_each(hold);
}

/// What torch has at each point; where it has NaN of a number, lenetc has the limit, which `activations` holds.
#[test]
fn activations_as_in_torch() {
    let recorded = include_str!("torch/points.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).expect("it is JSON");
    let numbers = |list: &serde_json::Value| -> Vec<f64> {
        let words = list.as_str().expect("numbers by their bits").split(' ');
        let bits = words.map(|w| u32::from_str_radix(w, 16).expect("eight digits"));
        bits.map(|b| f64::from(f32::from_bits(b))).collect()
    };
    let x = numbers(&recorded["x"]);
    let all = recorded["activations"].as_object().expect("by name");
    let functions = activations::all();
    assert_eq!(functions.len(), all.len(), "each is recorded");
    for f in functions {
        let name = format!("{} {}", f.layer.name(), f.layer.attributes());
        let torch = &all[name.trim_end()];
        let [y, dx] = ["y", "dx"].map(|k| numbers(&torch[k]));
        let same = |k: usize, got: f64, want: f64, slack: f64| {
            let limit = want.is_nan() && !x[k].is_nan();
            let slack = slack + f64::from(f32::MIN_POSITIVE);
            let near = (got - want).abs() <= slack + 1e-6 * want.abs() || got == want;
            assert!(
                limit || near || (got.is_nan() && want.is_nan()),
                "{name} at {:e}: {got:e} for {want:e}",
                x[k]
            );
        };
        let env = Env::new(x.len(), 0.0);
        let one = TensorType::batch([1]);
        let values = interp::run(&nest(&f.layer, std::slice::from_ref(&one)), &[&x], env);
        let read = if f.reads == Reads::Input { &x } else { &y };
        let ones = vec![1.0; x.len()];
        let slopes = interp::run(&nest(&f.gradient, &[one.clone(), one]), &[read, &ones], env);
        for k in 0..x.len() {
            same(k, values[0][k], y[k], f.slack[0]);
            // A slope by the result knows it as it is rounded; no number is a slope at NaN.
            let rounded = if f.reads == Reads::Result { 1e-7 } else { 0.0 };
            if !x[k].is_nan() {
                same(k, slopes[0][k], dx[k], f.slack[1] + rounded);
            }
        }
    }
}

/// Logits that move together change no bit of the loss, nor of what its gradient is made of but the greatest logit.
#[test]
fn a_shift_of_all_logits_changes_no_bit() {
    const CLASSES: usize = 10;
    const IMAGES: usize = 48;
    let step = |k: usize| ((k * 2_654_435_761) >> 7) % 4096;
    let logits: Vec<f64> = (0..CLASSES * IMAGES)
        .map(|k| step(k) as f64 / 256.0 - 8.0)
        .collect();
    let classes: Vec<f64> = (0..IMAGES).map(|k| (k % CLASSES) as f64).collect();
    let at = |shift: f64| Hard {
        name: "shifted",
        op: CrossEntropyLoss::default().into(),
        types: vec![TensorType::batch([CLASSES as u32]), TensorType::batch([])],
        operands: vec![logits.iter().map(|x| x + shift).collect(), classes.clone()],
        wanted: vec![],
        images: IMAGES,
        slack: 0.0,
    };
    for isa in isas::here() {
        let here = together(isa, &at(0.0));
        for shift in [-4096.0, 1024.0, 32_768.0] {
            for (code, moved) in here.iter().zip(together(isa, &at(shift))) {
                for k in [0, 2, 3] {
                    assert_eq!(code[k], moved[k], "result {k} for {shift} on {isa}");
                }
            }
        }
    }
}
