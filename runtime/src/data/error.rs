//! Why data could not be read, each reason a sentence with the place and the numbers.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::elements::Number;

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
    #[error("{place}: {}", crate::files::reason(source))]
    Io { place: Place, source: io::Error },
    #[error("{path}: there is no such folder", path = path.display())]
    NoFolder { path: PathBuf },
    #[error(
        "{path}: the folder holds no data set; it wants train-images-idx3-ubyte, train-labels-idx1-ubyte and \
         the t10k pair, gzipped (.gz) or not",
        path = path.display()
    )]
    NoDataSet { path: PathBuf },
    #[error("{}", not_found(name, files, places))]
    NotFound {
        name: &'static str,
        /// Where its files are to be had, a line for each source.
        files: &'static str,
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
        array: String,
        holds: String,
    },
    #[error(
        "{path}: it holds {holds}, two training sets\n  = help: keep x and y, or x_train and y_train",
        path = path.display()
    )]
    TwoTrainingSets { path: PathBuf, holds: String },
    #[error(
        "{path}: it cannot be read as an archive of arrays: {problem}",
        path = path.display()
    )]
    NoArchive { path: PathBuf, problem: String },
    #[error("{path}: it is {what}\n  = help: {advice}", path = path.display())]
    Foreign {
        path: PathBuf,
        what: &'static str,
        advice: &'static str,
    },
    #[error(
        "{place}: it does not start like {expected}, but with the bytes {found:02x?}{}",
        what.map(|w| format!(": it is {w}")).unwrap_or_default()
    )]
    Magic {
        place: Place,
        expected: &'static str,
        found: Vec<u8>,
        /// What starts so, where that is known.
        what: Option<&'static str>,
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
    #[error(
        "{place}: its shape is {shape:?}, the model's {role} is {wanted:?}{}",
        misfit_help(wanted, hint)
    )]
    Misfit {
        place: Place,
        /// `input` or `output`.
        role: &'static str,
        // Boxed, so that results stay small.
        shape: Box<[usize]>,
        /// The sizes of one example.
        wanted: Box<[usize]>,
        /// What to do, where that can be guessed; else empty.
        hint: &'static str,
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
    #[error("{place}: number {at:?} is {value:e}, which f32 does not reach")]
    Range {
        place: Place,
        at: Vec<usize>,
        value: f64,
    },
    #[error("{place}: label {index} is {label}; {}", class_wanted(*label, *classes))]
    Label {
        place: Place,
        index: usize,
        label: Number,
        /// How many classes the model has.
        classes: usize,
    },
    #[error(
        "{place}: the shape {shape:?} holds one-hot rows, not classes: row 0 has its one at {}{}",
        .classes[0],
        one_hot_help(place, classes)
    )]
    OneHot {
        place: Place,
        shape: Vec<usize>,
        /// What the rows stand for.
        classes: Vec<usize>,
    },
    #[error(
        "{place}: its shape is {shape:?}, not [N] or [N, 1] for N examples{}",
        classes_help(shape, *classes)
    )]
    NotClasses {
        place: Place,
        shape: Vec<usize>,
        /// How many classes the model has.
        classes: usize,
    },
    #[error(
        "{path}: the training inputs are {train}, the test inputs {test}\n  \
         = help: bytes are divided by 255 and other numbers are not: save both as one type",
        path = path.display()
    )]
    Differ {
        path: PathBuf,
        train: &'static str,
        test: &'static str,
    },
}

/// The shape of examples of the sizes that are wanted, and what else may help.
fn misfit_help(wanted: &[usize], hint: &str) -> String {
    let sizes: String = wanted.iter().map(|d| format!(", {d}")).collect();
    let colon = if hint.is_empty() { "" } else { "; " };
    help(&format!("[N{sizes}] would fit N examples{colon}{hint}"))
}

/// A line with advice, or nothing.
fn help(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("\n  = help: {text}"),
    }
}

/// What the model has in place of a label, and what can be done.
fn class_wanted(label: Number, classes: usize) -> String {
    let range = match classes {
        1 => "the model has 1 class, 0".to_owned(),
        n => format!("the model has {n} classes, 0 to {}", n.saturating_sub(1)),
    };
    let advice = match label {
        Number::Real(x) if x.fract() != 0.0 => {
            "a class is a whole number; MSELoss takes values".to_owned()
        }
        _ if label.float() == classes as f32 => format!(
            "if labels count from 1, take 1 off each; else the last layer needs {} outputs",
            classes + 1
        ),
        _ if label.float() > classes as f32 => {
            "correct the label, or give the last layer more outputs".to_owned()
        }
        _ => "correct the label, or leave the example out".to_owned(),
    };
    format!("{range}{}", help(&advice))
}

fn classes_help(shape: &[usize], classes: usize) -> String {
    let last = classes.saturating_sub(1);
    let or = match shape[1..] == [classes] {
        true => "; MSELoss takes values",
        false => "",
    };
    help(&format!(
        "a class is one number of 0 to {last} for each example{or}"
    ))
}

/// What to write in place of rows with a one.
fn one_hot_help(place: &Place, classes: &[usize]) -> String {
    const SHOWN: usize = 4;
    let mut list: Vec<String> = classes.iter().take(SHOWN).map(usize::to_string).collect();
    if classes.len() > SHOWN {
        list.push("…".into());
    }
    let (array, list) = (place.array.as_deref().unwrap_or("labels"), list.join(", "));
    help(&format!(
        "save {array}.argmax(axis=1), the place of each one: {list}"
    ))
}

/// A data set that is in none of its places.
fn not_found(name: &str, files: &str, places: &[PathBuf]) -> String {
    let looked: Vec<String> = places
        .iter()
        .map(|p| format!("\n  looked in {}", p.display()))
        .collect();
    let advice = format!("name the folder of its files with --data or in LENETC_DATA; {files}");
    format!(
        "{name} is not installed{}{}",
        looked.concat(),
        help(&advice)
    )
}
