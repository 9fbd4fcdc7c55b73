//! What a `--set` entry was meant to be that names none of `train`.
//!
//! Does not know how entries are read; `passes::config` does.

/// All entries, each with a value for an example.
const ENTRIES: [(&str, &str); 14] = [
    ("batch_size", "32"),
    ("data", "mnist"),
    ("epochs", "5"),
    ("init", "zeros"),
    ("init.std", "0.01"),
    ("init.value", "0.5"),
    ("loss", "MSELoss"),
    ("loss.reduction", "sum"),
    ("optimizer", "SGD(lr=0.5)"),
    ("optimizer.lr", "0.5"),
    ("print_every", "2"),
    ("print_parameters", "true"),
    ("seed", "3"),
    ("shuffle", "false"),
];
/// What others call an entry.
const OTHERS: [(&str, &str); 5] = [
    ("batch", "batch_size"),
    ("batchsize", "batch_size"),
    ("dataset", "data"),
    ("learning_rate", "optimizer.lr"),
    ("optim", "optimizer"),
];

/// What is wrong with a text that is not as `train.entry=value`.
pub fn problem(text: &str) -> &'static str {
    match text.contains('=') {
        true => "--set takes an entry of train",
        false => "--set takes an entry and its value",
    }
}

/// How the entry that a text was meant for is written, with the text's own value where it has one; else all entries.
pub fn help(text: &str) -> String {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let key = key.trim().to_lowercase().replace('-', "_");
    let key = key.strip_prefix("train.").unwrap_or(&key);
    let Some((entry, example)) = meant(key) else {
        let whole = ENTRIES.iter().map(|e| e.0).filter(|e| !e.contains('.'));
        return format!("known are: {}", whole.collect::<Vec<_>>().join(", "));
    };
    let value = Some(value.trim()).filter(|v| !v.is_empty());
    format!(
        "did you mean --set train.{entry}={}?",
        value.unwrap_or(example)
    )
}

fn meant(key: &str) -> Option<(&'static str, &'static str)> {
    let known = OTHERS.iter().find(|o| o.0 == key).map_or(key, |o| o.1);
    let changes = |entry: &str| {
        let last = entry.rsplit('.').next().unwrap_or(entry);
        let last_of_key = known.rsplit('.').next().unwrap_or(known);
        let whole = strsim::damerau_levenshtein(known, entry);
        whole.min(strsim::damerau_levenshtein(last_of_key, last))
    };
    let nearest = ENTRIES.iter().map(|e| (changes(e.0), e)).min();
    nearest
        .filter(|(changes, _)| *changes <= known.len() / 4)
        .map(|(_, e)| *e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_a_part_of_its_name() {
        for (text, meant) in [
            ("lr=0.5", "optimizer.lr=0.5"),
            ("train.lr=0.5", "optimizer.lr=0.5"),
            ("optimizer.lr=1e-3", "optimizer.lr=1e-3"),
            ("sgd.lr=1", "optimizer.lr=1"),
            ("learning-rate=2", "optimizer.lr=2"),
            ("batch_size=3", "batch_size=3"),
            ("batch-size = 3", "batch_size=3"),
            ("batch=3", "batch_size=3"),
            ("train.batchsize=8", "batch_size=8"),
            ("train.epoch=4", "epochs=4"),
            ("Epochs=4", "epochs=4"),
            ("reduction=sum", "loss.reduction=sum"),
            ("train.batch_size", "batch_size=32"),
            ("seed", "seed=3"),
        ] {
            assert_eq!(help(text), format!("did you mean --set train.{meant}?"));
        }
        for text in ["momentum=0.9", "", "x=1", "train.weight_decay=1"] {
            assert!(help(text).starts_with("known are: batch_size, "), "{text}");
        }
    }

    /// The list here is the list there.
    #[test]
    fn every_entry_can_be_set() {
        for (entry, example) in ENTRIES {
            let source = crate::diag::Source {
                name: "m.nn".into(),
                text: "model M { input(1)\n Linear(1) }".into(),
            };
            let set = format!("train.{entry}={example}");
            assert!(crate::driver::read(source, &[set]).is_ok(), "{entry}");
        }
        assert!(OTHERS.is_sorted());
    }
}
