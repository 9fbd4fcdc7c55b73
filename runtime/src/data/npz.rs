//! NumPy archives (.npz): a zip file of `.npy` arrays, stored or deflated.
//!
//! Arrays are streamed out of the archive one after the other; sizes that the archive states are not relied on.
//! Does not know how a header is written (`npy`) nor how elements are (`elements`).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::elements::{Array, MAX_INFLATION};
use super::{DataError, Dataset, Place, Split, npy};

/// As many names of arrays as an error lists.
const NAMES_SHOWN: usize = 10;

/// Reads the arrays `x` and `y` and, where one of them is there, `x_test` and `y_test`.
///
/// `x` is `[N, …]` of u8, f32 or f64; `[N, H, W]` are images of one channel. `y` is `[N]` or `[N, 1]` integers, which
/// are classes, or `[N]` or `[N, …]` of f32 or f64, which are values. Either order of bytes, C order only.
pub fn load_npz(path: &Path) -> Result<Dataset, DataError> {
    let mut archive = Archive::open(path)?;
    let train = archive.split("x", "y")?;
    let has_test = archive.has("x_test") || archive.has("y_test");
    let test = has_test.then(|| archive.split("x_test", "y_test"));
    Dataset::new(path, train, test.transpose()?)
}

struct Archive<'p> {
    path: &'p Path,
    /// Of the file.
    len_bytes: u64,
    zip: ZipArchive<BufReader<File>>,
}

impl<'p> Archive<'p> {
    fn open(path: &'p Path) -> Result<Self, DataError> {
        let place = || Place {
            path: path.into(),
            array: None,
        };
        let io = |source| DataError::Io {
            place: place(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let len_bytes = file.metadata().map_err(io)?.len();
        let buffer = BufReader::with_capacity(1 << 16, file);
        let zip = ZipArchive::new(buffer).map_err(|e| zip_error(place(), e))?;
        Ok(Self {
            path,
            len_bytes,
            zip,
        })
    }

    fn has(&self, array: &str) -> bool {
        self.zip.index_for_name(&entry(array)).is_some()
    }

    fn split(&mut self, x: &'static str, y: &'static str) -> Result<Split, DataError> {
        for array in [x, y] {
            if !self.has(array) {
                return Err(self.missing(array));
            }
        }
        let targets = self.array(y)?.targets()?;
        Split::read(self.array(x)?, targets)
    }

    fn array(&mut self, name: &'static str) -> Result<Array<'_>, DataError> {
        let place = Place {
            path: self.path.into(),
            array: Some(name.into()),
        };
        let mut file = match self.zip.by_name(&entry(name)) {
            Ok(file) => file,
            Err(e) => return Err(zip_error(place, e)),
        };
        let compressed = file.compressed_size().min(self.len_bytes);
        let header = npy::header(&place, file.by_ref())?;
        Ok(Array {
            place,
            kind: header.kind,
            big_endian: header.big_endian,
            shape: header.shape,
            available: compressed.saturating_mul(MAX_INFLATION).min(file.size()),
            from: Box::new(file),
        })
    }

    fn missing(&self, array: &'static str) -> DataError {
        let names = self.zip.file_names().filter_map(Result::ok);
        let mut names: Vec<String> = names
            .filter_map(|n| n.strip_suffix(".npy").map(str::to_owned))
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.truncate(NAMES_SHOWN);
        let mut holds = names.join(", ");
        match count {
            0 => holds.push_str("no array"),
            n if n > NAMES_SHOWN => holds.push_str(&format!(" and {} more", n - NAMES_SHOWN)),
            _ => {}
        }
        DataError::MissingArray {
            path: self.path.into(),
            array,
            holds,
        }
    }
}

fn entry(array: &str) -> String {
    format!("{array}.npy")
}

fn zip_error(place: Place, error: ZipError) -> DataError {
    match error {
        ZipError::Io(source) => super::elements::stream_error(place, source),
        other => DataError::Corrupt {
            place,
            problem: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::super::npy::tests::npy;
    use super::super::{Inputs, Targets};
    use super::*;

    /// An archive that NumPy wrote.
    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(name)
    }

    fn write(folder: &Path, arrays: &[(&str, Vec<u8>)]) -> std::path::PathBuf {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            let options = SimpleFileOptions::default();
            zip.start_file(*name, options).expect("starts");
            zip.write_all(bytes).expect("writes");
        }
        let path = folder.join("f.npz");
        let bytes = zip.finish().expect("ends").into_inner();
        fs::write(&path, bytes).expect("writes");
        path
    }

    fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}");
        npy(&text, data)
    }

    /// Why an archive of these arrays is refused.
    fn refused(x: Vec<u8>, y: Vec<u8>) -> DataError {
        let folder = tempfile::tempdir().expect("a folder");
        let path = write(folder.path(), &[("x.npy", x), ("y.npy", y)]);
        load_npz(&path).expect_err("is refused")
    }

    #[test]
    fn bytes_and_classes_of_numpy_are_read() {
        let data = load_npz(&fixture("stored.npz")).expect("reads");
        assert_eq!(data.train.inputs, Inputs::U8((0..24).collect()));
        assert_eq!(data.train.shape, [1, 2, 4]);
        assert_eq!(data.train.targets, Targets::Classes(vec![2, 0, 1]));
        assert!(data.test.is_none());
    }

    #[test]
    fn floats_and_values_of_numpy_are_read() {
        let data = load_npz(&fixture("deflated.npz")).expect("reads");
        let halves = (0..24).map(|i| i as f32 / 2.0).collect();
        assert_eq!(data.train.inputs, Inputs::F32(halves));
        assert_eq!((data.train.len(), data.train.shape), (3, vec![1, 2, 4]));
        let test = data.test.expect("a test set");
        let quarters = (0..16).map(|i| i as f32 / 4.0).collect();
        assert_eq!(test.inputs, Inputs::F32(quarters));
        let ones = Targets::Values {
            data: vec![1.0; 4],
            shape: vec![2],
        };
        assert_eq!((test.len(), test.targets), (2, ones));
    }

    #[test]
    fn what_is_missing_or_in_fortran_order_is_named() {
        let error = load_npz(&fixture("no_y_test.npz")).expect_err("is not whole");
        let text = error.to_string();
        assert!(
            text.ends_with("array y_test is missing; the file holds x, x_test, y"),
            "{text}"
        );
        let error = load_npz(&fixture("fortran.npz")).expect_err("is refused");
        assert!(
            error
                .to_string()
                .contains("array x: its header says Fortran order")
        );
    }

    #[test]
    fn an_archive_cut_anywhere_or_flipped_never_panics() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.npz");
        for name in ["stored.npz", "deflated.npz"] {
            let whole = load_npz(&fixture(name)).expect("reads");
            let bytes = fs::read(fixture(name)).expect("reads");
            for len in 0..bytes.len() {
                fs::write(&path, &bytes[..len]).expect("writes");
                assert!(load_npz(&path).is_err(), "{len} bytes");
            }
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                fs::write(&path, &damaged).expect("writes");
                // A flip in names may hide the test set; data that is read is what was written.
                if let Ok(data) = load_npz(&path) {
                    assert_eq!(data.train, whole.train, "{name}, byte {at}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_differ_from_the_header_are_refused() {
        let y = || array("|u1", "(2,)", &[0, 1]);
        let error = refused(array("|u1", "(2, 2)", &[0; 3]), y());
        assert!(
            matches!(
                error,
                DataError::Truncated {
                    wanted: 4,
                    found: 3,
                    ..
                }
            ),
            "{error}"
        );
        let error = refused(array("|u1", "(2, 2)", &[0; 5]), y());
        assert!(
            matches!(error, DataError::Trailing { wanted: 4, .. }),
            "{error}"
        );
        let error = refused(array("|u1", "(3, 2)", &[0; 6]), y());
        assert!(
            matches!(
                error,
                DataError::Count {
                    inputs: 3,
                    targets: 2,
                    ..
                }
            ),
            "{error}"
        );
        let error = refused(array("<f8", "(2, 9223372036854775807)", &[]), y());
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
        let error = refused(array("|u1", "(0, 2)", &[]), array("|u1", "(0,)", &[]));
        assert!(matches!(error, DataError::Empty { .. }), "{error}");
        let error = refused(array("<i8", "(1, 1)", &[0; 8]), array("|u1", "(1,)", &[0]));
        assert!(matches!(error, DataError::Element { .. }), "{error}");
        let error = refused(Vec::new(), y());
        assert!(matches!(error, DataError::Header { .. }), "{error}");
    }

    #[test]
    fn an_array_that_inflates_without_end_is_left_early() {
        let bomb = array("|u1", "(1, 1)", &vec![0; 64 << 20]);
        let error = refused(bomb, array("|u1", "(1,)", &[0]));
        assert!(
            matches!(error, DataError::Trailing { wanted: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.npz");
        assert!(matches!(load_npz(&path), Err(DataError::Io { .. })));
        fs::write(&path, "text").expect("writes");
        assert!(matches!(load_npz(&path), Err(DataError::Corrupt { .. })));
        let many: Vec<_> = (0..12).map(|i| format!("a{i:02}.npy")).collect();
        let many: Vec<_> = many.iter().map(|n| (n.as_str(), Vec::new())).collect();
        let error = load_npz(&write(folder.path(), &many)).expect_err("is refused");
        assert!(
            error.to_string().ends_with("a08, a09 and 2 more"),
            "{error}"
        );
    }
}
