//! Data sets: inputs with the classes or values to be met, in memory as they are stored.
//!
//! Files are untrusted: a header's sizes are checked before memory is taken, elements go straight into vectors
//! of their final size, and what is more or less than the header says is an error. Does not know models: what shapes
//! and which targets are wanted is for the caller to say ([`Wanted`]).

use std::path::{Path, PathBuf};

mod elements;
mod error;
mod find;
mod fit;
mod idx;
mod inline;
mod npy;
mod npz;
mod open;
mod order;

pub use elements::Number;
pub use error::{DataError, Place};
pub use find::{Found, Named, Origin, find};
pub use fit::{TargetKind, Wanted};
pub use idx::{load_folder, subset};
pub use inline::{Written, load_inline};
pub use npz::load_npz;
pub use open::{Held, Numbers, Opened, Schema};

/// The largest array that is read, in bytes.
const MAX_BYTES: u64 = 4 << 30;

/// Training examples and, where there are some, test examples of the same kind and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub train: Split,
    pub test: Option<Split>,
    /// The files that were read; none where the examples were not in files.
    pub files: Vec<PathBuf>,
}

/// Examples one after the other, each row-major and of the sizes that were wanted; never none.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub inputs: Inputs,
    pub targets: Targets,
    /// The number of examples.
    len: usize,
    /// What is odd about the numbers, though they can be used: a sentence for each.
    pub remarks: Vec<String>,
}

/// What a model reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// To be divided by 255 by the program that reads them.
    U8(Vec<u8>),
    /// Used as they are.
    F32(Vec<f32>),
}

/// What a model's outputs are held to.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// The class of each example, at least 0.
    Classes(Vec<i32>),
    /// The values of each example, row-major.
    Values(Vec<f32>),
}

impl Split {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always false: a split without examples is refused.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What must be the same for training and test examples, in words.
    fn kind(&self) -> &'static str {
        match &self.inputs {
            Inputs::U8(_) => "bytes",
            Inputs::F32(_) => "other numbers",
        }
    }
}

impl Dataset {
    /// Both splits, which must hold inputs of one kind: bytes are scaled and floats are not.
    fn new(
        path: &Path,
        files: Vec<PathBuf>,
        train: Split,
        test: Option<Split>,
    ) -> Result<Self, DataError> {
        match &test {
            Some(t) if t.kind() != train.kind() => Err(DataError::Differ {
                path: path.into(),
                train: train.kind(),
                test: t.kind(),
            }),
            _ => Ok(Self { train, test, files }),
        }
    }
}
