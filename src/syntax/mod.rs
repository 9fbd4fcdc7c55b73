//! Text to tree and back to text: the lexer, the parser and the formatter of `.nn` files.
//!
//! Nothing here knows an operator, a data set or a key of `train` by name; the grammar is in `docs/grammar.md`.
//! Errors carry codes E01xx:
//!
//! | code | what is wrong |
//! | --- | --- |
//! | E0100 | the file is not UTF-8 |
//! | E0101 | a character that means nothing |
//! | E0102 | something else was expected here |
//! | E0103 | an opening delimiter has no closing one |
//! | E0104 | a number is out of range |
//! | E0105 | nesting is deeper than [`MAX_DEPTH`] |
//! | E0106 | a string has no end |
//! | E0107 | the file is larger than [`MAX_BYTES`] |
//! | E0108 | two models, two `train`, or no model |
//! | E0109 | a positional argument behind a named one |
//! | E0110 | more layers than [`MAX_LAYERS`] or more values than [`MAX_VALUES`] |

pub mod ast;
mod format;
pub mod lexer;
mod parser;
mod tree;
mod written;

pub use format::format;
pub use parser::parse;
pub use tree::tree;

use crate::diag::{Diagnostic, Source, Span};

/// The largest source text, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// The deepest nesting of bodies and values together.
pub const MAX_DEPTH: usize = 128;
/// The most layers, branches and items that a file may hold.
pub const MAX_LAYERS: usize = 100_000;
/// The most values, parameters and entries that a file may hold.
pub const MAX_VALUES: usize = 1 << 21;
/// The most messages about one file; reading stops there.
pub const MAX_DIAGNOSTICS: usize = 50;

/// The source text that `bytes` hold.
///
/// # Errors
///
/// E0107 if there are more than [`MAX_BYTES`], E0100 if they are not UTF-8. With the message comes a source for
/// [`crate::diag::render`]: empty for the former, up to the end of the line of the first bad byte for the latter,
/// with `�` in the place of what is not text.
pub fn check_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, Box<(Source, Diagnostic)>> {
    let source = |text| Source {
        name: name.into(),
        text,
    };
    if bytes.len() > MAX_BYTES {
        return Err(Box::new((source(String::new()), too_large(bytes.len()))));
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(source(text)),
        Err(error) => error,
    };
    let at = bytes.utf8_error().valid_up_to();
    let bytes = bytes.as_bytes();
    let line_end = bytes[at..].iter().position(|&byte| byte == b'\n');
    let end = line_end.map_or(bytes.len(), |length| at + length);
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let diag = Diagnostic::error("E0100", "the file is not UTF-8 text")
        .at(
            Span::new(at, at + '\u{fffd}'.len_utf8()),
            format!("byte {} is {:#04x}", at + 1, bytes[at]),
        )
        .help("save the file as UTF-8");
    Err(Box::new((source(text), diag)))
}

fn too_large(len_bytes: usize) -> Diagnostic {
    let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
    Diagnostic::error("E0107", message)
        .note(format!("it has {len_bytes} bytes"))
        .help("keep data in a file of its own; this one is for the layers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_taken_as_it_is() {
        let source = check_bytes("a.nn", "é\r\n".into()).unwrap();
        assert_eq!(
            (source.name.as_str(), source.text.as_str()),
            ("a.nn", "é\r\n")
        );
    }

    #[test]
    fn a_bad_byte_is_shown_in_its_line() {
        let (source, diag) = *check_bytes("a.nn", b"ab\nc \xff d\nrest \xff".into()).unwrap_err();
        assert_eq!(source.text, "ab\nc \u{fffd} d");
        assert_eq!(diag.code, "E0100");
        assert_eq!(diag.span().unwrap().slice(&source.text), "\u{fffd}");
        assert_eq!(
            crate::diag::line_col(&source, diag.span().unwrap().start),
            (2, 3)
        );
        assert_eq!(diag.labels[0].text, "byte 6 is 0xff");
    }

    #[test]
    fn a_cut_character_at_the_end_is_shown() {
        let (source, diag) = *check_bytes("a.nn", b"ab\xc3".into()).unwrap_err();
        assert_eq!(diag.span().unwrap().slice(&source.text), "\u{fffd}");
    }

    #[test]
    fn a_huge_file_is_refused() {
        let (source, diag) = *check_bytes("a.nn", vec![b'#'; MAX_BYTES + 1]).unwrap_err();
        assert_eq!((source.text.len(), diag.code), (0, "E0107"));
        assert!(check_bytes("a.nn", vec![b'#'; MAX_BYTES]).is_ok());
    }
}
