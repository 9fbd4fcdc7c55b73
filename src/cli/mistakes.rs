//! Reading the command line, and what to say about one that is mistyped or meant in the way of another program.
//!
//! clap knows words that are spelled alike; this module adds those that mean the same, and a command before a file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error, Parser};

use super::args::Cli;

/// What other programs call a command, and what it is called here.
const COMMANDS: [(&str, &str); 16] = [
    ("benchmark", "bench"),
    ("build", "check"),
    ("compile", "emit"),
    ("dump", "emit"),
    ("evaluate", "eval"),
    ("fit", "train"),
    ("format", "fmt"),
    ("gpus", "devices"),
    ("lint", "check"),
    ("perf", "bench"),
    ("predict", "eval"),
    ("profile", "bench"),
    ("run", "train"),
    ("summary", "check"),
    ("test", "eval"),
    ("validate", "check"),
];

/// The same for options.
const OPTIONS: [(&str, &str); 22] = [
    ("--backend", "--target"),
    ("--checkpoint", "--weights"),
    ("--cpu", "--target cpu"),
    ("--cuda", "--target cuda"),
    ("--data-dir", "--data"),
    ("--dataset", "--data"),
    ("--gpu", "--target cuda"),
    ("--init-weights", "--weights"),
    ("--iterations", "--steps"),
    ("--jobs", "--threads"),
    ("--learning-rate", "--lr"),
    ("--load", "--weights"),
    ("--log", "--metrics"),
    ("--max-steps", "--steps"),
    ("--num-threads", "--threads"),
    ("--out", "--save"),
    ("--output", "--save"),
    ("--resume", "--weights"),
    ("--silent", "--quiet"),
    ("-j", "--threads"),
    ("-o", "--save"),
    ("-q", "--quiet"),
];

/// The same for values of `--target`.
const TARGETS: [(&str, &str); 8] = [
    ("cuda:0", "cuda"),
    ("gpu", "cuda"),
    ("host", "cpu"),
    ("native", "cpu"),
    ("nvidia", "cuda"),
    ("ptx", "cuda"),
    ("x86", "cpu"),
    ("x86_64", "cpu"),
];

/// Reads the command line; `train` may be left out before a file or an option of train.
pub fn parse(mut args: Vec<OsString>) -> Result<Cli, Error> {
    if args.get(1).is_some_and(|first| !stands_first(first)) {
        args.insert(1, "train".into());
    }
    let command = args
        .get(1)
        .and_then(|c| c.to_str())
        .unwrap_or("")
        .to_string();
    Cli::try_parse_from(args).map_err(|e| with_suggestion(e, &command))
}

/// Whether a first word is a command, perhaps a mistyped one, or an option that stands before commands.
fn stands_first(word: &OsStr) -> bool {
    let Some(text) = word.to_str() else {
        return false;
    };
    let own = ["-h", "--help", "-V", "--version"].contains(&text);
    own || is_command(text) || (!Path::new(word).exists() && meant_command(text).is_some())
}

fn commands() -> Vec<String> {
    let command = Cli::command();
    let names = command.get_subcommands().map(|c| c.get_name().to_string());
    names.chain(["help".to_string()]).collect()
}

fn is_command(word: &str) -> bool {
    commands().iter().any(|c| c == word)
}

/// The command that a word was meant for: no file, as names with a dot or a slash are, but near a command.
fn meant_command(word: &str) -> Option<String> {
    if word.starts_with('-') || word.contains(['.', '/']) {
        return None;
    }
    let commands = commands();
    known(&COMMANDS, word)
        .map(String::from)
        .or_else(|| nearest(word, commands))
}

fn known(list: &[(&str, &'static str)], word: &str) -> Option<&'static str> {
    let word = word.to_lowercase().replace('_', "-");
    list.iter()
        .find(|(other, _)| *other == word)
        .map(|(_, ours)| *ours)
}

/// The name that takes the fewest changes, if they are few.
fn nearest(word: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let lower = word.to_lowercase();
    let changes = |name: &String| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let nearest = names.into_iter().map(|n| (changes(&n), n)).min()?;
    (nearest.0 <= 1 + word.chars().count() / 4).then_some(nearest.1)
}

/// Adds what clap does not know to its message about the arguments of a command.
fn with_suggestion(mut e: Error, command: &str) -> Error {
    // That a word may stand behind -- helps nobody here.
    e.remove(ContextKind::Suggested);
    let text = |kind| match e.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        _ => String::new(),
    };
    let (kind, found) = match e.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let meant = meant_command(&word).map(|c| ContextValue::Strings(vec![c]));
            (ContextKind::SuggestedSubcommand, meant)
        }
        ErrorKind::UnknownArgument => {
            let meant = known(&OPTIONS, &text(ContextKind::InvalidArg));
            let meant = meant.map(|o| ContextValue::String(o.into()));
            (ContextKind::SuggestedArg, meant)
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidArg).starts_with("--target") => {
            let meant = known(&TARGETS, &text(ContextKind::InvalidValue));
            let meant = meant.map(|t| ContextValue::String(t.into()));
            (ContextKind::SuggestedValue, meant)
        }
        _ => return e,
    };
    if let Some(meant) = found {
        e.insert(kind, meant);
        let mut all = Cli::command();
        all.build();
        if let Some(usage) = all.find_subcommand_mut(command).map(|c| c.render_usage()) {
            e.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        }
    }
    e
}

/// A question about the file that a missing one was meant for, if its folder holds one of nearly that name.
pub fn near_file(path: &Path, e: &io::Error) -> String {
    if e.kind() != io::ErrorKind::NotFound {
        return String::new();
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let names = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter();
    let names = names
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok());
    let models = names.filter(|n| n.ends_with(".nn"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let near = match name.contains('.') {
        true => nearest(&name, models),
        false => nearest(&format!("{name}.nn"), models),
    };
    let near = near.map(|n| folder.unwrap_or(Path::new("")).join(n));
    near.map_or(String::new(), |p| {
        format!("; did you mean {}?", p.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_argument_has_help() {
        let mut command = Cli::command();
        command.build();
        let mut seen = 0;
        for c in command.get_subcommands().filter(|c| c.get_name() != "help") {
            assert!(c.get_about().is_some(), "{}", c.get_name());
            for a in c.get_arguments() {
                let help = a.get_help().map(|h| h.to_string()).unwrap_or_default();
                assert!(help.len() > 8, "{} {}", c.get_name(), a.get_id());
                assert!(!help.ends_with('.'), "{help}");
                seen += 1;
            }
        }
        assert!(seen > 40, "{seen}");
        command.debug_assert();
    }

    #[test]
    fn words_are_sorted_and_lead_to_what_exists() {
        for list in [&COMMANDS[..], &OPTIONS, &TARGETS] {
            assert!(list.is_sorted());
        }
        let mut command = Cli::command();
        command.build();
        for (word, ours) in COMMANDS {
            assert!(is_command(ours) && !is_command(word), "{word}");
        }
        let train = command.find_subcommand("train").expect("a command");
        let longs: Vec<_> = train.get_arguments().filter_map(|a| a.get_long()).collect();
        for (word, ours) in OPTIONS {
            let ours = ours.split(' ').next().unwrap_or("").trim_start_matches('-');
            assert!(longs.contains(&ours), "{ours}");
            assert!(!longs.contains(&word.trim_start_matches('-')), "{word}");
        }
        for (word, ours) in TARGETS {
            let args = |t| ["lenetc", "train", "m.nn", "--target", t];
            assert!(Cli::try_parse_from(args(ours)).is_ok());
            assert!(Cli::try_parse_from(args(word)).is_err());
        }
    }

    #[test]
    fn words_near_a_command_are_no_files() {
        for (word, command) in [
            ("chek", "check"),
            ("bnech", "bench"),
            ("TRAIN", "train"),
            ("trian", "train"),
            ("device", "devices"),
            ("format", "fmt"),
            ("hlep", "help"),
        ] {
            assert_eq!(meant_command(word).as_deref(), Some(command), "{word}");
        }
        for word in ["lenet", "train.nn", "./chek", "--chek", "model", ""] {
            assert_eq!(meant_command(word), None, "{word}");
        }
    }
}
