//! A line of JSON for every step, every epoch, and the end of a run that ends within an epoch. A loss that is no finite
//! number is null: JSON has no other word for it.
//!
//! Lines are there for a reader at least once a second, however fast or slow steps are: a thread sees to it. A file that
//! cannot be written any more does not end the training, whose weights are worth more; it is reported at the end. A
//! reader that has gone away is no error.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use lenetc_runtime::files::{self, WriteError};
use serde_json::{Value, json};

use super::{Epoch, Summary};

/// How long a line waits at most, but for a disk that is slow.
const MOST_WAIT: Duration = Duration::from_millis(500);

/// Where metrics go. A copy writes to the same place.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    /// As the user gave it.
    path: PathBuf,
    out: Mutex<Out>,
}

type Lines = BufWriter<File>;

struct Out {
    lines: Lines,
    /// Why nothing is written any more.
    closed: Option<Closed>,
}

enum Closed {
    /// Nobody reads.
    Left,
    Failed {
        error: io::Error,
        told: bool,
    },
}

impl Metrics {
    /// Creates the file. Waits for the reader of a FIFO.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let out = files::open(path)?;
        let shared = Arc::new(Shared {
            path: path.into(),
            out: Mutex::new(Out {
                lines: BufWriter::new(out),
                closed: None,
            }),
        });
        let weak = Arc::downgrade(&shared);
        let flushing = std::thread::Builder::new().name("metrics".into());
        flushing
            .spawn(move || flush_regularly(&weak))
            .map_err(|e| shared.error(&e))?;
        Ok(Self(shared))
    }

    /// The loss of a batch before its update.
    pub fn step(&self, step: u64, epoch: u32, loss: f64) {
        self.line(&json!({"kind": "step", "step": step, "epoch": epoch, "loss": loss}));
    }

    /// What an epoch gave. It is written out at once.
    pub fn epoch(&self, e: &Epoch) {
        let line = json!({"kind": "epoch", "epoch": e.epoch});
        self.line(&with_figures(line, e, e.examples_per_sec));
        self.flush();
    }

    /// What a run gave that ends within an epoch, or whose loss is not finite: its losses are about the examples that it came to.
    pub fn end(&self, s: &Summary) {
        let line = json!({
            "kind": "end",
            "epoch": s.last.epoch,
            "steps": s.steps,
            "examples": s.covered,
            "of_examples": s.examples,
            "interrupted": s.interrupted,
        });
        self.line(&with_figures(line, &s.last, s.examples_per_sec));
        self.flush();
    }

    /// Writes out what is buffered.
    pub fn flush(&self) {
        self.0.lock().keep(|lines| lines.flush());
    }

    /// The same, unless a line is being written at this moment: for a handler of signals, which must not wait.
    pub fn flush_if_free(&self) {
        let out = match self.0.out.try_lock() {
            Ok(out) => Some(out),
            Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut out) = out {
            out.keep(|lines| lines.flush());
        }
    }

    /// What keeps lines from being written; the first time that it is asked for.
    pub fn news(&self) -> Option<WriteError> {
        match &mut self.0.lock().closed {
            Some(Closed::Failed { error, told }) if !*told => {
                *told = true;
                Some(self.0.error(error))
            }
            _ => None,
        }
    }

    /// Writes out what is buffered; fails where a line could not be written.
    pub fn finish(&self) -> Result<(), WriteError> {
        self.flush();
        match &self.0.lock().closed {
            Some(Closed::Failed { error, .. }) => Err(self.0.error(error)),
            _ => Ok(()),
        }
    }

    fn line(&self, v: &Value) {
        // In one piece, so that what is written out at any time ends with a line.
        let line = format!("{v}\n");
        self.0.lock().keep(|lines| lines.write_all(line.as_bytes()));
    }
}

/// Adds the figures that there are.
fn with_figures(mut line: Value, e: &Epoch, examples_per_sec: f64) -> Value {
    let figures = [
        ("train_loss", Some(e.train_loss)),
        ("train_acc", e.train_acc),
        ("test_loss", e.test_loss),
        ("test_acc", e.test_acc),
        ("examples_per_sec", Some(examples_per_sec)),
    ];
    for (key, value) in figures {
        if let Some(v) = value {
            line[key] = json!(v);
        }
    }
    line
}

/// Until the last copy of the metrics is gone.
fn flush_regularly(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        shared.lock().keep(|lines| lines.flush());
        drop(shared);
        std::thread::sleep(MOST_WAIT);
    }
}

impl Shared {
    /// A thread that died while it held the lock leaves lines that are as good as any.
    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, e: &io::Error) -> WriteError {
        WriteError {
            path: self.path.clone(),
            reason: files::reason(e),
        }
    }
}

impl Out {
    /// Writes; after an error nothing is written any more.
    fn keep(&mut self, write: impl FnOnce(&mut Lines) -> io::Result<()>) {
        if self.closed.is_some() {
            return;
        }
        self.closed = match write(&mut self.lines) {
            Ok(()) => None,
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Some(Closed::Left),
            Err(error) => Some(Closed::Failed { error, told: false }),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("m.jsonl");
        (dir, path)
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).expect("there");
        let line = |l: &str| serde_json::from_str(l).expect("JSON");
        text.lines().map(line).collect()
    }

    #[test]
    fn a_line_is_there_within_a_second_though_none_follows() {
        let (_dir, path) = file();
        let metrics = Metrics::create(&path).expect("writable");
        for step in 1..=3 {
            metrics.step(step, 1, 0.5);
            let start = Instant::now();
            while lines(&path).len() < step as usize {
                let waited = start.elapsed();
                assert!(waited < Duration::from_secs(5), "step {step} is not there");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(MOST_WAIT < Duration::from_secs(1));
    }

    #[test]
    fn an_epoch_and_an_end_are_there_at_once() {
        let (_dir, path) = file();
        let metrics = Metrics::create(&path).expect("writable");
        let epoch = Epoch {
            epoch: 1,
            train_loss: 0.5,
            test_acc: Some(0.25),
            ..Epoch::default()
        };
        metrics.epoch(&epoch);
        assert_eq!(lines(&path).last().expect("a line")["test_acc"], 0.25);
        metrics.end(&Summary {
            last: epoch,
            covered: 3,
            examples: 10,
            steps: 2,
            examples_per_sec: 8.0,
            interrupted: true,
        });
        let all = lines(&path);
        let end = all.last().expect("a line");
        let wanted = json!({
            "kind": "end", "epoch": 1, "steps": 2, "examples": 3, "of_examples": 10, "interrupted": true,
            "train_loss": 0.5, "test_acc": 0.25, "examples_per_sec": 8.0,
        });
        assert_eq!(*end, wanted);
        assert!(metrics.finish().is_ok() && metrics.news().is_none());
    }

    /// `/dev/full` has no room for anything; it is not ours to replace, and nothing here tries to.
    #[test]
    fn a_full_disk_is_told_once_and_is_an_error_at_the_end() {
        let metrics = Metrics::create(Path::new("/dev/full")).expect("it opens");
        metrics.step(1, 1, 0.5);
        assert!(metrics.news().is_none(), "it is not written yet");
        metrics.flush();
        let told = metrics.news().expect("it has failed").to_string();
        assert_eq!(told, "cannot write /dev/full: the disk is full");
        metrics.step(2, 1, 0.5);
        assert!(metrics.news().is_none(), "it is told once");
        let end = metrics.finish().expect_err("lines are lost");
        assert_eq!(end.to_string(), told);
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_error() {
        let (_dir, path) = file();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || drop(File::open(path).expect("readable"))
        });
        let metrics = Metrics::create(&path).expect("it has a reader");
        reader.join().expect("it ends");
        for step in 0..100_000 {
            metrics.step(step, 1, 0.5);
        }
        assert!(metrics.finish().is_ok() && metrics.news().is_none());
    }
}
