//! Data sets: images with classes or values to be met, in memory as they are stored.
//!
//! Files are untrusted: sizes are checked before memory is taken. Does not know models.

mod idx;

use std::path::PathBuf;

use thiserror::Error;

pub use idx::load_folder;

/// Training examples and, where there are some, test examples.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub train: Split,
    pub test: Option<Split>,
}

/// Examples one after the other, each row-major `[channels, height, width]`.
#[derive(Clone, Debug)]
pub struct Split {
    /// Bytes, to be divided by 255 by the program that reads them.
    pub images: Vec<u8>,
    /// Channels, height and width of one image.
    pub shape: [usize; 3],
    /// The class of each image.
    pub labels: Vec<i32>,
}

/// Why data could not be read.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("{path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {problem}", path = path.display())]
    Format { path: PathBuf, problem: String },
    #[error("{path}: none of {names} is there", path = path.display())]
    Missing { path: PathBuf, names: String },
}
