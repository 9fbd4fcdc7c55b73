//! How a run of training fails: with what is wrong, and with what it came to nevertheless.

use super::{RunError, Summary};

/// A run that failed.
#[derive(Debug)]
pub struct Failed {
    /// What is wrong, in the order in which it happened; never empty.
    pub errors: Vec<RunError>,
    /// What the training gave, where it came to its end and something failed after it.
    pub summary: Option<Summary>,
}

impl Failed {
    /// The end of a run whose training ended well: fails where there are errors.
    pub(super) fn any(
        summary: Summary,
        errors: impl Iterator<Item = RunError>,
    ) -> Result<Summary, Box<Self>> {
        let errors: Vec<RunError> = errors.collect();
        match errors.is_empty() {
            true => Ok(summary),
            false => Err(Box::new(Self {
                errors,
                summary: Some(summary),
            })),
        }
    }
}

impl From<RunError> for Box<Failed> {
    fn from(e: RunError) -> Self {
        Box::new(Failed {
            errors: vec![e],
            summary: None,
        })
    }
}

impl std::fmt::Display for Failed {
    /// A line for each error.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.errors.iter().map(RunError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Failed {}
