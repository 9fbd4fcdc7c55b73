//! Arguments that are numbers or words, with the range that each must lie in.
//!
//! Numbers stay f64 and are rounded to f32 where a formula takes them. Does not know what they are for.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::{ArgError, ArgValue, Args, describe, wrong};

/// A number as an attribute of an operator: finite, told apart from others by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Real(u64);

impl Real {
    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// The number as arithmetic takes it.
    pub fn single(self) -> f32 {
        self.get() as f32
    }
}

impl From<f64> for Real {
    fn from(x: f64) -> Self {
        Self(x.to_bits())
    }
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// All numbers above one.
pub fn above(least: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(least), Bound::Unbounded)
}

impl Args {
    /// A number in a range, with a default.
    pub fn real_or(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
        default: f64,
    ) -> Result<Real, ArgError> {
        let Some(value) = self.get(name) else {
            return Ok(default.into());
        };
        let number = match value {
            ArgValue::Int(i) => *i as f64,
            ArgValue::Float(x) => *x,
            _ => {
                let message = format!("must be a number, not {}", describe(value));
                return Err(wrong(name, message));
            }
        };
        if !(number as f32).is_finite() {
            return Err(wrong(name, "is beyond the range of f32".into()));
        }
        match range.contains(&number) {
            true => Ok(number.into()),
            false => Err(wrong(name, format!("cannot be {value}"))),
        }
    }

    /// One of a few words, each with what it stands for, with a default. A word may stand in quotes.
    pub fn word_or<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&str, T)],
        default: T,
    ) -> Result<T, ArgError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let known = match value {
            ArgValue::Name(text) | ArgValue::Text(text) => words.iter().find(|w| w.0 == text),
            _ => None,
        };
        known.map(|w| w.1).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|w| w.0).collect();
            let message = format!("must be {}, not {}", words.join(" or "), describe(value));
            wrong(name, message)
        })
    }
}
