//! A line of JSON for every step and every epoch.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Epoch, RunError};

/// The file of metrics, or none.
pub struct Metrics {
    out: Option<(PathBuf, BufWriter<File>)>,
}

impl Metrics {
    /// Creates the file.
    pub fn create(path: Option<&Path>) -> Result<Self, RunError> {
        let out = match path {
            Some(p) => Some((
                p.to_owned(),
                BufWriter::new(File::create(p).map_err(|e| failed(p, &e))?),
            )),
            None => None,
        };
        Ok(Self { out })
    }

    /// The loss of a batch before its update.
    pub fn step(&mut self, step: u64, epoch: u32, loss: f64) -> Result<(), RunError> {
        if self.out.is_none() {
            return Ok(());
        }
        self.line(&json!({"kind": "step", "step": step, "epoch": epoch, "loss": loss}))
    }

    /// What an epoch gave.
    pub fn epoch(&mut self, e: &Epoch) -> Result<(), RunError> {
        let mut line = json!({"kind": "epoch", "epoch": e.epoch, "train_loss": e.train_loss});
        let more = [
            ("train_acc", e.train_acc),
            ("test_loss", e.test_loss),
            ("test_acc", e.test_acc),
            ("examples_per_sec", Some(e.examples_per_sec)),
        ];
        for (key, value) in more {
            if let Some(v) = value {
                line[key] = json!(v);
            }
        }
        self.line(&line)?;
        self.finish()
    }

    /// Writes out what is buffered.
    pub fn finish(&mut self) -> Result<(), RunError> {
        match &mut self.out {
            Some((path, out)) => out.flush().map_err(|e| failed(path, &e)),
            None => Ok(()),
        }
    }

    fn line(&mut self, v: &Value) -> Result<(), RunError> {
        match &mut self.out {
            Some((path, out)) => writeln!(out, "{v}").map_err(|e| failed(path, &e)),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path, e: &std::io::Error) -> RunError {
    RunError::Write {
        path: path.display().to_string(),
        reason: e.to_string(),
    }
}
