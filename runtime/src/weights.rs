//! Named f32 tensors in safetensors files.
//!
//! Does not know which tensors a model has; the caller compares names and shapes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use thiserror::Error;

use crate::files::{self, WriteError};

/// Files beyond this size are refused before they are read.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// A parameter: row-major elements in torch's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Why weights could not be read.
#[derive(Debug, Error)]
pub enum WeightsError {
    #[error("{path}: {reason}", path = path.display(), reason = files::reason(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: not a safetensors file: {source}", path = path.display())]
    Format {
        path: PathBuf,
        source: SafeTensorError,
    },
    #[error("{path}: tensor {name} holds {dtype:?}; only F32 is read", path = path.display())]
    Dtype {
        path: PathBuf,
        name: String,
        dtype: Dtype,
    },
    #[error("{path}: {bytes} bytes are more than the 8 GiB that are read", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
}

/// Reads all tensors, sorted by name.
pub fn load(path: &Path) -> Result<Vec<Tensor>, WeightsError> {
    let io = |source| WeightsError::Io {
        path: path.into(),
        source,
    };
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(WeightsError::TooLarge {
            path: path.into(),
            bytes,
        });
    }
    let file = fs::read(path).map_err(io)?;
    let format = |source| WeightsError::Format {
        path: path.into(),
        source,
    };
    let views = SafeTensors::deserialize(&file).map_err(format)?;
    let mut tensors = views
        .tensors()
        .into_iter()
        .map(|(name, view)| tensor(path, name, &view))
        .collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

fn tensor(path: &Path, name: String, view: &TensorView) -> Result<Tensor, WeightsError> {
    if view.dtype() != Dtype::F32 {
        return Err(WeightsError::Dtype {
            path: path.into(),
            name,
            dtype: view.dtype(),
        });
    }
    let (elements, _) = view.data().as_chunks::<4>();
    let data = elements.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Ok(Tensor {
        name,
        shape: view.shape().to_vec(),
        data,
    })
}

/// Writes the tensors, as a whole or not at all.
pub fn save(path: &Path, tensors: &[Tensor]) -> Result<(), WriteError> {
    let bytes = encoded(tensors).map_err(|e| WriteError {
        path: path.into(),
        reason: e.to_string(),
    })?;
    files::replace(path, &bytes)
}

/// The content of a file of the tensors.
fn encoded(tensors: &[Tensor]) -> Result<Vec<u8>, SafeTensorError> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|t| t.data.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, b)| {
            let view = TensorView::new(Dtype::F32, t.shape.clone(), b)?;
            Ok((t.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    serialize(views, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<Tensor> {
        let bias = Tensor {
            name: "0.bias".into(),
            shape: vec![2],
            data: vec![1.5, -0.0],
        };
        let weight = Tensor {
            name: "0.weight".into(),
            shape: vec![1, 2],
            data: vec![f32::MIN_POSITIVE, 3.0],
        };
        vec![bias, weight]
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w.safetensors");
        save(&path, &tensors()[..1]).expect("saves");
        save(&path, &tensors()).expect("saves over it");
        assert_eq!(load(&path).expect("loads"), tensors());
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "no temp is left"
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w.safetensors");
        save(&path, &tensors()).expect("saves");
        let whole = fs::read(&path).expect("reads");
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).expect("writes");
            assert!(
                matches!(load(&path), Err(WeightsError::Format { .. })),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_failed_save_keeps_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w.safetensors");
        save(&path, &tensors()).expect("saves");
        let wrong = Tensor {
            name: "x".into(),
            shape: vec![3],
            data: vec![0.0],
        };
        assert!(save(&path, &[wrong]).is_err());
        assert_eq!(load(&path).expect("loads"), tensors());
        assert!(save(&folder.path().join("none/w"), &tensors()).is_err());
    }
}
