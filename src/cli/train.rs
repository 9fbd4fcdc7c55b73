//! `lenetc train` and `lenetc eval`.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use lenetc::backend::cpu::tune::Tuned;
use lenetc::data::Search;
use lenetc::diag;
use lenetc::driver::Passes;
use lenetc::passes::config::Config;
use lenetc::train::{
    Doing, Epoch, Metrics, On, Options, Prepared, Purpose, RunError, Session, Setup, Summary,
    Watcher,
};
use lenetc_runtime::cuda::{Choice, Engine};
use lenetc_runtime::weights::Tensor;

use super::args::{EvalArgs, RunArgs, Target, TrainArgs};
use super::{Stop, outputs, print, print_beside, signals};

/// Tensors up to this size are printed whole.
const PRINTED_WHOLE: usize = 64;

/// A model and its data, before any code is made; what is odd about the data is said.
pub fn prepared(a: &RunArgs, adjust: impl FnOnce(&mut Config)) -> Result<Prepared, Stop> {
    if a.target == Target::Cpu && a.device.is_some() {
        return Err(Stop::Message(
            "--device chooses a GPU: add --target cuda".into(),
        ));
    }
    if a.target == Target::Cuda && a.tune {
        return Err(Stop::Message(
            "--tune chooses tiles for the processor: leave it out with --target cuda".into(),
        ));
    }
    let mut model = super::model(&a.model)?;
    adjust(&mut model.config);
    let prepared = Prepared::new(
        model,
        Search {
            folder: super::folder(&a.model.file),
            given: a.data.as_deref(),
        },
    )?;
    for warning in &prepared.data.warnings {
        anstream::eprintln!("warning: {warning}");
    }
    Ok(prepared)
}

/// How a session is made for a command.
fn setup(a: &RunArgs, purpose: Purpose) -> Result<Setup, Stop> {
    let on = match a.target {
        Target::Cpu => On::Processor {
            isa: a.isa.isa()?,
            threads: a.threads(),
            tune: a.tune,
        },
        Target::Cuda => On::Gpu(a.device.unwrap_or(Choice::Number(0))),
    };
    let passes = Passes::from(a.opt > 0);
    Ok(Setup {
        on,
        passes,
        purpose,
    })
}

/// A session for the model.
pub fn session(
    a: &RunArgs,
    purpose: Purpose,
    adjust: impl FnOnce(&mut Config),
) -> Result<Session, Stop> {
    let prepared = prepared(a, adjust)?;
    let session = prepared.session(&setup(a, purpose)?)?;
    note(session.tuned.as_ref());
    for warning in session.gpu().map_or(&[][..], Engine::warnings) {
        anstream::eprintln!("warning: {warning}");
    }
    if let Some(log) = session.gpu().map(Engine::log).filter(|l| !l.is_empty()) {
        anstream::eprintln!("note: NVRTC says: {log}");
    }
    Ok(session)
}

/// Says what tuning did.
pub fn note(tuned: Option<&Tuned>) {
    if let Some(tuned) = tuned {
        anstream::eprintln!("note: tuning: {tuned}");
    }
}

fn notes(notes: &[String]) {
    for note in notes {
        anstream::eprintln!("note: {note}");
    }
}

/// Trains.
pub fn run(a: &TrainArgs) -> Result<u8, Stop> {
    let mut session = session(&a.run, Purpose::Training, |c| {
        c.epochs = a.epochs.unwrap_or(c.epochs);
        c.seed = a.seed.unwrap_or(c.seed);
        c.shuffle &= !a.no_shuffle;
    })?;
    session.trainable()?;
    outputs::check(a, &session.data.files)?;
    if !a.quiet {
        notes(&session.data.notes);
    }
    session.initialise()?;
    if let Some(path) = &a.weights {
        notes(&session.load_weights(path)?);
    }
    let mut screen = Screen::new(a.quiet, outputs::take_stdout(a));
    // A FIFO without a reader holds the run up here, where a signal ends it.
    let metrics = a.metrics.as_deref().map(Metrics::create).transpose();
    let options = Options {
        steps: a.steps,
        save: a.save.clone(),
        metrics: metrics.map_err(RunError::from)?,
    };
    signals::catch(signals::Run {
        save: options.save.clone(),
        tested: session.data.test.is_some(),
        metrics: options.metrics.clone(),
        bar: screen.bar.clone(),
    })?;
    let result = session.train(&options, signals::stop(), &mut screen);
    screen.bar.finish_and_clear();
    let (summary, errors) = match result {
        Ok(summary) => (Some(summary), vec![]),
        Err(failed) => (failed.summary, failed.errors),
    };
    let mut stops: Vec<Stop> = errors.into_iter().map(Stop::from).collect();
    if let Some(summary) = &summary {
        stops.extend(close(&session, summary, a.run.threads(), screen.print).err());
    }
    let Some(last) = stops.pop() else {
        let interrupted = summary.is_some_and(|s| s.interrupted);
        return Ok(if interrupted { signals::code() } else { 0 });
    };
    stops.iter().for_each(super::report);
    Err(last)
}

/// Prints what a run came to.
fn close(
    session: &Session,
    summary: &Summary,
    threads: usize,
    print: fn(&str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if session.config.print_parameters {
        print(&parameters(&session.tensors()?))?;
    }
    let (place, data) = (place(session, threads), session.data.source.closing());
    print(&closing(summary, &format!("{place}, {data}")))
}

/// Evaluates.
pub fn eval(a: &EvalArgs) -> Result<u8, Stop> {
    let mut session = session(&a.run, Purpose::Evaluation, |_| ())?;
    match &a.weights {
        Some(path) => notes(&session.load_weights(path)?),
        None if !session.has_parameters() => {}
        None => {
            let file = a.run.model.file.display();
            let message = format!("{file} has parameters: name their file with --weights");
            return Err(Stop::Message(message));
        }
    }
    let set = if session.data.test.is_some() {
        "test"
    } else {
        "train"
    };
    let (loss, acc) = session.evaluate()?;
    let acc = acc.map_or(String::new(), |a| format!(", {set} acc {a:.3}"));
    let on = session.data.source.evaluated();
    let loss = digits(loss, 3);
    print(&format!("{set} loss {loss}{acc} ({on})\n"))?;
    Ok(0)
}

/// What a session runs on, as the last line has it.
fn place(s: &Session, threads: usize) -> String {
    match s.gpu() {
        Some(engine) => format!("cuda ({})", engine.device().name),
        None => {
            format!(
                "cpu ({}, {})",
                diag::count(threads as u64, "thread"),
                s.isa()
            )
        }
    }
}

/// A loss with so many decimal places, and with more of them where it is so small that these would leave few digits.
fn digits(loss: f64, places: usize) -> String {
    match loss {
        x if x > 0.0 && x < 1e-4 => format!("{loss:.5e}"),
        x if x > 0.0 && x < 1e-3 => format!("{loss:.6}"),
        _ => format!("{loss:.places$}"),
    }
}

/// The last two lines.
fn closing(s: &Summary, place: &str) -> String {
    if s.steps == 0 {
        return "stopped before the first step\n".into();
    }
    let e = &s.last;
    let mut line = format!("loss {}", digits(e.train_loss, 3));
    for (name, value) in [("train acc", e.train_acc), ("test acc", e.test_acc)] {
        if let Some(v) = value {
            line.push_str(&format!(", {name} {v:.3}"));
        }
    }
    if s.covered < s.examples {
        line.push_str(&format!(
            " (after {}: {} of the {} examples of epoch {})",
            diag::count(s.steps, "step"),
            s.covered,
            s.examples,
            e.epoch
        ));
    }
    format!(
        "{line}\n{:.1} examples/sec on {place}\n",
        s.examples_per_sec
    )
}

fn parameters(tensors: &[Tensor]) -> String {
    let mut out = String::new();
    for t in tensors {
        let dims: Vec<String> = t.shape.iter().map(usize::to_string).collect();
        let values = if t.data.len() <= PRINTED_WHOLE {
            let list: Vec<String> = t.data.iter().map(|x| format!("{x:.5}")).collect();
            format!("({})", list.join(", "))
        } else {
            let n = t.data.len() as f64;
            let mean = t.data.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let var = t
                .data
                .iter()
                .map(|&x| (f64::from(x) - mean).powi(2))
                .sum::<f64>()
                / n;
            format!("mean {mean:.5}, standard deviation {:.5}", var.sqrt())
        };
        out.push_str(&format!("{} [{}] = {values}\n", t.name, dims.join(", ")));
    }
    out
}

struct Screen {
    bar: ProgressBar,
    quiet: bool,
    /// Where lines for people go.
    print: fn(&str) -> Result<(), Stop>,
}

impl Screen {
    /// `beside` has lines go to stderr, where stdout is taken.
    fn new(quiet: bool, beside: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(1)
        };
        let style = "epoch {prefix} {wide_bar} {pos}/{len}  loss {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
        let print = if beside { print_beside } else { print };
        Self { bar, quiet, print }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            // A closed stdout is noticed when the closing lines are printed.
            self.bar.suspend(|| (self.print)(text).ok());
        }
    }
}

impl Watcher for Screen {
    fn doing(&mut self, what: Doing) {
        signals::doing(what);
    }

    fn warning(&mut self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("warning: {text}"));
    }

    fn progress(&mut self, epoch: u32, done: usize, all: usize, loss: f64) {
        if !self.bar.is_hidden() {
            self.bar.set_length(all as u64);
            self.bar.set_prefix(epoch.to_string());
            self.bar.set_message(format!("{loss:.3}"));
            self.bar.set_position(done as u64);
        }
    }

    fn step(&mut self, step: u64, loss: f64) {
        self.line(&format!("step {step}: loss {}\n", digits(loss, 6)));
    }

    fn epoch(&mut self, e: &Epoch, of: u32) {
        let loss = digits(e.train_loss, 3);
        let mut line = format!("epoch {:>2}/{of}: loss {loss}", e.epoch);
        for (name, value) in [
            ("train acc", e.train_acc.map(|a| format!("{a:.3}"))),
            ("test loss", e.test_loss.map(|l| digits(l, 3))),
            ("test acc", e.test_acc.map(|a| format!("{a:.3}"))),
        ] {
            if let Some(v) = value {
                line.push_str(&format!(", {name} {v}"));
            }
        }
        line.push_str(&format!("  ({:.1} s)\n", e.seconds));
        self.line(&line);
    }
}
