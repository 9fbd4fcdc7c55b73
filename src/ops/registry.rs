//! Lists of values that a model can name: losses, optimizers, initialisers, data sets.
//!
//! A value is one line of its list and a type that implements the list's trait, which has a `signature` and reads its
//! arguments. Does not know texts, nor what the values are for.

use super::args::{ArgError, Args, Signature};

/// A list of values that are written as calls. An instance is one of them with its arguments.
pub trait Registry: Sized {
    /// How each is written.
    fn signatures() -> Vec<Signature>;
    /// The value of this name with its arguments; `None` where none is called so.
    fn read(name: &str, args: &Args) -> Option<Result<Self, ArgError>>;
}

/// An enumeration of the types in a list, each of which implements the trait `$rules`: it reads their calls by name, and
/// stands for the trait's methods of the one that it is.
macro_rules! registry {
    ($(#[$about:meta])* pub enum $any:ident of $rules:ident { $($item:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $any { $($item($item),)+ }

        $(impl From<$item> for $any { fn from(value: $item) -> Self { Self::$item(value) } })+

        impl $crate::ops::Registry for $any {
            fn signatures() -> Vec<$crate::ops::Signature> {
                vec![$(<$item as $rules>::signature()),+]
            }
            fn read(
                name: &str,
                args: &$crate::ops::Args,
            ) -> Option<Result<Self, $crate::ops::ArgError>> {
                $(if <$item as $rules>::signature().name == name {
                    return Some(<$item as $rules>::from_args(args).map(Self::from));
                })+
                None
            }
        }

        impl std::ops::Deref for $any {
            type Target = dyn $rules;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$item(value) => value,)+ }
            }
        }
    };
}
pub(crate) use registry;
