//! Data sets: what a model can name as its `data`.
//!
//! Each is a file here and a line in the list. A data set says how it is written and opens itself; the runtime reads what
//! lies in it. Does not know models: what shapes are wanted is told when an opened set is read.

mod idx;
mod inline;
mod named;
mod npz;

use std::path::{Component, Path, PathBuf};

use lenetc_runtime::data::{DataError, Opened};

use crate::ops::{ArgError, Args, Signature, registry};
use idx::Idx;
pub use inline::{BRACED, Inline};
use named::{FashionMnist, Mnist};
use npz::Npz;

/// What can be named as `data`.
pub trait DataSet {
    /// Name, arguments and defaults as written in a `.nn` file.
    fn signature() -> Signature
    where
        Self: Sized;
    /// Reads the arguments.
    fn from_args(args: &Args) -> Result<Self, ArgError>
    where
        Self: Sized;
    /// Whether its inputs are bytes, as far as can be told without opening it.
    fn usually_bytes(&self) -> bool;
    /// Finds it and reads its headers.
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError>;
}

registry! {
    /// What a model can name as its `data`.
    pub enum AnyData of DataSet { FashionMnist, Mnist, Idx, Npz, Inline }
}

/// Where data is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The model's folder.
    pub folder: &'a Path,
    /// That or the file of `--data`, which replaces the place that the model names.
    pub given: Option<&'a Path>,
}

impl Default for Search<'_> {
    /// In the folder that the program runs in.
    fn default() -> Self {
        Self {
            folder: Path::new("."),
            given: None,
        }
    }
}

/// A data set that is opened, with what a user should know of it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub opened: Opened<'a>,
    /// What it is called: its name in the model, or the path of a file or folder.
    pub name: String,
    /// Where it was found, as `from /usr/share/…`, where the name does not say it.
    pub found: Option<String>,
    /// Times that an epoch goes through the training examples.
    pub permutations: usize,
    /// What the user should know before training.
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
    /// What to do where it has no test examples.
    pub without_test: Option<&'static str>,
}

impl<'a> Source<'a> {
    /// One of which there is nothing to say.
    fn new(opened: Opened<'a>, name: String) -> Self {
        Self {
            opened,
            name,
            found: None,
            permutations: 1,
            notes: vec![],
            warnings: vec![],
            without_test: None,
        }
    }
}

/// Why a data set cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("\"{0}\" is outside of the model's folder; name it with --data")]
    Outside(String),
}

impl Search<'_> {
    /// A path beside the model; the one that is given replaces it.
    fn within(&self, name: &str) -> Result<PathBuf, OpenError> {
        if let Some(given) = self.given {
            return Ok(given.to_owned());
        }
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        match Path::new(name).components().all(inside) {
            true => Ok(self.folder.join(name)),
            false => Err(OpenError::Outside(name.into())),
        }
    }
}
