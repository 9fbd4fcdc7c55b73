//! NumPy archives (.npz): a zip file of `.npy` arrays, stored or deflated.
//!
//! Arrays are streamed out of the archive one after the other; sizes that the archive states are not relied on.
//! Does not know how a header is written (`npy`) nor how elements are (`elements`).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::elements::{Array, MAX_INFLATION};
use super::open::{Held, Schema};
use super::{DataError, Dataset, Place, Split, Wanted, npy};
use crate::foreign;

/// As many names of arrays as an error lists.
const NAMES_SHOWN: usize = 10;

/// Reads the arrays `x` and `y`, or `x_train` and `y_train`, and, where one of them is there, `x_test` and `y_test`.
///
/// Elements are booleans, integers or floats of 16 to 64 bits, in either order of bytes and of axes. `x` is `[N, …]` with
/// the sizes that are wanted, where u8 stays u8 and all else becomes f32; `y` is `[N]` or `[N, 1]` whole numbers for
/// classes, or `[N, …]` with the sizes wanted for values.
pub fn load_npz(path: &Path, wanted: &Wanted) -> Result<Dataset, DataError> {
    let mut archive = Archive::open(path)?;
    let train = archive.split(archive.training()?, wanted)?;
    let has_test = archive.has("x_test") || archive.has("y_test");
    let test = has_test.then(|| archive.split(["x_test", "y_test"], wanted));
    Dataset::new(path, vec![path.into()], train, test.transpose()?)
}

/// What the headers of the training arrays say.
pub(super) fn schema(path: &Path) -> Result<Schema, DataError> {
    let mut archive = Archive::open(path)?;
    let [x, y] = archive.training()?;
    archive.whole([x, y])?;
    let inputs = Held::of(&archive.array(x)?);
    let targets = Held::of(&archive.array(y)?);
    Ok(Schema { inputs, targets })
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
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(DataError::Foreign {
                path: path.into(),
                what: "a folder",
                advice: "npz(\"…\") names a file, idx(\"…\") a folder of IDX files",
            });
        }
        let len_bytes = metadata.len();
        let mut buffer = BufReader::with_capacity(1 << 16, file);
        refuse_foreign(path, buffer.fill_buf().map_err(io)?)?;
        let zip = ZipArchive::new(buffer).map_err(|e| match e {
            ZipError::Io(source) => super::elements::stream_error(place(), source),
            other => DataError::NoArchive {
                path: path.into(),
                problem: other.to_string(),
            },
        })?;
        Ok(Self {
            path,
            len_bytes,
            zip,
        })
    }

    fn has(&self, array: &str) -> bool {
        self.zip.index_for_name(&entry(array)).is_some()
    }

    /// The names of the arrays that are trained on.
    fn training(&self) -> Result<[&'static str; 2], DataError> {
        let (plain, long) = (["x", "y"], ["x_train", "y_train"]);
        let any = |pair: [&str; 2]| pair.into_iter().any(|name| self.has(name));
        match (any(plain), any(long)) {
            (true, true) => Err(DataError::TwoTrainingSets {
                path: self.path.into(),
                holds: self.holds(),
            }),
            (false, true) => Ok(long),
            _ => Ok(plain),
        }
    }

    /// Fails where an array is missing.
    fn whole(&self, arrays: [&str; 2]) -> Result<(), DataError> {
        let missing = arrays.into_iter().find(|array| !self.has(array));
        missing.map_or(Ok(()), |array| Err(self.missing(array)))
    }

    fn split(&mut self, [x, y]: [&str; 2], wanted: &Wanted) -> Result<Split, DataError> {
        self.whole([x, y])?;
        self.array(x)?.check_inputs(wanted)?;
        let targets = self.array(y)?.targets(&wanted.targets)?;
        Split::read(self.array(x)?, targets, wanted)
    }

    fn array(&mut self, name: &str) -> Result<Array<'_>, DataError> {
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
            fortran: header.fortran,
            shape: header.shape,
            available: compressed.saturating_mul(MAX_INFLATION).min(file.size()),
            from: Box::new(file),
        })
    }

    fn missing(&self, array: &str) -> DataError {
        DataError::MissingArray {
            path: self.path.into(),
            array: match array {
                "x" => "x (or x_train)".into(),
                "y" => "y (or y_train)".into(),
                other => other.into(),
            },
            holds: self.holds(),
        }
    }

    /// The names of the arrays.
    fn holds(&self) -> String {
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
        holds
    }
}

/// Says what a file is whose first bytes are not those of a zip file, where that is known.
fn refuse_foreign(path: &Path, start: &[u8]) -> Result<(), DataError> {
    if start.starts_with(b"PK") {
        return Ok(());
    }
    let advice = match start {
        [0x1f, 0x8b, ..] => "unpack it, or write it with numpy.savez_compressed",
        _ => "write it with numpy.savez(path, x=…, y=…)",
    };
    match foreign::describe(start) {
        Some(what) => Err(DataError::Foreign {
            path: path.into(),
            what,
            advice,
        }),
        None => Ok(()),
    }
}

fn entry(array: &str) -> String {
    format!("{array}.npy")
}

fn zip_error(place: Place, error: ZipError) -> DataError {
    match error {
        ZipError::Io(source) => super::elements::stream_error(place, source),
        ZipError::UnsupportedArchive(problem) => DataError::NoArchive {
            path: place.path,
            problem: problem.into(),
        },
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
    use super::super::{Inputs, TargetKind, Targets};
    use super::*;

    /// Classes of images, as most archives of these tests have them.
    fn images(classes: usize) -> Wanted {
        Wanted {
            input: vec![1, 2, 4],
            targets: TargetKind::Classes(classes),
        }
    }

    fn values(input: &[usize], output: &[usize]) -> Wanted {
        Wanted {
            input: input.to_vec(),
            targets: TargetKind::Values(output.to_vec()),
        }
    }

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
        load_npz(&path, &values(&[2], &[1])).expect_err("is refused")
    }

    #[test]
    fn bytes_and_classes_of_numpy_are_read() {
        let data = load_npz(&fixture("stored.npz"), &images(3)).expect("reads");
        assert_eq!(data.train.inputs, Inputs::U8((0..24).collect()));
        assert_eq!(data.train.targets, Targets::Classes(vec![2, 0, 1]));
        assert!(data.test.is_none());
    }

    #[test]
    fn floats_and_values_of_numpy_are_read() {
        let data = load_npz(&fixture("deflated.npz"), &values(&[1, 2, 4], &[2])).expect("reads");
        let halves = (0..24).map(|i| i as f32 / 2.0).collect();
        assert_eq!(data.train.inputs, Inputs::F32(halves));
        assert_eq!(data.train.len(), 3);
        let test = data.test.expect("a test set");
        let quarters = (0..16).map(|i| i as f32 / 4.0).collect();
        assert_eq!(test.inputs, Inputs::F32(quarters));
        assert_eq!(
            (test.len(), test.targets),
            (2, Targets::Values(vec![1.0; 4]))
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let load = |path: &Path| {
            load_npz(path, &images(3))
                .expect_err("is not whole")
                .to_string()
        };
        let text = load(&fixture("no_y_test.npz"));
        assert!(
            text.ends_with("array y_test is missing; the file holds x, x_test, y"),
            "{text}"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let text = load(&write(folder.path(), &[("data.npy", vec![])]));
        assert!(text.ends_with("array x (or x_train) is missing; the file holds data"));
        let text = load(&write(folder.path(), &[("x_train.npy", vec![])]));
        assert!(text.ends_with("array y_train is missing; the file holds x_train"));
        let text = load(&write(
            folder.path(),
            &[("x.npy", vec![]), ("y_train.npy", vec![])],
        ));
        assert!(
            text.contains("it holds x, y_train, two training sets"),
            "{text}"
        );
    }

    #[test]
    fn fortran_order_of_numpy_is_the_same_data() {
        let plain = load_npz(&fixture("stored.npz"), &images(3)).expect("reads");
        let fortran = load_npz(&fixture("fortran.npz"), &images(3)).expect("reads");
        assert_eq!((plain.train, plain.test), (fortran.train, fortran.test));
        assert_eq!(plain.files, [fixture("stored.npz")]);
    }

    #[test]
    fn training_sets_have_two_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let x = || array("|b1", "(2, 2)", &[0, 1, 1, 0]);
        let y = || array("|u1", "(2,)", &[0, 1]);
        let arrays = [
            ("x_train.npy", x()),
            ("y_train.npy", y()),
            ("x_test.npy", x()),
            ("y_test.npy", y()),
        ];
        let wanted = values(&[2], &[1]);
        let data = load_npz(&write(folder.path(), &arrays), &wanted).expect("reads");
        let train = Inputs::F32(vec![0.0, 1.0, 1.0, 0.0]);
        assert_eq!(data.train.inputs, train);
        assert_eq!(data.test, Some(data.train));
        let data = load_npz(&write(folder.path(), &arrays[..2]), &wanted).expect("reads");
        assert!(data.test.is_none());
        let floats = array("<f2", "(2, 2)", &[0; 8]);
        let bytes = array("|u1", "(2, 2)", &[0, 1, 2, 3]);
        let mixed = [
            ("x.npy", bytes),
            ("y.npy", y()),
            ("x_test.npy", floats),
            ("y_test.npy", y()),
        ];
        let error = load_npz(&write(folder.path(), &mixed), &wanted).expect_err("is mixed");
        assert!(matches!(error, DataError::Differ { .. }), "{error}");
    }

    #[test]
    fn an_archive_cut_anywhere_or_flipped_never_panics() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.npz");
        for (name, wanted) in [
            ("stored.npz", images(3)),
            ("fortran.npz", images(3)),
            ("deflated.npz", values(&[1, 2, 4], &[2])),
        ] {
            let load_npz = |path: &Path| super::load_npz(path, &wanted);
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
        let huge = array("<f8", "(9223372036854775807,)", &[]);
        let error = refused(array("|u1", "(9223372036854775807, 2)", &[]), huge);
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
        let error = refused(array("|u1", "(0, 2)", &[]), array("|u1", "(0,)", &[]));
        assert!(matches!(error, DataError::Empty { .. }), "{error}");
        let error = refused(array("<c8", "(1, 2)", &[0; 8]), array("|u1", "(1,)", &[0]));
        assert!(matches!(error, DataError::Element { .. }), "{error}");
        let error = refused(Vec::new(), y());
        assert!(matches!(error, DataError::Header { .. }), "{error}");
    }

    #[test]
    fn an_array_that_inflates_without_end_is_left_early() {
        let bomb = array("|u1", "(1, 2)", &vec![0; 64 << 20]);
        let error = refused(bomb, array("|u1", "(1,)", &[0]));
        assert!(
            matches!(error, DataError::Trailing { wanted: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.npz");
        let load_npz = |path: &Path| super::load_npz(path, &images(3));
        assert!(matches!(load_npz(&path), Err(DataError::Io { .. })));
        for bytes in ["text", "PK\x03\x04"] {
            fs::write(&path, bytes).expect("writes");
            assert!(matches!(load_npz(&path), Err(DataError::NoArchive { .. })));
        }
        for (start, what) in [
            (&b"\x93NUMPY\x01\x00"[..], "a single NumPy array (.npy)"),
            (
                b"\x1f\x8b\x08\x00",
                "compressed with gzip\n  = help: unpack it",
            ),
            (b"", "empty\n  = help: write it with numpy.savez"),
            (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        ] {
            fs::write(&path, start).expect("writes");
            let text = load_npz(&path).expect_err("is refused").to_string();
            assert!(text.contains(&format!("it is {what}")), "{text}");
        }
        let text = load_npz(folder.path())
            .expect_err("is a folder")
            .to_string();
        assert!(text.contains("is a folder"), "{text}");
        let many: Vec<_> = (0..12).map(|i| format!("a{i:02}.npy")).collect();
        let many: Vec<_> = many.iter().map(|n| (n.as_str(), Vec::new())).collect();
        let error = load_npz(&write(folder.path(), &many)).expect_err("is refused");
        assert!(
            error.to_string().ends_with("a08, a09 and 2 more"),
            "{error}"
        );
    }
}
