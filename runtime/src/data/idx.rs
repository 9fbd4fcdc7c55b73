//! IDX files, gzipped or not: the format of MNIST and Fashion-MNIST.
//!
//! A file is two zero bytes, the type of an element (8: unsigned byte), the number of dimensions, each
//! dimension as a big-endian u32, then the elements. Inflated straight into memory of the size that the
//! header states; one byte more or less is an error, so a file that inflates without end is refused early.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{DataError, Dataset, Split};

/// The largest data that is read, in bytes.
const MAX_BYTES: u64 = 4 << 30;

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and, where present, the `t10k` pair; with or
/// without `.gz`, and with `.` or `-` before `idx`.
pub fn load_folder(folder: &Path) -> Result<Dataset, DataError> {
    let train = split(folder, "train")?;
    let test = match split(folder, "t10k") {
        Ok(s) => Some(s),
        Err(DataError::Missing { .. }) => None,
        Err(e) => return Err(e),
    };
    Ok(Dataset { train, test })
}

fn split(folder: &Path, part: &str) -> Result<Split, DataError> {
    let path = find(folder, part, "images", 3)?;
    let (dims, images) = read(&path, 3)?;
    let label_path = find(folder, part, "labels", 1)?;
    let (count, labels) = read(&label_path, 1)?;
    if count[0] != dims[0] {
        let problem = format!("{} labels for {} images", count[0], dims[0]);
        return Err(DataError::Format {
            path: label_path,
            problem,
        });
    }
    let labels = labels.into_iter().map(i32::from).collect();
    Ok(Split {
        images,
        shape: [1, dims[1], dims[2]],
        labels,
    })
}

fn find(folder: &Path, part: &str, what: &str, rank: usize) -> Result<PathBuf, DataError> {
    let names: Vec<String> = ["-", "."]
        .iter()
        .flat_map(|dot| ["", ".gz"].map(|end| format!("{part}-{what}{dot}idx{rank}-ubyte{end}")))
        .collect();
    let found = names.iter().map(|n| folder.join(n)).find(|p| p.is_file());
    found.ok_or_else(|| DataError::Missing {
        path: folder.into(),
        names: names.join(", "),
    })
}

/// Dimensions and elements of a file.
fn read(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let file = File::open(path).map_err(|source| DataError::Io {
        path: path.into(),
        source,
    })?;
    let file = BufReader::new(file);
    let result = if path.extension().is_some_and(|e| e == "gz") {
        parse(MultiGzDecoder::new(file), rank)
    } else {
        parse(file, rank)
    };
    result.map_err(|e| match e {
        Problem::Io(source) => DataError::Io {
            path: path.into(),
            source,
        },
        Problem::Format(problem) => DataError::Format {
            path: path.into(),
            problem,
        },
    })
}

enum Problem {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for Problem {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Problem::Format("it ends too early".into()),
            _ => Problem::Io(e),
        }
    }
}

fn parse(mut from: impl Read, rank: usize) -> Result<(Vec<usize>, Vec<u8>), Problem> {
    let mut magic = [0; 4];
    from.read_exact(&mut magic)?;
    if magic != [0, 0, 8, rank as u8] {
        let text =
            format!("it does not start as an IDX file of {rank} dimensions of bytes: {magic:02x?}");
        return Err(Problem::Format(text));
    }
    let mut dims = Vec::new();
    for _ in 0..rank {
        let mut size = [0; 4];
        from.read_exact(&mut size)?;
        dims.push(u32::from_be_bytes(size) as usize);
    }
    let len = dims
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
        .filter(|&n| n <= MAX_BYTES);
    let len = len
        .ok_or_else(|| Problem::Format(format!("{dims:?} is more than the 4 GiB that are read")))?;
    // Memory grows with what is really there: a header alone cannot make the program take gigabytes.
    let mut data = Vec::with_capacity(len.min(64 << 20) as usize);
    from.by_ref().take(len).read_to_end(&mut data)?;
    if (data.len() as u64) < len {
        return Err(Problem::Format(format!(
            "it holds {} of {len} bytes",
            data.len()
        )));
    }
    if from.read(&mut [0])? != 0 {
        return Err(Problem::Format(format!(
            "it holds more than the {len} bytes of {dims:?}"
        )));
    }
    Ok((dims, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let header = [0, 0, 8, dims.len() as u8];
        header
            .into_iter()
            .chain(dims.iter().flat_map(|d| d.to_be_bytes()))
            .chain(data.iter().copied())
            .collect()
    }

    #[test]
    fn a_folder_is_read_with_its_optional_test_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("writes")
        };
        assert!(matches!(
            load_folder(folder.path()),
            Err(DataError::Missing { .. })
        ));
        put(
            "train-images-idx3-ubyte",
            &file(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]),
        );
        put("train-labels.idx1-ubyte", &file(&[2], &[9, 0]));
        let data = load_folder(folder.path()).expect("reads");
        assert_eq!(
            (data.train.shape, data.train.labels),
            ([1, 1, 3], vec![9, 0])
        );
        assert!(data.test.is_none());
        put("train-labels.idx1-ubyte", &file(&[1], &[9]));
        assert!(matches!(
            load_folder(folder.path()),
            Err(DataError::Format { .. })
        ));
    }

    #[test]
    fn gzipped_files_are_inflated() {
        use std::io::Write;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(&file(&[4], &[1, 2, 3, 4])).expect("writes");
        let bytes = gz.finish().expect("ends");
        let (dims, data) = parse(MultiGzDecoder::new(&bytes[..]), 1)
            .ok()
            .expect("reads");
        assert_eq!((dims, data), (vec![4], vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_file_that_lies_about_its_length_is_refused() {
        let whole = file(&[2, 2, 2], &[0; 8]);
        for len in 0..whole.len() {
            assert!(
                matches!(parse(&whole[..len], 3), Err(Problem::Format(_))),
                "{len} bytes"
            );
        }
        let longer = file(&[2, 2, 2], &[0; 9]);
        assert!(matches!(parse(&longer[..], 3), Err(Problem::Format(_))));
        let huge = file(&[u32::MAX; 3], &[]);
        assert!(matches!(parse(&huge[..], 3), Err(Problem::Format(_))));
        assert!(matches!(parse(io::repeat(0), 3), Err(Problem::Format(_))));
        let bomb = file(&[1, 1, 1], &[]);
        assert!(matches!(
            parse(bomb.chain(io::repeat(0)), 3),
            Err(Problem::Format(_))
        ));
    }
}
