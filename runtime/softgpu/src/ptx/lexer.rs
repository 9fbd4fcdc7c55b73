//! Cuts PTX into words, numbers and punctuation. A word keeps its dots, so an opcode with its modifiers is one word.

use super::PtxError;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    Integer(u64),
    /// Bits of `0fXXXXXXXX`.
    Single(u32),
    /// Bits of `0dXXXXXXXXXXXXXXXX`.
    Double(u64),
    Text(String),
    Punct(char),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Spanned {
    pub token: Token,
    pub line: u32,
}

pub fn lex(source: &str) -> Result<Vec<Spanned>, PtxError> {
    Lexer {
        bytes: source.as_bytes(),
        at: 0,
        line: 1,
        tokens: Vec::new(),
    }
    .run()
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    tokens: Vec<Spanned>,
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn run(mut self) -> Result<Vec<Spanned>, PtxError> {
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                _ if byte.is_ascii_whitespace() => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.skip_block()?,
                b'"' => self.text()?,
                _ if is_word_start(byte) => self.word(),
                _ if byte.is_ascii_digit() => self.number()?,
                _ if byte.is_ascii_graphic() => {
                    self.push(Token::Punct(byte as char));
                    self.at += 1;
                }
                _ => {
                    return Err(PtxError::new(
                        self.line,
                        format!("unexpected byte {byte:#04x}"),
                    ));
                }
            }
        }
        Ok(self.tokens)
    }

    fn push(&mut self, token: Token) {
        self.tokens.push(Spanned {
            token,
            line: self.line,
        });
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn skip_block(&mut self) -> Result<(), PtxError> {
        let start = self.line;
        while self.at < self.bytes.len() {
            if self.peek(0) == b'*' && self.peek(1) == b'/' {
                self.at += 2;
                return Ok(());
            }
            self.line += u32::from(self.peek(0) == b'\n');
            self.at += 1;
        }
        Err(PtxError::new(start, "a comment that does not end"))
    }

    fn text(&mut self) -> Result<(), PtxError> {
        let start = self.at + 1;
        let Some(len) = self.bytes[start..].iter().position(|&byte| byte == b'"') else {
            return Err(PtxError::new(self.line, "a string that does not end"));
        };
        let text = String::from_utf8_lossy(&self.bytes[start..start + len]).into_owned();
        self.line += text.matches('\n').count() as u32;
        self.push(Token::Text(text));
        self.at = start + len + 1;
        Ok(())
    }

    fn word(&mut self) {
        let start = self.at;
        self.at += 1;
        loop {
            if is_word(self.peek(0)) {
                self.at += 1;
            } else if self.peek(0) == b':' && self.peek(1) == b':' && is_word(self.peek(2)) {
                self.at += 2;
            } else {
                break;
            }
        }
        let word = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        self.push(Token::Word(word));
    }

    fn digits(&mut self, skip: usize) -> String {
        self.at += skip;
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'.' {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn number(&mut self) -> Result<(), PtxError> {
        let line = self.line;
        let bad = |text: &str| PtxError::new(line, format!("not a number: {text}"));
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| bad(text));
        let token = match (self.peek(0), self.peek(1).to_ascii_lowercase()) {
            (b'0', b'f') => {
                Token::Single(u32::try_from(hex(&self.digits(2))?).map_err(|_| bad("0f"))?)
            }
            (b'0', b'd') => Token::Double(hex(&self.digits(2))?),
            (b'0', b'x') => Token::Integer(hex(self.digits(2).trim_end_matches('U'))?),
            (b'0', b'b') => {
                let text = self.digits(2);
                Token::Integer(
                    u64::from_str_radix(text.trim_end_matches('U'), 2).map_err(|_| bad(&text))?,
                )
            }
            _ => {
                let text = self.digits(0);
                let digits = text.trim_end_matches('U');
                if digits.contains('.') {
                    Token::Double(digits.parse::<f64>().map_err(|_| bad(&text))?.to_bits())
                } else {
                    let radix = if digits.len() > 1 && digits.starts_with('0') {
                        8
                    } else {
                        10
                    };
                    Token::Integer(u64::from_str_radix(digits, radix).map_err(|_| bad(&text))?)
                }
            }
        };
        self.push(token);
        Ok(())
    }
}
