//! Whole steps of training of the shipped models and of many small ones, as `common/step.rs` checks them, and their code
//! for another machine.

use std::path::Path;

use lenetc::backend::cpu::Isa;
use lenetc::backend::cpu::clif::{self, Target};
use lenetc::diag::Source as Text;
use lenetc::driver::{self, Model};

#[path = "common/isas.rs"]
mod isas;
#[path = "common/step.rs"]
mod step;

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

fn check(path: &str, batch: usize) {
    let model = model(path);
    let built = model
        .build(false)
        .unwrap_or_else(|_| panic!("{path} builds"));
    // A batch norm of vectors takes two images.
    let batch = batch.max(built.least_images as usize);
    let checked = step::check(path, &model, batch, false, None);
    checked.expect("the model builds, and no gradient is a matter of rounding");
}

#[test]
fn shipped_models() {
    for batch in [1, 5, 18] {
        check("models/edge.nn", batch);
    }
    check("models/lenet.nn", 5);
    check("models/branches.nn", 6);
}

/// Channels that vanish in lanes beyond the last image beside channels that do not, behind which a norm sums over images;
/// a norm beside a loss that weighs its classes.
#[test]
fn norms_behind_branches_and_before_weights() {
    let branches = "Conv2d(1, kernel_size=1, bias=false)
        Concat { { BatchNorm2d() } { Identity } }
        BatchNorm2d()";
    let plain = "Conv2d(3, kernel_size=2); BatchNorm2d(); ReLU";
    let weighted = "CrossEntropyLoss(weight=[0.25, 2.0, 1.0, 4.0])";
    for (layers, loss) in [
        (branches, "CrossEntropyLoss"),
        (branches, "MSELoss"),
        (plain, weighted),
    ] {
        let text = format!(
            "model M {{ input(1, 4, 3)\n{layers}\nFlatten; Linear(4) }}\ntrain {{ loss = {loss} }}"
        );
        let source = Text {
            name: "m.nn".into(),
            text: text.clone(),
        };
        let model = driver::read(source, &[]).unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
        for batch in [3, 6, 17] {
            let checked = step::check(&text, &model, batch, false, None);
            checked.unwrap_or_else(|| panic!("{text} is checked"));
        }
    }
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
            model.differentiate(built.graphs),
            true,
            model.config.batch_size,
            Isa::Cranelift,
        );
        let target = Target::named("aarch64").expect("Cranelift knows it");
        let kernels = plan.steps.into_iter().map(|step| step.chosen.kernel);
        let code = clif::assembly(&kernels.collect::<Vec<_>>(), &target).expect("it compiles");
        assert!(
            code.contains("fmla v"),
            "{path} multiplies and adds in vectors"
        );
    }
}
