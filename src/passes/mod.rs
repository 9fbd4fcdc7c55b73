//! Passes over the graph. Each is a function with a name; the driver verifies the graph after each.
//!
//! Passes know operators, but neither loops nor targets.

pub mod build;
pub mod config;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod fuse;
pub mod grad;
mod known;

/// The nearest of `known` to a name that is not among them, as help.
fn suggest(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let nearest = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .min();
    match nearest {
        Some((distance, k)) if distance <= 1 + name.len() / 4 => format!("did you mean `{k}`?"),
        _ => format!("known are: {}", known.join(", ")),
    }
}
