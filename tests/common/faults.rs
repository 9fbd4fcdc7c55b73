//! More mistakes in a step, each with how it must show: of warps and lanes, of what an assembler allows, of launches, of
//! places in memory, of sums and of the tail of a batch. Does not know how a step is run.

use lenetc::backend::cuda::Plan;
use lenetc_runtime::cuda::{PRELUDE, Place, Program};

/// A mistake, and what must notice it.
pub struct Fault {
    pub name: &'static str,
    pub model: &'static str,
    /// Settings of the software GPU, beside the sanitizers.
    pub settings: &'static str,
    pub make: Make,
    pub noticed: Noticed,
}

/// What is changed.
pub enum Make {
    /// In a kernel's text, the first place of a text, or the one behind so many others.
    Text {
        kernel: &'static str,
        text: &'static str,
        place: usize,
        by: &'static str,
    },
    Program(fn(&mut Program)),
    Plan(fn(&mut Plan)),
}

/// How a mistake shows.
pub enum Noticed {
    /// By a finding in a kernel, of one of these kinds, whose words these are among.
    Finding(&'static str, &'static [&'static str], &'static str),
    /// The kernels do not get onto the device, and the message has these words.
    Refused(&'static [&'static str]),
    /// By losses or weights that are not those of the right program.
    Results,
}
use Noticed::{Finding, Refused, Results};

const fn text(kernel: &'static str, text: &'static str, by: &'static str) -> Make {
    Make::Text {
        kernel,
        text,
        place: 0,
        by,
    }
}

const fn fault(name: &'static str, model: &'static str, make: Make, noticed: Noticed) -> Fault {
    Fault {
        name,
        model,
        settings: "",
        make,
        noticed,
    }
}

/// For a device with these settings.
const fn on(settings: &'static str, fault: Fault) -> Fault {
    Fault { settings, ..fault }
}

const BARRIER: &str = "__syncthreads();";
const BETWEEN_LAYERS: &str = "        __syncthreads();\n        // linear";
const UNKNOWN_TO_NVRTC: &str = "compute=11.0";

/// The barrier between two layers that one warp computes, in the place of one for the whole block. It suffices there.
pub const WARPS_OWN: Fault = fault(
    "a warp's barrier between two layers of one warp",
    "grouped",
    text(
        "chain",
        BETWEEN_LAYERS,
        "        __syncwarp();\n        // linear",
    ),
    Results,
);

pub fn all() -> Vec<Fault> {
    let mut all = of_warps();
    all.extend(of_limits());
    all.extend(of_launches());
    all.extend(of_memory());
    all.extend(of_sums());
    all
}

fn of_warps() -> Vec<Fault> {
    vec![
        fault(
            "no barrier between two layers that one warp computes",
            "grouped",
            text("chain", BETWEEN_LAYERS, "        // linear"),
            Finding("chain", &["race_global"], "in one warp"),
        ),
        fault(
            "a warp's barrier in the place of the block's",
            "grouped",
            text("chain", BARRIER, "__syncwarp();"),
            Finding("chain", &["race_shared", "uninitialised"], ""),
        ),
        fault(
            "read-only loads of what a layer of the chain wrote",
            "grouped",
            text("chain", "load4(&row2[0], &out0[", "row2[0] = __ldg(&out0["),
            Finding("chain", &["read_only"], ""),
        ),
        fault(
            "weights that are updated are said to be read only",
            "grouped",
            text("update", "const float* w,", "const float* __restrict__ w,"),
            Finding("update", &["read_only"], ""),
        ),
    ]
}

/// What ptxas refuses, and the software GPU where a driver would translate PTX.
fn of_limits() -> Vec<Fault> {
    let shared = || {
        fault(
            "64 KiB of static shared memory",
            "grouped",
            text("chain", "shared[592]", "shared[16384]"),
            Refused(&["chain", "shared"]),
        )
    };
    let barrier = || {
        fault(
            "a seventeenth barrier",
            "grouped",
            text("chain", BARRIER, "asm volatile(\"bar.sync 16;\");"),
            Refused(&["16"]),
        )
    };
    let partial = || {
        fault(
            "a barrier for a part of a warp",
            "grouped",
            text("chain", BARRIER, "asm volatile(\"bar.sync 1, 40;\");"),
            Refused(&["40"]),
        )
    };
    let old = Make::Program(|p| with_parameters(p, 4096));
    let new = Make::Program(|p| with_parameters(p, 32764));
    vec![
        shared(),
        on(UNKNOWN_TO_NVRTC, shared()),
        barrier(),
        on(UNKNOWN_TO_NVRTC, barrier()),
        on(UNKNOWN_TO_NVRTC, partial()),
        on(
            "compute=6.1",
            fault(
                "more parameters than a GPU before Volta takes",
                "grouped",
                old,
                Refused(&["chain", "4096"]),
            ),
        ),
        fault(
            "more parameters than any GPU takes",
            "grouped",
            new,
            Refused(&["chain", "32764"]),
        ),
    ]
}

/// Gives the chain a first parameter of so many bytes.
fn with_parameters(p: &mut Program, len: usize) {
    let chain = p.kernel_mut("chain").expect("there is a chain");
    *chain = chain.replacen(" chain(", " chain(\n    const Large large,", 1);
    p.functions += &format!("struct Large {{ u8 bytes[{len}]; }};\n");
}

fn launch(p: &mut Program, kernel: &str) -> usize {
    let found = p.train.iter().position(|l| l.kernel == kernel);
    found.unwrap_or_else(|| panic!("there is no {kernel}"))
}

fn of_launches() -> Vec<Fault> {
    vec![
        fault(
            "a launch of half its blocks",
            "lenet",
            Make::Program(|p| {
                let at = launch(p, "conv2d_sigmoid");
                p.train[at].blocks /= 2;
            }),
            Finding("avg_pool2d", &["uninitialised"], ""),
        ),
        fault(
            "blocks of half their threads",
            "lenet",
            Make::Program(|p| {
                let at = launch(p, "conv2d_sigmoid_2");
                p.train[at].threads /= 2;
            }),
            Finding("conv2d_sigmoid_2", &["uninitialised"], ""),
        ),
        fault(
            "a layer is launched before the one that it reads",
            "lenet",
            Make::Program(|p| {
                let at = launch(p, "linear_sigmoid");
                p.train.swap(at, at + 1);
            }),
            Finding("chain", &["uninitialised"], ""),
        ),
        fault(
            "two parts of a launch have a block in common",
            "grouped",
            text("gradients", "if (1 <= blockIdx.x && ", "if ("),
            Finding(
                "gradients",
                &[
                    "race_shared",
                    "race_global",
                    "out_of_bounds",
                    "uninitialised",
                ],
                "",
            ),
        ),
        fault(
            "no block sums the losses",
            "grouped",
            Make::Program(|p| {
                let at = launch(p, "gradients");
                p.train[at].blocks -= 1;
            }),
            Results,
        ),
        fault(
            "no block moves on to the next batch",
            "grouped",
            Make::Program(|p| {
                let at = launch(p, "update");
                p.train[at].blocks -= 1;
            }),
            Results,
        ),
        fault(
            "an evaluation sums losses before they are there",
            "grouped",
            Make::Program(|p| p.eval.rotate_right(1)),
            Results,
        ),
    ]
}

fn of_memory() -> Vec<Fault> {
    vec![
        fault(
            "an image beyond the last of the data",
            "grouped",
            text("chain", "[n0 + e] * 484", "[n0 + e] * 9000"),
            Finding("chain", &["out_of_bounds"], ""),
        ),
        fault(
            "tiles beyond the end of shared memory",
            "grouped",
            text("chain", "shared[592]", "shared[300]"),
            Finding("chain", &["out_of_bounds"], "shared"),
        ),
        fault(
            "a row of four weights that is not aligned",
            "grouped",
            text("chain", "load4(&row[0], &w2[", "load4(&row[0], &w2[1 + "),
            Finding("chain", &["misaligned"], ""),
        ),
        fault(
            "results in the place of what the launch still reads",
            "lenet",
            Make::Plan(|p| {
                let [from, to] = [output(p, "avg_pool2d"), output(p, "conv2d_sigmoid")];
                move_value(p, from, to);
            }),
            Finding("avg_pool2d", &["race_global", "read_only"], ""),
        ),
        fault(
            "a place is taken by another value before its last reader",
            "lenet",
            Make::Plan(|p| {
                let [from, to] = [output(p, "avg_pool2d_2"), output(p, "conv2d_sigmoid")];
                move_value(p, from, to);
            }),
            Results,
        ),
    ]
}

/// Where the last buffer in the arena of a kernel of a step of training lies: what it writes.
fn output(p: &Plan, kernel: &str) -> Place {
    let mut numbers = std::collections::BTreeMap::new();
    let named = p.train.iter().find(|u| {
        // Kernels of one name are numbered in the order of their launches.
        let number = numbers.entry(u.kernel.name.clone()).or_insert(0);
        *number += 1;
        let numbered = match number {
            1 => u.kernel.name.clone(),
            n => format!("{}_{n}", u.kernel.name),
        };
        numbered == kernel
    });
    let unit = named.unwrap_or_else(|| panic!("there is no {kernel}"));
    let arena = |p: &&Place| matches!(p, Place::Arena(_));
    let found = unit.places.iter().rev().find(arena).copied();
    found.unwrap_or_else(|| panic!("{kernel} writes nothing"))
}

/// Moves a value in the arena.
fn move_value(p: &mut Plan, from: Place, to: Place) {
    assert_ne!(from, to);
    let units = p.train.iter_mut().chain(&mut p.eval);
    for place in units.flat_map(|u| &mut u.places).filter(|p| **p == from) {
        *place = to;
    }
}

fn of_sums() -> Vec<Fault> {
    vec![
        fault(
            "results of the last image are left out",
            "grouped",
            text(
                "chain",
                "if (n0 + n + col < valid)",
                "if (n0 + n + col < valid - 1)",
            ),
            Finding("chain", &["uninitialised"], ""),
        ),
        fault(
            "a shard of a weight's gradient is not written",
            "lenet",
            text(
                "gradients",
                "// conv2d_grad_weight",
                "if (shard == 1) return;",
            ),
            Finding("update", &["uninitialised"], ""),
        ),
        fault(
            "an update leaves out the last shard",
            "lenet",
            text("update", "shard < 8", "shard < 7"),
            Results,
        ),
        fault(
            "an update adds up a shard too many",
            "lenet",
            text("update", "shard < 8", "shard < 9"),
            Finding("update", &["uninitialised"], ""),
        ),
        fault(
            "the sum of losses misses the last example",
            "grouped",
            Make::Program(without_the_last_loss),
            Results,
        ),
        fault(
            "the second batch has the classes of the first",
            "grouped",
            text(
                "chain",
                "data2[(u64)indices[n]",
                "data2[(u64)(indices - step->position)[n]",
            ),
            Results,
        ),
    ]
}

/// Losses are summed by an `account` that ends one too early.
fn without_the_last_loss(p: &mut Program) {
    let start = PRELUDE.find("__device__ __forceinline__ void account");
    let start = start.expect("it is there");
    let end = start + PRELUDE[start..].find("\n}\n").expect("it ends") + 3;
    let short = PRELUDE[start..end].replacen("account", "short_account", 1);
    assert!(short.contains("n < valid"));
    let short = short.replacen("n < valid", "n + 1 < valid", 1);
    let kernel = p.kernel_mut("gradients").expect("it trains");
    assert!(kernel.contains("account(step,"));
    *kernel = kernel.replace("account(step,", "short_account(step,");
    p.functions = short + &p.functions;
}
