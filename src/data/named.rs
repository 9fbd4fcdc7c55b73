//! `fashion_mnist` and `mnist`: data sets that are looked for by their name.

use lenetc_runtime::data::{Named, Opened, Origin};

use super::{DataSet, OpenError, Search, Source};
use crate::ops::{ArgError, Args, Signature};

/// Permutations of the compiled-in subset that make an epoch: as many updates as with the full set.
const SUBSET_PERMUTATIONS: usize = 6;

/// Fashion-MNIST; a part of it is compiled in.
#[derive(Clone, Debug, PartialEq)]
pub struct FashionMnist;

/// MNIST.
#[derive(Clone, Debug, PartialEq)]
pub struct Mnist;

impl DataSet for FashionMnist {
    fn signature() -> Signature {
        Signature::bare(Named::FashionMnist.name())
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn usually_bytes(&self) -> bool {
        true
    }
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError> {
        open(Named::FashionMnist, search)
    }
}

impl DataSet for Mnist {
    fn signature() -> Signature {
        Signature::bare(Named::Mnist.name())
    }
    fn from_args(_: &Args) -> Result<Self, ArgError> {
        Ok(Self)
    }
    fn usually_bytes(&self) -> bool {
        true
    }
    fn open(&self, search: Search) -> Result<Source<'_>, OpenError> {
        open(Named::Mnist, search)
    }
}

fn open(name: Named, search: Search) -> Result<Source<'static>, OpenError> {
    let opened = Opened::named(name, search.given)?;
    let folder = match opened.origin() {
        Some(Origin::Folder(dir)) => Some(format!("from {}", dir.display())),
        _ => None,
    };
    let source = Source::new(opened, name.name().into());
    if folder.is_some() {
        return Ok(Source {
            found: folder,
            ..source
        });
    }
    let note = "an epoch is six passes over the subset; for the full set install Debian's\n      \
                dataset-fashion-mnist or name its folder with --data";
    Ok(Source {
        found: Some("a compiled-in subset".into()),
        permutations: SUBSET_PERMUTATIONS,
        notes: vec![note.into()],
        ..source
    })
}
