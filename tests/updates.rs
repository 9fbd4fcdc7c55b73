//! Optimizers, schedules and clipping from the command line: the same bits on any number of threads, and weights files
//! that hold the model alone.

#[path = "common/isas.rs"]
mod isas;

use std::path::Path;
use std::process::Command;

use lenetc_runtime::weights;

/// Settings of LeNet that use all that a step can.
const SETTINGS: [&[&str]; 3] = [
    &[
        "train.optimizer=AdamW(lr=0.01, weight_decay=0.1)",
        "train.clip_grad_norm=0.5",
        "train.schedule=OneCycleLR(max_lr=0.02)",
    ],
    &[
        "train.optimizer=SGD(lr=0.5, momentum=0.9, nesterov=true)",
        "train.clip_grad_value=0.01",
        "train.clip_grad_norm=0.1",
        "train.schedule=[LinearLR(total_iters=1), CosineAnnealingLR(4)]",
    ],
    &["train.optimizer=RMSprop(momentum=0.9, centered=true)"],
];

/// Trains LeNet for some steps; where its weights are.
fn trained(dir: &Path, settings: &[&str], options: &[&str]) -> std::path::PathBuf {
    let path = dir.join("w.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
    command.args(["train", "models/lenet.nn", "--quiet", "--steps", "4"]);
    command.args(["--batch-size", "100"]).args(options);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.arg("--save").arg(&path).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{settings:?}: {said}");
    path
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for settings in SETTINGS {
        for isa in isas::here() {
            let bytes = |threads: &str| {
                let options = ["--threads", threads, "--isa", isa.name()];
                std::fs::read(trained(dir.path(), settings, &options)).expect("written")
            };
            let one = bytes("1");
            for threads in ["2", "3", "7"] {
                assert!(
                    bytes(threads) == one,
                    "{threads} threads on {isa}, {settings:?}"
                );
            }
        }
    }
}

#[test]
fn a_weights_file_holds_what_the_model_holds() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let names = |settings: &[&str]| {
        let tensors = weights::load(&trained(dir.path(), settings, &[])).expect("it is one");
        tensors.into_iter().map(|t| t.name).collect::<Vec<_>>()
    };
    let plain = names(&[]);
    assert_eq!(plain.len(), 10, "{plain:?}");
    for settings in SETTINGS {
        assert_eq!(names(settings), plain);
    }
}
