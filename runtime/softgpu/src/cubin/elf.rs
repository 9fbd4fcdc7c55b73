//! ELF files of 64 bits, little endian: header, sections, symbols, and how long a file is. Every number in a file is taken
//! for a guess until the bytes are there. Knows nothing of CUDA.

use std::collections::BTreeMap;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const SYMBOL_TABLE: u32 = 2;
/// A section without bytes in the file.
const NO_BITS: u32 = 8;
/// A module is some megabytes at most; what claims more is broken.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Debug)]
pub struct Section<'a> {
    pub name: &'a str,
    /// None for a section that has a size only.
    pub bytes: &'a [u8],
    pub size: u64,
    kind: u32,
    link: u32,
}

#[derive(Debug)]
pub struct Symbol<'a> {
    pub name: &'a str,
    pub kind: u8,
    pub other: u8,
    pub section: u16,
}

#[derive(Debug)]
pub struct Elf<'a> {
    pub os_abi: u8,
    pub abi: u8,
    pub kind: u16,
    pub machine: u16,
    pub flags: u32,
    pub sections: Vec<Section<'a>>,
}

/// Numbers at places of a part of a file.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or_else(cut_off)
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, String> {
        self.array(at).map(u64::from_le_bytes)
    }
}

fn cut_off() -> String {
    "the ELF file is cut off".to_string()
}

/// A table in the file.
struct Table {
    start: u64,
    entry_bytes: usize,
    count: usize,
}

impl Table {
    fn len(&self) -> usize {
        self.entry_bytes * self.count
    }

    fn end(&self) -> Result<u64, String> {
        end_of(self.start, self.len() as u64)
    }
}

fn end_of(start: u64, len: u64) -> Result<u64, String> {
    let end = start.checked_add(len).filter(|end| *end <= MAX_BYTES);
    end.ok_or_else(|| format!("the ELF file claims {len} bytes at {start:#x}"))
}

struct Header {
    sections: Table,
    segments: Table,
    names: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let fields = Fields(bytes);
        let ident: [u8; 7] = fields.array(0)?;
        if ident != *b"\x7fELF\x02\x01\x01" {
            return Err("no ELF file of 64 bits, little endian, version 1".to_string());
        }
        let table = |start, size, count, wanted: usize| {
            let (start, entry_bytes) = (fields.u64(start)?, fields.u16(size)?.into());
            let count = fields.u16(count)?.into();
            if count > 0 && entry_bytes != wanted {
                return Err(format!("ELF entries of {entry_bytes} bytes, not {wanted}"));
            }
            Ok(Table {
                start,
                entry_bytes,
                count,
            })
        };
        Ok(Self {
            segments: table(32, 54, 56, 56)?,
            sections: table(40, 58, 60, SECTION_BYTES)?,
            names: fields.u16(62)?.into(),
        })
    }
}

/// The length of a file in bytes, from its headers alone; `part` gives bytes at a place, or none where there are none.
pub fn len_bytes(part: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Result<u64, String> {
    let header = Header::read(&part(0, HEADER_BYTES).ok_or_else(cut_off)?)?;
    let mut len = header.segments.end()?.max(header.sections.end()?);
    let table = part(header.sections.start, header.sections.len()).ok_or_else(cut_off)?;
    for entry in table.chunks_exact(SECTION_BYTES) {
        let fields = Fields(entry);
        if fields.u32(4)? != NO_BITS {
            len = len.max(end_of(fields.u64(24)?, fields.u64(32)?)?);
        }
    }
    Ok(len.max(HEADER_BYTES as u64))
}

/// The text up to its zero byte.
fn text_at(strings: &[u8], at: u32) -> Result<&str, String> {
    let rest = strings.get(at as usize..);
    let text = rest.and_then(|rest| rest.split(|byte| *byte == 0).next());
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    text.ok_or_else(|| format!("no ELF name at {at}"))
}

impl<'a> Elf<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let header = Header::read(bytes)?;
        let within = |start: u64, len: u64| {
            let end = end_of(start, len)? as usize;
            bytes.get(start as usize..end).ok_or_else(cut_off)
        };
        within(header.segments.start, header.segments.len() as u64)?;
        let table = within(header.sections.start, header.sections.len() as u64)?;
        let mut sections = Vec::new();
        let mut names = Vec::new();
        for entry in table.chunks_exact(SECTION_BYTES) {
            let fields = Fields(entry);
            let (kind, size) = (fields.u32(4)?, fields.u64(32)?);
            let bytes = match kind {
                0 | NO_BITS => &[][..],
                _ => within(fields.u64(24)?, size)?,
            };
            names.push(fields.u32(0)?);
            sections.push(Section {
                name: "",
                bytes,
                size,
                kind,
                link: fields.u32(40)?,
            });
        }
        let strings = sections.get(header.names).map_or(&[][..], |s| s.bytes);
        let mut seen = BTreeMap::new();
        for (section, name) in sections.iter_mut().zip(names) {
            section.name = text_at(strings, name)?;
            if !section.name.is_empty() && seen.insert(section.name, ()).is_some() {
                return Err(format!("the ELF section {} stands twice", section.name));
            }
        }
        let fields = Fields(bytes);
        Ok(Self {
            os_abi: bytes[7],
            abi: bytes[8],
            kind: fields.u16(16)?,
            machine: fields.u16(18)?,
            flags: fields.u32(48)?,
            sections,
        })
    }

    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    pub fn section_at(&self, index: u16) -> Result<&Section<'a>, String> {
        let section = self.sections.get(usize::from(index));
        section.ok_or_else(|| format!("no ELF section {index}"))
    }

    /// All symbols, by number.
    pub fn symbols(&self) -> Result<Vec<Symbol<'a>>, String> {
        let Some(table) = self.sections.iter().find(|s| s.kind == SYMBOL_TABLE) else {
            return Err("the ELF file has no symbols".to_string());
        };
        let strings = self.sections.get(table.link as usize);
        let strings = strings.map_or(&[][..], |section| section.bytes);
        let entries = table.bytes.chunks_exact(SYMBOL_BYTES);
        let symbol = |entry| {
            let fields = Fields(entry);
            let [info, other] = fields.array(4)?;
            Ok(Symbol {
                name: text_at(strings, fields.u32(0)?)?,
                kind: info & 15,
                other,
                section: fields.u16(6)?,
            })
        };
        entries.map(symbol).collect()
    }
}
