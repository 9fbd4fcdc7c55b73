//! `idx("folder")`: a folder of IDX files beside the model.

use lenetc_runtime::data::Opened;

use super::{DataSet, OpenError, Search, Source};
use crate::ops::{ArgError, Args, Argument, Signature};

/// A folder of IDX files, relative to the model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    path: String,
}

impl DataSet for Idx {
    fn signature() -> Signature {
        const ARGUMENTS: &[Argument] = &[Argument::required("path")];
        Signature::plain("idx", ARGUMENTS)
    }
    fn from_args(args: &Args) -> Result<Self, ArgError> {
        let path = args.text("path", "the name of a folder")?.into();
        Ok(Self { path })
    }
    fn usually_bytes(&self) -> bool {
        true
    }
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError> {
        let dir = search.within(&self.path)?;
        let name = dir.display().to_string();
        let source = Source::new(Opened::folder(dir)?, name);
        Ok(Source {
            without_test: Some("add t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"),
            ..source
        })
    }
}
