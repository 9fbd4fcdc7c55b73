//! Data sets: inputs with the classes or values to be met, in memory as they are stored.
//!
//! Files are untrusted: a header's sizes are checked before memory is taken, elements go straight into vectors
//! of their final size, and what is more or less than the header says is an error. Does not know models: whether
//! a shape or a class fits one is for the caller to say.

mod elements;
mod error;
mod find;
mod idx;
mod npy;
mod npz;

use elements::Array;

pub use error::{DataError, Place};
pub use find::{Found, Named, Origin, find};
pub use idx::{load_folder, subset};
pub use npz::load_npz;

/// The largest array that is read, in bytes.
const MAX_BYTES: u64 = 4 << 30;

/// Training examples and, where there are some, test examples of the same kind and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub train: Split,
    pub test: Option<Split>,
}

/// Examples one after the other, each row-major; never none.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub inputs: Inputs,
    /// The sizes of one example's input: channels, height and width of an image.
    pub shape: Vec<usize>,
    pub targets: Targets,
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
    Values {
        data: Vec<f32>,
        /// The sizes of one example's values.
        shape: Vec<usize>,
    },
}

impl Split {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Always false for what was read from files: a split without examples is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs for targets that are already read: the counts are compared before the inputs' elements are.
    fn read(inputs: Array, targets: Targets) -> Result<Self, DataError> {
        if inputs.shape[0] != targets.len() {
            return Err(DataError::Count {
                place: inputs.place,
                inputs: inputs.shape[0],
                targets: targets.len(),
            });
        }
        let (inputs, shape) = inputs.inputs()?;
        Ok(Self {
            inputs,
            shape,
            targets,
        })
    }

    /// What must be the same for training and test examples, in words.
    fn kind(&self) -> String {
        let inputs = match &self.inputs {
            Inputs::U8(_) => "bytes",
            Inputs::F32(_) => "floats",
        };
        let targets = match &self.targets {
            Targets::Classes(_) => "classes".to_owned(),
            Targets::Values { shape, .. } => format!("values of shape {shape:?}"),
        };
        format!("{inputs} of shape {:?} with {targets}", self.shape)
    }
}

impl Targets {
    /// The number of examples.
    fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Values { data, shape } => data.len() / shape.iter().product::<usize>().max(1),
        }
    }
}

impl Dataset {
    /// Both splits, which must hold examples of one kind.
    fn new(path: &std::path::Path, train: Split, test: Option<Split>) -> Result<Self, DataError> {
        match &test {
            Some(t) if t.kind() != train.kind() => Err(DataError::Differ {
                path: path.into(),
                train: train.kind(),
                test: t.kind(),
            }),
            _ => Ok(Self { train, test }),
        }
    }
}
