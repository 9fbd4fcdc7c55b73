//! Arguments that are numbers, words or lists of them, with the range that each must lie in.
//!
//! Numbers stay f64, as torch computes with them before it rounds: 1 − 0.999 is exact to 16 digits, and is rounded to f32
//! where a formula takes it. Does not know what they are for.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::{ArgError, ArgValue, Args, beyond, describe, wrong};
use crate::diag;

/// A number as an attribute of an operator: finite, told apart from others by its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
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
    /// A number in a range, which must be given.
    pub fn real(&self, name: &'static str, range: impl RangeBounds<f64>) -> Result<Real, ArgError> {
        real(name, self.required(name)?, &range)
    }

    /// The same with a default.
    pub fn real_or(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
        default: f64,
    ) -> Result<Real, ArgError> {
        let given = self.get(name);
        given.map_or(Ok(default.into()), |v| real(name, v, &range))
    }

    /// The same where it may be missing.
    pub fn real_if_given(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
    ) -> Result<Option<Real>, ArgError> {
        let given = self.get(name);
        given.map(|v| real(name, v, &range)).transpose()
    }

    /// The same, where `None` says that there is none.
    pub fn real_or_none(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
        default: f64,
    ) -> Result<Option<Real>, ArgError> {
        match self.get(name) {
            Some(ArgValue::Name(word)) if word == "None" => Ok(None),
            _ => self.real_or(name, range, default).map(Some),
        }
    }

    /// So many numbers, as a pair `(0.9, 0.999)`, with a default.
    pub fn reals_or<const N: usize>(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
        default: [f64; N],
    ) -> Result<[Real; N], ArgError> {
        let Some(value) = self.get(name) else {
            return Ok(default.map(Real::from));
        };
        let all = reals(name, value, &range)?;
        let found = all.len();
        all.try_into().map_err(|_| {
            let [wanted, found] = [N, found].map(|n| diag::count(n as u64, "number"));
            wrong(name, format!("takes {wanted}, not {found}"))
        })
    }

    /// Any number of numbers, `None` where they are not given.
    pub fn reals_if_given(
        &self,
        name: &'static str,
        range: impl RangeBounds<f64>,
    ) -> Result<Option<Vec<Real>>, ArgError> {
        let given = self.get(name);
        given.map(|v| reals(name, v, &range)).transpose()
    }

    /// Any number of whole numbers of at least `least`, which must be given.
    pub fn sizes(&self, name: &'static str, least: i64) -> Result<Vec<u32>, ArgError> {
        let items = items(name, self.required(name)?)?.iter().enumerate();
        let size = |(k, v)| super::number(name, v, least).map_err(|e| e.of_entry(k));
        items.map(size).collect()
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
            let all = match &words[..] {
                [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                all => all.concat(),
            };
            wrong(name, format!("must be {all}, not {}", describe(value)))
        })
    }

    /// A text in quotes, which must be given; `what` says what it is.
    pub fn text(&self, name: &'static str, what: &str) -> Result<&str, ArgError> {
        match self.required(name)? {
            ArgValue::Text(text) => Ok(text),
            value => {
                let message = format!("must be {what}, in quotes, not {}", describe(value));
                Err(wrong(name, message))
            }
        }
    }
}

impl ArgError {
    /// The same about an entry of the list.
    pub fn of_entry(mut self, entry: usize) -> Self {
        self.within.insert(0, entry);
        self
    }
}

fn real(
    name: &'static str,
    value: &ArgValue,
    range: &impl RangeBounds<f64>,
) -> Result<Real, ArgError> {
    let number = match value {
        ArgValue::Int(i) => *i as f64,
        ArgValue::Float(x) => *x,
        _ => {
            let message = format!("must be a number, not {}", describe(value));
            return Err(wrong(name, message));
        }
    };
    if !(number as f32).is_finite() {
        return Err(beyond(name, "is beyond the range of f32".into()));
    }
    match range.contains(&number) {
        true => Ok(number.into()),
        false => Err(beyond(
            name,
            format!("must be {}, not {value}", words(range)),
        )),
    }
}

/// The numbers of a list or a tuple; one alone is a list of itself.
fn reals(
    name: &'static str,
    value: &ArgValue,
    range: &impl RangeBounds<f64>,
) -> Result<Vec<Real>, ArgError> {
    let items = items(name, value)?.iter().enumerate();
    let number = |(k, v)| real(name, v, range).map_err(|e| e.of_entry(k));
    items.map(number).collect()
}

fn items<'a>(name: &'static str, value: &'a ArgValue) -> Result<&'a [ArgValue], ArgError> {
    match value {
        ArgValue::Tuple(items) | ArgValue::List(items) => Ok(items),
        _ => {
            let message = format!("must be a list of numbers, not {}", describe(value));
            Err(wrong(name, message))
        }
    }
}

/// What a range demands, behind "must be".
fn words(range: &impl RangeBounds<f64>) -> String {
    use Bound::{Excluded, Included, Unbounded};
    match (range.start_bound(), range.end_bound()) {
        (Included(a), Included(b)) => format!("from {a} to {b}"),
        (Included(a), Excluded(b)) => format!("at least {a} and below {b}"),
        (Excluded(a), Included(b)) => format!("above {a} and at most {b}"),
        (Excluded(a), Excluded(b)) => format!("above {a} and below {b}"),
        (Included(a), Unbounded) => format!("at least {a}"),
        (Excluded(a), Unbounded) => format!("above {a}"),
        (Unbounded, Included(b)) => format!("at most {b}"),
        (Unbounded, Excluded(b)) => format!("below {b}"),
        (Unbounded, Unbounded) => "a number".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    fn of(value: ArgValue) -> Args {
        Args {
            values: vec![("x", value)],
        }
    }

    fn refused<T: fmt::Debug>(result: Result<T, ArgError>) -> (Fault, String) {
        let error = result.expect_err("is refused");
        (error.fault, error.message)
    }

    #[test]
    fn a_number_lies_in_its_range() {
        let half = of(ArgValue::Float(0.5));
        assert_eq!(half.real("x", 0.0..=1.0), Ok(0.5.into()));
        assert_eq!(half.real_if_given("x", above(0.0)), Ok(Some(0.5.into())));
        assert_eq!(of(ArgValue::Int(2)).real("x", ..), Ok(2.0.into()));
        let none = Args::default();
        assert_eq!(none.real_or("x", .., 0.1), Ok(0.1.into()));
        assert_eq!(none.real_if_given("x", ..), Ok(None));
        assert_eq!(none.real_or_none("x", .., 0.1), Ok(Some(0.1.into())));
        let given = of(ArgValue::Name("None".into()));
        assert_eq!(given.real_or_none("x", .., 0.1), Ok(None));
        let one = of(ArgValue::Int(1));
        for (result, said) in [
            (
                one.real("x", 0.0..1.0),
                "x must be at least 0 and below 1, not 1",
            ),
            (one.real("x", above(1.0)), "x must be above 1, not 1"),
            (one.real("x", 2.0..), "x must be at least 2, not 1"),
            (one.real("x", 2.0..=3.0), "x must be from 2 to 3, not 1"),
            (one.real("x", ..1.0), "x must be below 1, not 1"),
            (one.real("x", ..=0.0), "x must be at most 0, not 1"),
            (
                of(ArgValue::Float(1e39)).real("x", ..),
                "x is beyond the range of f32",
            ),
        ] {
            assert_eq!(refused(result), (Fault::Range, said.into()));
        }
        let word = of(ArgValue::Name("much".into())).real("x", ..);
        let said = "x must be a number, not `much`".into();
        assert_eq!(refused(word), (Fault::Kind, said));
        assert_eq!(refused(none.real("x", ..)).1, "x is missing");
    }

    #[test]
    fn numbers_stand_in_tuples_and_lists() {
        let numbers = || vec![ArgValue::Float(0.9), ArgValue::Float(0.999)];
        for value in [ArgValue::Tuple(numbers()), ArgValue::List(numbers())] {
            let pair = of(value.clone()).reals_or("x", 0.0..1.0, [0.0; 2]);
            assert_eq!(pair, Ok([0.9, 0.999].map(Real::from)));
            let list = of(value).reals_if_given("x", ..);
            assert_eq!(list, Ok(Some([0.9, 0.999].map(Real::from).to_vec())));
        }
        let milestones = of(ArgValue::List([30, 60].map(ArgValue::Int).to_vec()));
        assert_eq!(milestones.sizes("x", 1), Ok(vec![30, 60]));
        let default = Args::default().reals_or("x", .., [0.9, 0.999]);
        assert_eq!(default, Ok([0.9, 0.999].map(Real::from)));
        let three = of(ArgValue::List(vec![ArgValue::Int(1); 3]));
        let said = refused(three.reals_or("x", .., [0.0; 2])).1;
        assert_eq!(said, "x takes 2 numbers, not 3 numbers");
        let alone = refused(of(ArgValue::Int(1)).sizes("x", 1)).1;
        assert_eq!(alone, "x must be a list of numbers, not 1");
    }

    #[test]
    fn an_error_in_a_list_knows_the_entry() {
        let list = of(ArgValue::List(vec![ArgValue::Int(3), ArgValue::Int(-1)]));
        let error = list.reals_if_given("x", 0.0..).expect_err("is refused");
        assert_eq!((error.within, error.fault), (vec![1], Fault::Range));
        let error = list.sizes("x", 0).expect_err("is refused");
        assert_eq!(error.within, [1]);
    }

    #[test]
    fn a_word_is_one_of_a_few() {
        let words = [("mean", 1), ("sum", 2)];
        for value in [ArgValue::Name("sum".into()), ArgValue::Text("sum".into())] {
            assert_eq!(of(value).word_or("x", &words, 1), Ok(2));
        }
        assert_eq!(Args::default().word_or("x", &words, 1), Ok(1));
        let none = of(ArgValue::Name("none".into())).word_or("x", &words, 1);
        assert_eq!(refused(none).1, "x must be mean or sum, not `none`");
    }

    #[test]
    fn a_text_stands_in_quotes() {
        let folder = of(ArgValue::Text("a/b".into()));
        assert_eq!(folder.text("x", "the name of a folder"), Ok("a/b"));
        let name = of(ArgValue::Name("a".into()));
        let said = refused(name.text("x", "the name of a folder")).1;
        assert_eq!(said, "x must be the name of a folder, in quotes, not `a`");
    }
}
