//! The examples of a run: from what the model names to arrays that fit it.

use std::path::PathBuf;

use lenetc_runtime::data::{DataError, Inputs, Split, TargetKind, Targets, Wanted};
use lenetc_runtime::exec::{Bytes, Examples};

use super::RunError;
use super::source::Source;
use crate::data::{AnyData, Search, Source as Opened};
use crate::ir::TensorType;
use crate::ops::{self, AnyLoss};

/// The examples of a run.
pub struct Loaded {
    pub train: Set,
    pub test: Option<Set>,
    /// Times that an epoch goes through the training examples.
    pub permutations: usize,
    pub source: Source,
    /// The files that the examples were read from.
    pub files: Vec<PathBuf>,
    /// What the user should know before training, a line each; the first says which data set it is.
    pub notes: Vec<String>,
    /// What is odd about the numbers.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// The set that evaluation runs on.
    pub fn tested(&self) -> &Set {
        self.test.as_ref().unwrap_or(&self.train)
    }
}

/// Examples with their targets.
pub struct Set(Split);

/// What a model wants of its data: `input` and `output` are its shapes without the batch. What targets are the loss
/// decides, never the data.
pub fn wanted(input: &[u32], output: &[u32], loss: &AnyLoss) -> Wanted {
    let output = TensorType::batch(output);
    Wanted {
        input: sizes(input),
        targets: match loss.targets(&output) {
            ops::Targets::Classes(count) => TargetKind::Classes(count as usize),
            ops::Targets::Values(dims) => TargetKind::Values(sizes(&dims)),
        },
    }
}

fn sizes(dims: &[u32]) -> Vec<usize> {
    dims.iter().map(|&d| d as usize).collect()
}

/// Finds what `data` names and reads its headers.
pub fn open<'a>(data: &'a AnyData, search: Search) -> Result<Opened<'a>, RunError> {
    let opened = data.open(search);
    opened.map_err(|e| RunError::Data(e.to_string()))
}

/// Reads an opened data set, which must be as wanted.
pub fn load(source: Opened, wanted: &Wanted) -> Result<Loaded, RunError> {
    let wrong = |e: DataError| RunError::Data(e.to_string());
    let data = source.opened.read(wanted).map_err(wrong)?;
    let about = Source {
        name: source.name,
        place: source.found,
        images: wanted.input.len() == 3,
        train: data.train.len(),
        test: data.test.as_ref().map(Split::len),
    };
    let splits = [Some(&data.train), data.test.as_ref()];
    let remarks = splits.into_iter().flatten().flat_map(|s| s.remarks.clone());
    let untested = source.without_test.filter(|_| data.test.is_none());
    let untested = untested
        .map(|advice| format!("no test set, so nothing is known of other examples: {advice}"));
    let notes = [about.introduction()].into_iter().chain(source.notes);
    Ok(Loaded {
        warnings: remarks.chain(source.warnings).collect(),
        notes: notes.chain(untested).collect(),
        source: about,
        files: data.files,
        train: Set(data.train),
        test: data.test.map(Set),
        permutations: source.permutations,
    })
}

impl Set {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether inputs are bytes.
    pub fn bytes(&self) -> bool {
        matches!(self.0.inputs, Inputs::U8(_))
    }

    /// The arrays as compiled code reads them.
    pub fn examples(&self) -> Examples<'_> {
        Examples {
            inputs: match &self.0.inputs {
                Inputs::U8(x) => Bytes::U8(x),
                Inputs::F32(x) => Bytes::F32(x),
            },
            targets: match &self.0.targets {
                Targets::Classes(t) => Bytes::I32(t),
                Targets::Values(t) => Bytes::F32(t),
            },
            len: self.len(),
        }
    }
}
