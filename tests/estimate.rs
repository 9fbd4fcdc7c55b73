//! `lenetc bench --estimate`: the card that the software GPU stands for, its plan, and how the estimate moves.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use lenetc_runtime::cuda::software_configure;
use serde_json::Value;

#[path = "common/gpu.rs"]
mod gpu;

fn bench(args: &[&str], settings: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["bench", "--target", "cuda", "--device", "software"]);
    command.args(args).env_remove("LENETC_SOFTGPU");
    if let Some(settings) = settings {
        command.env("LENETC_SOFTGPU", settings);
    }
    command.output().expect("lenetc starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(args: &[&str], settings: Option<&str>) -> Value {
    let out = bench(&[args, &["--json"]].concat(), settings);
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// The names that the help lists.
fn cards() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .args(["bench", "--help"])
        .output();
    let help = text(&help.expect("lenetc starts").stdout);
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    let (_, after) = help
        .split_once("--estimate <GPU>")
        .expect("the option is described");
    let (_, list) = after
        .split_once("[possible values: ")
        .expect("its values are listed");
    let (list, _) = list.split_once(']').expect("the list ends");
    list.split(',')
        .map(|name| name.trim().to_string())
        .collect()
}

#[test]
fn every_card_of_the_software_gpu_can_be_estimated() {
    let _one = gpu::alone();
    drop(gpu::device(""));
    assert!(!software_configure("card=?"));
    let report = gpu::report();
    let error = report["last_error"].as_str().expect("a text");
    let (_, known) = error.split_once("one of ").expect("it lists the cards");
    let (known, _) = known.split_once(" belongs").expect("and says so");
    let mut known: Vec<&str> = known
        .split(", ")
        .filter(|name| *name != "software")
        .collect();
    let mut named = cards();
    known.sort_unstable();
    named.sort_unstable();
    assert_eq!(known, named);
    let times: BTreeMap<String, f64> = named
        .into_iter()
        .map(|card| {
            let found = json(
                &["models/lenet.nn", "--batch-size", "16", "--estimate", &card],
                None,
            );
            let us = found["estimated_us"].as_f64().expect("a time");
            assert!(us > 12.0 && us < 2000.0, "{card}: {us}");
            (card, us)
        })
        .collect();
    assert!(
        times["h100"] < times["t4"] && times["rtx4090"] < times["gtx1660"],
        "{times:?}"
    );
}

#[test]
fn the_plan_is_the_cards() {
    let blocks = |multiprocessors: u32| -> BTreeMap<String, u64> {
        let model = gpu::named("lenet", &["batch_size=64".into()]);
        let program = gpu::plan(&model, multiprocessors).program();
        let mut blocks = BTreeMap::new();
        for launch in &program.train {
            *blocks.entry(launch.kernel.clone()).or_insert(0) += u64::from(launch.blocks);
        }
        blocks
    };
    for (card, multiprocessors, capability) in [("h100", 132, 90), ("gtx1660", 22, 75)] {
        let found = json(
            &["models/lenet.nn", "--batch-size", "64", "--estimate", card],
            None,
        );
        assert_eq!(found["multiprocessors"], multiprocessors);
        assert_eq!(found["capability"], capability);
        let kernels = found["kernels"].as_array().expect("kernels");
        let counted: BTreeMap<String, u64> = kernels
            .iter()
            .map(|k| {
                (
                    k["name"].as_str().unwrap_or("").into(),
                    k["counts"]["blocks"].as_u64().unwrap_or(0),
                )
            })
            .collect();
        assert_eq!(counted, blocks(multiprocessors), "{card}");
    }
    assert_ne!(blocks(132), blocks(22));
}

#[test]
fn what_the_estimate_is_for_is_said() {
    let small = ["models/lenet.nn", "--batch-size", "16"];
    let with = |more: &[&str], settings| bench(&[&small[..], more].concat(), settings);
    let out = text(&with(&[], None).stdout);
    let planned = |n: u32, capability: &str| {
        format!("planned    for {n} multiprocessors, compute capability {capability}\n")
    };
    assert!(out.contains(&planned(132, "9.0")), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    // The environment's card counts where the command line names none.
    let out = text(&with(&[], Some("card=t4")).stdout);
    assert!(out.contains(&planned(40, "7.5")), "{out}");
    let both = with(
        &["--estimate", "a100"],
        Some("card=t4;multiprocessors=3;warp_order=1"),
    );
    assert!(
        text(&both.stdout).contains(&planned(108, "8.0")),
        "{}",
        text(&both.stdout)
    );
    let note = "note: --estimate a100 wins over LENETC_SOFTGPU (card, multiprocessors)\n";
    assert_eq!(text(&both.stderr), note);
    let cpu = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["bench", "models/lenet.nn", "--estimate", "a100"])
        .output()
        .expect("lenetc starts");
    assert!(!cpu.status.success() && text(&cpu.stderr).contains("--target cuda --device software"));
}

#[test]
fn more_images_take_no_less_time() {
    let us = |batch: &str| {
        let found = json(
            &["models/lenet.nn", "--batch-size", batch, "--estimate", "l4"],
            None,
        );
        found["estimated_us"].as_f64().expect("a time")
    };
    let (few, more, most) = (us("16"), us("48"), us("96"));
    assert!(few <= more && more < most, "{few} {more} {most}");
}
