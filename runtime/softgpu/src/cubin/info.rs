//! Lists of attributes, as `.nv.info` and `.nv.compat` hold them: a byte says how the value is kept, one which attribute
//! it is, and two are the value or the length of what follows. Knows no attribute by its number.

#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    pub id: u8,
    short: u16,
    payload: &'a [u8],
}

impl Attribute<'_> {
    /// The value of an attribute without a payload.
    pub fn number(&self) -> u32 {
        u32::from(self.short)
    }

    /// The payload in words of 32 bits; none where it is no whole number of them.
    pub fn words(&self) -> Vec<u32> {
        let (words, rest) = self.payload.as_chunks::<4>();
        if rest.is_empty() {
            words.iter().map(|&word| u32::from_le_bytes(word)).collect()
        } else {
            Vec::new()
        }
    }
}

pub fn attributes(mut bytes: &[u8]) -> Result<Vec<Attribute<'_>>, String> {
    const WITH_PAYLOAD: u8 = 4;
    let mut list = Vec::new();
    while let [format, id, low, high, rest @ ..] = bytes {
        let short = u16::from_le_bytes([*low, *high]);
        let len = match *format {
            1..WITH_PAYLOAD => 0,
            WITH_PAYLOAD => usize::from(short),
            other => return Err(format!("attribute {id:#x} of an unknown format, {other}")),
        };
        let Some((payload, behind)) = rest.split_at_checked(len) else {
            return Err(format!("attribute {id:#x} is cut off"));
        };
        list.push(Attribute {
            id: *id,
            short,
            payload,
        });
        bytes = behind;
    }
    if bytes.is_empty() {
        Ok(list)
    } else {
        Err("a list of attributes is cut off".to_string())
    }
}
