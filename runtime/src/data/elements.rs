//! The elements of an array, read from a stream into a vector of the final size.
//!
//! Knows element types, the order of their bytes and the order of axes; does not know file formats, nor what examples
//! are asked for.

use std::fmt;
use std::io::{self, Read};

use super::{DataError, MAX_BYTES, Place, order};
use crate::half;

/// Deflate makes at most 1032 bytes of one, so a compressed file bounds what comes out of it.
pub(super) const MAX_INFLATION: u64 = 1040;

/// Elements converted at a time.
const CHUNK: usize = 4096;

/// More dimensions than this are no data set.
const MAX_RANK: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

impl Kind {
    /// Bytes of one element.
    fn size_bytes(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// An element as the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i128),
    Real(f64),
}

impl Number {
    /// The nearest f32; beyond its range an infinity.
    pub(super) fn float(self) -> f32 {
        match self {
            Self::Integer(i) => i as f32,
            Self::Real(x) => x as f32,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Integer(i) => write!(f, "{i}"),
            // As short as the number is as f32, where it is one.
            Self::Real(x) if f64::from(*x as f32) == *x => short(f, *x as f32, *x),
            Self::Real(x) => short(f, *x, *x),
        }
    }
}

/// Writes a number without hundreds of digits; `size` is how large it is.
fn short<T: fmt::Display + fmt::LowerExp>(f: &mut fmt::Formatter, x: T, size: f64) -> fmt::Result {
    let plain = !size.is_finite() || size == 0.0 || (1e-6..1e16).contains(&size.abs());
    match plain {
        true => write!(f, "{x}"),
        false => write!(f, "{x:e}"),
    }
}

/// An array whose header is read and whose elements are still to come.
pub(super) struct Array<'a> {
    pub place: Place,
    pub kind: Kind,
    pub big_endian: bool,
    /// The first axis runs fastest, as in Fortran, and not the last.
    pub fortran: bool,
    /// The first size counts examples; there is at least one size.
    pub shape: Vec<usize>,
    /// No more bytes than this can come, whatever the header says.
    pub available: u64,
    pub from: Box<dyn Read + 'a>,
}

impl Array<'_> {
    /// The elements of an array of bytes, row-major.
    pub fn bytes(&mut self) -> Result<Vec<u8>, DataError> {
        let count = self.count(1)?;
        let mut data = self.reserve(count)?;
        let read = self.from.by_ref().take(count).read_to_end(&mut data);
        match read {
            Ok(n) if (n as u64) < count => return Err(self.truncated(n as u64)),
            Ok(_) => self.end()?,
            Err(e) => return Err(self.failed(e, data.len() as u64)),
        }
        self.row_major(data)
    }

    /// All elements, row-major, each as `take` has it, which is told the element's place in the stream.
    pub fn each<T: Copy + Default>(
        &mut self,
        take: impl FnMut(usize, Number) -> Result<T, DataError>,
    ) -> Result<Vec<T>, DataError> {
        use Number::{Integer, Real};
        match self.kind {
            Kind::Bool => self.convert(|[b]: [u8; 1]| Integer((b != 0).into()), take),
            Kind::U8 => self.convert(|[b]: [u8; 1]| Integer(b.into()), take),
            Kind::I8 => self.convert(|b| Integer(i8::from_le_bytes(b).into()), take),
            Kind::U16 => self.convert(|b| Integer(u16::from_le_bytes(b).into()), take),
            Kind::I16 => self.convert(|b| Integer(i16::from_le_bytes(b).into()), take),
            Kind::U32 => self.convert(|b| Integer(u32::from_le_bytes(b).into()), take),
            Kind::I32 => self.convert(|b| Integer(i32::from_le_bytes(b).into()), take),
            Kind::U64 => self.convert(|b| Integer(u64::from_le_bytes(b).into()), take),
            Kind::I64 => self.convert(|b| Integer(i64::from_le_bytes(b).into()), take),
            Kind::F16 => self.convert(
                |b| Real(half::f32_of_f16(u16::from_le_bytes(b)).into()),
                take,
            ),
            Kind::F32 => self.convert(|b| Real(f32::from_le_bytes(b).into()), take),
            Kind::F64 => self.convert(|b| Real(f64::from_le_bytes(b)), take),
        }
    }

    /// The position along each axis of an element that is at `index` in the stream.
    pub fn position(&self, index: usize) -> Vec<usize> {
        match self.fortran {
            true => order::first_fastest(&self.shape, index),
            false => order::last_fastest(&self.shape, index),
        }
    }

    /// Elements of `N` bytes, each decoded from little-endian order and taken as soon as it is read.
    fn convert<const N: usize, T: Copy + Default>(
        &mut self,
        decode: impl Fn([u8; N]) -> Number,
        mut take: impl FnMut(usize, Number) -> Result<T, DataError>,
    ) -> Result<Vec<T>, DataError> {
        let count = self.count(size_of::<T>() as u64)?;
        let mut data = self.reserve(count)?;
        let mut buffer = vec![0; N * CHUNK];
        while (data.len() as u64) < count {
            let elements = (count - data.len() as u64).min(CHUNK as u64) as usize;
            let part = &mut buffer[..elements * N];
            self.fill(part, (data.len() * N) as u64)?;
            for &(mut bytes) in part.as_chunks::<N>().0 {
                if self.big_endian {
                    bytes.reverse();
                }
                data.push(take(data.len(), decode(bytes))?);
            }
        }
        self.end()?;
        self.row_major(data)
    }

    /// The elements of the stream with the last axis running fastest. Takes as much memory again where another does.
    fn row_major<T: Copy + Default>(&self, stream: Vec<T>) -> Result<Vec<T>, DataError> {
        let one_axis = self.shape.iter().filter(|&&size| size > 1).count() < 2;
        if !self.fortran || one_axis {
            return Ok(stream);
        }
        let mut data: Vec<T> = self.reserve(stream.len() as u64)?;
        data.resize(stream.len(), T::default());
        order::transpose(&stream, &mut data, &self.shape);
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

/// Fills `bytes` with a part of a header.
pub(super) fn read_header(
    place: &Place,
    from: &mut dyn Read,
    bytes: &mut [u8],
) -> Result<(), DataError> {
    from.read_exact(bytes).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => DataError::Header {
            place: place.clone(),
            problem: "is cut off".into(),
        },
        _ => stream_error(place.clone(), e),
    })
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array of little-endian elements.
    pub fn array<'a>(kind: Kind, shape: &[usize], bytes: impl Read + 'a) -> Array<'a> {
        Array {
            place: Place {
                path: "a".into(),
                array: None,
            },
            kind,
            big_endian: false,
            fortran: false,
            shape: shape.to_vec(),
            available: 64,
            from: Box::new(bytes),
        }
    }

    fn floats(mut array: Array) -> Result<Vec<f32>, DataError> {
        array.each(|_, number| Ok(number.float()))
    }

    #[test]
    fn every_type_is_read_in_both_byte_orders() {
        fn both<const N: usize>(kind: Kind, bytes: [u8; N], expected: Number) {
            for big_endian in [false, true] {
                let mut bytes = bytes;
                if big_endian {
                    bytes.reverse();
                }
                let mut array = array(kind, &[1], &bytes[..]);
                array.big_endian = big_endian;
                let mut found = None;
                let read = array.each(|index, number| {
                    found = Some((index, number));
                    Ok(0)
                });
                assert_eq!(read.expect("reads"), [0]);
                assert_eq!(found, Some((0, expected)), "{kind:?}");
            }
        }
        use Number::{Integer, Real};
        both(Kind::Bool, [1], Integer(1));
        both(Kind::Bool, [7], Integer(1));
        both(Kind::Bool, [0], Integer(0));
        both(Kind::U8, [0xff], Integer(255));
        both(Kind::I8, [0xff], Integer(-1));
        both(Kind::U16, 700u16.to_le_bytes(), Integer(700));
        both(Kind::I16, (-700i16).to_le_bytes(), Integer(-700));
        both(Kind::U32, u32::MAX.to_le_bytes(), Integer(u32::MAX.into()));
        both(Kind::I32, i32::MIN.to_le_bytes(), Integer(i32::MIN.into()));
        both(Kind::U64, u64::MAX.to_le_bytes(), Integer(u64::MAX.into()));
        both(Kind::I64, i64::MIN.to_le_bytes(), Integer(i64::MIN.into()));
        both(Kind::F16, 0x3e00u16.to_le_bytes(), Real(1.5));
        both(Kind::F32, 1.5f32.to_le_bytes(), Real(1.5));
        both(Kind::F64, 1.5f64.to_le_bytes(), Real(1.5));
    }

    #[test]
    fn numbers_are_shown_as_they_were_written() {
        assert_eq!(Number::Real(f64::from(0.1f32)).to_string(), "0.1");
        assert_eq!(Number::Real(0.1).to_string(), "0.1");
        assert_eq!(Number::Real(1e300).to_string(), "1e300");
        assert_eq!(Number::Real(-0.0).to_string(), "-0");
        assert_eq!(Number::Real(f64::NAN).to_string(), "NaN");
        assert_eq!(Number::Integer(-3).to_string(), "-3");
    }

    #[test]
    fn fortran_order_gives_the_same_elements() {
        // More examples than are put in order at a time.
        for shape in [
            &[2, 3][..],
            &[3, 2, 2],
            &[600, 2, 3],
            &[1, 2, 3],
            &[4],
            &[2, 1, 1],
        ] {
            let len: usize = shape.iter().product();
            let mut array = array(Kind::U16, shape, io::empty());
            array.fortran = true;
            let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
            let bytes: Vec<u8> = (0..len)
                .flat_map(|index| {
                    let position = array.position(index);
                    let at: usize = (0..shape.len()).map(|a| position[a] * stride(a)).sum();
                    (at as u16).to_le_bytes()
                })
                .collect();
            array.available = bytes.len() as u64;
            array.from = Box::new(io::Cursor::new(bytes));
            let expected: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(floats(array).expect("reads"), expected, "{shape:?}");
        }
        let mut bytes = array(Kind::U8, &[2, 3], &[0, 3, 1, 4, 2, 5][..]);
        bytes.fortran = true;
        assert_eq!(bytes.bytes().expect("reads"), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_element_s_position_follows_the_order_of_axes() {
        let mut array = array(Kind::U8, &[2, 3, 4], io::empty());
        assert_eq!(array.position(0), [0, 0, 0]);
        assert_eq!(array.position(23), [1, 2, 3]);
        assert_eq!(array.position(5), [0, 1, 1]);
        array.fortran = true;
        assert_eq!(array.position(5), [1, 2, 0]);
    }

    #[test]
    fn sizes_that_overflow_or_hold_nothing_are_refused() {
        for shape in [&[usize::MAX; 3][..], &[1 << 33, 1], &[1 << 32, 1 << 32, 4]] {
            let huge = array(Kind::U8, shape, io::empty()).bytes();
            assert!(matches!(huge, Err(DataError::TooLarge { .. })), "{shape:?}");
        }
        let floats = floats(array(Kind::U8, &[(1 << 30) + 1], io::empty()));
        assert!(matches!(floats, Err(DataError::TooLarge { .. })));
        let none = array(Kind::U8, &[0, usize::MAX, 2], io::empty()).bytes();
        assert!(matches!(none, Err(DataError::Empty { .. })));
        let many = array(Kind::U8, &[1; 9], &[7][..]).bytes();
        assert!(matches!(many, Err(DataError::Shape { .. })));
    }

    #[test]
    fn a_stream_without_end_is_left_at_once_and_a_short_one_reported() {
        let endless = array(Kind::U8, &[2, 3], io::repeat(1)).bytes();
        assert!(matches!(
            endless,
            Err(DataError::Trailing { wanted: 6, .. })
        ));
        let short = floats(array(Kind::F32, &[2, 3], &[0; 21][..]));
        let expected = "a: it ends after 21 of the 24 bytes that its header announces";
        assert_eq!(short.expect_err("is short").to_string(), expected);
    }

    #[test]
    fn a_header_of_4_gib_over_an_empty_file_reserves_little() {
        for fortran in [false, true] {
            let mut bytes = array(Kind::U8, &[1 << 16, 1 << 16], &[0; 5][..]);
            bytes.fortran = fortran;
            let room: Vec<u8> = bytes.reserve(1 << 32).expect("reserves");
            assert!(room.capacity() <= 64);
            assert!(matches!(
                bytes.bytes(),
                Err(DataError::Truncated { found: 5, .. })
            ));
        }
    }
}
