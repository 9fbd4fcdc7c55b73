//! Some steps of training from recorded weights on recorded batches, held to what PyTorch computed.
//!
//! Each folder in `tests/torch` is a case: a model, its data, the weights before and after, and the loss of each
//! batch. `tests/torch/generate.py` made them. Losses must agree to 1e-5, and for each parameter tensor
//! ‖Δ − Δ_torch‖ / ‖Δ_torch‖ ≤ 1e-4, where Δ is what the steps changed. Each case runs on the processor and on the
//! software GPU, which stands for devices of other sizes from case to case.

mod common;
#[path = "common/compare.rs"]
mod compare;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/isas.rs"]
mod isas;

use std::path::Path;
use std::process::Command;

use lenetc_runtime::weights;
use libtest_mimic::Failed;

fn main() {
    common::run_cases("torch", |case| case.join("model.nn").exists(), all)
}

/// On each instruction set that this machine runs, and on the software GPU.
fn all(dir: &Path) -> Result<(), Failed> {
    let cpus = isas::here().map(|isa| (isa.to_string(), vec!["--isa".into(), isa.name().into()]));
    let gpu = ["--target", "cuda", "--device", "software"].map(String::from);
    let device = device(dir);
    for (name, options) in cpus.chain([(format!("cuda, {device}"), gpu.to_vec())]) {
        let done = run(dir, &options, device);
        done.map_err(|e| format!("{name}: {}", e.message().unwrap_or("")))?;
    }
    Ok(())
}

/// What the software GPU stands for in a case: the same in each run.
fn device(dir: &Path) -> &'static str {
    let name = dir.file_name().unwrap_or_default().as_encoded_bytes();
    let mix = |sum: usize, b: &u8| (sum * 3 + usize::from(*b)) % 9973;
    gpu::DEVICES[name.iter().fold(0, mix) % gpu::DEVICES.len()]
}

/// Runs a case; `device` is what the software GPU stands for, where that runs it.
fn run(dir: &Path, options: &[String], device: &str) -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let recorded = recorded(&dir.join("losses.json"))?;
    let (end, metrics) = (
        out.path().join("end.safetensors"),
        out.path().join("steps.jsonl"),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .arg("train")
        .arg(dir.join("model.nn"))
        .args([
            "--no-shuffle",
            "--quiet",
            "--steps",
            &recorded.len().to_string(),
        ])
        .args(options)
        .env("LENETC_SOFTGPU", device)
        .arg("--weights")
        .arg(dir.join("start.safetensors"))
        .arg("--save")
        .arg(&end)
        .arg("--metrics")
        .arg(&metrics)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    compare::losses(&losses(&metrics)?, &recorded).map_err(Failed::from)?;
    let load = |p: &Path| weights::load(p).map_err(|e| Failed::from(e.to_string()));
    let start = load(&dir.join("start.safetensors"))?;
    let torch = load(&dir.join("end.safetensors"))?;
    compare::updates(&start, &torch, &load(&end)?).map_err(Failed::from)?;
    evaluation(dir, options, device)
}

/// With torch's weights the loss over all examples in evaluation is torch's, where it is recorded.
fn evaluation(dir: &Path, options: &[String], device: &str) -> Result<(), Failed> {
    let recorded = std::fs::read_to_string(dir.join("losses.json"))?;
    let recorded: serde_json::Value = serde_json::from_str(&recorded)?;
    let Some(recorded) = recorded["evaluated"].as_f64() else {
        return Ok(());
    };
    let output = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .arg("eval")
        .arg(dir.join("model.nn"))
        .args(options)
        .env("LENETC_SOFTGPU", device)
        .arg("--weights")
        .arg(dir.join("end.safetensors"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let loss = said.split("loss ").nth(1).and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        rest[..end.unwrap_or(rest.len())].parse::<f64>().ok()
    });
    let loss = loss.ok_or_else(|| format!("no loss in `{said}`"))?;
    // As many digits as it is printed with.
    match (loss - recorded).abs() <= 0.00051 {
        true => Ok(()),
        false => Err(format!("evaluated: loss {loss}, not {recorded}").into()),
    }
}

/// The losses of all steps that are recorded.
fn recorded(path: &Path) -> Result<Vec<f64>, Failed> {
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let losses = file["losses"].as_array().into_iter().flatten();
    Ok(losses.filter_map(|l| l.as_f64()).collect())
}

/// The losses of the steps that were made.
fn losses(metrics: &Path) -> Result<Vec<f64>, Failed> {
    let mut ours = Vec::new();
    for line in std::fs::read_to_string(metrics)?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if line["kind"] == "step" {
            ours.extend(line["loss"].as_f64());
        }
    }
    Ok(ours)
}
