//! The table of kernels: what each takes, does and moves for one image, beside what the machine could do at most.
//!
//! Does not measure anything.

use std::collections::BTreeMap;

use lenetc::ir::NodeId;
use serde_json::{Value, json};

use super::step::{Parts, Step};

/// What one core can do at most.
#[derive(Clone, Copy)]
pub struct Limits {
    /// GFLOP/s of multiply-adds alone.
    pub gflops: f64,
    /// GB/s of a copy within a set of so many bytes.
    pub gbytes: f64,
    pub set_bytes: u64,
}

impl Limits {
    /// The µs that so many multiply-adds and bytes take at least.
    fn least(self, macs: u64, bytes: f64) -> f64 {
        (2e-3 * macs as f64 / self.gflops).max(1e-3 * bytes / self.gbytes)
    }
}

/// The operators of each kernel, in the order of the calls of a step.
pub type Operators = Vec<Vec<NodeId>>;

/// A step of training on one thread; µs for one image.
pub struct Table {
    kernels: Vec<Figure>,
    total: Figure,
    /// What is no kernel, by its name and its key.
    others: [(&'static str, &'static str, f64); 3],
    /// The step as measured: the kernels and the others add up to it.
    step: f64,
    limits: Limits,
}

/// A kernel.
struct Figure {
    name: String,
    micros: f64,
    /// The same operators, each as a kernel of its own.
    unfused: Option<f64>,
    macs: u64,
    bytes: f64,
    /// The time that the limits allow at least.
    least: f64,
}

impl Table {
    /// From the times of a step over so many images; `operators` of its kernels and of those without fusion.
    pub fn new(
        s: &Step,
        images: usize,
        operators: &Operators,
        apart: &Operators,
        limits: Limits,
    ) -> Self {
        let an_image = |micros: f64| micros / images as f64;
        let unfused = s.unfused.as_ref().map(|p| by_operator(p, apart));
        let sum = |nodes: &Vec<NodeId>| {
            let times = unfused.as_ref().filter(|_| nodes.len() > 1)?;
            Some(nodes.iter().map(|n| an_image(times[n])).sum())
        };
        let calls = s.parts.calls.iter().zip(operators);
        let kernels: Vec<Figure> = calls
            .map(|(c, nodes)| Figure {
                name: c.name.clone(),
                micros: an_image(c.micros),
                unfused: sum(nodes),
                macs: c.macs,
                bytes: c.bytes,
                least: limits.least(c.macs, c.bytes),
            })
            .collect();
        let unfused = s.unfused.as_ref().map(|p| an_image(p.kernels()));
        let total = Figure::total(&kernels, unfused);
        let [step, clearing, reduction] =
            [s.whole, s.parts.clearing, s.parts.reduction].map(an_image);
        let rest = step - total.micros - clearing - reduction;
        let others = [
            ("shards set to zero", "clearing_us_per_image", clearing),
            ("sum of shards", "sum_of_shards_us_per_image", reduction),
            ("rest", "rest_us_per_image", rest),
        ];
        Self {
            kernels,
            total,
            others,
            step,
            limits,
        }
    }

    /// The table as text, and the limits that its shares are of.
    pub fn text(&self, isa: &str) -> String {
        let [us, apart, speed, peak, bytes, roof] = [
            "µs/image",
            "unfused",
            "GFLOP/s",
            "% of peak",
            "KB/image",
            "% of roof",
        ];
        let head = "kernel, one thread";
        let mut out =
            format!("{head:<36} {us:>9} {apart:>9} {speed:>9} {peak:>9} {bytes:>9} {roof:>9}\n");
        for k in self.kernels.iter().chain([&self.total]) {
            out.push_str(&k.line(self.limits));
        }
        let others = self.others.iter().map(|o| (o.0, o.2));
        for (name, micros) in others.chain([("step", self.step)]) {
            out.push_str(&format!("{name:<36} {micros:>9.3}\n"));
        }
        let Limits {
            gflops,
            gbytes,
            set_bytes,
        } = self.limits;
        out + &format!(
            "\npeak       {gflops:.1} GFLOP/s, multiply-adds alone on one thread, {isa}\n\
             bandwidth  {gbytes:.1} GB/s read and written, a copy on one thread within the {} KB of an arena\n",
            set_bytes / 1000
        )
    }

    /// Adds the limits, the kernels and the parts of the step to an object.
    pub fn extend(&self, out: &mut Value) {
        out["peak_gflops"] = json!(self.limits.gflops);
        out["bandwidth_gbytes_per_sec"] = json!(self.limits.gbytes);
        out["bandwidth_set_bytes"] = json!(self.limits.set_bytes);
        let kernels = self.kernels.iter().map(|k| k.json(self.limits));
        out["kernels"] = kernels.collect();
        out["step"] = json!({
            "us_per_image": self.step,
            "kernels_us_per_image": self.total.micros,
            "unfused_kernels_us_per_image": self.total.unfused,
        });
        for (_, key, micros) in self.others {
            out["step"][key] = json!(micros);
        }
    }
}

/// Time of each operator where each is a kernel of its own.
fn by_operator(p: &Parts, operators: &Operators) -> BTreeMap<NodeId, f64> {
    let calls = p.calls.iter().zip(operators);
    calls
        .flat_map(|(c, nodes)| nodes.iter().map(|&n| (n, c.micros)))
        .collect()
}

impl Figure {
    /// All kernels together; what they would take without fusion is known as a whole.
    fn total(kernels: &[Self], unfused: Option<f64>) -> Self {
        Self {
            name: "kernels".into(),
            micros: kernels.iter().map(|k| k.micros).sum(),
            unfused,
            macs: kernels.iter().map(|k| k.macs).sum(),
            bytes: kernels.iter().map(|k| k.bytes).sum(),
            least: kernels.iter().map(|k| k.least).sum(),
        }
    }

    /// GFLOP/s; `None` where nothing is contracted.
    fn speed(&self) -> Option<f64> {
        (self.macs > 0).then(|| 2e-3 * self.macs as f64 / self.micros)
    }

    fn line(&self, l: Limits) -> String {
        let column = |x: Option<f64>, digits: usize| {
            x.map_or(format!("{:>9}", ""), |x| format!("{x:>9.digits$}"))
        };
        format!(
            "{:<36} {:>9.3} {} {} {} {:>9.3} {:>9.0}\n",
            self.name,
            self.micros,
            column(self.unfused, 3),
            column(self.speed(), 1),
            column(self.speed().map(|s| 100.0 * s / l.gflops), 0),
            self.bytes / 1e3,
            100.0 * self.least / self.micros
        )
    }

    fn json(&self, l: Limits) -> Value {
        json!({
            "name": self.name,
            "us_per_image": self.micros,
            "unfused_us_per_image": self.unfused,
            "gflops": self.speed(),
            "share_of_peak": self.speed().map(|s| s / l.gflops),
            "macs_per_image": self.macs,
            "bytes_per_image": self.bytes,
            "share_of_roofline": self.least / self.micros,
        })
    }
}
