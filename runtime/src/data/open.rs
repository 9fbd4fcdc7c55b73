//! A data set that is found, and of which the headers are read, but no element yet.
//!
//! What it holds decides what a model of it reads, and the model decides which shapes are wanted: so a data set is opened
//! before the model is built, and read once that is known. Does not know formats.

use std::path::{Path, PathBuf};

use super::elements::{Array, Kind};
use super::find::{self, Named, Origin};
use super::{DataError, Dataset, Wanted, Written, idx, inline, npz};

/// What a data set holds, by the headers of its training examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub inputs: Held,
    pub targets: Held,
}

/// What an array holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub numbers: Numbers,
    /// The sizes of one example's.
    pub sizes: Vec<usize>,
}

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// As inputs they stay bytes, and are divided by 255.
    Bytes,
    Integers,
    Reals,
}

impl Held {
    pub(super) fn of(array: &Array) -> Self {
        let numbers = match array.kind {
            Kind::U8 => Numbers::Bytes,
            Kind::F16 | Kind::F32 | Kind::F64 => Numbers::Reals,
            _ => Numbers::Integers,
        };
        let sizes = array.shape.get(1..).unwrap_or_default().to_vec();
        Self { numbers, sizes }
    }
}

impl Schema {
    /// Whether inputs stay bytes.
    pub fn bytes(&self) -> bool {
        self.inputs.numbers == Numbers::Bytes
    }
}

/// A data set that is opened.
#[derive(Clone, Debug)]
pub struct Opened<'a> {
    pub schema: Schema,
    source: Source<'a>,
}

/// Where its elements are.
#[derive(Clone, Debug)]
enum Source<'a> {
    Named(Origin),
    Folder(PathBuf),
    Npz(PathBuf),
    Inline { x: Written<'a>, y: Written<'a> },
}

impl<'a> Opened<'a> {
    /// One that is known by name, in the place where [`find`](super::find()) looks.
    pub fn named(name: Named, explicit: Option<&Path>) -> Result<Self, DataError> {
        let origin = find::locate(name, explicit)?;
        let schema = match &origin {
            Origin::Folder(dir) => idx::schema(dir),
            Origin::Subset => idx::subset_schema(),
        };
        let source = Source::Named(origin);
        schema.map(|schema| Self { schema, source })
    }

    /// A folder of IDX files.
    pub fn folder(dir: PathBuf) -> Result<Self, DataError> {
        let schema = idx::schema(&dir)?;
        let source = Source::Folder(dir);
        Ok(Self { schema, source })
    }

    /// A file of arrays.
    pub fn npz(path: PathBuf) -> Result<Self, DataError> {
        let schema = npz::schema(&path)?;
        let source = Source::Npz(path);
        Ok(Self { schema, source })
    }

    /// Numbers that are written down; a shape is that of a list of examples, though one example may stand alone.
    pub fn inline(x: Written<'a>, y: Written<'a>) -> Self {
        let held = |written: Written| Held {
            numbers: Numbers::Reals,
            sizes: written.shape.get(1..).unwrap_or_default().to_vec(),
        };
        Self {
            schema: Schema {
                inputs: held(x),
                targets: held(y),
            },
            source: Source::Inline { x, y },
        }
    }

    /// Where one that is known by name was found.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.source {
            Source::Named(origin) => Some(origin),
            _ => None,
        }
    }

    /// Reads the elements, which must be as wanted.
    pub fn read(self, wanted: &Wanted) -> Result<Dataset, DataError> {
        match self.source {
            Source::Named(origin) => find::load_from(origin, wanted),
            Source::Folder(dir) => idx::load_folder(&dir, wanted),
            Source::Npz(path) => npz::load_npz(&path, wanted),
            Source::Inline { x, y } => inline::load_inline(x, y, wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::{folder, idx, put};
    use super::super::{Inputs, TargetKind};
    use super::*;

    fn held(numbers: Numbers, sizes: &[usize]) -> Held {
        Held {
            numbers,
            sizes: sizes.to_vec(),
        }
    }

    #[test]
    fn a_folder_says_what_it_holds_before_it_is_read() {
        let folder = folder();
        let opened = Opened::folder(folder.path().into()).expect("opens");
        assert_eq!(opened.schema.inputs, held(Numbers::Bytes, &[1, 3]));
        assert_eq!(opened.schema.targets, held(Numbers::Bytes, &[]));
        assert!(opened.schema.bytes() && opened.origin().is_none());
        let wanted = Wanted {
            input: vec![1, 1, 3],
            targets: TargetKind::Classes(10),
        };
        let read = opened.clone().read(&wanted).expect("reads");
        assert_eq!(read.train.inputs, Inputs::U8(vec![1, 2, 3, 4, 5, 6]));
        // Elements that are missing are noticed when they are read.
        put(
            folder.path(),
            "train-images-idx3-ubyte",
            &idx(0x0d, &[2, 1, 3], &[0; 3]),
        );
        let opened = Opened::folder(folder.path().into()).expect("opens");
        assert_eq!(opened.schema.inputs, held(Numbers::Reals, &[1, 3]));
        assert!(opened.read(&wanted).is_err());
        put(folder.path(), "train-images-idx3-ubyte", &[0; 3]);
        assert!(Opened::folder(folder.path().into()).is_err());
    }

    #[test]
    fn the_subset_holds_bytes() {
        let schema = idx::subset_schema().expect("is whole");
        assert_eq!(schema.inputs, held(Numbers::Bytes, &[28, 28]));
        assert_eq!(schema.targets, held(Numbers::Bytes, &[]));
    }

    #[test]
    fn numbers_that_are_written_are_reals() {
        let written = |shape| Written {
            values: &[1.0, 2.0],
            shape,
        };
        let opened = Opened::inline(written(&[1, 2]), written(&[2]));
        assert_eq!(opened.schema.inputs, held(Numbers::Reals, &[2]));
        assert_eq!(opened.schema.targets, held(Numbers::Reals, &[]));
        assert!(!opened.schema.bytes());
    }
}
