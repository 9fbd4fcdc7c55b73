//! `lenetc check`: diagnostics and the layers; with `--target cuda` the kernels of a step, what they take of a GPU, and
//! whether the software GPU's sanitizers find a fault in them.
//!
//! Knows in which order this is done; the parts below know how.

mod card;
mod examples;
mod findings;
mod kernels;

use lenetc::diag;
use lenetc::driver::{self, Model};
use lenetc::lines::MESSAGE;
use lenetc::passes::build::Built;
use lenetc::train::{Numbers, RunError};
use lenetc_runtime::cuda::{Device, Engine};
use serde_json::{Value, json};

use super::args::{CheckArgs, Target};
use super::bench::{Progress, line};
use super::{FAILED, Stop, print, show, width};
use card::{Card, Gpu};
use examples::{Made, Steps};
use findings::Finding;
use kernels::Row;

/// Checks a model, and where that is asked for the kernels that it becomes.
pub fn run(a: &CheckArgs) -> Result<u8, Stop> {
    match a.target {
        Target::Cpu => {
            if let Some(option) = a.option_of_gpus() {
                let message = format!("{option} is for kernels of GPUs: add --target cuda");
                return Err(Stop::Message(message));
            }
            show::check(&a.model, a.json, a.wide)
        }
        Target::Cuda => on_gpu(a),
    }
}

/// What a check came to.
struct Checked {
    device: Gpu,
    batch: u32,
    steps: Steps,
    rows: Vec<Row>,
    findings: Vec<Finding>,
    /// Whether a loss was not finite, so that no update ran behind it.
    stopped: bool,
}

fn on_gpu(a: &CheckArgs) -> Result<u8, Stop> {
    // A model with errors needs no device to be told of them.
    let source = super::source(&a.model.file)?;
    let read = super::read(source, &a.model).and_then(|model| {
        let built = model.build(model.bytes)?;
        Ok((model, built))
    });
    let (model, built) = match read {
        Ok(read) => read,
        Err(f) if a.json => {
            let diagnostics = diag::to_json(&f.diagnostics, &f.source);
            print(&format!("{}\n", json!({ "diagnostics": diagnostics })))?;
            return Ok(FAILED);
        }
        Err(f) => return Err(f.into()),
    };
    if !a.json {
        super::warn(&model.warnings, &model.source);
    }
    let card = match Card::of(a)? {
        Card::Software(settings) => settings,
        Card::Elsewhere(command) => return card::go_on_in(*command),
    };
    let device = card::open(&card)?;
    let checked = check(&device, &model, &built)?;
    if a.json {
        print(&format!("{}\n", checked.json(&model)))?;
        return Ok(if checked.faults().is_empty() {
            0
        } else {
            FAILED
        });
    }
    let page = if a.wide { usize::MAX } else { width::columns() };
    print(&checked.text(&model.source.name, page))?;
    match checked.faults() {
        faults if faults.is_empty() => Ok(0),
        faults => Err(Stop::Message(faults)),
    }
}

/// Compiles the kernels and runs their steps.
fn check(device: &Device, model: &Model, built: &Built) -> Result<Checked, Stop> {
    let batch = model.config.batch_size;
    let graph = model.differentiate(built.graphs.clone());
    let plan = driver::plan_cuda(graph, true, batch, device.found.multiprocessors);
    if let Some(why) = plan.too_large() {
        return Err(Stop::Message(format!(
            "{why} for a batch of {batch}: --set train.batch_size= makes it smaller"
        )));
    }
    let steps = Steps::new(batch, model.trained);
    let made = Made::new(model, built, steps.examples());
    let (printed, program) = plan.printed(|_, _| true);
    let shapes = kernels::shapes(&program);
    let progress = Progress::new(2);
    progress.begin(0, "compiling the kernels");
    let engine = Engine::new(device, program, made.examples(), None);
    let mut engine = engine.map_err(RunError::from)?;
    let mut weights = vec![0.0; plan.parameter_bytes as usize / 4];
    examples::weights(&plan.states, &mut weights);
    engine.set_parameters(&weights).map_err(RunError::from)?;
    progress.begin(1, "running them, checked");
    let ended = steps.run(&mut engine, Numbers::first(&model.config));
    drop(progress);
    let report = findings::report()?;
    let findings = Finding::all(&report, &printed);
    // An error that no finding explains is the driver's.
    let stopped = match ended {
        Ok(stopped) => stopped,
        Err(e) if findings.is_empty() => return Err(RunError::from(e).into()),
        Err(_) => false,
    };
    let device = Gpu::from(engine.device());
    Ok(Checked {
        rows: kernels::rows(&printed, &shapes, &engine.resources(), &report, &device),
        device,
        batch,
        steps,
        findings,
        stopped,
    })
}

impl Checked {
    /// The faults of lenetc in words; nothing where there are none.
    fn faults(&self) -> String {
        let spilling: Vec<&Row> = self.rows.iter().filter(|r| r.spilled_bytes() > 0).collect();
        let mut parts = Vec::new();
        if !self.findings.is_empty() {
            let all = diag::count(self.findings.len() as u64, "fault");
            let mut part = format!("the sanitizers found {all}; this is a bug in lenetc:");
            for line in self.findings.iter().flat_map(|f| f.lines(MESSAGE)) {
                part += &format!("\n{line}");
            }
            parts.push(part);
        }
        if !spilling.is_empty() {
            let all = diag::count(spilling.len() as u64, "kernel");
            let mut part = format!("not enough registers for {all}, slow but not wrong:");
            for r in spilling {
                let bytes = diag::count(u64::from(r.spilled_bytes()), "byte");
                part += &format!("\n  {} spills {bytes} a thread", r.label());
            }
            parts.push(part);
        }
        parts.join("\nerror: ")
    }

    fn text(&self, file: &str, page: usize) -> String {
        let d = &self.device;
        let device = format!(
            "{}, compute capability {}, {}",
            d.name,
            card::version(d.capability),
            diag::count(u64::from(d.multiprocessors), "multiprocessor")
        );
        let batch = diag::count(u64::from(self.batch), "image");
        let mut out = line("model", &format!("{file}, in batches of {batch}"), page);
        out += &line("device", &device, page);
        out += &format!("\n{}\n", kernels::table(&self.rows, page));
        let found = match self.findings.is_empty() {
            true => format!("no finding in {}", self.steps),
            false => diag::count(self.findings.len() as u64, "finding"),
        };
        out += &line("sanitizers", &found, page);
        if self.stopped {
            let why = "not all updates ran: a loss was not finite";
            out += &line("", why, page);
        }
        if !self.rows.iter().all(Row::is_known) {
            let why = "no NVRTC knows the device: its driver makes the machine code of PTX";
            out += &line("?", why, page);
        }
        out
    }

    fn json(&self, model: &Model) -> Value {
        let all = |findings: &[Finding]| findings.iter().map(Finding::json).collect::<Vec<_>>();
        json!({
            "diagnostics": diag::to_json(&model.warnings, &model.source),
            "device": self.device.name,
            "capability": self.device.capability,
            "multiprocessors": self.device.multiprocessors,
            "batch": self.batch,
            "kernels": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "findings": all(&self.findings),
            "finite": !self.stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use lenetc_runtime::cuda::Resources;

    use super::*;

    fn checked(rows: Vec<Row>, stopped: bool) -> Checked {
        let device = Gpu {
            name: "any".into(),
            capability: 121,
            memory_bytes: 1 << 30,
            multiprocessors: 1,
        };
        Checked {
            device,
            batch: 8,
            steps: Steps::new(8, true),
            rows,
            findings: vec![],
            stopped,
        }
    }

    #[test]
    fn spills_are_a_fault() {
        let told = kernels::tests::resources();
        let c = checked(kernels::tests::made(&[told]), false);
        let said = "not enough registers for 1 kernel, slow but not wrong:\n  \
                    gradients (11, 9, 7) spills 20 bytes a thread";
        assert_eq!(c.faults(), said);
        let told = Resources {
            spill_stores: 0,
            spill_loads: 0,
            ..kernels::tests::resources()
        };
        assert_eq!(checked(kernels::tests::made(&[told]), false).faults(), "");
    }

    #[test]
    fn what_is_not_known_and_what_did_not_run_is_said() {
        let text = checked(kernels::tests::made(&[]), true).text("m.nn", 80);
        let head = "model      m.nn, in batches of 8 images\n\
                    device     any, compute capability 12.1, 1 multiprocessor\n\n";
        let foot = "sanitizers no finding in steps of 8 and of 4 images, an evaluation of 4\n           \
                    not all updates ran: a loss was not finite\n\
                    ?          no NVRTC knows the device: its driver makes the machine code of PTX\n";
        assert!(text.starts_with(head) && text.ends_with(foot), "{text}");
        assert!(text.lines().all(|l| width::of(l) <= 80), "{text}");
    }
}
