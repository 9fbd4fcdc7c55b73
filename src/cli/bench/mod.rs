//! `lenetc bench`: compile time, examples a second, how long single calls take, and where the time of a step of
//! training goes: of each kernel its time, what it would take without fusion, and how near it comes to what the
//! machine allows.
//!
//! Knows what is measured and in which order; the parts below know how.

mod figures;
mod latency;
mod step;

use std::time::{Duration, Instant};

use lenetc::backend::cpu::{self, Isa, Plan};
use lenetc::diag;
use lenetc::driver::{self, Passes};
use lenetc::train::Session;
use lenetc_runtime::cuda::Choice;
use lenetc_runtime::exec::{Machine, Mode};
use serde_json::json;

use super::args::{BenchArgs, RunArgs, Target};
use super::train::Prepared;
use super::{Stop, print};
use figures::{Limits, Operators, Table};
use latency::{Batches, Latency};

/// Measures.
pub fn run(a: &BenchArgs) -> Result<u8, Stop> {
    let mut a = a.clone();
    a.seconds = a.seconds.clamp(0.01, 3600.0);
    match a.run.target {
        Target::Cpu => on_cpu(&a),
        Target::Cuda => on_gpu(&a),
    }
}

/// What was measured on the processor.
struct Report {
    compile: Duration,
    train: Latency,
    eval: Latency,
    table: Table,
    batch: usize,
    /// Images in a block, with fusion and without.
    blocks: [u32; 2],
}

fn on_cpu(a: &BenchArgs) -> Result<u8, Stop> {
    let r = measure(a)?;
    let text = if a.json { r.json(a)? } else { r.text(a)? };
    print(&text)?;
    Ok(0)
}

fn measure(a: &BenchArgs) -> Result<Report, Stop> {
    let isa = a.run.isa.isa()?;
    let compile = compile_time(&a.run, isa)?;
    let mut p = Prepared::new(&a.run, |_| ())?;
    let batch = (p.model.config.batch_size as usize).min(p.data.train.len());
    p.model.config.batch_size = batch as u32;
    let (plan, tuned) = p.plan(&a.run, Passes::from(a.run.opt > 0))?;
    super::train::note(tuned);
    let (apart, _) = p.plan(&a.run, Passes::Unfused)?;
    let learning_rate = p.model.config.learning_rate;
    let mut session = Session::new(&plan, p.data, p.model.config, a.run.threads())?;
    session.initialise(&p.built.parameters)?;
    let mut indices = lenetc_runtime::rng::permutation(1, 0, session.data.train.len() as u32);
    indices.truncate(indices.len() / batch * batch);
    let batches = Batches {
        indices: &indices,
        batch,
        learning_rate,
    };
    let calls = session.with(|m, x| {
        [Mode::Train, Mode::Eval].map(|mode| latency::measure(m, x, mode, batches, a.seconds))
    });
    let fuses = plan.operators.iter().any(|o| o.len() > 1);
    let mut unfused = fuses.then(|| machine(&apart)).transpose()?;
    let step = session.with_one_thread(|m, x| {
        if let Some(u) = &mut unfused {
            u.parameters_mut().copy_from_slice(m.parameters());
        }
        step::measure(m, unfused.as_mut(), x, batches, a.seconds)
    })?;
    let (Some([train, eval]), Some(step)) = (calls, step) else {
        return Err(Stop::Message("this session runs on a GPU".into()));
    };
    let limits = limits(isa, plan.arena_bytes)?;
    Ok(Report {
        compile,
        train,
        eval,
        table: Table::new(&step, batch, &operators(&plan), &operators(&apart), limits),
        batch,
        blocks: [plan.block, apart.block],
    })
}

/// A program on one thread.
fn machine(plan: &Plan) -> Result<Machine, Stop> {
    let program = plan.compile().map_err(failed)?;
    Ok(Machine::new(program, 1))
}

fn failed(e: impl ToString) -> Stop {
    Stop::Message(e.to_string())
}

/// Of each call of a step its operators.
fn operators(plan: &Plan) -> Operators {
    plan.step().map(|k| plan.operators[k].clone()).collect()
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
        let (compile, threads) = (self.compile.as_secs_f64() * 1e3, a.run.threads());
        let mut out = format!(
            "compile    {compile:.1} ms, source to runnable code\n\
             train      {:.0} examples/sec at batch {} on {}\n\
             inference  {:.0} images/sec\n\n",
            self.train.rate,
            self.batch,
            diag::count(threads as u64, "thread"),
            self.eval.rate
        );
        out += &latency::head();
        out += &self.train.line("a step of training");
        out += &self.eval.line("inference of a batch");
        out += "\n";
        out += &self.table.text(a.run.isa.isa()?.name());
        let [fused, apart] = self.blocks;
        if fused != apart {
            out += &format!("without fusion, blocks have {apart} images in the place of {fused}\n");
        }
        Ok(out)
    }

    fn json(&self, a: &BenchArgs) -> Result<String, Stop> {
        let mut line = json!({
            "compile_ms": self.compile.as_secs_f64() * 1e3,
            "train_examples_per_sec": self.train.rate,
            "inference_images_per_sec": self.eval.rate,
            "train_step_us": self.train.json(),
            "inference_us": self.eval.json(),
            "threads": a.run.threads(),
            "isa": a.run.isa.isa()?.name(),
            "batch": self.batch,
            "block": self.blocks[0],
            "unfused_block": self.blocks[1],
        });
        self.table.extend(&mut line);
        Ok(format!("{line}\n"))
    }
}

/// Rates of a GPU. The first figure is from the source text to the loaded kernels, data and the driver's start included.
fn on_gpu(a: &BenchArgs) -> Result<u8, Stop> {
    let start = Instant::now();
    let (mut session, built) = super::train::session(&a.run, |_| ())?;
    let ready = start.elapsed().as_secs_f64() * 1e3;
    session.initialise(&built.parameters)?;
    if a.run.device == Some(Choice::Software) {
        return super::counters::run(a, &mut session);
    }
    let train = session.rate(Mode::Train, a.seconds)?;
    let eval = session.rate(Mode::Eval, a.seconds)?;
    let batch = session.config.batch_size;
    let device = session.gpu().map_or("", |e| &e.device().name);
    let text = if a.json {
        let line = json!({
            "ready_ms": ready,
            "train_examples_per_sec": train,
            "inference_images_per_sec": eval,
            "device": device,
            "batch": batch,
        });
        format!("{line}\n")
    } else {
        format!(
            "ready      {ready:.1} ms, source to loaded kernels, data and driver included\n\
             train      {train:.0} examples/sec at batch {batch} on {device}\n\
             inference  {eval:.0} images/sec\n"
        )
    };
    print(&text)?;
    Ok(0)
}

/// From the source text to runnable code; the fastest of three, since the first also warms caches.
fn compile_time(a: &RunArgs, isa: Isa) -> Result<Duration, Stop> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let model = driver::read(super::source(&a.model.file)?, &a.model.overrides())?;
        let built = model.build(driver::holds_bytes(&model.config))?;
        let plan = driver::plan(
            model.differentiate(built.graph),
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
