//! The examples of a run: from what the model names to arrays that fit it.

use std::path::Path;

use lenetc_runtime::data::{self, Dataset, Inputs, Named, Origin, Split, Targets};
use lenetc_runtime::exec::{Bytes, Examples};

use super::RunError;
use crate::passes::config::{Array, Data, Loss};

/// Permutations of the compiled-in subset that make an epoch: as many updates as with the full set.
const SUBSET_PERMUTATIONS: usize = 6;

/// The examples of a run.
pub struct Loaded {
    pub train: Set,
    pub test: Option<Set>,
    /// Times that an epoch goes through the training examples.
    pub permutations: usize,
    /// What the user should know about where they come from.
    pub note: Option<String>,
}

impl Loaded {
    /// The set that evaluation runs on.
    pub fn tested(&self) -> &Set {
        self.test.as_ref().unwrap_or(&self.train)
    }
}

/// Examples with their targets.
pub struct Set(Split);

/// Loads what `data` names. `folder` is the model's, `given` that of `--data`.
pub fn load(
    data: &Data,
    folder: &Path,
    given: Option<&Path>,
    input: &[u32],
) -> Result<Loaded, RunError> {
    let plain = |d: Dataset| Loaded {
        train: Set(d.train),
        test: d.test.map(Set),
        permutations: 1,
        note: None,
    };
    let wrong = |e: data::DataError| RunError::Data(e.to_string());
    match data {
        Data::FashionMnist => named(Named::FashionMnist, given),
        Data::Mnist => named(Named::Mnist, given),
        Data::Idx(name) => {
            let dir = within(folder, name, given)?;
            data::load_folder(&dir).map(plain).map_err(wrong)
        }
        Data::Npz(name) => {
            let file = within(folder, name, given)?;
            data::load_npz(&file).map(plain).map_err(wrong)
        }
        Data::Inline { x, y } => Ok(plain(Dataset {
            train: inline(x, y, input),
            test: None,
        })),
    }
}

/// A path beside the model; `--data` replaces it.
fn within(folder: &Path, name: &str, given: Option<&Path>) -> Result<std::path::PathBuf, RunError> {
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

fn named(name: Named, given: Option<&Path>) -> Result<Loaded, RunError> {
    let found = data::find(name, given).map_err(|e| RunError::Data(e.to_string()))?;
    let subset = matches!(found.origin, Origin::Subset);
    let note = subset.then(|| {
        "training on the compiled-in subset of Fashion-MNIST (10,000 and 2,000 images), six passes an epoch; \
         for the full set install Debian's dataset-fashion-mnist or name its folder with --data"
            .to_string()
    });
    Ok(Loaded {
        train: Set(found.dataset.train),
        test: found.dataset.test.map(Set),
        permutations: if subset { SUBSET_PERMUTATIONS } else { 1 },
        note,
    })
}

/// Written numbers: one example, or a list of them.
fn inline(x: &Array, y: &Array, input: &[u32]) -> Split {
    let size: usize = input.iter().map(|&d| d as usize).product();
    let single = x.values.len() == size && x.shape.first() != Some(&1);
    let n = if single {
        1
    } else {
        x.shape.first().copied().unwrap_or(1)
    };
    let rest = |a: &Array| {
        if single {
            a.shape.clone()
        } else {
            a.shape[1.min(a.shape.len())..].to_vec()
        }
    };
    let shape = if x.values.len() == n * size {
        input.iter().map(|&d| d as usize).collect()
    } else {
        rest(x)
    };
    let whole = y.values.len() == n && y.values.iter().all(|v| v.fract() == 0.0 && v.abs() < 1e6);
    let targets = if whole && rest(y).is_empty() {
        Targets::Classes(y.values.iter().map(|&v| v as i32).collect())
    } else {
        Targets::Values {
            data: y.values.clone(),
            shape: rest(y),
        }
    };
    Split {
        inputs: Inputs::F32(x.values.clone()),
        shape,
        targets,
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
                Targets::Values { data, .. } => Bytes::F32(data),
            },
            len: self.len(),
        }
    }

    /// Whether the examples fit the model; why not, in a sentence.
    pub fn check(
        &self,
        what: &str,
        input: &[u32],
        output: &[u32],
        loss: Loss,
    ) -> Result<(), String> {
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let dims = |d: &[u32]| d.iter().map(|&d| d as usize).collect::<Vec<_>>();
        // One channel need not be written.
        let trimmed = |d: &[usize]| {
            d.iter()
                .copied()
                .skip_while(|&d| d == 1)
                .collect::<Vec<_>>()
        };
        if trimmed(&self.0.shape) != trimmed(&dims(input)) {
            return Err(format!(
                "the {what} data has shape {:?}, the model's input is {input:?}",
                self.0.shape
            ));
        }
        let values = match &self.0.inputs {
            Inputs::U8(x) => x.len(),
            Inputs::F32(x) => x.len(),
        };
        if values != self.len() * size(&dims(input)) {
            return Err(format!(
                "the {what} data holds {values} numbers, not {} examples",
                self.len()
            ));
        }
        match (&self.0.targets, loss) {
            (Targets::Classes(t), Loss::CrossEntropy) => {
                let classes = output.first().copied().unwrap_or(0) as i32;
                match t.iter().find(|&&c| c < 0 || c >= classes) {
                    Some(c) => Err(format!(
                        "a {what} example has class {c}, the model has {classes} classes, from 0"
                    )),
                    None => Ok(()),
                }
            }
            (Targets::Values { data, .. }, Loss::Mse { .. })
                if data.len() == self.len() * size(&dims(output)) =>
            {
                Ok(())
            }
            (Targets::Values { shape, .. }, Loss::Mse { .. }) => Err(format!(
                "the {what} targets have shape {shape:?}, the model yields {output:?}"
            )),
            (Targets::Classes(_), Loss::Mse { .. }) => {
                Err("MSELoss needs values as targets, the data has classes".into())
            }
            (Targets::Values { .. }, Loss::CrossEntropy) => {
                Err("CrossEntropyLoss needs classes as targets, the data has values".into())
            }
        }
    }
}
