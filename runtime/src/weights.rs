//! Named f32 tensors in safetensors files.
//!
//! Does not know which tensors a model has; the caller compares names and shapes.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, TensorView, serialize};
use thiserror::Error;

use crate::files::{self, WriteError};

mod read;
pub use read::{Stored, Unread, load, read};

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
    #[error("{path}: not a safetensors file: it is {what}\n  = help: {advice}", path = path.display())]
    Foreign {
        path: PathBuf,
        what: &'static str,
        advice: &'static str,
    },
    #[error("{path}: tensor {name} holds {dtype}; F32, F16, BF16 and F64 are read", path = path.display())]
    Dtype {
        path: PathBuf,
        name: String,
        dtype: String,
    },
    #[error("{path}: number {index} of tensor {name} is {value:e}, which f32 does not reach", path = path.display())]
    Range {
        path: PathBuf,
        name: String,
        index: usize,
        value: f64,
    },
    #[error("{path}: {bytes} bytes are more than the 8 GiB that are read", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
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
    use std::fs;

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
            assert!(load(&path).is_err(), "{len} bytes");
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
