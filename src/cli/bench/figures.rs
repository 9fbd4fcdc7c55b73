//! The table of kernels: what each takes, does and moves for one image, beside what the machine could do at most.
//!
//! Does not measure anything.

use std::collections::BTreeMap;

use lenetc::backend::Origin;
use lenetc::backend::cpu::{Plan, Step as Planned};
use lenetc::ir::NodeId;
use serde_json::{Value, json};

use super::super::width;
use super::setting::line;
use super::step::{Parts, Step};

/// The numbers of a kernel, and how many columns each takes.
const HEADS: [&str; 6] = [
    "µs/image",
    "unfused",
    "GFLOP/s",
    "% peak",
    "KB/image",
    "% roof",
];
const COLUMNS: [usize; 6] = [9, 8, 8, 7, 9, 7];
/// Columns that the names of kernels have at least.
const NAMES: usize = 26;

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

/// What a kernel computes.
pub struct Contents {
    nodes: Vec<NodeId>,
    /// The paths of its layers.
    layers: Vec<String>,
    /// Multiply-adds for one image with those on padding.
    padded: u64,
}

/// Of each call of a step what it computes.
pub fn contents(plan: &Plan) -> Vec<Contents> {
    let of = |step: &Planned| Contents {
        nodes: step.nodes.clone(),
        layers: layers(&step.origin),
        padded: step.macs.padded,
    };
    plan.in_order().map(of).collect()
}

/// The layers of a kernel.
pub fn layers(origin: &Origin) -> Vec<String> {
    origin.layers().into_iter().map(String::from).collect()
}

/// A kernel's name with its layers.
pub fn label(name: &str, layers: &[String]) -> String {
    match layers.is_empty() {
        true => name.into(),
        false => format!("{name} ({})", layers.join(", ")),
    }
}

/// Why what is left of a step can be less than nothing.
const BELOW_ZERO: &str = "  below 0: slower when timed apart";

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
    layers: Vec<String>,
    micros: f64,
    /// The same operators, each as a kernel of its own.
    unfused: Option<f64>,
    /// Multiply-adds that exist, and with those on padding.
    macs: u64,
    padded: u64,
    bytes: f64,
    /// The time that the limits allow at least.
    least: f64,
}

impl Table {
    /// From the times of a step over so many images; what its kernels compute, and those without fusion.
    pub fn new(
        s: &Step,
        images: usize,
        kernels: &[Contents],
        apart: &[Contents],
        limits: Limits,
    ) -> Self {
        let an_image = |micros: f64| micros / images as f64;
        let unfused = s.unfused.as_ref().map(|p| by_operator(p, apart));
        let sum = |nodes: &Vec<NodeId>| {
            let times = unfused.as_ref().filter(|_| nodes.len() > 1)?;
            Some(nodes.iter().map(|n| an_image(times[n])).sum())
        };
        let calls = s.parts.calls.iter().zip(kernels);
        let kernels: Vec<Figure> = calls
            .map(|(c, contents)| Figure {
                name: c.name.clone(),
                layers: contents.layers.clone(),
                micros: an_image(c.micros),
                unfused: sum(&contents.nodes),
                macs: c.macs,
                padded: contents.padded,
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

    /// The table as text for a page, or on lines as long as they become, and the limits that its shares are of.
    pub fn text(&self, isa: &str, page: Option<usize>) -> String {
        let all = self.kernels.iter().chain([&self.total]);
        let widest = all.clone().map(|k| width::of(&k.label())).max();
        let widest = widest.unwrap_or(0);
        let numbers: usize = COLUMNS.iter().sum();
        let names = page.map_or(widest, |page| page.saturating_sub(numbers).min(widest));
        let names = names.max(NAMES);
        let head = width::left("kernel, one thread", names);
        let mut out = format!("{head}{}\n", cells(HEADS.map(String::from)));
        for k in all {
            out.push_str(&k.lines(self.limits, names));
        }
        let others = self.others.iter().map(|o| (o.0, o.2));
        for (name, micros) in others.chain([("step", self.step)]) {
            let name = width::left(name, names);
            let time = width::right(&format!("{micros:.3}"), COLUMNS[0]);
            let words = if micros < 0.0 { BELOW_ZERO } else { "" };
            out.push_str(&format!("{name}{time}{words}\n"));
        }
        out + &self.limits_text(isa, page.unwrap_or(usize::MAX))
    }

    fn limits_text(&self, isa: &str, page: usize) -> String {
        let Limits {
            gflops,
            gbytes,
            set_bytes,
        } = self.limits;
        let peak = format!("{gflops:.1} GFLOP/s, multiply-adds alone on one thread, {isa}");
        let bandwidth = format!(
            "{gbytes:.1} GB/s read and written, a copy on one thread within the {} KB of an arena",
            set_bytes / 1000
        );
        let mut out = "\n".to_string() + &line("peak", &peak, page);
        out += &line("bandwidth", &bandwidth, page);
        if self.total.macs != self.total.padded {
            let text = format!(
                "is no work: of {} multiply-adds for an image {} exist, and count; \
                 lenetc check says of which layers",
                self.total.padded, self.total.macs
            );
            out += &line("padding", &text, page);
        }
        out
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
        let below_zero = self.others.iter().any(|o| o.2 < 0.0);
        out["step"]["note"] = json!(below_zero.then_some(BELOW_ZERO.trim_start()));
    }
}

/// The numbers of a line, each in its columns.
fn cells(numbers: [String; 6]) -> String {
    let cells = numbers.iter().zip(COLUMNS);
    cells.map(|(n, w)| width::right(n, w)).collect()
}

/// Time of each operator where each is a kernel of its own.
fn by_operator(p: &Parts, kernels: &[Contents]) -> BTreeMap<NodeId, f64> {
    let calls = p.calls.iter().zip(kernels);
    calls
        .flat_map(|(c, k)| k.nodes.iter().map(|&n| (n, c.micros)))
        .collect()
}

/// A sum that stays at the greatest number, as counts of multiply-adds do.
fn total(kernels: &[Figure], count: impl Fn(&Figure) -> u64) -> u64 {
    kernels.iter().map(count).fold(0, u64::saturating_add)
}

impl Figure {
    /// All kernels together; what they would take without fusion is known as a whole.
    fn total(kernels: &[Self], unfused: Option<f64>) -> Self {
        Self {
            name: "kernels".into(),
            layers: vec![],
            micros: kernels.iter().map(|k| k.micros).sum(),
            unfused,
            macs: total(kernels, |k| k.macs),
            padded: total(kernels, |k| k.padded),
            bytes: kernels.iter().map(|k| k.bytes).sum(),
            least: kernels.iter().map(|k| k.least).sum(),
        }
    }

    /// GFLOP/s; `None` where nothing is contracted.
    fn speed(&self) -> Option<f64> {
        (self.macs > 0).then(|| 2e-3 * self.macs as f64 / self.micros)
    }

    fn label(&self) -> String {
        label(&self.name, &self.layers)
    }

    /// The name in so many columns, on as many lines as it takes, and the numbers behind the first.
    fn lines(&self, l: Limits, names: usize) -> String {
        let number =
            |x: Option<f64>, digits: usize| x.map_or(String::new(), |x| format!("{x:.digits$}"));
        let mut label = width::fold(&self.label(), names, 2).into_iter();
        let numbers = [
            number(Some(self.micros), 3),
            number(self.unfused, 3),
            number(self.speed(), 1),
            number(self.speed().map(|s| 100.0 * s / l.gflops), 0),
            number(Some(self.bytes / 1e3), 3),
            number(Some(100.0 * self.least / self.micros), 0),
        ];
        let first = width::left(&label.next().unwrap_or_default(), names);
        let mut out = format!("{first}{}\n", cells(numbers));
        for rest in label {
            out.push_str(&format!("{rest}\n"));
        }
        out
    }

    fn json(&self, l: Limits) -> Value {
        json!({
            "name": self.name,
            "layers": self.layers,
            "us_per_image": self.micros,
            "unfused_us_per_image": self.unfused,
            "gflops": self.speed(),
            "share_of_peak": self.speed().map(|s| s / l.gflops),
            "macs_per_image": self.macs,
            "macs_with_padding_per_image": self.padded,
            "bytes_per_image": self.bytes,
            "share_of_roofline": self.least / self.micros,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::Call;
    use super::*;

    /// A step of one kernel with padding, which takes 40 µs of a step of so many, over four images.
    fn table(whole: f64) -> Table {
        let call = Call {
            name: "conv2d_grad_weight_sigmoid_grad_add".into(),
            micros: 40.0,
            macs: 100_000,
            bytes: 8e3,
        };
        let step = Step {
            whole,
            spread: 0.0,
            parts: Parts {
                calls: vec![call],
                clearing: 0.0,
                reduction: 0.0,
            },
            unfused: None,
        };
        let contents = Contents {
            nodes: vec![],
            layers: vec!["stem.0".into(), "stem.1".into()],
            padded: 120_000,
        };
        let limits = Limits {
            gflops: 40.0,
            gbytes: 10.0,
            set_bytes: 64_000,
        };
        Table::new(&step, 4, &[contents], &[], limits)
    }

    #[test]
    fn a_page_has_every_kernel_with_its_layers() {
        let text = table(60.0).text("avx2", Some(80));
        let expected = "\
kernel, one thread               µs/image unfused GFLOP/s % peak KB/image % roof
conv2d_grad_weight_sigmoid_grad_   10.000            20.0     50    8.000     50
  add (stem.0, stem.1)
kernels                            10.000            20.0     50    8.000     50
shards set to zero                  0.000
sum of shards                       0.000
rest                                5.000
step                               15.000
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.lines().all(|l| width::of(l) <= 80), "{text}");
        let padding = "\
padding    is no work: of 120000 multiply-adds for an image 100000 exist, and
           count; lenetc check says of which layers
";
        assert!(text.ends_with(padding), "{text}");
    }

    #[test]
    fn a_rest_below_zero_is_explained() {
        let table = table(36.0);
        let text = table.text("avx2", Some(80));
        assert!(text.lines().all(|l| width::of(l) <= 80), "{text}");
        let row = text.lines().find(|l| l.starts_with("rest"));
        let row = row.expect("it is part of the step");
        assert!(row.ends_with("-1.000  below 0: slower when timed apart"));
        let mut object = json!({});
        table.extend(&mut object);
        assert_eq!(object["step"]["rest_us_per_image"], -1.0);
        assert!(object["step"]["note"].is_string());
        assert_eq!(object["kernels"][0]["macs_per_image"], 100_000);
        assert_eq!(object["kernels"][0]["macs_with_padding_per_image"], 120_000);
        assert_eq!(object["kernels"][0]["layers"], json!(["stem.0", "stem.1"]));
    }
}
