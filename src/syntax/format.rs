//! The canonical layout.
use crate::diag::{Diagnostic, Source};
/// x
pub fn format(source: &Source) -> Result<String, Vec<Diagnostic>> {
    Ok(source.text.clone())
}
