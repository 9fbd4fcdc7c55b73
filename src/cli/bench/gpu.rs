//! `lenetc bench --target cuda`: how many examples a second a GPU takes; of the GPU that is a program, what a step does.
//!
//! Does not measure single kernels: a step is one launch of a graph.

use std::collections::BTreeMap;
use std::time::Instant;

use lenetc::backend::Origin;
use lenetc::driver;
use lenetc::train::{Purpose, Session};
use lenetc_runtime::cuda::Choice;
use lenetc_runtime::exec::Mode;
use serde_json::json;

use super::super::args::BenchArgs;
use super::super::{Stop, counters, print, train, width};
use super::load::Watch;
use super::progress::Progress;
use super::setting::{Setting, Target, line};

/// Rates of a GPU. The first figure is from the source text to the loaded kernels, data and the driver's start included.
pub fn run(a: &BenchArgs) -> Result<u8, Stop> {
    let start = Instant::now();
    let mut session = train::session(&a.run, Purpose::Training, |_| ())?;
    let ready = start.elapsed().as_secs_f64() * 1e3;
    session.initialise()?;
    let device = session.gpu().map_or("", |e| &e.device().name).to_string();
    let target = Target::Cuda { device };
    let setting = Setting::new(&a.run, &session.data, &session.config, target);
    if a.run.device == Some(Choice::Software) {
        return counters::run(a, &mut session, &setting);
    }
    let progress = Progress::new(2);
    let watch = Watch::start();
    progress.begin(0, "training");
    let rate = session.rate(Mode::Train, a.seconds)?;
    progress.begin(1, "inference");
    let eval = session.rate(Mode::Eval, a.seconds)?;
    drop(progress);
    let load = watch.stop(rate.spread.max(eval.spread));
    let (train, eval) = (rate.per_sec, eval.per_sec);
    let text = if a.json {
        let mut line = json!({
            "ready_ms": ready,
            "train_examples_per_sec": train,
            "inference_images_per_sec": eval,
            "machine": load.json(),
        });
        setting.extend(&mut line);
        format!("{line}\n")
    } else {
        let page = if a.wide { usize::MAX } else { width::columns() };
        let figures = format!(
            "\n\
             ready      {ready:.1} ms, source to loaded kernels, data and driver included\n\
             train      {train:.0} examples/sec\n\
             inference  {eval:.0} images/sec\n"
        );
        setting.text(page) + &line("machine", &load.text(), page) + &figures
    };
    print(&text)?;
    Ok(0)
}

/// What each kernel of a step of training computes, by the kernel's name in the program.
pub fn origins(a: &BenchArgs, session: &Session) -> Result<BTreeMap<String, Origin>, Stop> {
    let mut origins = BTreeMap::<String, Origin>::new();
    let Some(engine) = session.gpu() else {
        return Ok(origins);
    };
    let model = driver::read(
        super::super::source(&a.run.model.file)?,
        &a.run.model.overrides(),
    )?;
    let built = model.build(session.data.train.bytes())?;
    let plan = driver::plan_cuda(
        model.differentiate(built.graphs),
        a.run.opt > 0,
        model.config.batch_size,
        engine.device().multiprocessors,
    );
    // A kernel that is launched twice has what either launch computes.
    for (launch, unit) in plan.program().train.iter().zip(&plan.train) {
        let origin = origins.entry(launch.kernel.clone()).or_default();
        origin.join(&unit.origin);
    }
    Ok(origins)
}
