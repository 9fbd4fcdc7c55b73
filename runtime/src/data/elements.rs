//! The elements of an array, read from a stream into a vector of the final size.
//!
//! Knows element types and the order of their bytes; does not know file formats.

use std::io::{self, Read};

use super::{DataError, Inputs, MAX_BYTES, Place, Targets};

/// Deflate makes at most 1032 bytes of one, so a compressed file bounds what comes out of it.
pub(super) const MAX_INFLATION: u64 = 1040;

/// Elements converted at a time.
const CHUNK: usize = 4096;

/// More dimensions than this are no data set.
const MAX_RANK: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Kind {
    /// Bytes of one element.
    fn size_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// An array whose header is read and whose elements are still to come.
pub(super) struct Array<'a> {
    pub place: Place,
    pub kind: Kind,
    pub big_endian: bool,
    /// The first size counts examples; there is at least one size.
    pub shape: Vec<usize>,
    /// No more bytes than this can come, whatever the header says.
    pub available: u64,
    pub from: Box<dyn Read + 'a>,
}

impl Array<'_> {
    /// Inputs and the shape of one. Images without channels, `[N, H, W]`, get one.
    pub fn inputs(mut self) -> Result<(Inputs, Vec<usize>), DataError> {
        let shape = match self.shape[1..] {
            [] => return Err(self.misshapen("inputs", "a number of examples and their sizes")),
            [height, width] => vec![1, height, width],
            ref sizes => sizes.to_vec(),
        };
        let inputs = match self.kind {
            Kind::U8 => Inputs::U8(self.bytes()?),
            Kind::F32 | Kind::F64 => Inputs::F32(self.floats()?),
            _ => return Err(self.unreadable("inputs", "u8, f32 and f64")),
        };
        Ok((inputs, shape))
    }

    /// Integers are classes, floats are values; one value per example has the shape `[1]`.
    pub fn targets(mut self) -> Result<Targets, DataError> {
        if !matches!(self.kind, Kind::F32 | Kind::F64) {
            return match self.shape[1..] {
                [] | [1] => Ok(Targets::Classes(self.classes()?)),
                _ => Err(self.misshapen("classes", "one for each example")),
            };
        }
        let shape = match self.shape[1..] {
            [] => vec![1],
            ref sizes => sizes.to_vec(),
        };
        let data = self.floats()?;
        Ok(Targets::Values { data, shape })
    }

    fn misshapen(&self, role: &'static str, wanted: &'static str) -> DataError {
        DataError::Shape {
            place: self.place.clone(),
            role,
            shape: self.shape.clone(),
            wanted,
        }
    }

    fn unreadable(&self, role: &'static str, wanted: &'static str) -> DataError {
        DataError::Element {
            place: self.place.clone(),
            role,
            found: self.kind.name().into(),
            wanted,
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, DataError> {
        let count = self.count(1)?;
        let mut data = self.reserve(count)?;
        let read = self.from.by_ref().take(count).read_to_end(&mut data);
        match read {
            Ok(n) if (n as u64) < count => return Err(self.truncated(n as u64)),
            Ok(_) => self.end()?,
            Err(e) => return Err(self.failed(e, data.len() as u64)),
        }
        Ok(data)
    }

    fn floats(&mut self) -> Result<Vec<f32>, DataError> {
        match (self.kind, self.big_endian) {
            (Kind::F32, false) => self.convert(|_, b| Ok(f32::from_le_bytes(b))),
            (Kind::F32, true) => self.convert(|_, b| Ok(f32::from_be_bytes(b))),
            (_, false) => self.convert(|_, b| Ok(f64::from_le_bytes(b) as f32)),
            (_, true) => self.convert(|_, b| Ok(f64::from_be_bytes(b) as f32)),
        }
    }

    fn classes(&mut self) -> Result<Vec<i32>, DataError> {
        match (self.kind, self.big_endian) {
            (Kind::U8, _) => self.labels(|[b]: [u8; 1]| b.into()),
            (Kind::I8, _) => self.labels(|[b]: [u8; 1]| (b as i8).into()),
            (Kind::U16, false) => self.labels(|b| u16::from_le_bytes(b).into()),
            (Kind::U16, true) => self.labels(|b| u16::from_be_bytes(b).into()),
            (Kind::I16, false) => self.labels(|b| i16::from_le_bytes(b).into()),
            (Kind::I16, true) => self.labels(|b| i16::from_be_bytes(b).into()),
            (Kind::U32, false) => self.labels(|b| u32::from_le_bytes(b).into()),
            (Kind::U32, true) => self.labels(|b| u32::from_be_bytes(b).into()),
            (Kind::I32, false) => self.labels(|b| i32::from_le_bytes(b).into()),
            (Kind::I32, true) => self.labels(|b| i32::from_be_bytes(b).into()),
            (Kind::U64, false) => self.labels(|b| saturate(u64::from_le_bytes(b))),
            (Kind::U64, true) => self.labels(|b| saturate(u64::from_be_bytes(b))),
            (_, false) => self.labels(i64::from_le_bytes),
            (_, true) => self.labels(i64::from_be_bytes),
        }
    }

    fn labels<const N: usize>(
        &mut self,
        integer: impl Fn([u8; N]) -> i64,
    ) -> Result<Vec<i32>, DataError> {
        let place = self.place.clone();
        self.convert(|index, bytes| {
            let label = integer(bytes);
            match i32::try_from(label) {
                Ok(class @ 0..) => Ok(class),
                _ => Err(DataError::Label {
                    place: place.clone(),
                    index,
                    label,
                }),
            }
        })
    }

    /// Elements of `N` bytes, each converted as soon as it is read.
    fn convert<const N: usize, T>(
        &mut self,
        convert: impl Fn(usize, [u8; N]) -> Result<T, DataError>,
    ) -> Result<Vec<T>, DataError> {
        let count = self.count(size_of::<T>() as u64)?;
        let mut data = self.reserve(count)?;
        let mut buffer = vec![0; N * CHUNK];
        while (data.len() as u64) < count {
            let elements = (count - data.len() as u64).min(CHUNK as u64) as usize;
            let part = &mut buffer[..elements * N];
            self.fill(part, (data.len() * N) as u64)?;
            for &bytes in part.as_chunks::<N>().0 {
                data.push(convert(data.len(), bytes)?);
            }
        }
        self.end()?;
        Ok(data)
    }

    /// The number of elements, for which neither the file nor the memory may exceed the cap.
    fn count(&self, memory_size: u64) -> Result<u64, DataError> {
        let (place, shape) = (self.place.clone(), self.shape.clone());
        if shape.contains(&0) {
            return Err(DataError::Empty { place, shape });
        }
        if shape.len() > MAX_RANK {
            return Err(DataError::Shape {
                place,
                role: "data sets",
                shape,
                wanted: "at most 8 sizes",
            });
        }
        let size = self.kind.size_bytes().max(memory_size);
        let count = shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
            .filter(|&n| n <= MAX_BYTES / size);
        count.ok_or(DataError::TooLarge {
            place,
            shape,
            element: self.kind.name(),
        })
    }

    /// Room for the elements, but for no more than can come: a header alone does not take gigabytes.
    fn reserve<T>(&self, count: u64) -> Result<Vec<T>, DataError> {
        let possible = count.min(self.available / self.kind.size_bytes());
        let mut data = Vec::new();
        match data.try_reserve_exact(possible as usize) {
            Ok(()) => Ok(data),
            Err(_) => Err(DataError::Memory {
                place: self.place.clone(),
                bytes: possible * size_of::<T>() as u64,
            }),
        }
    }

    /// Fills the buffer; `before` bytes were read earlier.
    fn fill(&mut self, buffer: &mut [u8], before: u64) -> Result<(), DataError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let found = before + filled as u64;
            match self.from.read(&mut buffer[filled..]) {
                Ok(0) => return Err(self.truncated(found)),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e, found)),
            }
        }
        Ok(())
    }

    /// Nothing may follow. Reading to the end is also what verifies a compressed file's checksum.
    fn end(&mut self) -> Result<(), DataError> {
        let place = self.place.clone();
        let wanted = self.len_bytes();
        match self.from.by_ref().take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(DataError::Trailing { place, wanted }),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(DataError::Corrupt {
                place,
                problem: "it does not end where it should".into(),
            }),
            Err(e) => Err(self.failed(e, wanted)),
        }
    }

    fn failed(&self, e: io::Error, found: u64) -> DataError {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated(found),
            _ => stream_error(self.place.clone(), e),
        }
    }

    fn truncated(&self, found: u64) -> DataError {
        DataError::Truncated {
            place: self.place.clone(),
            wanted: self.len_bytes(),
            found,
        }
    }

    fn len_bytes(&self) -> u64 {
        let count = self.shape.iter().map(|&d| d as u64);
        count.product::<u64>() * self.kind.size_bytes()
    }
}

/// An error of the disk, or what a decompressor says of its data.
pub(super) fn stream_error(place: Place, source: io::Error) -> DataError {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => DataError::Corrupt {
            place,
            problem: source.to_string(),
        },
        _ => DataError::Io { place, source },
    }
}

/// Labels beyond i64 are refused like any that are beyond i32.
fn saturate(label: u64) -> i64 {
    i64::try_from(label).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<'a>(
        kind: Kind,
        big_endian: bool,
        shape: &[usize],
        bytes: impl Read + 'a,
    ) -> Array<'a> {
        Array {
            place: Place {
                path: "a".into(),
                array: None,
            },
            kind,
            big_endian,
            shape: shape.to_vec(),
            available: 64,
            from: Box::new(bytes),
        }
    }

    #[test]
    fn both_byte_orders_are_read() {
        let (le, be) = (1.5f64.to_le_bytes(), 1.5f64.to_be_bytes());
        for (big_endian, bytes) in [(false, le), (true, be)] {
            let values = array(Kind::F64, big_endian, &[1], &bytes[..]).targets();
            let expected = Targets::Values {
                data: vec![1.5],
                shape: vec![1],
            };
            assert_eq!(values.expect("reads"), expected);
        }
        let (le, be) = (700i16.to_le_bytes(), 700i16.to_be_bytes());
        for (big_endian, bytes) in [(false, le), (true, be)] {
            let classes = array(Kind::I16, big_endian, &[1, 1], &bytes[..]).targets();
            assert_eq!(classes.expect("reads"), Targets::Classes(vec![700]));
        }
    }

    #[test]
    fn a_label_is_at_least_0_and_an_i32() {
        let label = |kind, bytes: &[u8]| {
            let targets = array(kind, false, &[2], bytes).targets();
            match targets {
                Err(DataError::Label { index, label, .. }) => (index, label),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(label(Kind::I8, &[3, 0xff]), (1, -1));
        assert_eq!(label(Kind::U32, &[0xff; 8]), (0, i64::from(u32::MAX)));
        assert_eq!(label(Kind::U64, &[0xff; 16]), (0, i64::MAX));
        assert_eq!(label(Kind::I64, &[0xff; 16]), (0, -1));
    }

    #[test]
    fn sizes_that_overflow_or_hold_nothing_are_refused() {
        for shape in [&[usize::MAX; 3][..], &[1 << 33, 1], &[1 << 32, 1 << 32, 4]] {
            let huge = array(Kind::U8, false, shape, io::empty()).inputs();
            assert!(matches!(huge, Err(DataError::TooLarge { .. })), "{shape:?}");
        }
        let labels = array(Kind::U8, false, &[(1 << 30) + 1], io::empty()).targets();
        assert!(matches!(labels, Err(DataError::TooLarge { .. })));
        let none = array(Kind::U8, false, &[0, usize::MAX, 2], io::empty()).inputs();
        assert!(matches!(none, Err(DataError::Empty { .. })));
        let many = array(Kind::U8, false, &[1; 9], &[7][..]).inputs();
        assert!(matches!(many, Err(DataError::Shape { .. })));
    }

    #[test]
    fn a_stream_without_end_is_left_at_once_and_a_short_one_reported() {
        let endless = array(Kind::U8, false, &[2, 3], io::repeat(1)).inputs();
        assert!(matches!(
            endless,
            Err(DataError::Trailing { wanted: 6, .. })
        ));
        let short = array(Kind::F32, false, &[2, 3], &[0; 21][..]).inputs();
        let expected = "a: it ends after 21 of the 24 bytes that its header announces";
        assert_eq!(short.expect_err("is short").to_string(), expected);
    }

    #[test]
    fn a_header_of_4_gib_over_an_empty_file_reserves_little() {
        let bytes = array(Kind::U8, false, &[1 << 16, 1 << 16], &[0; 5][..]);
        let room: Vec<u8> = bytes.reserve(1 << 32).expect("reserves");
        assert!(room.capacity() <= 64);
        assert!(matches!(
            bytes.inputs(),
            Err(DataError::Truncated { found: 5, .. })
        ));
    }

    #[test]
    fn integers_are_no_inputs_and_classes_are_one_each() {
        let inputs = array(Kind::I32, false, &[1, 1], &[0; 4][..]).inputs();
        assert!(matches!(inputs, Err(DataError::Element { .. })));
        let classes = array(Kind::U8, false, &[1, 2], &[0; 2][..]).targets();
        assert!(matches!(classes, Err(DataError::Shape { .. })));
        let flat = array(Kind::U8, false, &[2], &[0; 2][..]).inputs();
        assert!(matches!(flat, Err(DataError::Shape { .. })));
    }
}
