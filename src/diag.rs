//! Places in the source text. Knows nothing of what stands there.

/// A range of bytes in the one source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// For what no text stands behind.
    pub const ZERO: Span = Span { start: 0, end: 0 };
}
