//! What the examples of a run are called, how many they are and where they were found, in words.
//!
//! Makes texts; reads nothing and prints nothing.

use crate::diag;

/// A data set as a user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `fashion_mnist`, or the path of a file or folder.
    pub name: String,
    /// Where it was found, as `from /usr/share/…`, where the name does not say it.
    pub place: Option<String>,
    /// Examples are images: channels, height and width.
    pub images: bool,
    /// How many examples are trained on.
    pub train: usize,
    /// How many examples are tested on, where there is a test set.
    pub test: Option<usize>,
}

impl Source {
    /// The line before training: `fashion_mnist: 60,000 images to train on, 10,000 to test, from /usr/share/…`.
    pub fn introduction(&self) -> String {
        let test = match self.test {
            Some(n) => format!("{} to test", diag::grouped(n as u64)),
            None => "no test set".into(),
        };
        let examples = self.examples(self.train);
        format!(
            "{}: {examples} to train on, {test}{}",
            self.name,
            self.found()
        )
    }

    /// What evaluation ran on: `10,000 images of fashion_mnist, from /usr/share/…`.
    pub fn evaluated(&self) -> String {
        let examples = self.examples(self.test.unwrap_or(self.train));
        format!("{examples} of {}{}", self.name, self.found())
    }

    /// What was trained and tested on: `fashion_mnist: 60,000 + 10,000 images, from /usr/share/…`.
    pub fn closing(&self) -> String {
        let examples = match self.test {
            Some(test) => format!(
                "{} + {}",
                diag::grouped(self.train as u64),
                self.examples(test)
            ),
            None => format!("{}, no test set", self.examples(self.train)),
        };
        format!("{}: {examples}{}", self.name, self.found())
    }

    fn examples(&self, n: usize) -> String {
        let noun = if self.images { "image" } else { "example" };
        let plural = if n == 1 { "" } else { "s" };
        format!("{} {noun}{plural}", diag::grouped(n as u64))
    }

    fn found(&self) -> String {
        let place = self.place.as_ref();
        place.map_or(String::new(), |place| format!(", {place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_named_with_its_sizes_and_place() {
        let mut source = Source {
            name: "fashion_mnist".into(),
            place: Some("from /data".into()),
            images: true,
            train: 60_000,
            test: Some(10_000),
        };
        assert_eq!(
            source.introduction(),
            "fashion_mnist: 60,000 images to train on, 10,000 to test, from /data"
        );
        assert_eq!(
            source.evaluated(),
            "10,000 images of fashion_mnist, from /data"
        );
        assert_eq!(
            source.closing(),
            "fashion_mnist: 60,000 + 10,000 images, from /data"
        );
        source = Source {
            name: "a/x.npz".into(),
            place: None,
            images: false,
            train: 1,
            test: None,
        };
        assert_eq!(
            source.introduction(),
            "a/x.npz: 1 example to train on, no test set"
        );
        assert_eq!(source.evaluated(), "1 example of a/x.npz");
        assert_eq!(source.closing(), "a/x.npz: 1 example, no test set");
    }
}
