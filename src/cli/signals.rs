//! What Ctrl-C does to a run, and the signals that mean the same: the first ends it in good order and says what is left
//! to do, the second ends it at once. Lines of metrics are kept by both.
//!
//! The thread that waits for signals waits for nothing else: where a terminal or a pipe takes no output, a second
//! signal still ends the program.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use lenetc::train::{Doing, Metrics};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Stop;

/// Set by the first signal.
static STOP: AtomicBool = AtomicBool::new(false);
/// The code to exit with after a signal: 128 and its number, as shells have it.
static CODE: AtomicU8 = AtomicU8::new(0);
/// What the run does at the moment.
static DOING: Mutex<Doing> = Mutex::new(Doing::Steps);

/// How long the last message may take before it is given up.
const PATIENCE: Duration = Duration::from_millis(300);
/// A signal that comes so soon after the first is that once more: `timeout` sends its signal to the process and
/// then to the process group.
const ECHO: Duration = Duration::from_millis(50);

/// A run, as far as its interruption is concerned.
pub struct Run {
    /// Where the weights go.
    pub save: Option<PathBuf>,
    /// Whether it ends with a test pass.
    pub tested: bool,
    pub metrics: Option<Metrics>,
    /// What must not be drawn over a message.
    pub bar: ProgressBar,
}

/// What the first signal sets.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// What a stopped run exits with.
pub fn code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Keeps what the run does, for the message.
pub fn doing(what: Doing) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// From here on signals end the run as described above.
pub fn catch(run: Run) -> Result<(), Stop> {
    let cannot = |e: std::io::Error| Stop::Message(format!("cannot catch signals: {e}"));
    // Under nohup the end of the terminal is not the end of the run.
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let caught = [SIGINT, SIGTERM].into_iter().chain(hangup);
    let mut signals = Signals::new(caught).map_err(cannot)?;
    let waiting = std::thread::Builder::new().name("signals".into());
    let waits = move || {
        let run: &'static Run = Box::leak(Box::new(run));
        let mut all = signals.forever();
        let Some(signal) = all.by_ref().next() else {
            return;
        };
        let came = Instant::now();
        first(run, signal);
        let mut others = all.skip_while(|_| came.elapsed() < ECHO);
        others
            .by_ref()
            .take(1)
            .for_each(|signal| second(run, signal));
    };
    waiting.spawn(waits).map(drop).map_err(cannot)
}

fn what_is_done() -> Doing {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first(run: &'static Run, signal: i32) {
    CODE.store(128 + signal as u8, Ordering::Relaxed);
    STOP.store(true, Ordering::Relaxed);
    let again = if signal == SIGINT { "Ctrl-C" } else { "signal" };
    let rest = run.rest(what_is_done());
    let text = format!("{rest}; a second {again} quits");
    // Nobody waits for the message: the next signal is to be noticed when it comes.
    apart(move || say(run, &text));
}

fn second(run: &'static Run, signal: i32) {
    within_patience(|| {
        if let Some(metrics) = &run.metrics {
            metrics.flush_if_free();
        }
        say(run, &run.quit(what_is_done()));
    });
    std::process::exit(128 + signal);
}

/// Does something that may be held up, and waits for it only so long.
fn within_patience(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    apart(move || {
        work();
        // Nobody may be waiting any more.
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(PATIENCE);
}

/// Does something in a thread of its own; without one it is left undone.
fn apart(work: impl FnOnce() + Send + 'static) {
    let _ = std::thread::Builder::new().spawn(work);
}

fn say(run: &Run, text: &str) {
    // A terminal shows ^C where the cursor stands. The bar cannot be asked while it is suspended.
    let start = if run.bar.is_hidden() { "" } else { "\r" };
    run.bar.suspend(|| {
        // Where stderr is closed there is nobody to tell.
        let _ = writeln!(anstream::stderr(), "{start}note: {text}");
    });
}

impl Run {
    /// What is left to do when the first signal comes.
    fn rest(&self, doing: Doing) -> String {
        let save = self
            .save
            .as_ref()
            .map(|p| format!("saving to {}", p.display()));
        let test = self.tested.then(|| "testing".to_string());
        let steps: Vec<String> = match doing {
            Doing::Steps => {
                let step = Some("finishing this step".to_string());
                step.into_iter().chain(save).chain(test).collect()
            }
            Doing::Test | Doing::Save => save.into_iter().chain(test).collect(),
            Doing::LastTest { .. } => test
                .map(|_| "finishing the test pass".into())
                .into_iter()
                .collect(),
        };
        match steps.is_empty() {
            true => "closing".into(),
            false => steps.join(", "),
        }
    }

    /// What a run leaves that is quit at once.
    fn quit(&self, doing: Doing) -> String {
        let Some(path) = &self.save else {
            return "quit".into();
        };
        let path = path.display();
        match doing {
            Doing::Steps | Doing::Test => format!("quit; nothing is saved to {path}"),
            Doing::Save => format!("quit while saving to {path}: it is as it was, or complete"),
            Doing::LastTest { saved: true } => format!("quit; the weights are in {path}"),
            Doing::LastTest { saved: false } => format!("quit; saving to {path} has failed"),
        }
    }
}

/// Whether whoever started the program had it ignore a signal.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok());
    mask.is_some_and(|m| m >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(save: Option<&str>, tested: bool) -> Run {
        Run {
            save: save.map(PathBuf::from),
            tested,
            metrics: None,
            bar: ProgressBar::hidden(),
        }
    }

    #[test]
    fn what_is_left_to_do_is_said_in_its_order() {
        let whole = run(Some("w.st"), true);
        let saving = "saving to w.st, testing";
        assert_eq!(
            whole.rest(Doing::Steps),
            format!("finishing this step, {saving}")
        );
        assert_eq!(whole.rest(Doing::Test), saving);
        assert_eq!(whole.rest(Doing::Save), saving);
        assert_eq!(
            whole.rest(Doing::LastTest { saved: true }),
            "finishing the test pass"
        );
        let bare = run(None, false);
        assert_eq!(bare.rest(Doing::Steps), "finishing this step");
        assert_eq!(bare.rest(Doing::LastTest { saved: false }), "closing");
        assert_eq!(run(None, true).rest(Doing::Test), "testing");
    }

    #[test]
    fn what_is_kept_is_said() {
        let whole = run(Some("w.st"), true);
        assert_eq!(whole.quit(Doing::Steps), "quit; nothing is saved to w.st");
        assert!(whole.quit(Doing::Save).contains("as it was, or complete"));
        let last = |saved| whole.quit(Doing::LastTest { saved });
        assert_eq!(last(true), "quit; the weights are in w.st");
        assert_eq!(last(false), "quit; saving to w.st has failed");
        assert_eq!(run(None, true).quit(Doing::Steps), "quit");
    }
}
