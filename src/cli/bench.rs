//! `lenetc bench`: compile time, examples a second, and of each kernel its time, its speed and how much of the
//! machine's measured peak that is.

use std::time::{Duration, Instant};

use lenetc_runtime::cuda::Choice;
use lenetc_runtime::exec::{Examples, Machine, Mode, Timing};
use serde_json::json;

use super::args::{BenchArgs, Target};
use super::{Stop, print};

/// Measures; rates are medians over runs of about a tenth of the time each.
pub fn run(a: &BenchArgs) -> Result<u8, Stop> {
    if a.run.target == Target::Cuda {
        return on_gpu(a);
    }
    let compile = compile_time(a)?;
    let (mut session, built) = super::train::session(&a.run, |_| ())?;
    session.initialise(&built.parameters)?;
    let batch = session.config.batch_size as usize;
    let lr = session.config.learning_rate;
    let seconds = a.seconds.clamp(0.01, 3600.0);
    let measured = session.with(|machine, examples| {
        let mut indices: Vec<u32> = lenetc_runtime::rng::permutation(1, 0, examples.len as u32);
        indices.truncate(indices.len() / batch.min(indices.len()) * batch.min(indices.len()));
        let train = rate(machine, examples, &indices, batch, Mode::Train, lr, seconds);
        let eval = rate(machine, examples, &indices, batch, Mode::Eval, lr, seconds);
        let mut timings: Vec<Timing> = Vec::new();
        let start = Instant::now();
        let mut images = 0;
        while start.elapsed().as_secs_f64() < seconds.min(2.0) {
            machine.profile(examples, &indices[..batch.min(indices.len())], &mut timings);
            images += batch.min(indices.len());
        }
        (train, eval, timings, images)
    });
    let Some((train, eval, timings, images)) = measured else {
        return Err(Stop::Message("this session runs on a GPU".into()));
    };
    let peak = lenetc::backend::cpu::peak(a.run.isa.isa()?)
        .map_err(|e| Stop::Message(e.to_string()))?
        / 1e9;
    let kernels: Vec<Figure> = timings.iter().map(|t| Figure::new(t, images)).collect();
    if a.json {
        let kernels: Vec<_> = kernels.iter().map(|k| k.json(peak)).collect();
        let line = json!({
            "compile_ms": compile.as_secs_f64() * 1e3,
            "train_examples_per_sec": train,
            "inference_images_per_sec": eval,
            "threads": a.run.threads(),
            "isa": a.run.isa.isa()?.name(),
            "batch": batch,
            "peak_gflops": peak,
            "kernels": kernels,
        });
        print(&format!("{line}\n"))?;
        return Ok(0);
    }
    let mut out = format!(
        "compile    {:.1} ms, source to runnable code\ntrain      {train:.0} examples/sec at batch {batch} on {} threads\ninference  {eval:.0} images/sec\n\n",
        compile.as_secs_f64() * 1e3,
        a.run.threads()
    );
    out.push_str(&format!(
        "{:<36} {:>9} {:>9} {:>9}\n",
        "kernel, one thread", "µs/image", "GFLOP/s", "% of peak"
    ));
    for k in kernels.iter().chain([&Figure::total(&kernels)]) {
        out.push_str(&k.line(peak));
    }
    out.push_str(&format!(
        "\npeak       {peak:.1} GFLOP/s, multiply-adds alone on one thread, {}\n",
        a.run.isa.isa()?
    ));
    print(&out)?;
    Ok(0)
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
    let seconds = a.seconds.clamp(0.01, 3600.0);
    let train = session.rate(Mode::Train, seconds)?;
    let eval = session.rate(Mode::Eval, seconds)?;
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

/// What a kernel takes for one image.
struct Figure {
    name: String,
    micros: f64,
    macs: u64,
}

impl Figure {
    fn new(t: &Timing, images: usize) -> Self {
        Self {
            name: t.name.clone(),
            micros: t.time.as_secs_f64() * 1e6 / images as f64,
            macs: t.macs,
        }
    }

    fn total(all: &[Self]) -> Self {
        Self {
            name: "total".into(),
            micros: all.iter().map(|k| k.micros).sum(),
            macs: all.iter().map(|k| k.macs).sum(),
        }
    }

    /// GFLOP/s; `None` where nothing is contracted.
    fn speed(&self) -> Option<f64> {
        (self.macs > 0).then(|| 2e-3 * self.macs as f64 / self.micros)
    }

    fn line(&self, peak: f64) -> String {
        let head = format!("{:<36} {:>9.3}", self.name, self.micros);
        match self.speed() {
            Some(s) => format!("{head} {s:>9.1} {:>9.0}\n", 100.0 * s / peak),
            None => head + "\n",
        }
    }

    fn json(&self, peak: f64) -> serde_json::Value {
        let share = self.speed().map(|s| s / peak);
        json!({
            "name": self.name,
            "us_per_image": self.micros,
            "gflops": self.speed(),
            "share_of_peak": share,
        })
    }
}

/// From the source text to runnable code; the fastest of three, since the first also warms caches.
fn compile_time(a: &BenchArgs) -> Result<Duration, Stop> {
    let isa = a.run.isa.isa()?;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let model = super::model(&a.run.model)?;
        let built = model.build(true)?;
        let plan = lenetc::driver::plan(
            model.differentiate(built.graph),
            a.run.opt > 0,
            model.config.batch_size,
            isa,
        );
        let program = plan.compile().map_err(|e| Stop::Message(e.to_string()))?;
        best = best.min(start.elapsed());
        drop(program);
    }
    Ok(best)
}

fn rate(
    m: &mut Machine,
    x: Examples,
    indices: &[u32],
    batch: usize,
    mode: Mode,
    lr: f32,
    seconds: f64,
) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        let mut done = 0;
        'time: loop {
            for b in indices.chunks(batch) {
                m.run(mode, x, b, lr);
                done += b.len();
                if start.elapsed().as_secs_f64() > seconds / 10.0 {
                    break 'time;
                }
            }
        }
        rates.push(done as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
