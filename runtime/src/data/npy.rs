//! The header of a NumPy array file (.npy), as numpy.lib.format documents it.
//!
//! The magic `\x93NUMPY`, a version, the length of what follows, and a Python dictionary of `descr`, `fortran_order`
//! and `shape`. Reads the dictionaries that NumPy writes, not Python: no nesting, so no recursion. Does not read
//! elements.

use std::io::Read;

use super::elements::{Kind, read_header};
use super::{DataError, Place};
use crate::foreign;

/// NumPy itself refuses longer headers.
const MAX_HEADER_BYTES: usize = 10_000;

const TYPES: &str = "booleans, integers, f2, f4 and f8";

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub kind: Kind,
    pub big_endian: bool,
    /// The first axis runs fastest.
    pub fortran: bool,
    /// The first size counts examples; there is at least one size.
    pub shape: Vec<usize>,
}

/// Reads up to the first element.
pub(super) fn header(place: &Place, mut from: impl Read) -> Result<Header, DataError> {
    let text = text(place, &mut from)?;
    let problem = |problem: &str| DataError::Header {
        place: place.clone(),
        problem: problem.into(),
    };
    let dictionary = Dictionary::parse(&text).ok_or_else(|| {
        problem("is not a dictionary of a plain 'descr', 'fortran_order' and 'shape'")
    })?;
    let (kind, big_endian) = element(dictionary.descr).ok_or_else(|| DataError::Element {
        place: place.clone(),
        role: "data",
        found: format!("'{}'", dictionary.descr),
        wanted: TYPES,
    })?;
    if dictionary.shape.is_empty() {
        return Err(problem("describes a single number, not an array"));
    }
    Ok(Header {
        kind,
        big_endian,
        fortran: dictionary.fortran_order,
        shape: dictionary.shape,
    })
}

/// The dictionary as text.
fn text(place: &Place, from: &mut impl Read) -> Result<String, DataError> {
    let mut start = [0; 8];
    read_header(place, from, &mut start)?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err(DataError::Magic {
            place: place.clone(),
            expected: "a NumPy array (\\x93NUMPY)",
            found: start.to_vec(),
            what: foreign::describe(&start),
        });
    }
    // Version 1 counts with two bytes, 2 and 3 with four.
    let mut count = [0; 4];
    let wide = if start[6] == 1 { 2 } else { 4 };
    read_header(place, from, &mut count[..wide])?;
    let len = u32::from_le_bytes(count) as usize;
    let problem = |problem| DataError::Header {
        place: place.clone(),
        problem,
    };
    if len > MAX_HEADER_BYTES || !(1..=3).contains(&start[6]) {
        let (version, most) = (start[6], MAX_HEADER_BYTES);
        return Err(problem(format!(
            "is of version {version} and {len} bytes; versions 1 to 3 with at most {most} are read"
        )));
    }
    let mut text = vec![0; len];
    read_header(place, from, &mut text)?;
    String::from_utf8(text).map_err(|_| problem("is not text".into()))
}

/// `<f4`: the order of the bytes (`|` where there is but one), the kind of number, its bytes.
fn element(descr: &str) -> Option<(Kind, bool)> {
    let (order, kind) = descr.split_at_checked(1)?;
    let big_endian = match order {
        ">" => true,
        "<" | "|" | "=" => false,
        _ => return None,
    };
    let kind = match kind {
        "b1" => Kind::Bool,
        "u1" => Kind::U8,
        "i1" => Kind::I8,
        "u2" => Kind::U16,
        "i2" => Kind::I16,
        "u4" => Kind::U32,
        "i4" => Kind::I32,
        "u8" => Kind::U64,
        "i8" => Kind::I64,
        "f2" => Kind::F16,
        "f4" => Kind::F32,
        "f8" => Kind::F64,
        _ => return None,
    };
    Some((kind, big_endian))
}

struct Dictionary<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Dictionary<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = string(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" if descr.is_none() => keep(&mut descr, string(value)?),
                "fortran_order" if fortran_order.is_none() => {
                    keep(&mut fortran_order, boolean(value)?)
                }
                "shape" if shape.is_none() => keep(&mut shape, tuple(value)?),
                _ => return None,
            };
            rest = match rest.trim_start() {
                "" => "",
                more => more.strip_prefix(',')?.trim_start(),
            };
        }
        Some(Self {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

fn keep<'a, T>(slot: &mut Option<T>, (value, rest): (T, &'a str)) -> &'a str {
    *slot = Some(value);
    rest
}

/// A string without escapes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

fn boolean(text: &str) -> Option<(bool, &str)> {
    let yes = text.strip_prefix("True").map(|rest| (true, rest));
    yes.or_else(|| text.strip_prefix("False").map(|rest| (false, rest)))
}

fn tuple(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim();
    let sizes = inside.strip_suffix(',').unwrap_or(inside);
    if sizes.is_empty() {
        return inside.is_empty().then_some((Vec::new(), rest));
    }
    let sizes = sizes.split(',').map(|size| size.trim().parse().ok());
    Some((sizes.collect::<Option<_>>()?, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array file of version 1.
    pub fn npy(dictionary: &str, data: &[u8]) -> Vec<u8> {
        let len = (dictionary.len() as u16).to_le_bytes();
        let start = b"\x93NUMPY\x01\x00";
        [start, &len[..], dictionary.as_bytes(), data].concat()
    }

    fn parse(file: &[u8]) -> Result<Header, DataError> {
        let place = Place {
            path: "f".into(),
            array: Some("x".into()),
        };
        header(&place, file)
    }

    fn problem(dictionary: &str) -> String {
        let error = parse(&npy(dictionary, &[])).expect_err("is refused");
        error.to_string()
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let text = "{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }          \n";
        let expected = Header {
            kind: Kind::F64,
            big_endian: true,
            fortran: false,
            shape: vec![2, 3],
        };
        assert_eq!(parse(&npy(text, &[])).expect("reads"), expected);
        let text = "{\"shape\":(7,),\"fortran_order\":True,\"descr\":\"|u1\"}";
        let header = parse(&npy(text, &[1; 7])).expect("reads");
        assert!(header.fortran);
        assert_eq!((header.kind, header.shape), (Kind::U8, vec![7]));
        for (descr, kind) in [("<f2", Kind::F16), ("|b1", Kind::Bool), ("<u8", Kind::U64)] {
            let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (7,)}}");
            assert_eq!(parse(&npy(&text, &[])).expect("reads").kind, kind);
        }
    }

    #[test]
    fn what_is_no_plain_array_is_refused() {
        let object = problem("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}");
        assert_eq!(
            object,
            "f, array x: elements of type '|O' are not read as data; booleans, integers, f2, f4 and f8 are"
        );
        let scalar = problem("{'descr': '<f4', 'fortran_order': False, 'shape': ()}");
        assert!(scalar.contains("single number"), "{scalar}");
        for text in [
            "",
            "{}",
            "{'descr'",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
            "{'é': 1}",
            "{é: 1}",
        ] {
            assert!(problem(text).contains("is not a dictionary"), "{text}");
        }
        assert!(problem("{'descr': 'é', 'fortran_order': False, 'shape': (1,)}").contains("'é'"));
        assert!(problem(&"(".repeat(9_999)).contains("is not a dictionary"));
    }

    #[test]
    fn a_header_cut_anywhere_or_flipped_never_panics() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let file = npy(text, &[]);
        for len in 0..file.len() {
            assert!(parse(&file[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = parse(&damaged);
        }
        let long = [&b"\x93NUMPY\x02\x00"[..], &[0xff; 4], &[b' '; 64]].concat();
        let error = parse(&long).expect_err("is too long").to_string();
        assert!(error.contains("4294967295 bytes"), "{error}");
    }
}
