//! Where the named data sets are looked for.
//!
//! A place that has nothing is passed by; one that has a broken data set is an error, so that no other data is
//! trained on unseen. Does not know formats.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use super::idx::{holds_data, load_folder, subset_as};
use super::{DataError, Dataset, Place, Wanted};

/// A data set that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    FashionMnist,
    Mnist,
}

impl Named {
    /// The name in a model's `data` entry.
    pub fn name(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion_mnist",
            Self::Mnist => "mnist",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Mnist => "mnist",
        }
    }

    /// Where torchvision keeps the same files, below the folder that it is given.
    fn torchvision(self) -> &'static str {
        match self {
            Self::FashionMnist => "FashionMNIST/raw",
            Self::Mnist => "MNIST/raw",
        }
    }
}

/// A data set and where it comes from.
#[derive(Clone, Debug)]
pub struct Found {
    pub dataset: Dataset,
    pub origin: Origin,
}

/// Where a data set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The folder that holds the files.
    Folder(PathBuf),
    /// The part of Fashion-MNIST that is compiled in.
    Subset,
}

/// Looks in `explicit`, which must hold the data set; else in the folder `LENETC_DATA`; else in `lenetc/` of the user's
/// data folder; else where Debian's package dataset-fashion-mnist installs it; else takes the compiled-in subset, if it
/// is one of this set.
///
/// The first two may be the data set's folder, the folder above a `fashion-mnist` or `mnist`, or torchvision's folder.
/// Fails where a place that was named does not exist, where a data set is broken, has no test pair or is not as
/// `wanted`, and where there is none.
pub fn find(name: Named, explicit: Option<&Path>, wanted: &Wanted) -> Result<Found, DataError> {
    find_in(name, explicit, wanted, &Environment::of_process())
}

/// The place that [`find`] would read, which is not read yet.
pub(super) fn locate(name: Named, explicit: Option<&Path>) -> Result<Origin, DataError> {
    locate_in(name, explicit, &Environment::of_process())
}

/// Reads what lies in a place.
pub(super) fn load_from(origin: Origin, wanted: &Wanted) -> Result<Dataset, DataError> {
    match origin {
        Origin::Folder(dir) => load(&dir, wanted),
        Origin::Subset => subset_as(wanted),
    }
}

/// Where the files of MNIST are to be had; Debian packages Fashion-MNIST alone.
const MNIST_FILES: &str = "\
they are
            train-images-idx3-ubyte, train-labels-idx1-ubyte,
            t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte,
          as they are or gzipped (.gz). No package of Debian has them; these do:
            https://ossci-datasets.s3.amazonaws.com/mnist/
            torchvision.datasets.MNIST(root, download=True), in root/MNIST/raw";

/// What the search depends on; tests make their own.
struct Environment {
    /// `LENETC_DATA`.
    data: Option<PathBuf>,
    /// The user's data folder.
    user: Option<PathBuf>,
    /// What Debian's package installs.
    debian: PathBuf,
}

impl Environment {
    fn of_process() -> Self {
        let var = |name| {
            env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        Self {
            data: var("LENETC_DATA"),
            user: user_folder(var("XDG_DATA_HOME"), var("HOME")),
            debian: "/usr/share/datasets/fashion-mnist".into(),
        }
    }
}

/// The XDG base directory specification has relative paths ignored.
fn user_folder(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    xdg.filter(|p| p.is_absolute())
        .or_else(|| home.map(|h| h.join(".local/share")))
}

fn find_in(
    name: Named,
    explicit: Option<&Path>,
    wanted: &Wanted,
    environment: &Environment,
) -> Result<Found, DataError> {
    let origin = locate_in(name, explicit, environment)?;
    let dataset = load_from(origin.clone(), wanted)?;
    Ok(Found { dataset, origin })
}

fn locate_in(
    name: Named,
    explicit: Option<&Path>,
    environment: &Environment,
) -> Result<Origin, DataError> {
    if let Some(dir) = explicit {
        let own = below(dir, name)?.unwrap_or_else(|| dir.into());
        return Ok(Origin::Folder(own));
    }
    if let Some(dir) = &environment.data
        && let Some(dir) = below(dir, name)?
    {
        return Ok(Origin::Folder(dir));
    }
    let own = own_folders(name, environment);
    for dir in &own {
        if exists(dir)? {
            return Ok(Origin::Folder(dir.clone()));
        }
    }
    match name {
        Named::FashionMnist => Ok(Origin::Subset),
        Named::Mnist => Err(DataError::NotFound {
            name: name.name(),
            files: MNIST_FILES,
            places: environment.data.iter().cloned().chain(own).collect(),
        }),
    }
}

/// Folders that are for this data set alone.
fn own_folders(name: Named, environment: &Environment) -> Vec<PathBuf> {
    let user = environment.user.as_ref();
    let user = user.map(|u| u.join("lenetc").join(name.folder()));
    let debian = (name == Named::FashionMnist).then(|| environment.debian.clone());
    user.into_iter().chain(debian).collect()
}

/// The data set's folder: the one below `dir` that is named after it, or `dir` itself. `dir` must exist.
fn below(dir: &Path, name: Named) -> Result<Option<PathBuf>, DataError> {
    if !exists(dir)? {
        return Err(DataError::NoFolder { path: dir.into() });
    }
    for own in [name.folder(), name.torchvision()] {
        let own = dir.join(own);
        if exists(&own)? {
            return Ok(Some(own));
        }
    }
    Ok(holds_data(dir).then(|| dir.into()))
}

fn exists(dir: &Path) -> Result<bool, DataError> {
    match std::fs::metadata(dir) {
        Ok(m) => Ok(m.is_dir()),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(source) => {
            let place = Place {
                path: dir.into(),
                array: None,
            };
            Err(DataError::Io { place, source })
        }
    }
}

/// The named sets have test examples; a folder without them is not whole.
fn load(dir: &Path, wanted: &Wanted) -> Result<Dataset, DataError> {
    let dataset = load_folder(dir, wanted)?;
    if dataset.test.is_none() {
        return Err(DataError::MissingFile {
            path: dir.into(),
            file: "t10k-images-idx3-ubyte".into(),
        });
    }
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::TargetKind;
    use super::super::idx::tests::{idx, put};
    use super::*;

    fn fill(dir: &Path, examples: u32) {
        fs::create_dir_all(dir).expect("a folder");
        for (part, n) in [("train", examples), ("t10k", 1)] {
            let (images, labels) = (
                idx(8, &[n, 1, 1], &vec![0; n as usize]),
                idx(8, &[n], &vec![0; n as usize]),
            );
            put(dir, &format!("{part}-images-idx3-ubyte"), &images);
            put(dir, &format!("{part}-labels-idx1-ubyte"), &labels);
        }
    }

    fn environment(root: &Path) -> Environment {
        Environment {
            data: Some(root.join("data")),
            user: Some(root.join("user")),
            debian: root.join("debian"),
        }
    }

    fn found(name: Named, explicit: Option<&Path>, root: &Path) -> Result<Found, DataError> {
        let wanted = |size| Wanted {
            input: vec![1, size, size],
            targets: TargetKind::Classes(10),
        };
        let environment = environment(root);
        // The subset has images of 28 × 28, the others of 1 × 1.
        match find_in(name, explicit, &wanted(1), &environment) {
            Err(DataError::Misfit { .. }) => find_in(name, explicit, &wanted(28), &environment),
            found => found,
        }
    }

    /// The number of training examples tells the places apart.
    fn examples(name: Named, explicit: Option<&Path>, root: &Path) -> Result<usize, DataError> {
        found(name, explicit, root).map(|found| found.dataset.train.len())
    }

    #[test]
    fn places_are_searched_in_order() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        fs::create_dir(root.join("data")).expect("a folder");
        let fashion = || examples(Named::FashionMnist, None, root).expect("finds");
        assert_eq!(fashion(), 10_000);
        fill(&root.join("debian"), 1);
        assert_eq!(fashion(), 1);
        fill(&root.join("user/lenetc/fashion-mnist"), 2);
        assert_eq!(fashion(), 2);
        fill(&root.join("data"), 3);
        assert_eq!(fashion(), 3);
        fill(&root.join("data/fashion-mnist"), 4);
        assert_eq!(fashion(), 4);
        let explicit = root.join("explicit");
        fill(&explicit, 5);
        assert_eq!(
            examples(Named::FashionMnist, Some(&explicit), root).expect("finds"),
            5
        );
        let found = found(Named::FashionMnist, None, root).expect("finds");
        let folder = root.join("data/fashion-mnist");
        let names = ["train-images", "train-labels", "t10k-images", "t10k-labels"];
        let ranks = [3, 1, 3, 1];
        let files = names
            .iter()
            .zip(ranks)
            .map(|(name, rank)| folder.join(format!("{name}-idx{rank}-ubyte")));
        assert_eq!(found.dataset.files, files.collect::<Vec<_>>());
        assert_eq!(found.origin, Origin::Folder(folder));
    }

    #[test]
    fn mnist_is_not_taken_from_fashion_and_says_where_it_was_looked_for() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        fs::create_dir(root.join("data")).expect("a folder");
        fill(&root.join("debian"), 1);
        let error = examples(Named::Mnist, None, root).expect_err("is not there");
        let text = error.to_string();
        for said in [
            "\n  looked in ",
            "user/lenetc/mnist\n",
            "train-images-idx3-ubyte, train-labels-idx1-ubyte,",
            "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte,",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "--data or in LENETC_DATA",
        ] {
            assert!(text.contains(said), "{said} is not in {text}");
        }
        assert!(
            text.lines()
                .all(|l| l.contains("looked in") || l.chars().count() <= 80),
            "{text}"
        );
        fill(&root.join("user/lenetc/mnist"), 2);
        assert_eq!(examples(Named::Mnist, None, root).expect("finds"), 2);
    }

    #[test]
    fn torchvision_s_folders_are_known() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        fill(&root.join("MNIST/raw"), 3);
        fill(&root.join("FashionMNIST/raw"), 4);
        for (name, count) in [(Named::Mnist, 3), (Named::FashionMnist, 4)] {
            assert_eq!(examples(name, Some(root), root).expect("finds"), count);
        }
        fs::rename(root.join("MNIST"), root.join("data")).expect("renames");
        let raw = root.join("data/raw");
        assert_eq!(examples(Named::Mnist, Some(&raw), root).expect("finds"), 3);
    }

    #[test]
    fn what_is_broken_is_not_passed_by() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        let fashion = |explicit| examples(Named::FashionMnist, explicit, root).expect_err("fails");
        assert!(
            matches!(fashion(None), DataError::NoFolder { .. }),
            "LENETC_DATA is not there"
        );
        fs::create_dir(root.join("data")).expect("a folder");
        let own = root.join("user/lenetc/fashion-mnist");
        fs::create_dir_all(&own).expect("a folder");
        assert!(matches!(fashion(None), DataError::NoDataSet { .. }));
        fill(&own, 2);
        put(&own, "train-images-idx3-ubyte", &[0; 3]);
        assert!(matches!(fashion(None), DataError::Header { .. }));
        fill(&own, 2);
        for part in ["images-idx3", "labels-idx1"] {
            fs::remove_file(own.join(format!("t10k-{part}-ubyte"))).expect("removes");
        }
        assert!(matches!(fashion(None), DataError::MissingFile { .. }));
        assert!(matches!(fashion(Some(root)), DataError::NoDataSet { .. }));
        assert!(matches!(
            fashion(Some(&root.join("none"))),
            DataError::NoFolder { .. }
        ));
    }

    #[test]
    fn the_user_s_folder_follows_xdg() {
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(user_folder(path("/x"), path("/h")), path("/x"));
        assert_eq!(user_folder(path("x"), path("/h")), path("/h/.local/share"));
        assert_eq!(user_folder(None, None), None);
    }
}
