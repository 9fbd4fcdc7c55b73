//! `lenetc bench --target cuda --device software`: what a step of training does on a GPU, counted by the software
//! GPU, and an estimate of how long a named GPU would take.
//!
//! Counts are exact for the PTX that NVRTC makes. The estimate is a roofline: of each launch the slowest of what its
//! instructions, its wavefronts of shared memory and its traffic take at the GPU's published rates, on as many
//! multiprocessors as the launch has blocks for, and the time to start a launch within a graph. It knows neither caches
//! nor latencies: it tells which bound is near, and is no measurement.

use serde_json::{Value, json};

use lenetc::train::Session;
use lenetc_runtime::cuda::{software_configure, software_report, software_reset_counters};

use super::args::BenchArgs;
use super::bench::{Setting, label, layers, line, origins};
use super::{Stop, print, width};

/// Seconds to start a launch within a graph.
const LAUNCH: f64 = 1.5e-6;

/// Published figures of a GPU.
struct Gpu {
    name: &'static str,
    multiprocessors: f64,
    /// Cycles a second.
    clock: f64,
    /// f32 lanes of a multiprocessor.
    lanes: f64,
    /// Bytes a second.
    bandwidth: f64,
}

const GPUS: [Gpu; 5] = [
    Gpu {
        name: "h100",
        multiprocessors: 132.0,
        clock: 1.755e9,
        lanes: 128.0,
        bandwidth: 3350e9,
    },
    Gpu {
        name: "a100",
        multiprocessors: 108.0,
        clock: 1.41e9,
        lanes: 64.0,
        bandwidth: 1555e9,
    },
    Gpu {
        name: "rtx4090",
        multiprocessors: 128.0,
        clock: 2.52e9,
        lanes: 128.0,
        bandwidth: 1008e9,
    },
    Gpu {
        name: "l4",
        multiprocessors: 58.0,
        clock: 2.04e9,
        lanes: 128.0,
        bandwidth: 300e9,
    },
    Gpu {
        name: "t4",
        multiprocessors: 40.0,
        clock: 1.59e9,
        lanes: 64.0,
        bandwidth: 320e9,
    },
];

/// The names of the GPUs that estimates are made for.
pub fn names() -> Vec<&'static str> {
    GPUS.iter().map(|g| g.name).collect()
}

/// What one kernel did in a step.
struct Row {
    name: String,
    /// The paths of the layers that it is of.
    layers: Vec<String>,
    launches: u64,
    counts: Value,
}

impl Row {
    fn get(&self, name: &str) -> f64 {
        self.counts[name].as_f64().unwrap_or(0.0)
    }

    fn bytes(&self) -> f64 {
        self.get("global_bytes_read") + self.get("global_bytes_written")
    }

    /// Instructions of warps, of all kinds.
    fn instructions(&self) -> f64 {
        let all = self.counts.as_object().into_iter().flatten();
        let warps = all.filter(|(name, _)| name.starts_with("warp_"));
        warps.filter_map(|(_, n)| n.as_f64()).sum()
    }

    /// Seconds of each bound: instructions, multiply-adds and other f32, shared memory, traffic.
    fn bounds(&self, g: &Gpu) -> [f64; 4] {
        let cycles = g.clock * (self.get("blocks") / self.launches as f64).min(g.multiprocessors);
        let float = self.get("warp_fma") + self.get("warp_float");
        let wavefronts = self.get("shared_accesses") + self.get("bank_conflicts");
        [
            self.instructions() / (4.0 * cycles),
            float * 32.0 / (g.lanes * cycles),
            wavefronts / cycles,
            self.bytes() / g.bandwidth,
        ]
    }

    fn seconds(&self, g: &Gpu) -> f64 {
        let slowest = self.bounds(g).into_iter().fold(0.0, f64::max);
        slowest + LAUNCH * self.launches as f64
    }

    fn label(&self) -> String {
        label(&self.name, &self.layers)
    }

    /// The row of a table.
    fn text(&self, gpu: &Gpu, layout: Layout) -> String {
        let bounds = self.bounds(gpu);
        let slowest = (0..4).max_by(|&x, &y| bounds[x].total_cmp(&bounds[y]));
        let conflicts = self.get("bank_conflicts") / self.get("shared_accesses").max(1.0);
        let numbers = [
            format!("{}", self.get("blocks")),
            format!("{}", self.instructions()),
            format!("{:.2}", self.get("lane_fma") / 1e6),
            format!("{:.2}", self.bytes() / 1e6),
            format!("{:.2}x", self.sectors()),
            format!("{:.0}%", 100.0 * conflicts),
            format!("{:.2}", self.seconds(gpu) * 1e6),
        ];
        let bound = ["instructions", "f32", "shared memory", "traffic"];
        let bound = slowest.map_or("", |k| bound[k]);
        layout.row(&self.label(), numbers, bound)
    }

    /// Bytes of the sectors that were touched, over the bytes that were asked for.
    fn sectors(&self) -> f64 {
        self.get("global_sectors") / self.get("global_sectors_ideal").max(1.0)
    }
}

/// Runs one step with the counters on, and shows them below what was set.
pub fn run(a: &BenchArgs, session: &mut Session, setting: &Setting) -> Result<u8, Stop> {
    let gpu = GPUS.iter().find(|g| g.name == a.estimate);
    let gpu =
        gpu.ok_or_else(|| Stop::Message(format!("there are no figures of {}", a.estimate)))?;
    let counting = software_configure("count=1") && software_reset_counters();
    session.step()?;
    let report = software_report().filter(|_| counting);
    let report: Option<Value> = report.and_then(|r| serde_json::from_str(&r).ok());
    let Some(report) = report else {
        return Err(Stop::Message(
            "the software GPU does not say what it counted".into(),
        ));
    };
    let origins = origins(a, session)?;
    let kernels = report["kernels"].as_object().into_iter().flatten();
    let mut rows: Vec<Row> = kernels
        .map(|(name, k)| Row {
            name: name.clone(),
            layers: origins.get(name).map_or(vec![], layers),
            launches: k["launches"].as_u64().unwrap_or(0),
            counts: k["counts"].clone(),
        })
        .filter(|r| r.launches > 0)
        .collect();
    rows.sort_by(|a, b| b.seconds(gpu).total_cmp(&a.seconds(gpu)));
    let text = if a.json {
        let mut object = as_json(&rows, gpu, &report, session);
        setting.extend(&mut object);
        format!("{object}\n")
    } else {
        let page = if a.wide { usize::MAX } else { width::columns() };
        setting.text(page) + "\n" + &as_text(&rows, gpu, &report, session, page)
    };
    print(&text)?;
    Ok(0)
}

/// Columns of the numbers of a kernel, with the blank before each.
const NUMBERS: [usize; 7] = [7, 11, 8, 8, 8, 10, 9];
/// Columns of what bounds it, with the blanks before.
const BOUND: usize = 15;

fn as_text(rows: &[Row], gpu: &Gpu, report: &Value, session: &Session, page: usize) -> String {
    let batch = f64::from(session.config.batch_size);
    let total: f64 = rows.iter().map(|r| r.seconds(gpu)).sum();
    let launches: u64 = rows.iter().map(|r| r.launches).sum();
    let mut out = format!(
        "a step at batch {batch}: {launches} kernels, {} graph launch\n\n",
        report["total"]["graph_launches"],
    );
    let heads = [
        "blocks",
        "warp instr",
        "M fma",
        "MB",
        "sectors",
        "conflicts",
        "est. µs",
    ];
    let layout = Layout::new(rows, page);
    out += &layout.row("kernel", heads.map(String::from), "bound by");
    for r in rows {
        out += &r.text(gpu, layout);
    }
    let bytes: f64 = rows.iter().map(Row::bytes).sum();
    let estimate = format!(
        "{:.0} µs a step, {:.0} examples/sec on {} (a roofline of counted work, not a measurement)",
        total * 1e6,
        batch / total,
        gpu.name
    );
    let memory = format!("{:.2} MB of global memory a step", bytes / 1e6);
    out + "\n" + &line("total", &memory, page) + &line("estimate", &estimate, page)
}

/// How rows are laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// The numbers behind a name of so many columns.
    Beside(usize),
    /// The numbers below the name, on a page of so many columns.
    Below(usize),
}

impl Layout {
    fn new(rows: &[Row], page: usize) -> Self {
        let widest = rows.iter().map(|r| width::of(&r.label())).max();
        let names = widest.unwrap_or(0).max("kernel".len());
        let numbers: usize = NUMBERS.iter().sum();
        match names + numbers + BOUND <= page {
            true => Self::Beside(names),
            false => Self::Below(page),
        }
    }

    /// A kernel's name, its numbers and what bounds it.
    fn row(self, name: &str, numbers: [String; 7], bound: &str) -> String {
        let numbers = numbers.iter().zip(NUMBERS);
        let numbers: String = numbers.map(|(n, w)| width::right(n, w)).collect();
        match self {
            Self::Beside(columns) => format!("{}{numbers}  {bound}\n", width::left(name, columns)),
            Self::Below(page) => {
                let name = width::fold(name, page, 2).join("\n");
                format!("{name}\n  {numbers}  {bound}\n")
            }
        }
    }
}

fn as_json(rows: &[Row], gpu: &Gpu, report: &Value, session: &Session) -> Value {
    let total: f64 = rows.iter().map(|r| r.seconds(gpu)).sum();
    let kernels: Vec<Value> = rows
        .iter()
        .map(|r| {
            json!({
                "name": r.name,
                "layers": r.layers,
                "launches": r.launches,
                "counts": r.counts,
                "estimated_us": r.seconds(gpu) * 1e6,
            })
        })
        .collect();
    json!({
        "graph_launches": report["total"]["graph_launches"],
        "kernels": kernels,
        "estimate_for": gpu.name,
        "estimated_us": total * 1e6,
        "estimated_examples_per_sec": f64::from(session.config.batch_size) / total,
    })
}
