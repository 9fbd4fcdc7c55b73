//! The words and signs of a loops text. Knows no kernel.

use super::ParseError;

/// A part of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word(String),
    /// A number without its sign, as it is written.
    Number(String),
    /// The bits of a NaN.
    Nan(u32),
    /// `%3`
    Named(u32),
    /// A comment's text.
    Note(String),
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    /// Counted from 1.
    pub line: usize,
}

/// Longer ones first, where one starts another.
const SIGNS: [&str; 25] = [
    "..", "<=", ">=", "==", "!=", "{", "}", "[", "]", "(", ")", ",", ":", ";", "?", "=", "<", ">",
    "+", "-", "*", "/", "&", "|", "!",
];

/// The tokens of a text, [`Kind::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            line += usize::from(c == '\n');
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (kind, len) = token(rest).ok_or_else(|| ParseError {
            line,
            message: match rest.starts_with("nan(") {
                true => "nan takes the eight hexadecimal digits of a NaN".into(),
                false => format!("`{}` means nothing here", c.escape_default()),
            },
        })?;
        out.push(Token { kind, line });
        rest = &rest[len..];
    }
    out.push(Token {
        kind: Kind::End,
        line,
    });
    Ok(out)
}

/// The first token and its length in bytes.
fn token(rest: &str) -> Option<(Kind, usize)> {
    let first = rest.bytes().next()?;
    if first == b'#' {
        let len = rest.find('\n').unwrap_or(rest.len());
        let text = &rest[1..len];
        let text = text.strip_prefix(' ').unwrap_or(text);
        return Some((Kind::Note(text.trim_end_matches('\r').into()), len));
    }
    if first.is_ascii_digit() {
        let len = number(rest.as_bytes());
        return Some((Kind::Number(rest[..len].into()), len));
    }
    if first == b'%' {
        let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[1..=digits].parse().ok()?;
        return Some((Kind::Named(number), digits + 1));
    }
    if let Some(bits) = rest.strip_prefix("nan(") {
        let bits = bits
            .get(..8)
            .filter(|_| bits.as_bytes().get(8) == Some(&b')'))?;
        let bits = u32::from_str_radix(bits, 16).ok()?;
        return f32::from_bits(bits)
            .is_nan()
            .then_some((Kind::Nan(bits), 13));
    }
    if first.is_ascii_alphabetic() || first == b'_' {
        let len = word(rest.as_bytes());
        return Some((Kind::Word(rest[..len].into()), len));
    }
    let sign = SIGNS.iter().find(|s| rest.starts_with(**s))?;
    Some((Kind::Sign(sign), sign.len()))
}

/// A point belongs to a word or number where more of it follows: `acc.1`, `0.5`, but `0..5`.
fn number(b: &[u8]) -> usize {
    let digits = |from: usize| b[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut len = digits(0);
    if b.get(len) == Some(&b'.') && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
    }
    if b.get(len) == Some(&b'e') {
        let sign = usize::from(matches!(b.get(len + 1), Some(b'-' | b'+')));
        if b.len() > len + 1 + sign && digits(len + 1 + sign) > 0 {
            len += 1 + sign + digits(len + 1 + sign);
        }
    }
    len
}

fn word(b: &[u8]) -> usize {
    let part = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let mut len = 0;
    while let Some(c) = b.get(len) {
        let point = *c == b'.' && b.get(len + 1).is_some_and(part);
        if !part(c) && !point {
            break;
        }
        len += 1;
    }
    len
}
