//! Kernels with one mistake each, made in their text: the software GPU's sanitizers must name every one. So a backend
//! that made such a mistake would not pass the other tests.
//!
//! A step of training with a partial batch runs under all sanitizers. Where a mistake is not found in the text any
//! more, the test fails: the kernels have changed, and the mistake has to be made anew.

use std::process::Command;

use lenetc_runtime::cuda::{Engine, PRELUDE, Program};
use lenetc_runtime::exec::{Bytes, Examples, Mode};
use serde_json::Value;

#[path = "common/gpu.rs"]
mod gpu;

const BATCH: usize = 8;
const VALID: u32 = 5;
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
        text: "step->learning_rate",
        place: 0,
        by: "step->inverse_batch",
        kinds: &["race_global"],
    },
];

fn program(model: &str) -> Program {
    let batch = [format!("batch_size={BATCH}")];
    let model = match model {
        "grouped" => gpu::read(model, GROUPED.into(), &batch),
        name => gpu::named(name, &batch),
    };
    gpu::plan(&model, MULTIPROCESSORS).program()
}

/// Makes a mistake; an error where its place is not there.
fn with(mut p: Program, m: &Mistake) -> Result<Program, String> {
    let text = p.kernel_mut(m.kernel).expect("the model has this kernel");
    let mut places = text.match_indices(m.text);
    let Some((at, _)) = places.nth(m.place) else {
        let Mistake {
            name, text, kernel, ..
        } = m;
        return Err(format!("{name}: there is no `{text}` in {kernel}"));
    };
    text.replace_range(at..at + m.text.len(), m.by);
    Ok(p)
}

/// A step of training with a partial batch; how it ended, and what was found.
fn run(p: Program, order: u32) -> (Result<(), String>, Vec<Value>) {
    let device = gpu::device(&format!("sanitize=all;warp_order={order}"));
    let images: Vec<u8> = (0..BATCH * 784).map(|k| (k * k % 251) as u8).collect();
    let classes: Vec<i32> = (0..BATCH as i32).map(|k| k % 5).collect();
    let examples = Examples {
        inputs: Bytes::U8(&images),
        targets: Bytes::I32(&classes),
        len: BATCH,
    };
    let engine = Engine::new(&device, p, examples, None);
    let mut engine = engine.unwrap_or_else(|e| panic!("{e}"));
    let order: Vec<u32> = (0..VALID).collect();
    let begun = engine.begin(Mode::Train, &order, 0.1);
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
