//! `lenetc bench --target cuda --device software`: what a step of training does on a GPU, counted by the software
//! GPU, and its estimate of how long the card that it stands for would take.
//!
//! The step is planned and compiled for that card, and counted in its second run, when the caches hold what a run
//! before leaves in them. The software GPU has the model of time; this page asks it and shows the answer.

use serde_json::{Value, json};

use lenetc::diag;
use lenetc::train::Session;
use lenetc_runtime::cuda::{
    Choice, Engine, Found, software_card, software_configure, software_report,
    software_reset_counters,
};

use super::args::BenchArgs;
use super::bench::{Setting, label, layers, line, origins};
use super::{Stop, print, width};

/// What is meant where nobody says.
const CARD: &str = "h100";

/// The settings of the software GPU that describe a card.
const OF_CARD: [&str; 9] = [
    "card",
    "compute",
    "capability",
    "multiprocessors",
    "clock",
    "memory",
    "shared",
    "shared_multiprocessor",
    "name",
];

/// Those of them that the user sets in the environment.
fn set_by_user() -> Vec<String> {
    let text = std::env::var("LENETC_SOFTGPU").unwrap_or_default();
    let keys = text.split(';').filter_map(|pair| pair.split_once('='));
    let keys = keys.map(|(key, _)| key.trim().to_string());
    keys.filter(|key| OF_CARD.contains(&key.as_str())).collect()
}

/// Makes the software GPU stand for the card to be estimated, before it is opened. What the environment says of a card
/// counts where the command line names none.
pub fn choose_card(a: &BenchArgs) -> Result<(), Stop> {
    if a.run.device != Some(Choice::Software) {
        return Ok(());
    }
    let set = set_by_user();
    let Some(card) = &a.estimate else {
        return match set.is_empty() {
            true => stand_for(CARD),
            false => Ok(()),
        };
    };
    if !set.is_empty() {
        let keys = set.join(", ");
        anstream::eprintln!("note: --estimate {card} wins over LENETC_SOFTGPU ({keys})");
    }
    stand_for(card)
}

fn stand_for(card: &str) -> Result<(), Stop> {
    match software_card(card) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Stop::Message(format!(
            "the software GPU does not know the card {card}"
        ))),
        Err(e) => Err(Stop::Message(e.to_string())),
    }
}

/// What one kernel did in a step.
struct Row {
    name: String,
    /// The paths of the layers that it is of.
    layers: Vec<String>,
    launches: u64,
    report: Value,
}

impl Row {
    fn get(&self, name: &str) -> f64 {
        self.report["counts"][name].as_f64().unwrap_or(0.0)
    }

    /// Bytes between the multiprocessors and the L2.
    fn l2_bytes(&self) -> f64 {
        32.0 * self.get("l2_sectors")
    }

    /// Bytes between the L2 and the card's memory.
    fn memory_bytes(&self) -> f64 {
        self.get("memory_bytes_read") + self.get("memory_bytes_written")
    }

    fn seconds(&self) -> f64 {
        self.report["us"].as_f64().unwrap_or(0.0) * 1e-6
    }

    fn label(&self) -> String {
        label(&self.name, &self.layers)
    }

    /// The row of a table.
    fn text(&self, layout: Layout) -> String {
        let conflicts = self.get("bank_conflicts") / self.get("shared_accesses").max(1.0);
        let sectors = self.get("global_sectors") / self.get("global_sectors_ideal").max(1.0);
        let numbers = [
            format!("{}", self.get("blocks")),
            format!("{:.2}", self.get("issues") / 1e6),
            format!("{:.1}", self.get("lane_fma") / 1e6),
            format!("{:.2}", self.l2_bytes() / 1e6),
            format!("{:.2}", self.memory_bytes() / 1e6),
            format!("{sectors:.2}x"),
            format!("{:.0}%", 100.0 * conflicts),
            format!("{:.2}", self.seconds() * 1e6),
        ];
        let bound = self.report["bound"].as_str().unwrap_or("");
        layout.row(&self.label(), numbers, bound)
    }
}

/// One counted step.
struct Step<'a> {
    rows: Vec<Row>,
    report: Value,
    device: &'a Found,
    batch: f64,
}

/// Runs a step with the counters on.
fn count(session: &mut Session) -> Result<Value, Stop> {
    let mut counting = software_configure("count=1");
    // The first one fills the caches.
    session.step()?;
    counting &= software_reset_counters();
    session.step()?;
    let report = software_report().filter(|_| counting);
    let report: Option<Value> = report.and_then(|r| serde_json::from_str(&r).ok());
    report.ok_or_else(|| Stop::Message("the software GPU does not say what it counted".into()))
}

/// Counts one step, and shows that below what was set.
pub fn run(a: &BenchArgs, session: &mut Session, setting: &Setting) -> Result<u8, Stop> {
    let report = count(session)?;
    let origins = origins(a, session)?;
    let kernels = report["kernels"].as_object().into_iter().flatten();
    let mut rows: Vec<Row> = kernels
        .map(|(name, k)| Row {
            name: name.clone(),
            layers: origins.get(name).map_or(vec![], layers),
            launches: k["launches"].as_u64().unwrap_or(0),
            report: k.clone(),
        })
        .filter(|r| r.launches > 0)
        .collect();
    rows.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
    let Some(device) = session.gpu().map(Engine::device) else {
        return Err(Stop::Message("this session runs on the processor".into()));
    };
    let batch = f64::from(session.config.batch_size);
    let step = Step {
        rows,
        report,
        device,
        batch,
    };
    let text = if a.json {
        let mut object = step.json();
        setting.extend(&mut object);
        format!("{object}\n")
    } else {
        let page = if a.wide { usize::MAX } else { width::columns() };
        setting.text(page) + &step.text(page)
    };
    print(&text)?;
    Ok(0)
}

/// Columns of the numbers of a kernel, with the blank before each.
const NUMBERS: [usize; 8] = [7, 8, 7, 7, 7, 8, 10, 8];
/// Columns of what bounds it, with the blanks before.
const BOUND: usize = 15;

impl Step<'_> {
    fn seconds(&self) -> f64 {
        self.rows.iter().map(Row::seconds).sum()
    }

    fn text(&self, page: usize) -> String {
        let rows = &self.rows;
        let launches: u64 = rows.iter().map(|r| r.launches).sum();
        let graphs = self.report["total"]["graph_launches"].as_u64().unwrap_or(0);
        let Found {
            multiprocessors,
            capability,
            ..
        } = self.device;
        let planned = format!(
            "for {multiprocessors} multiprocessors, compute capability {}.{}",
            capability / 10,
            capability % 10
        );
        let mut out = line("planned", &planned, page);
        out += &format!(
            "\na step at batch {}: {}, {}\n\n",
            self.batch,
            diag::count(launches, "kernel"),
            diag::count(graphs, "graph launch"),
        );
        let heads = [
            "blocks",
            "M instr",
            "M fma",
            "MB L2",
            "MB mem",
            "sectors",
            "conflicts",
            "est. µs",
        ];
        let layout = Layout::new(rows, page);
        out += &layout.row("kernel", heads.map(String::from), "bound by");
        for r in rows {
            out += &r.text(layout);
        }
        let l2: f64 = rows.iter().map(Row::l2_bytes).sum();
        let memory: f64 = rows.iter().map(Row::memory_bytes).sum();
        let total = format!(
            "{:.2} MB through the L2, {:.2} MB of memory a step",
            l2 / 1e6,
            memory / 1e6
        );
        let estimate = format!(
            "{:.0} µs a step, {:.0} examples/sec on {} (a model of counted work, not a measurement)",
            self.seconds() * 1e6,
            self.batch / self.seconds(),
            self.device.name,
        );
        out + "\n" + &line("total", &total, page) + &line("estimate", &estimate, page)
    }

    fn json(&self) -> Value {
        let kernels: Vec<Value> = self
            .rows
            .iter()
            .map(|r| {
                json!({
                    "name": r.name,
                    "layers": r.layers,
                    "launches": r.launches,
                    "counts": r.report["counts"],
                    "resident_blocks": r.report["resident"],
                    "bound": r.report["bound"],
                    "bounds_us": r.report["bounds_us"],
                    "estimated_us": r.seconds() * 1e6,
                })
            })
            .collect();
        json!({
            "graph_launches": self.report["total"]["graph_launches"],
            "kernels": kernels,
            "estimate_for": self.device.name,
            "multiprocessors": self.device.multiprocessors,
            "capability": self.device.capability,
            "estimated_us": self.seconds() * 1e6,
            "estimated_examples_per_sec": self.batch / self.seconds(),
        })
    }
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
    fn row(self, name: &str, numbers: [String; 8], bound: &str) -> String {
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
