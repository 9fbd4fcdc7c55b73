//! The examples of a run: from what the model names to arrays that fit it.

use std::path::{Path, PathBuf};

use lenetc_runtime::data::{
    self, Dataset, Inputs, Named, Origin, Split, TargetKind, Targets, Wanted, Written,
};
use lenetc_runtime::exec::{Bytes, Examples};

use super::RunError;
use super::source::Source;
use crate::passes::config::{Array, Data, Loss};

/// Permutations of the compiled-in subset that make an epoch: as many updates as with the full set.
const SUBSET_PERMUTATIONS: usize = 6;

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

/// What targets are: the loss decides it, never the data. `output` is the shape of the model's output.
pub(super) fn target_kind(loss: Loss, output: &[u32]) -> TargetKind {
    match loss {
        Loss::CrossEntropy => TargetKind::Classes(output.first().map_or(0, |&n| n as usize)),
        Loss::Mse { .. } => TargetKind::Values(sizes(output)),
    }
}

/// What a model wants of its data: `input` and `output` are its shapes without the batch.
pub fn wanted(input: &[u32], output: &[u32], loss: Loss) -> Wanted {
    Wanted {
        input: sizes(input),
        targets: target_kind(loss, output),
    }
}

fn sizes(dims: &[u32]) -> Vec<usize> {
    dims.iter().map(|&d| d as usize).collect()
}

/// Loads what `data` names, which must fit. `folder` is the model's, `given` that of `--data`.
pub fn load(
    data: &Data,
    folder: &Path,
    given: Option<&Path>,
    wanted: &Wanted,
) -> Result<Loaded, RunError> {
    let wrong = |e: data::DataError| RunError::Data(e.to_string());
    match data {
        Data::FashionMnist => named(Named::FashionMnist, given, wanted),
        Data::Mnist => named(Named::Mnist, given, wanted),
        Data::Idx(name) => {
            let dir = within(folder, name, given)?;
            let dataset = data::load_folder(&dir, wanted).map_err(wrong)?;
            let advice = "add t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte";
            let name = dir.display().to_string();
            Ok(Loaded::new(dataset, (name, None), wanted).advised(advice))
        }
        Data::Npz(name) => {
            let file = within(folder, name, given)?;
            let dataset = data::load_npz(&file, wanted).map_err(wrong)?;
            let name = file.display().to_string();
            Ok(Loaded::new(dataset, (name, None), wanted).advised("add x_test and y_test"))
        }
        Data::Inline { x, y } => {
            let dataset = data::load_inline(written(x), written(y), wanted).map_err(wrong)?;
            let mut loaded = Loaded::new(dataset, ("inline data".into(), None), wanted);
            if given.is_some() {
                let warning = "--data is not used: the model's examples are written in it";
                loaded.warnings.push(warning.into());
            }
            Ok(loaded)
        }
    }
}

fn written(array: &Array) -> Written<'_> {
    Written {
        values: &array.values,
        shape: &array.shape,
    }
}

/// A path beside the model; `--data` replaces it.
fn within(folder: &Path, name: &str, given: Option<&Path>) -> Result<PathBuf, RunError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let plain = Path::new(name).components().all(|c| {
        matches!(
            c,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    });
    if plain {
        Ok(folder.join(name))
    } else {
        let message = format!("\"{name}\" is outside of the model's folder; name it with --data");
        Err(RunError::Data(message))
    }
}

fn named(name: Named, given: Option<&Path>, wanted: &Wanted) -> Result<Loaded, RunError> {
    let found = data::find(name, given, wanted).map_err(|e| RunError::Data(e.to_string()))?;
    let (place, subset) = match &found.origin {
        Origin::Folder(dir) => (format!("from {}", dir.display()), false),
        Origin::Subset => ("a compiled-in subset".into(), true),
    };
    let called = (name.name().into(), Some(place));
    let mut loaded = Loaded::new(found.dataset, called, wanted);
    if subset {
        loaded.permutations = SUBSET_PERMUTATIONS;
        let note = "an epoch is six passes over the subset; for the full set install Debian's\n      \
                    dataset-fashion-mnist or name its folder with --data";
        loaded.notes.push(note.into());
    }
    Ok(loaded)
}

impl Loaded {
    /// Examples that are gone through once an epoch, with what they are called and where they were found.
    fn new(data: Dataset, called: (String, Option<String>), wanted: &Wanted) -> Self {
        let source = Source {
            name: called.0,
            place: called.1,
            images: wanted.input.len() == 3,
            train: data.train.len(),
            test: data.test.as_ref().map(Split::len),
        };
        let splits = [Some(&data.train), data.test.as_ref()];
        let warnings = splits.into_iter().flatten().flat_map(|s| s.remarks.clone());
        Self {
            warnings: warnings.collect(),
            notes: vec![source.introduction()],
            source,
            files: data.files,
            train: Set(data.train),
            test: data.test.map(Set),
            permutations: 1,
        }
    }

    /// Says what to do where there is no test set.
    fn advised(mut self, advice: &str) -> Self {
        if self.test.is_none() {
            let note = format!("no test set, so nothing is known of other examples: {advice}");
            self.notes.push(note);
        }
        self
    }
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
