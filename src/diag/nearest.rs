//! The name that a mistyped one was probably meant for.
//!
//! Does not know what is named, nor what is said of it.

/// How a list of names begins.
pub const KNOWN: &str = "known are: ";

/// A name of a list, and how many slips lie between it and the one that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Near<'a> {
    /// Characters that are missing, too many, others, or changed about; 0 where only the style differs.
    pub slips: usize,
    pub name: &'a str,
}

/// A name without what is a matter of style: its case, underscores and hyphens.
pub fn plain(name: &str) -> String {
    name.to_lowercase().replace(['_', '-'], "")
}

/// The name of a list that takes the fewest slips, however many these are; the first by the alphabet of several.
pub fn closest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<Near<'a>> {
    let written = plain(name);
    let near = |name: &'a str| Near {
        slips: strsim::damerau_levenshtein(&written, &plain(name)),
        name,
    };
    names.into_iter().map(near).min()
}

/// The name of a list that was probably meant: the one of [`closest`], where its slips are few for so long a name.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let closest = closest(name, names)?;
    (closest.slips <= few(name)).then_some(closest.name)
}

/// The most slips that a name has: one, and one more for four characters each; a character alone has none.
pub fn few(name: &str) -> usize {
    let characters = plain(name).chars().count();
    (1 + characters / 4).min(characters / 2)
}

/// Whether one of two names is the start of the other, whatever their style.
pub fn begins(a: &str, b: &str) -> bool {
    let (a, b) = (plain(a), plain(b));
    !a.is_empty() && !b.is_empty() && (a.starts_with(&b) || b.starts_with(&a))
}

/// A question about the nearest name, or the names that there are.
pub fn suggestion(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => known(names),
    }
}

/// The names that there are.
pub fn known(names: &[&str]) -> String {
    format!("{KNOWN}{}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_fewest_slips() {
        let names = ["batch_size", "epochs", "seed", "größe"];
        for (written, meant) in [
            ("batch-size", Some("batch_size")),
            ("BatchSize", Some("batch_size")),
            ("bacth_siz", Some("batch_size")),
            ("epoch", Some("epochs")),
            ("sede", Some("seed")),
            ("grösse", Some("größe")),
            ("momentum", None),
            ("s", None),
            ("", None),
            ("---", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
        assert_eq!(nearest("seed", []), None);
    }

    /// A letter of several bytes is one character.
    #[test]
    fn slips_are_counted_in_characters() {
        assert_eq!(few("größ"), few("gros"));
        assert_eq!(few("ää"), 1);
        assert_eq!(closest("äöü", ["aou"]).map(|n| n.slips), Some(3));
        assert_eq!(nearest("äöü", ["aou"]), None);
    }

    #[test]
    fn of_names_as_near_the_first_is_taken() {
        let near = closest("Conv4d", ["Conv3d", "Conv1d", "Conv2d"]);
        assert_eq!(near.map(|n| n.name), Some("Conv1d"));
    }

    #[test]
    fn a_start_is_one_in_any_style() {
        assert!(begins("Conv", "conv2d") && begins("max_pool2d", "MaxPool"));
        assert!(!begins("CReLU", "ReLU") && !begins("", "ReLU"));
    }
}
