//! Enumerations that know the list of their values, which printers and readers of text go by.
//!
//! Knows none of them.

/// An enumeration without fields, with `ALL` of its values in their order.
macro_rules! listed {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$of:meta])* $value:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $value,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$value),*];
        }
    };
}
