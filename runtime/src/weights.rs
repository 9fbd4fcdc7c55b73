//! Named f32 tensors in safetensors files, written so that a crash leaves the old file or the new one.
//!
//! Does not know which tensors a model has; the caller compares names and shapes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, TensorView, serialize};
use thiserror::Error;

mod read;
pub use read::{Stored, Unread, load, read};

/// A parameter: row-major elements in torch's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Why weights could not be read or written.
#[derive(Debug, Error)]
pub enum WeightsError {
    #[error("{path}: {source}", path = path.display())]
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

/// Writes the tensors: beside the target first, synced to the disk, then renamed over it.
pub fn save(path: &Path, tensors: &[Tensor]) -> Result<(), WeightsError> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|t| t.data.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let format = |source| WeightsError::Format {
        path: path.into(),
        source,
    };
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, b)| {
            Ok((
                t.name.as_str(),
                TensorView::new(Dtype::F32, t.shape.clone(), b)?,
            ))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(format)?;
    let file = serialize(views, None).map_err(format)?;
    replace_file(path, &file).map_err(|source| WeightsError::Io {
        path: path.into(),
        source,
    })
}

/// Replaces a file as a whole: a temporary beside it, fsync, rename, fsync of the folder.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("the path names no file"))?;
    let temp = folder.join(format!(
        ".{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = write_synced(&temp, bytes).and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        // The first error counts; a temp that cannot be removed does no harm.
        let _ = fs::remove_file(&temp);
    }
    written?;
    // The new name itself survives a crash once the folder is on the disk.
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
