//! `npz("file")`: a file of NumPy's arrays beside the model.

use lenetc_runtime::data::Opened;

use super::{DataSet, OpenError, Search, Source};
use crate::ops::{ArgError, Args, Argument, Signature};

/// A file of arrays, relative to the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Npz {
    path: String,
}

impl DataSet for Npz {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("path")];
        Signature::plain("npz", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let path = args.text("path", "the name of a file")?.into();
        Ok(Self { path })
    }
    fn usually_bytes(&self) -> bool {
        false
    }
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError> {
        let path = search.within(&self.path)?;
        let name = path.display().to_string();
        let source = Source::new(Opened::npz(path)?, name);
        Ok(Source {
            without_test: Some("add x_test and y_test"),
            ..source
        })
    }
}
