//! lenetc compiles a text that describes a convolutional network into machine code, and trains it.
#[allow(dead_code)]
pub mod diag {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Span {
        pub start: u32,
        pub end: u32,
    }
}
pub mod ir;
pub mod nest;
pub mod ops;
