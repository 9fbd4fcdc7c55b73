//! The commands of `lenetc`: results go to stdout, messages and the progress bar to stderr.

mod args;
mod bench;
mod check;
mod counters;
mod devices;
mod emit;
mod layers;
mod mistakes;
mod outputs;
mod show;
mod signals;
mod train;
mod width;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use lenetc::data::Search;
use lenetc::diag::{self, Diagnostic, Source};
use lenetc::driver::{self, Failure, Model};
use lenetc::syntax;
use lenetc::train::{Refused, RunError};
use lenetc_runtime::cuda::{self, Compiling};
use lenetc_runtime::files;
use serde_json::Value;

use args::{Command, ModelArgs};

/// An error in the input or in the run.
const FAILED: u8 = 1;

/// What ends a command: messages about the source, or a sentence.
pub enum Stop {
    Source(Box<Failure>),
    Message(String),
}

impl From<Box<Failure>> for Stop {
    fn from(f: Box<Failure>) -> Self {
        Stop::Source(f)
    }
}

impl From<RunError> for Stop {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Cuda(e) => Stop::Message(format!("{e}{}", findings())),
            e => Stop::Message(e.to_string()),
        }
    }
}

/// What the software GPU found in kernels, a line for each; nothing on any other device.
fn findings() -> String {
    let report = lenetc_runtime::cuda::software_report();
    let report = report.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let list = report.as_ref().and_then(|r| r["findings"].as_array());
    let line = |f: &Value| {
        let text = |key: &str| f[key].as_str().unwrap_or("").to_string();
        format!(
            "\nthe software GPU found: {} in {}, block {}, thread {}, line {} of the PTX, `{}`: {}",
            text("kind"),
            text("kernel"),
            f["block"],
            f["thread"],
            f["line"],
            text("text"),
            text("detail")
        )
    };
    list.into_iter().flatten().map(line).collect()
}

impl From<Refused> for Stop {
    fn from(e: Refused) -> Self {
        match e {
            Refused::Source(failure) => failure.into(),
            Refused::Run(e) => e.into(),
            failed @ Refused::Failed(_) => Stop::Message(failed.to_string()),
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(e: std::io::Error) -> Self {
        Stop::Message(e.to_string())
    }
}

/// Runs the command line; the code that the program exits with.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let cli = match mistakes::parse(args) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    if !matches!(&cli.command, Command::Train(a) if a.quiet) {
        cuda::on_slow_compilation(compiling);
    }
    let result = match &cli.command {
        Command::Train(a) => train::run(a),
        Command::Eval(a) => train::eval(a),
        Command::Check(a) => check::run(a),
        Command::Fmt { files, check } => show::fmt(files, *check),
        Command::Emit(a) => emit::run(a),
        Command::Devices => devices::run(),
        Command::Bench(a) => bench::run(a),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            report(&stop);
            ExitCode::from(FAILED)
        }
    }
}

/// A word to whoever waits for kernels.
fn compiling(what: &Compiling) {
    let kernels = diag::count(what.kernels as u64, "kernel");
    // Where stderr is closed there is nobody to tell.
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "note: compiling {kernels} for {} …", what.target);
}

fn report(stop: &Stop) {
    let mut err = anstream::stderr().lock();
    let text = match stop {
        Stop::Source(f) => diag::render(&f.diagnostics, &f.source, true),
        Stop::Message(m) => format!("error: {m}\n"),
    };
    // Where stderr is closed there is nobody left to tell.
    let _ = write!(err, "{text}");
}

/// Prints to stdout. A reader that has gone away is no error.
pub fn print(text: &str) -> Result<(), Stop> {
    print_to(&mut anstream::stdout().lock(), text)
}

/// Prints results to stderr, where stdout is taken by an output of another kind.
fn print_beside(text: &str) -> Result<(), Stop> {
    print_to(&mut anstream::stderr().lock(), text)
}

fn print_to(out: &mut dyn Write, text: &str) -> Result<(), Stop> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// The text of a model file.
pub fn source(path: &Path) -> Result<Source, Stop> {
    let cannot = |e: std::io::Error| {
        let near = mistakes::near_file(path, &e);
        let reason = files::reason(&e);
        Stop::Message(format!("cannot read {}: {reason}{near}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.is_dir() {
        return Err(Stop::Message(format!(
            "{} is a folder, not a model",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    // One byte beyond the limit shows that there are too many.
    let mut limited = std::io::Read::take(file, syntax::MAX_BYTES as u64 + 1);
    std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(cannot)?;
    syntax::check_bytes(&path.display().to_string(), bytes).map_err(|e| {
        let (source, diagnostic) = *e;
        Stop::Source(Box::new(Failure {
            source,
            diagnostics: vec![diagnostic],
        }))
    })
}

/// Reads a model, and looks at its data where that is there.
fn read(source: Source, a: &ModelArgs) -> Result<Model, Box<Failure>> {
    let mut model = driver::read(source, &a.overrides())?;
    model.look(Search {
        folder: folder(&a.file),
        given: None,
    });
    Ok(model)
}

/// The folder of a file.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// Reads a model, with warnings shown.
pub fn model(a: &ModelArgs) -> Result<Model, Stop> {
    let model = read(source(&a.file)?, a)?;
    warn(&model.warnings, &model.source);
    Ok(model)
}

fn warn(diagnostics: &[Diagnostic], source: &Source) {
    if !diagnostics.is_empty() {
        let _ = write!(
            anstream::stderr(),
            "{}",
            diag::render(diagnostics, source, true)
        );
    }
}
