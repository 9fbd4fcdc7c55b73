//! `inline { x = … y = … }`: examples that are written in the model.

use lenetc_runtime::data::{Opened, Written};

use super::{DataSet, OpenError, Search, Source};
use crate::diag;
use crate::ops::{ArgError, ArgValue, Args, Argument, Fault, Signature};

/// The data set whose arguments stand in braces, since they are long.
pub const BRACED: &str = "inline";

/// Examples and their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Inline {
    x: Array,
    y: Array,
}

/// Numbers, row-major.
#[derive(Clone, Debug, PartialEq, Default)]
struct Array {
    values: Vec<f32>,
    shape: Vec<usize>,
}

impl DataSet for Inline {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("x"), Argument::required("y")];
        Signature::plain(BRACED, ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let [x, y] = [Array::read(args, "x")?, Array::read(args, "y")?];
        Ok(Self { x, y })
    }
    fn usually_bytes(&self) -> bool {
        false
    }
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError> {
        let opened = Opened::inline(self.x.written(), self.y.written());
        let source = Source::new(opened, "inline data".into());
        let unused = search
            .given
            .map(|_| "--data is not used: the model's examples are written in it");
        Ok(Source {
            warnings: unused.into_iter().map(String::from).collect(),
            ..source
        })
    }
}

impl Array {
    /// A list of lists of … of numbers, all of one shape.
    fn read(args: &Args, name: &'static str) -> Result<Self, ArgError> {
        let empty = ArgValue::List(vec![]);
        let value = args.get(name).unwrap_or(&empty);
        let mut array = Self::default();
        let mut first = value;
        while let ArgValue::List(items) = first {
            array.shape.push(items.len());
            first = items
                .first()
                .ok_or_else(|| wrong(name, "a list of data is empty"))?;
        }
        array.fill(name, value, 0)?;
        Ok(array)
    }

    fn fill(&mut self, name: &'static str, value: &ArgValue, depth: usize) -> Result<(), ArgError> {
        match (value, self.shape.get(depth).copied()) {
            (ArgValue::List(items), Some(n)) if items.len() == n => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(k, item)| {
                    self.fill(name, item, depth + 1).map_err(|e| e.of_entry(k))
                })
            }
            (ArgValue::List(items), Some(n)) => {
                let entries = diag::count(items.len() as u64, "entry");
                let message = format!("this row has {entries}, those before it {n}");
                Err(wrong(name, &message))
            }
            (&ArgValue::Int(i), None) => self.push(name, i as f64),
            (&ArgValue::Float(x), None) => self.push(name, x),
            _ => Err(wrong(name, "data must be numbers in rows of equal length")),
        }
    }

    fn push(&mut self, name: &'static str, number: f64) -> Result<(), ArgError> {
        let single = number as f32;
        self.values.push(single);
        match single.is_finite() {
            true => Ok(()),
            false => Err(ArgError {
                fault: Fault::Range,
                ..wrong(name, "data is beyond the range of f32")
            }),
        }
    }

    fn written(&self) -> Written<'_> {
        Written {
            values: &self.values,
            shape: &self.shape,
        }
    }
}

/// An error in the numbers, which has no name of an argument in it: the place shows them.
fn wrong(argument: &'static str, message: &str) -> ArgError {
    ArgError {
        fault: Fault::Kind,
        argument,
        message: message.into(),
        help: None,
        understood: false,
        within: vec![],
    }
}
