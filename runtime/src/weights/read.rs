//! Reads safetensors files: floats of 16, 32 and 64 bits as f32, counters too, and the names of what is none of these.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};

use super::{Tensor, WeightsError};
use crate::{foreign, half, words};

/// Files beyond this size are refused: before they are read, where they have a size, else when so much is read.
const MAX_FILE_BYTES: u64 = 8 << 30;
/// What safetensors takes for a header at most.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Stored {
    /// Sorted by name.
    pub tensors: Vec<Tensor>,
    /// Tensors of other types, as quantised weights have them; sorted by name.
    pub unread: Vec<Unread>,
    /// What was converted, a sentence for each type.
    pub notes: Vec<String>,
}

/// A tensor whose type is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub name: String,
    /// As safetensors calls it.
    pub dtype: String,
}

/// Reads all tensors, sorted by name. Fails where one is of a type that is not read.
pub fn load(path: &Path) -> Result<Vec<Tensor>, WeightsError> {
    let stored = read(path)?;
    match stored.unread.into_iter().next() {
        Some(Unread { name, dtype }) => Err(WeightsError::Dtype {
            path: path.into(),
            name,
            dtype,
        }),
        None => Ok(stored.tensors),
    }
}

/// Reads the tensors whose type can be read, and the names of the others.
pub fn read(path: &Path) -> Result<Stored, WeightsError> {
    let file = bytes(path)?;
    let views =
        SafeTensors::deserialize(&file).map_err(|source| format_error(path, &file, source))?;
    let mut views = views.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut stored = Stored::default();
    for (name, view) in &views {
        match floats(view) {
            Some(data) => stored.tensors.push(Tensor {
                name: name.clone(),
                shape: view.shape().to_vec(),
                data,
            }),
            None => stored.unread.push(Unread {
                name: name.clone(),
                dtype: format!("{:?}", view.dtype()),
            }),
        }
        in_range(path, name, view, &stored)?;
    }
    for (dtype, what) in [
        (Dtype::F16, "converted to f32"),
        (Dtype::BF16, "converted to f32"),
        (Dtype::F64, "rounded to f32"),
    ] {
        let count = views.iter().filter(|(_, v)| v.dtype() == dtype).count();
        if count > 0 {
            let (path, tensors) = (path.display(), words::count(count as u64, "tensor"));
            let note = format!("{path}: {tensors} of {dtype:?} {what}");
            stored.notes.push(note);
        }
    }
    Ok(stored)
}

fn bytes(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let io = |source| WeightsError::Io {
        path: path.into(),
        source,
    };
    let too_large = |bytes| WeightsError::TooLarge {
        path: path.into(),
        bytes,
    };
    let bytes = fs::metadata(path).map_err(io)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(too_large(bytes));
    }
    let mut stream = File::open(path).map_err(io)?;
    let mut file = header(&mut stream).map_err(io)?;
    match SafeTensors::read_metadata(&file) {
        // The header is in order; what is missing is the data behind it.
        Ok(_) | Err(SafeTensorError::MetadataIncompleteBuffer) => {}
        Err(source) => return Err(format_error(path, &file, source)),
    }
    match rest(&mut stream, &mut file, MAX_FILE_BYTES).map_err(io)? {
        true => Ok(file),
        false => Err(too_large(file.len() as u64)),
    }
}

/// The start of a file up to where its data begin, or less where it ends before or is none of safetensors'. A device or
/// a FIFO may go on for ever: what it is must be seen from its start.
fn header(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    stream.take(8).read_to_end(&mut file)?;
    let len = file.first_chunk().copied().map_or(0, u64::from_le_bytes);
    if len <= MAX_HEADER_BYTES {
        stream.take(len).read_to_end(&mut file)?;
    }
    Ok(file)
}

/// Reads on to the end; false where that is beyond `limit` bytes in all.
fn rest(stream: &mut impl Read, file: &mut Vec<u8>, limit: u64) -> io::Result<bool> {
    // One byte beyond the limit shows that there are too many.
    let most = (limit + 1).saturating_sub(file.len() as u64);
    stream.take(most).read_to_end(file)?;
    Ok(file.len() as u64 <= limit)
}

/// What the file is where its first bytes tell; else what is wrong with it.
fn format_error(path: &Path, file: &[u8], source: SafeTensorError) -> WeightsError {
    match foreign::describe(file) {
        Some(what) => WeightsError::Foreign {
            path: path.into(),
            what,
            advice: "write it with safetensors.torch.save_file(model.state_dict(), path)",
        },
        None => WeightsError::Format {
            path: path.into(),
            source,
        },
    }
}

/// A whole number that an f32 holds: torch counts in I64, as the batches of a norm.
fn counter(view: &TensorView) -> Option<f32> {
    const MOST: i64 = 1 << 24;
    let bytes = view.data().first_chunk().copied();
    let number = bytes.map(i64::from_le_bytes);
    let number = number.filter(|n| view.shape().is_empty() && (-MOST..=MOST).contains(n));
    number.map(|n| n as f32)
}

/// The elements as f32; `None` where they are of a type that is not read.
fn floats(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    let pairs = || {
        data.as_chunks::<2>()
            .0
            .iter()
            .map(|&b| u16::from_le_bytes(b))
    };
    match view.dtype() {
        Dtype::F32 => {
            let elements = data.as_chunks::<4>().0.iter();
            Some(elements.map(|&b| f32::from_le_bytes(b)).collect())
        }
        Dtype::F16 => Some(pairs().map(half::f32_of_f16).collect()),
        Dtype::BF16 => Some(pairs().map(half::f32_of_bf16).collect()),
        Dtype::F64 => Some(doubles(data).map(|x| x as f32).collect()),
        Dtype::I64 => counter(view).map(|n| vec![n]),
        _ => None,
    }
}

fn doubles(data: &[u8]) -> impl Iterator<Item = f64> {
    let elements = data.as_chunks::<8>().0.iter();
    elements.map(|&b| f64::from_le_bytes(b))
}

/// A finite number of the tensor that was read last must not have become an infinity.
fn in_range(
    path: &Path,
    name: &str,
    view: &TensorView,
    stored: &Stored,
) -> Result<(), WeightsError> {
    let Some(tensor) = stored.tensors.last().filter(|_| view.dtype() == Dtype::F64) else {
        return Ok(());
    };
    let mut both = doubles(view.data()).zip(&tensor.data).enumerate();
    match both.find(|(_, (x, y))| x.is_finite() && y.is_infinite()) {
        Some((index, (value, _))) => Err(WeightsError::Range {
            path: path.into(),
            name: name.into(),
            index,
            value,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, tensors: &[(&str, Dtype, &[u8])]) -> std::path::PathBuf {
        let views = tensors.iter().map(|(name, dtype, data)| {
            let len = data.len() * 8 / dtype.bitsize();
            let view = TensorView::new(*dtype, vec![len], data).expect("a tensor");
            (*name, view)
        });
        let path = folder.join("w.safetensors");
        let file = safetensors::serialize(views, None).expect("serializes");
        fs::write(&path, file).expect("writes");
        path
    }

    #[test]
    fn floats_of_other_widths_are_converted_with_a_note() {
        let folder = tempfile::tempdir().expect("a folder");
        let halves: Vec<u8> = [0x3e00u16, 0xc000]
            .iter()
            .flat_map(|b| b.to_le_bytes())
            .collect();
        let bfloats: Vec<u8> = [0x3fc0u16].iter().flat_map(|b| b.to_le_bytes()).collect();
        let doubles: Vec<u8> = [0.1f64, f64::NAN]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let path = write(
            folder.path(),
            &[
                ("d", Dtype::F64, &doubles),
                ("c", Dtype::BF16, &bfloats),
                ("b", Dtype::F16, &halves),
                ("a", Dtype::F32, &1.5f32.to_le_bytes()),
            ],
        );
        let stored = read(&path).expect("reads");
        let data: Vec<_> = stored
            .tensors
            .iter()
            .map(|t| (&t.name[..], &t.data[..]))
            .collect();
        assert_eq!(data[0], ("a", &[1.5][..]));
        assert_eq!(data[1], ("b", &[1.5, -2.0][..]));
        assert_eq!(data[2], ("c", &[1.5][..]));
        assert_eq!((data[3].0, data[3].1[0]), ("d", 0.1f32));
        assert!(data[3].1[1].is_nan());
        let ends: Vec<_> = stored
            .notes
            .iter()
            .filter_map(|n| n.split(": ").nth(1))
            .collect();
        assert_eq!(
            ends,
            [
                "1 tensor of F16 converted to f32",
                "1 tensor of BF16 converted to f32",
                "1 tensor of F64 rounded to f32"
            ]
        );
        assert!(stored.unread.is_empty());
    }

    #[test]
    fn tensors_of_other_types_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(
            folder.path(),
            &[
                ("n", Dtype::I64, &[0; 8]),
                ("q", Dtype::F8_E4M3, &[0; 3]),
                ("w", Dtype::F32, &[0; 4]),
            ],
        );
        let stored = read(&path).expect("reads");
        let unread: Vec<_> = stored
            .unread
            .iter()
            .map(|u| (&u.name[..], &u.dtype[..]))
            .collect();
        assert_eq!(unread, [("n", "I64"), ("q", "F8_E4M3")]);
        assert_eq!((stored.tensors.len(), stored.notes.len()), (1, 0));
        let error = load(&path).expect_err("holds counters").to_string();
        assert!(
            error.ends_with("tensor n holds I64; F32, F16, BF16 and F64 are read"),
            "{error}"
        );
    }

    #[test]
    fn a_double_beyond_the_range_of_floats_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let doubles: Vec<u8> = [1.0, 1e300]
            .iter()
            .flat_map(|x: &f64| x.to_le_bytes())
            .collect();
        let path = write(folder.path(), &[("w", Dtype::F64, &doubles)]);
        let error = read(&path).expect_err("is too large");
        assert!(
            matches!(error, WeightsError::Range { index: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn what_never_ends_is_refused() {
        for device in ["/dev/zero", "/dev/urandom"] {
            let error = read(Path::new(device)).expect_err("is no weights file");
            assert!(matches!(error, WeightsError::Format { .. }), "{error}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(folder.path(), &[("w", Dtype::F32, &[0; 4])]);
        let whole = fs::read(&path).expect("reads");
        let mut stream = whole.chain(io::repeat(0));
        let mut file = header(&mut stream).expect("reads");
        assert_eq!(file, whole[..whole.len() - 4]);
        assert!(!rest(&mut stream, &mut file, 1000).expect("reads"));
        assert_eq!(file.len(), 1001);
        let mut file = header(&mut &whole[..]).expect("reads");
        let end = &mut &whole[whole.len() - 4..];
        assert!(rest(end, &mut file, whole.len() as u64).expect("reads"));
        assert_eq!(file, whole);
    }

    #[test]
    fn files_of_other_formats_are_called_by_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("w");
        for (start, what) in [
            (&b""[..], "it is empty"),
            (b"PK\x03\x04\x14\0\0\0\0\0", "torch.save"),
            (b"\x80\x02}q\0.\0\0\0", "Python pickle"),
        ] {
            fs::write(&path, start).expect("writes");
            let error = read(&path).expect_err("is no weights file").to_string();
            assert!(
                error.contains(what) && error.contains("save_file"),
                "{error}"
            );
        }
    }
}
