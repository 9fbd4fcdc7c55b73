//! IDX files, gzipped or not: the format of MNIST and Fashion-MNIST.
//!
//! A file is two zero bytes, the type of an element (8: unsigned byte), the number of dimensions, each
//! dimension as a big-endian u32, then the elements, big-endian. Whether a file is gzipped is seen from its
//! first bytes, not from its name. Also holds the subset of Fashion-MNIST that is compiled in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::elements::{Array, Kind, MAX_INFLATION, read_header};
use super::open::{Held, Schema};
use super::{DataError, Dataset, Place, Split, TargetKind, Wanted};
use crate::foreign;

/// What the names of the files end with, beside `ubyte`; the header tells the type.
const TYPES: [&str; 6] = ["ubyte", "byte", "short", "int", "float", "double"];

/// Reads the pair `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and, where one of its files is there, the
/// `t10k` pair; with or without `.gz`, with `.` or `-` before `idx`.
///
/// Images are `[N, …]` with the sizes that are wanted, where bytes stay bytes and all else becomes f32. Labels are `[N]`
/// whole numbers for classes, or `[N, …]` with the sizes wanted for values.
pub fn load_folder(dir: &Path, wanted: &Wanted) -> Result<Dataset, DataError> {
    look(dir)?;
    let mut files = Vec::new();
    let mut read = |part| split(dir, part, wanted, &mut files);
    let train = read("train")?;
    let test = has_part(dir, "t10k").then(|| read("t10k")).transpose()?;
    Dataset::new(dir, files, train, test)
}

/// What the headers of the training files say.
pub(super) fn schema(dir: &Path) -> Result<Schema, DataError> {
    look(dir)?;
    let [images, labels] = paths(dir, "train")?;
    Ok(schema_of(&open(&images)?, &open(&labels)?))
}

/// What the headers of the subset say.
pub(super) fn subset_schema() -> Result<Schema, DataError> {
    let images = compiled_in(TRAIN_IMAGES, "images")?;
    Ok(schema_of(&images, &compiled_in(TRAIN_LABELS, "labels")?))
}

fn schema_of(images: &Array, labels: &Array) -> Schema {
    Schema {
        inputs: Held::of(images),
        targets: Held::of(labels),
    }
}

/// Fails where the folder is none or holds no file of a data set.
fn look(dir: &Path) -> Result<(), DataError> {
    match std::fs::metadata(dir) {
        Ok(m) if m.is_dir() => {}
        Ok(_) => return Err(DataError::NoFolder { path: dir.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(DataError::NoFolder { path: dir.into() });
        }
        Err(source) => {
            let place = place(dir);
            return Err(DataError::Io { place, source });
        }
    }
    if !holds_data(dir) {
        return Err(DataError::NoDataSet { path: dir.into() });
    }
    Ok(())
}

/// Whether the folder holds a file that only a data set has, be the set whole or not.
pub(super) fn holds_data(dir: &Path) -> bool {
    has_part(dir, "train") || has_part(dir, "t10k")
}

fn has_part(dir: &Path, part: &str) -> bool {
    ["images", "labels"]
        .iter()
        .any(|what| file(dir, part, what).is_some())
}

/// Reads a pair, whose files go to `files`.
fn split(
    dir: &Path,
    part: &str,
    wanted: &Wanted,
    files: &mut Vec<PathBuf>,
) -> Result<Split, DataError> {
    let [images, labels] = paths(dir, part)?;
    let split = pair(open(&images)?, open(&labels)?, wanted)?;
    files.extend([images, labels]);
    Ok(split)
}

/// The files of a pair.
fn paths(dir: &Path, part: &str) -> Result<[PathBuf; 2], DataError> {
    let path = |what, rank| {
        file(dir, part, what).ok_or_else(|| DataError::MissingFile {
            path: dir.into(),
            file: format!("{part}-{what}-idx{rank}-ubyte"),
        })
    };
    Ok([path("images", 3)?, path("labels", 1)?])
}

/// Shapes are looked at before elements are read.
fn pair(images: Array, labels: Array, wanted: &Wanted) -> Result<Split, DataError> {
    images.check_inputs(wanted)?;
    let targets = labels.targets(&wanted.targets)?;
    Split::read(images, targets, wanted)
}

/// The first name that is there; `ubyte`, the usual one, is tried first.
fn file(dir: &Path, part: &str, what: &str) -> Option<PathBuf> {
    let ranks: &[u8] = if what == "images" {
        &[3, 4, 2]
    } else {
        &[1, 2]
    };
    for kind in TYPES {
        for rank in ranks {
            for (dot, end) in [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")] {
                let path = dir.join(format!("{part}-{what}{dot}idx{rank}-{kind}{end}"));
                if path.is_file() {
                    return Some(path);
                }
            }
        }
    }
    None
}

fn place(path: &Path) -> Place {
    Place {
        path: path.into(),
        array: None,
    }
}

fn open(path: &Path) -> Result<Array<'static>, DataError> {
    let io = |source| DataError::Io {
        place: place(path),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    array(place(path), BufReader::with_capacity(1 << 16, file), len)
}

/// Inflates if need be, and reads the header. `len` is the size of what is behind `from`, in bytes.
fn array<'a>(place: Place, mut from: impl BufRead + 'a, len: u64) -> Result<Array<'a>, DataError> {
    let zipped = match from.fill_buf() {
        Ok(start) => start.starts_with(&[0x1f, 0x8b]),
        Err(source) => return Err(DataError::Io { place, source }),
    };
    let (from, available): (Box<dyn Read + 'a>, u64) = if zipped {
        let inflated = MultiGzDecoder::new(from);
        (Box::new(inflated), len.saturating_mul(MAX_INFLATION))
    } else {
        (Box::new(from), len)
    };
    header(place, from, available)
}

fn header<'a>(
    place: Place,
    mut from: Box<dyn Read + 'a>,
    available: u64,
) -> Result<Array<'a>, DataError> {
    let mut magic = [0; 4];
    read_header(&place, &mut from, &mut magic)?;
    let kind = match (magic, element(magic[2])) {
        ([0, 0, _, rank], Some(kind)) if rank > 0 => kind,
        _ => {
            return Err(DataError::Magic {
                place,
                expected: "an IDX file (two zero bytes, a type from 08 to 0e, a number of dimensions)",
                found: magic.to_vec(),
                what: foreign::describe(&magic),
            });
        }
    };
    let mut shape = Vec::new();
    for _ in 0..magic[3] {
        let mut size = [0; 4];
        read_header(&place, &mut from, &mut size)?;
        shape.push(u32::from_be_bytes(size) as usize);
    }
    Ok(Array {
        place,
        kind,
        big_endian: true,
        fortran: false,
        shape,
        available,
        from,
    })
}

fn element(code: u8) -> Option<Kind> {
    match code {
        0x08 => Some(Kind::U8),
        0x09 => Some(Kind::I8),
        0x0b => Some(Kind::I16),
        0x0c => Some(Kind::I32),
        0x0d => Some(Kind::F32),
        0x0e => Some(Kind::F64),
        _ => None,
    }
}

/// The training part of the subset.
const TRAIN_IMAGES: &[u8] = include_bytes!("../../data/fashion-mnist/train-images-idx3-ubyte.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../../data/fashion-mnist/train-labels-idx1-ubyte.gz");

/// The first 10,000 training and the first 2,000 test examples of Fashion-MNIST, which are compiled in: bytes of
/// shape `[1, 28, 28]` in ten classes.
pub fn subset() -> Dataset {
    let wanted = Wanted {
        input: vec![1, 28, 28],
        targets: TargetKind::Classes(10),
    };
    subset_as(&wanted).expect("the data that is compiled in is whole, as a test holds")
}

/// The same for a model that may want something else. Fails where it does, and at nothing else.
pub(super) fn subset_as(wanted: &Wanted) -> Result<Dataset, DataError> {
    let split = |images: &'static [u8], labels: &'static [u8]| {
        let (images, labels) = (
            compiled_in(images, "images")?,
            compiled_in(labels, "labels")?,
        );
        pair(images, labels, wanted)
    };
    let train = split(TRAIN_IMAGES, TRAIN_LABELS)?;
    let test = split(
        include_bytes!("../../data/fashion-mnist/t10k-images-idx3-ubyte.gz"),
        include_bytes!("../../data/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
    )?;
    Ok(Dataset {
        train,
        test: Some(test),
        files: vec![],
    })
}

fn compiled_in(bytes: &'static [u8], what: &str) -> Result<Array<'static>, DataError> {
    let place = Place {
        path: "Fashion-MNIST (compiled in)".into(),
        array: Some(what.into()),
    };
    array(place, bytes, bytes.len() as u64)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::super::{Inputs, Targets};
    use super::*;

    pub fn idx(code: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
        let header = [0, 0, code, dims.len() as u8];
        header
            .into_iter()
            .chain(dims.iter().flat_map(|d| d.to_be_bytes()))
            .chain(data.iter().copied())
            .collect()
    }

    fn gz(parts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for part in parts {
            gz.write_all(&part).expect("writes");
        }
        gz.finish().expect("ends")
    }

    /// A folder of two training images of 1 × 3 bytes.
    pub fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let images = idx(8, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        put(folder.path(), "train-images-idx3-ubyte", &images);
        put(
            folder.path(),
            "train-labels.idx1-ubyte",
            &idx(8, &[2], &[9, 0]),
        );
        folder
    }

    pub fn put(folder: &Path, name: &str, bytes: &[u8]) {
        std::fs::write(folder.join(name), bytes).expect("writes");
    }

    fn inputs(bytes: &[u8]) -> Result<(Vec<u8>, Vec<usize>), DataError> {
        let mut array = array(place(Path::new("a")), bytes, bytes.len() as u64)?;
        Ok((array.bytes()?, array.shape))
    }

    /// What the folder is asked for.
    fn wanted(classes: usize) -> Wanted {
        Wanted {
            input: vec![1, 1, 3],
            targets: TargetKind::Classes(classes),
        }
    }

    fn load(folder: &Path) -> Result<Dataset, DataError> {
        load_folder(folder, &wanted(300))
    }

    fn problem(bytes: &[u8]) -> String {
        inputs(bytes).expect_err("is refused").to_string()
    }

    #[test]
    fn a_folder_is_read_with_its_optional_test_set() {
        let folder = folder();
        let data = load(folder.path()).expect("reads");
        assert_eq!(data.train.inputs, Inputs::U8(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(data.train.targets, Targets::Classes(vec![9, 0]));
        assert_eq!((data.train.len(), data.test), (2, None));

        let floats: Vec<u8> = [0.5f32; 3].iter().flat_map(|x| x.to_be_bytes()).collect();
        let other = idx(0x0d, &[1, 1, 3], &floats);
        put(folder.path(), "t10k-images-idx3-float.gz", &gz([other]));
        let half = load(folder.path()).expect_err("has half a pair");
        assert!(matches!(half, DataError::MissingFile { .. }), "{half}");
        let label = idx(0x0c, &[1], &[0, 0, 1, 0]);
        put(folder.path(), "t10k-labels-idx1-int", &label);
        let differ = load(folder.path()).expect_err("differs");
        assert!(matches!(differ, DataError::Differ { .. }), "{differ}");

        let bytes = idx(8, &[1, 1, 3], &[7, 8, 9]);
        put(folder.path(), "t10k-images-idx3-ubyte", &bytes);
        let test = load(folder.path()).expect("reads").test;
        let test = test.expect("a test set");
        assert_eq!(test.inputs, Inputs::U8(vec![7, 8, 9]));
        assert_eq!(test.targets, Targets::Classes(vec![256]));
    }

    #[test]
    fn a_folder_without_data_is_told_from_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = load(folder.path());
        assert!(matches!(empty, Err(DataError::NoDataSet { .. })));
        let none = load(&folder.path().join("none"));
        assert!(matches!(none, Err(DataError::NoFolder { .. })));
    }

    #[test]
    fn labels_must_be_as_many_as_images_and_not_negative() {
        let folder = folder();
        let labels = |bytes: &[u8]| {
            put(folder.path(), "train-labels.idx1-ubyte", bytes);
            load(folder.path()).expect_err("is refused")
        };
        for count in [1, 3] {
            let error = labels(&idx(8, &[count], &vec![0; count as usize]));
            assert!(
                matches!(error, DataError::Count { inputs: 2, .. }),
                "{error}"
            );
        }
        let error = labels(&idx(9, &[2], &[0, 0xff])).to_string();
        assert!(
            error.contains("label 1 is -1; the model has 300 classes"),
            "{error}"
        );
        put(
            folder.path(),
            "train-labels.idx1-ubyte",
            &idx(8, &[2], &[9, 0]),
        );
        let error = load_folder(folder.path(), &wanted(9)).expect_err("is refused");
        assert!(
            error
                .to_string()
                .contains("train-labels.idx1-ubyte: label 0 is 9;")
        );
    }

    #[test]
    fn a_gzipped_file_is_known_by_its_first_bytes() {
        let read = inputs(&gz([idx(8, &[2, 2], &[1, 2, 3, 4])])).expect("reads");
        assert_eq!(read, (vec![1, 2, 3, 4], vec![2, 2]));
    }

    #[test]
    fn a_file_cut_anywhere_or_longer_is_an_error() {
        let whole = idx(8, &[2, 2, 2], &[5; 8]);
        let zipped = gz([whole.clone()]);
        for file in [&whole, &zipped] {
            inputs(file).expect("the whole file is read");
            for len in 0..file.len() {
                assert!(inputs(&file[..len]).is_err(), "{len} bytes");
            }
            for end in [&[0][..], &[0; 9], &[0; 100], b"\x1f\x8b"] {
                assert!(inputs(&[file, end].concat()).is_err(), "{end:?}");
            }
        }
        assert_eq!(
            problem(&whole[..21]),
            "a: it ends after 5 of the 8 bytes that its header announces"
        );
        assert_eq!(problem(&whole[..9]), "a: its header is cut off");
    }

    #[test]
    fn a_flipped_bit_in_a_gzipped_file_never_panics_and_is_found_by_the_checksum() {
        let data: Vec<u8> = (0..=255).collect();
        let file = gz([idx(8, &[1, 16, 16], &data)]);
        let whole = inputs(&file).expect("reads");
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Flags, time and system in the gzip header say nothing about the data, and not every bit of a
            // deflated block does; where the data would change, the checksum differs.
            assert!(inputs(&damaged).map_or(true, |d| d == whole), "bit {bit}");
        }
    }

    #[test]
    fn a_wrong_start_is_named() {
        for magic in [*b"PK\x03\x04", [0, 1, 8, 3], [0, 0, 10, 3], [0, 0, 8, 0]] {
            let file = [&magic[..], &[0; 64]].concat();
            assert!(problem(&file).contains("does not start like an IDX file"));
        }
        assert!(
            problem(b"PK\x03\x04")
                .ends_with(": it is a zip file, as .npz files and torch.save's are")
        );
        assert!(inputs(&[]).is_err());
        let many = [&[0, 0, 8, 255][..], &[0, 0, 0, 1].repeat(255), &[1]].concat();
        assert!(matches!(inputs(&many), Err(DataError::Shape { .. })));
    }

    #[test]
    fn a_gzip_bomb_is_left_at_its_first_byte_too_many() {
        let million = vec![0; 1 << 20];
        let head = idx(8, &[1, 1, 1], &[7]);
        let bomb = gz(std::iter::once(head).chain(std::iter::repeat_n(million, 1 << 10)));
        let start = std::time::Instant::now();
        let error = problem(&bomb);
        assert!(error.ends_with("goes on after the 1 byte that its header announces"));
        assert!(start.elapsed().as_millis() < 100, "{:?}", start.elapsed());
    }

    #[test]
    fn a_header_larger_than_the_file_takes_no_memory() {
        let file = idx(8, &[1 << 12, 1 << 10, 1 << 10], &[0; 3]);
        assert!(problem(&file).contains("ends after 3 of the 4294967296 bytes"));
        let file = idx(8, &[u32::MAX; 3], &[]);
        assert!(problem(&file).contains("more than the 4 GiB"));
        assert!(problem(&idx(8, &[2, 0, 3], &[])).contains("holds no element"));
    }

    #[test]
    fn the_subset_is_refused_by_a_model_of_another_shape() {
        let error = subset_as(&wanted(10))
            .expect_err("does not fit")
            .to_string();
        assert!(error.starts_with(
            "Fashion-MNIST (compiled in), array images: its shape is [10000, 28, 28]"
        ));
        let mut few = Wanted {
            input: vec![1, 28, 28],
            targets: TargetKind::Classes(5),
        };
        let error = subset_as(&few).expect_err("has more classes").to_string();
        assert!(error.contains("the model has 5 classes, 0 to 4"), "{error}");
        few.targets = TargetKind::Values(vec![1]);
        assert!(subset_as(&few).is_ok(), "labels are numbers, too");
    }

    #[test]
    fn the_subset_is_whole() {
        let data = subset();
        let test = data.test.expect("a test set");
        for (split, n) in [(data.train, 10_000), (test, 2_000)] {
            assert_eq!(split.len(), n);
            assert!(split.remarks.is_empty());
            let Inputs::U8(images) = split.inputs else {
                panic!("bytes")
            };
            assert_eq!(images.len(), n * 784);
            let Targets::Classes(classes) = split.targets else {
                panic!("classes")
            };
            assert!((0..10).all(|c| classes.contains(&c)) && classes.iter().all(|&c| c < 10));
        }
    }
}
