//! Why data could not be read, each reason a sentence with the place and the numbers.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A file, or an array in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub array: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.array {
            Some(array) => write!(f, ", array {array}"),
            None => Ok(()),
        }
    }
}

/// Why data could not be read. Sizes are in bytes where nothing else is said.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("{place}: {source}")]
    Io { place: Place, source: io::Error },
    #[error("{path}: there is no such folder", path = path.display())]
    NoFolder { path: PathBuf },
    #[error(
        "{path}: the folder holds no data set; it wants train-images-idx3-ubyte, train-labels-idx1-ubyte and \
         the t10k pair, gzipped (.gz) or not",
        path = path.display()
    )]
    NoDataSet { path: PathBuf },
    #[error(
        "{name} is not installed; looked in {}; name its folder with --data or in LENETC_DATA",
        places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        name: &'static str,
        places: Vec<PathBuf>,
    },
    #[error("{path}: {file} is missing, gzipped (.gz) or not", path = path.display())]
    MissingFile { path: PathBuf, file: String },
    #[error(
        "{path}: array {array} is missing; the file holds {holds}",
        path = path.display()
    )]
    MissingArray {
        path: PathBuf,
        array: &'static str,
        holds: String,
    },
    #[error("{place}: it does not start like {expected}, but with the bytes {found:02x?}")]
    Magic {
        place: Place,
        expected: &'static str,
        found: Vec<u8>,
    },
    #[error("{place}: its header {problem}")]
    Header { place: Place, problem: String },
    #[error("{place}: elements of type {found} are not read as {role}; {wanted} are")]
    Element {
        place: Place,
        role: &'static str,
        found: String,
        wanted: &'static str,
    },
    #[error("{place}: the shape {shape:?} does not fit {role}, which want {wanted}")]
    Shape {
        place: Place,
        role: &'static str,
        shape: Vec<usize>,
        wanted: &'static str,
    },
    #[error("{place}: the shape {shape:?} holds no element")]
    Empty { place: Place, shape: Vec<usize> },
    #[error("{place}: the shape {shape:?} of {element} takes more than the 4 GiB that are read")]
    TooLarge {
        place: Place,
        shape: Vec<usize>,
        element: &'static str,
    },
    #[error("{place}: there is no memory for its {bytes} bytes")]
    Memory { place: Place, bytes: u64 },
    #[error("{place}: it ends after {found} of the {wanted} bytes that its header announces")]
    Truncated {
        place: Place,
        wanted: u64,
        found: u64,
    },
    #[error("{place}: it goes on after the {wanted} bytes that its header announces")]
    Trailing { place: Place, wanted: u64 },
    #[error("{place}: its compressed data is damaged: {problem}")]
    Corrupt { place: Place, problem: String },
    #[error("{place}: {inputs} inputs, but {targets} labels or values to be met")]
    Count {
        place: Place,
        inputs: usize,
        targets: usize,
    },
    #[error("{place}: label {index} is {label}; a class is a number from 0 to {max}", max = i32::MAX)]
    Label {
        place: Place,
        index: usize,
        label: i64,
    },
    #[error(
        "{path}: the training set has {train}, but the test set {test}",
        path = path.display()
    )]
    Differ {
        path: PathBuf,
        train: String,
        test: String,
    },
}
