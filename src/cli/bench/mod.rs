//! `lenetc bench`: compile time, examples a second, how long single calls take, and where the time of a step of
//! training goes: of each kernel its time, what it would take without fusion, and how near it comes to what the
//! machine allows.
//!
//! Knows what is measured and in which order; the parts below know how.

mod figures;
mod gpu;
mod latency;
mod load;
mod progress;
mod setting;
mod step;

use std::time::{Duration, Instant};

use lenetc::backend::cpu::{self, Isa, Plan};
use lenetc::diag;
use lenetc::driver::{self, Passes};
use lenetc::train::{Numbers, Prepared, Session};
use lenetc_runtime::cuda::Choice;
use lenetc_runtime::exec::{Machine, Mode};
use serde_json::json;

use super::args::{self, BenchArgs, RunArgs};
use super::{Stop, counters, print, width};
use figures::{Limits, Table, contents};
use latency::{Batches, Latency};
use load::{Load, Watch};
use setting::Target;

// What the counters of the software GPU, and a check of kernels, are shown with.
pub use figures::{label, layers};
pub use gpu::origins;
pub use progress::Progress;
pub use setting::{Setting, line};

/// Measures.
pub fn run(a: &BenchArgs) -> Result<u8, Stop> {
    let mut a = a.clone();
    a.seconds = a.seconds.clamp(0.01, 3600.0);
    if a.estimate.is_some() && a.run.device != Some(Choice::Software) {
        return Err(Stop::Message(
            "--estimate is of the software GPU: add --target cuda --device software".into(),
        ));
    }
    match a.run.target {
        args::Target::Cpu => on_cpu(&a),
        args::Target::Cuda => {
            counters::choose_card(&a)?;
            gpu::run(&a)
        }
    }
}

/// What was measured on the processor.
struct Report {
    setting: Setting,
    load: Load,
    compile: Duration,
    train: Latency,
    eval: Latency,
    table: Table,
    /// Images in a block, with fusion and without.
    blocks: [u32; 2],
}

/// What is measured on the processor, in this order.
const THINGS: [&str; 5] = [
    "compiling",
    "training",
    "inference",
    "the parts of a step",
    "the machine's limits",
];

fn on_cpu(a: &BenchArgs) -> Result<u8, Stop> {
    let r = measure(a)?;
    let text = if a.json { r.json() } else { r.text(a)? };
    print(&text)?;
    Ok(0)
}

fn measure(a: &BenchArgs) -> Result<Report, Stop> {
    let isa = a.run.isa.isa()?;
    let mut p = super::train::prepared(&a.run, |_| ())?;
    let progress = Progress::new(THINGS.len() as u64);
    let begin = |thing: usize| progress.begin(thing as u64, THINGS[thing]);
    begin(0);
    let compile = compile_time(&a.run, p.model.bytes, isa)?;
    let batch = (p.model.config.batch_size as usize).min(p.data.train.len());
    p.model.config.batch_size = batch as u32;
    let (plan, tuned) = p.plan(Passes::from(a.run.opt > 0), isa, a.run.tune);
    progress.say(|| super::train::note(tuned.as_ref()));
    let (apart, _) = p.plan(Passes::Unfused, isa, a.run.tune);
    let setting = setting(a, &p, &plan);
    let mut session = Session::new(&plan, p.data, p.model.config, a.run.threads())?;
    session.initialise()?;
    let indices = lenetc::train::whole_batches(session.data.train.len(), &session.config);
    let numbers = Numbers::first(&session.config);
    let batches = Batches {
        indices: &indices,
        batch,
        numbers: &numbers,
    };
    let watch = Watch::start();
    let calls = session.with(|m, x| {
        [(1, Mode::Train), (2, Mode::Eval)].map(|(thing, mode)| {
            begin(thing);
            latency::measure(m, x, mode, batches, a.seconds, &progress)
        })
    });
    let fuses = plan.steps.iter().any(|step| step.nodes.len() > 1);
    let mut unfused = fuses.then(|| machine(&apart)).transpose()?;
    begin(3);
    let step = session.with_one_thread(|m, x| {
        if let Some(u) = &mut unfused {
            u.parameters_mut().copy_from_slice(m.parameters());
        }
        let shown = |share| progress.set(3, share);
        step::measure(m, unfused.as_mut(), x, batches, a.seconds, shown)
    })?;
    let (Some([train, eval]), Some(step)) = (calls, step) else {
        return Err(Stop::Message("this session runs on a GPU".into()));
    };
    let spreads = [train.rate.spread, eval.rate.spread, step.spread];
    let load = watch.stop(spreads.into_iter().fold(0.0, f64::max));
    begin(4);
    let limits = limits(isa, plan.arena_bytes)?;
    Ok(Report {
        setting,
        load,
        compile,
        train,
        eval,
        table: Table::new(&step, batch, &contents(&plan), &contents(&apart), limits),
        blocks: [plan.block, apart.block],
    })
}

fn setting(a: &BenchArgs, p: &Prepared, plan: &Plan) -> Setting {
    let target = Target::Cpu {
        threads: a.run.threads(),
        isa: plan.isa.name(),
        block: plan.block,
    };
    Setting::new(&a.run, &p.data, &p.model.config, target)
}

/// A program on one thread.
fn machine(plan: &Plan) -> Result<Machine, Stop> {
    let program = plan.compile().map_err(failed)?;
    Ok(Machine::new(program, 1))
}

fn failed(e: impl ToString) -> Stop {
    Stop::Message(e.to_string())
}

fn limits(isa: Isa, set_bytes: u64) -> Result<Limits, Stop> {
    Ok(Limits {
        gflops: cpu::peak(isa).map_err(failed)? / 1e9,
        gbytes: cpu::bandwidth(isa, set_bytes).map_err(failed)? / 1e9,
        set_bytes,
    })
}

impl Report {
    fn text(&self, a: &BenchArgs) -> Result<String, Stop> {
        let columns = (!a.wide).then(width::columns);
        let page = columns.unwrap_or(usize::MAX);
        let compile = self.compile.as_secs_f64() * 1e3;
        let mut out = self.setting.text(page) + &line("machine", &self.load.text(), page);
        out += &format!(
            "\n\
             compile    {compile:.1} ms, source to runnable code\n\
             train      {:.0} examples/sec\n\
             inference  {:.0} images/sec\n\n",
            self.train.rate.per_sec, self.eval.rate.per_sec
        );
        out += &latency::head();
        out += &self.train.line("a step of training");
        out += &self.eval.line("inference of a batch");
        out += "\n";
        out += &self.table.text(a.run.isa.isa()?.name(), columns);
        let [fused, apart] = self.blocks;
        if fused != apart {
            let images = diag::count(u64::from(apart), "image");
            out += &format!("without fusion, blocks have {images} in the place of {fused}\n");
        }
        Ok(out)
    }

    fn json(&self) -> String {
        let mut line = json!({
            "compile_ms": self.compile.as_secs_f64() * 1e3,
            "train_examples_per_sec": self.train.rate.per_sec,
            "inference_images_per_sec": self.eval.rate.per_sec,
            "train_step_us": self.train.json(),
            "inference_us": self.eval.json(),
            "unfused_block": self.blocks[1],
            "machine": self.load.json(),
        });
        self.setting.extend(&mut line);
        self.table.extend(&mut line);
        format!("{line}\n")
    }
}

/// From the source text to runnable code, of inputs that are bytes or not; the fastest of three, since the first also warms caches.
fn compile_time(a: &RunArgs, bytes: bool, isa: Isa) -> Result<Duration, Stop> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let model = driver::read(super::source(&a.model.file)?, &a.model.overrides())?;
        let built = model.build(bytes)?;
        let plan = driver::plan(
            model.differentiate(built.graphs),
            a.opt > 0,
            model.config.batch_size,
            isa,
        );
        let program = plan.compile().map_err(failed)?;
        best = best.min(start.elapsed());
        drop(program);
    }
    Ok(best)
}
