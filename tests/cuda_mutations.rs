//! Kernels, launches and plans with one mistake each: every one must be noticed, most by the software GPU's sanitizers,
//! which name the kernel, some by the compiler or by the results. So a backend that made such a mistake would not pass
//! the other tests.
//!
//! A step of training with a partial batch runs under all sanitizers. Where a mistake is not found in the text any
//! more, the test fails: the kernels have changed, and the mistake has to be made anew.

use std::process::Command;

use lenetc::backend::cuda::Plan;
use lenetc_runtime::cuda::{PRELUDE, Program};
use lenetc_runtime::exec::Mode;
use serde_json::Value;

#[path = "common/compare.rs"]
mod compare;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/numbers.rs"]
mod numbers;
use faults::{Fault, Make, Noticed};
use numbers::{BATCH, Numbers, VALID, engine};

const MULTIPROCESSORS: u32 = 108;
/// Warps and blocks in order, and reversed.
const ORDERS: [u32; 2] = [0, 1];

/// A strided convolution in groups and a max pool whose windows overlap.
const GROUPED: &str = "model Grouped {
    input(4, 11, 11)
    Conv2d(6, kernel_size=3, stride=2, padding=1, groups=2)
    ReLU
    MaxPool2d(3, stride=2)
    Flatten
    Linear(5)
}
train {
    data = fashion_mnist
    loss = CrossEntropyLoss
    optimizer = SGD(lr=0.1)
}
";

/// A mistake: in a kernel's text, a place replaced by another text.
struct Mistake {
    name: &'static str,
    model: &'static str,
    kernel: &'static str,
    /// What is replaced, and which of its places, from 0.
    text: &'static str,
    place: usize,
    by: &'static str,
    /// Kinds of findings that name it.
    kinds: &'static [&'static str],
}

const BARRIER: &str = "__syncthreads();";

const MISTAKES: [Mistake; 18] = [
    Mistake {
        name: "no barrier behind the tiles' filling",
        model: "lenet",
        kernel: "conv2d_sigmoid_2",
        text: BARRIER,
        place: 0,
        by: "",
        kinds: &["race_shared", "uninitialised"],
    },
    Mistake {
        name: "no barrier between multiplying and the next filling",
        model: "lenet",
        kernel: "chain",
        text: BARRIER,
        place: 1,
        by: "",
        kinds: &["race_shared"],
    },
    Mistake {
        name: "no barrier in the tree of a sum",
        model: "lenet",
        kernel: "gradients",
        text: "= sum;\n            }\n            __syncthreads();",
        place: 0,
        by: "= sum;\n            }",
        kinds: &["race_shared", "uninitialised"],
    },
    Mistake {
        name: "no barrier between two layers of a chain",
        model: "lenet",
        kernel: "chain",
        text: "\n        __syncthreads();\n        // linear",
        place: 0,
        by: "\n        // linear",
        kinds: &["race_global"],
    },
    Mistake {
        name: "images beyond the valid ones, elementwise",
        model: "lenet",
        kernel: "avg_pool2d",
        text: "if (n < valid)",
        place: 0,
        by: "if (n < 8)",
        kinds: &["uninitialised"],
    },
    Mistake {
        name: "images beyond the valid ones, in a tile",
        model: "lenet",
        kernel: "linear_sigmoid",
        text: "if (e2 < valid)",
        place: 0,
        by: "if (e2 < 8)",
        kinds: &["uninitialised"],
    },
    Mistake {
        name: "results beyond the last tile's edge",
        model: "lenet",
        kernel: "gradients",
        text: " <= 9 && c0",
        place: 0,
        by: " <= 90 && c0",
        kinds: &["race_global", "out_of_bounds"],
    },
    Mistake {
        name: "no border above the image",
        model: "lenet",
        kernel: "conv2d_sigmoid",
        text: "i0 + e3 >= 2 && ",
        place: 0,
        by: "",
        kinds: &["out_of_bounds"],
    },
    Mistake {
        name: "a stride between images that is too short",
        model: "lenet",
        kernel: "conv2d_sigmoid",
        text: "4704 * n0",
        place: 0,
        by: "4703 * n0",
        kinds: &["race_global"],
    },
    Mistake {
        name: "a window's stride that is too long",
        model: "grouped",
        kernel: "chain",
        text: "+ 2 * j +",
        place: 0,
        by: "+ 4 * j +",
        kinds: &["uninitialised"],
    },
    Mistake {
        name: "a tile that is filled in part",
        model: "grouped",
        kernel: "chain",
        text: "if (thread < 72)",
        place: 0,
        by: "if (thread < 54)",
        kinds: &["uninitialised"],
    },
    Mistake {
        name: "a group's results in the place of another's",
        model: "grouped",
        kernel: "chain",
        text: "out[216 * n0 + 108 * g0",
        place: 0,
        by: "out[216 * n0",
        kinds: &["uninitialised"],
    },
    Mistake {
        name: "a barrier that some threads pass by",
        model: "lenet",
        kernel: "conv2d_grad_input",
        text: "__syncthreads();\n        if (thread < 56) {",
        place: 0,
        by: "if (thread < 56) {\n            __syncthreads();",
        kinds: &["divergent_barrier"],
    },
    Mistake {
        name: "all blocks write the same results",
        model: "lenet",
        kernel: "avg_pool2d_2",
        text: "blockIdx.x * 256 + thread",
        place: 0,
        by: "thread",
        kinds: &["race_global"],
    },
    Mistake {
        name: "results beyond the arena",
        model: "lenet",
        kernel: "avg_pool2d_grad_sigmoid_grad_2",
        text: "            out[",
        place: 0,
        by: "            out[100000000 + ",
        kinds: &["out_of_bounds"],
    },
    Mistake {
        name: "another shard is read in the launch that writes it",
        model: "lenet",
        kernel: "gradients",
        text: "* shard] = sum2;",
        place: 0,
        by: "* shard] = sum2 + dw5[thread + 150 * (7 - shard)];",
        kinds: &["race_global", "uninitialised"],
    },
    Mistake {
        name: "a row of four that is not aligned",
        model: "lenet",
        kernel: "linear_sigmoid",
        text: "load4(&x2[0], &a_tile[",
        place: 0,
        by: "load4(&x2[0], &a_tile[valid % 2 + ",
        kinds: &["misaligned"],
    },
    Mistake {
        name: "the update reads what moves on to the next batch",
        model: "lenet",
        kernel: "update",
        text: "step->ending.learning_rate",
        place: 0,
        by: "step->position",
        kinds: &["race_global"],
    },
];

fn plan(model: &str) -> Plan {
    let batch = [format!("batch_size={BATCH}")];
    let model = match model {
        "grouped" => gpu::read(model, GROUPED.into(), &batch),
        name => gpu::named(name, &batch),
    };
    gpu::plan(&model, MULTIPROCESSORS)
}

fn program(model: &str) -> Program {
    plan(model).program()
}

/// Makes a mistake; an error where its place is not there.
fn with(mut p: Program, m: &Mistake) -> Result<Program, String> {
    let changed = replace(&mut p, m.kernel, (m.text, m.place), m.by);
    changed.map_err(|e| format!("{}: {e}", m.name))?;
    Ok(p)
}

/// Replaces one of the places of a text in a kernel.
fn replace(
    p: &mut Program,
    kernel: &str,
    (text, place): (&str, usize),
    by: &str,
) -> Result<(), String> {
    let source = p.kernel_mut(kernel);
    let source = source.ok_or_else(|| format!("there is no kernel {kernel}"))?;
    let Some((at, _)) = source.match_indices(text).nth(place) else {
        return Err(format!("there is no `{text}` in {kernel}"));
    };
    source.replace_range(at..at + text.len(), by);
    Ok(())
}

/// A step of training with a partial batch; how it ended, and what was found.
fn run(p: Program, order: u32) -> (Result<(), String>, Vec<Value>) {
    let settings = format!("sanitize=all;warp_order={order}");
    let mut engine = engine(p, &settings, BATCH).unwrap_or_else(|e| panic!("{e}"));
    let order: Vec<u32> = (0..VALID).collect();
    let begun = engine.begin(Mode::Train, &order, &gpu::rows(order.len(), BATCH, 0.1));
    begun.unwrap_or_else(|e| panic!("{e}"));
    let ended = engine.run(1).map(drop).map_err(|e| e.to_string());
    (ended, gpu::findings(&gpu::report()))
}

/// That the mistake ends the step in some order of warps, with a finding of one of these kinds in a line of the
/// kernel's PTX. Returns the table's line.
fn caught(name: &str, p: Program, kernel: &str, kinds: &[&str]) -> Result<String, String> {
    let is = |f: &&Value| {
        f["kernel"] == kernel
            && f["line"].as_u64().is_some_and(|l| l > 0)
            && kinds.iter().any(|k| f["kind"] == *k)
    };
    let mut all = String::new();
    for order in ORDERS {
        let (ended, found) = run(p.clone(), order);
        let f = found.iter().find(is).filter(|_| ended.is_err());
        if let Some(f) = f {
            return Ok(format!(
                "{name:<56}{:<18}order {order}, {kernel}, line {}: {}",
                f["kind"].as_str().unwrap_or(""),
                f["line"],
                f["text"].as_str().unwrap_or("")
            ));
        }
        all += &format!("\n  order {order}: {ended:?}, {found:?}");
    }
    Err(format!("{name} ({kinds:?}){all}"))
}

/// A program whose losses are summed by an `account` without its first barrier.
fn without_accounts_barrier(mut p: Program) -> Program {
    let start = PRELUDE
        .find("__device__ __forceinline__ void account")
        .expect("it is there");
    let end = start + PRELUDE[start..].find("\n}\n").expect("it ends") + 3;
    let function = PRELUDE[start..end].replacen("account", "hasty", 1);
    assert!(function.contains(BARRIER));
    let function = function.replacen(BARRIER, "", 1);
    let gradients = p.kernel_mut("gradients").expect("it trains");
    assert!(gradients.contains("account(step,"));
    *gradients = gradients.replace("account(step,", "hasty(step,");
    p.functions = function + &p.functions;
    p
}

/// A program whose update runs before the gradients are there.
fn with_update_first(mut p: Program) -> Program {
    let at = |name: &str| p.train.iter().position(|l| l.kernel == name);
    let (a, b) = (
        at("gradients").expect("it trains"),
        at("update").expect("it trains"),
    );
    p.train.swap(a, b);
    p
}

/// A program with a fault.
fn with_fault(f: &Fault) -> Result<Program, String> {
    let mut plan = plan(f.model);
    if let Make::Plan(change) = f.make {
        change(&mut plan);
    }
    let mut program = plan.program();
    match f.make {
        Make::Plan(_) => {}
        Make::Program(change) => change(&mut program),
        Make::Text {
            kernel,
            text,
            place,
            by,
        } => replace(&mut program, kernel, (text, place), by)?,
    }
    Ok(program)
}

/// The table's line of how a fault was noticed, as it must be.
fn noticed(f: &Fault) -> Result<String, String> {
    let program = with_fault(f)?;
    match f.noticed {
        Noticed::Finding(kernel, kinds, says) => {
            let line = caught(f.name, program, kernel, kinds)?;
            let found = gpu::findings(&gpu::report());
            let told = |f: &Value| f["detail"].as_str().is_some_and(|d| d.contains(says));
            let told = found.iter().any(told);
            told.then_some(line).ok_or_else(|| format!("{found:?}"))
        }
        Noticed::Refused(words) => match engine(program, f.settings, BATCH) {
            Err(e) if words.iter().all(|w| e.contains(w)) => {
                let said = e.lines().find(|l| words.iter().any(|w| l.contains(w)));
                Ok(format!("{:<56}refused: {}", f.name, said.unwrap_or("")))
            }
            Err(e) => Err(e),
            Ok(_) => Err("it is loaded".into()),
        },
        Noticed::Results => {
            let plan = plan(f.model);
            let right = Numbers::of(&plan, plan.program())?;
            let found = Numbers::of(&plan, program)?;
            let difference = found.difference(&right).ok_or("nothing differs")?;
            Ok(format!("{:<56}results: {difference}", f.name))
        }
    }
}

#[test]
fn each_fault_is_noticed() {
    let _one = gpu::alone();
    let mut missed = Vec::new();
    for f in faults::all() {
        match noticed(&f) {
            Ok(line) => println!("{line}"),
            Err(e) => missed.push(format!("{} ({}): {e}", f.name, f.settings)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A barrier of a warp orders what its lanes do, and is enough where one warp does all.
#[test]
fn a_warp_s_barrier_is_enough_for_one_warp() {
    let _one = gpu::alone();
    let program = with_fault(&faults::WARPS_OWN).unwrap_or_else(|e| panic!("{e}"));
    for order in ORDERS {
        let (ended, found) = run(program.clone(), order);
        assert!(ended.is_ok() && found.is_empty(), "{ended:?}, {found:?}");
    }
    let plan = plan("grouped");
    let right = Numbers::of(&plan, plan.program());
    assert_eq!(Numbers::of(&plan, program), right);
}

#[test]
fn each_mistake_is_found_and_named() {
    let _one = gpu::alone();
    for model in ["lenet", "grouped"] {
        for order in ORDERS {
            let (ended, found) = run(program(model), order);
            assert!(
                ended.is_ok() && found.is_empty(),
                "{model}: {ended:?}, {found:?}"
            );
        }
    }
    let mut results: Vec<Result<String, String>> = MISTAKES
        .iter()
        .map(|m| caught(m.name, with(program(m.model), m)?, m.kernel, m.kinds))
        .collect();
    let hasty = without_accounts_barrier(program("lenet"));
    let kinds = ["race_shared", "uninitialised"];
    results.push(caught(
        "no barrier where losses are summed",
        hasty,
        "gradients",
        &kinds,
    ));
    let early = with_update_first(program("lenet"));
    let name = "shards are read before they are written";
    results.push(caught(name, early, "update", &["uninitialised"]));
    let (found, missed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    for line in found.into_iter().flatten() {
        println!("{line}");
    }
    let missed: Vec<String> = missed.into_iter().filter_map(Result::err).collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What a run in another process gave: how it ended, the weights that it printed, and the loss of each step. `settings`
/// are the software GPU's. What a driver's call returns too early goes to memory that is another's by then, so such a run
/// may end in any way.
fn told(settings: &str) -> (Option<i32>, String, Vec<String>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let metrics = dir.path().join("m.jsonl");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/edge.nn");
    let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .args([model, "--target", "cuda", "--device", "software"])
        .args([
            "--steps",
            "4",
            "--quiet",
            "--set",
            "train.print_every=1",
            "--metrics",
        ])
        .arg(&metrics)
        .env("LENETC_SOFTGPU", settings)
        .output()
        .expect("lenetc starts");
    let lines = std::fs::read_to_string(metrics).unwrap_or_default();
    let steps = lines.lines().filter(|l| l.contains("\"step\""));
    let weights = String::from_utf8_lossy(&o.stdout);
    let weights = weights.lines().next().unwrap_or("").to_string();
    (
        o.status.code(),
        weights,
        steps.map(str::to_string).collect(),
    )
}

#[test]
fn a_missing_synchronisation_changes_what_is_read() {
    let right = told("pageable=sync");
    assert_eq!((right.0, right.2.len()), (Some(0), 4));
    // Copies that are late are all waited for.
    let late = "pageable=late;sanitize=all";
    assert_eq!(told(late), right);
    // A call that returns without having waited is a call that is not there.
    let without = |n: &u32| told(&format!("{late};fault=cuStreamSynchronize:{n}:0")) != right;
    let noticed: Vec<u32> = (1..=24).filter(without).collect();
    println!("noticed when missing: synchronisations {noticed:?}");
    // Those behind the results of each step, and that behind the weights at the end.
    assert!(noticed.len() > right.2.len(), "{noticed:?}");
}
