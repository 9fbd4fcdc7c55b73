//! Reading the command line, and what to say about one that is mistyped or meant in the way of another program.
//!
//! clap knows words that are spelled alike; this module adds those that mean the same, and a command before a file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error, Parser};

use lenetc::diag::nearest::nearest;
use lenetc::driver::set::{self, Meant};

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

/// The same for options: the first that the command has is meant.
const OPTIONS: [(&str, &[&str]); 23] = [
    ("--backend", &["--target"]),
    ("--checkpoint", &["--weights"]),
    ("--cpu", &["--target cpu"]),
    ("--cuda", &["--target cuda", "--stage cuda"]),
    ("--data-dir", &["--data"]),
    ("--dataset", &["--data"]),
    ("--gpu", &["--target cuda", "--stage cuda"]),
    ("--init-weights", &["--weights"]),
    ("--iterations", &["--steps"]),
    ("--jobs", &["--threads"]),
    ("--learning-rate", &["--lr"]),
    ("--load", &["--weights"]),
    ("--log", &["--metrics"]),
    ("--max-steps", &["--steps"]),
    ("--num-threads", &["--threads"]),
    ("--out", &["--save", "--output"]),
    ("--output", &["--save"]),
    ("--resume", &["--weights"]),
    ("--save", &["--output"]),
    ("--silent", &["--quiet"]),
    ("-j", &["--threads"]),
    ("-o", &["--save", "--output"]),
    ("-q", &["--quiet"]),
];

/// The same for values of `--target`.
const TARGETS: [(&str, &str); 7] = [
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
    Cli::try_parse_from(&args).map_err(|e| with_suggestion(e, &args))
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
    let near = || nearest(word, commands.iter().map(String::as_str));
    known(&COMMANDS, word).or_else(near).map(String::from)
}

fn known<T: Copy>(list: &[(&str, T)], word: &str) -> Option<T> {
    let word = word.to_lowercase().replace('_', "-");
    list.iter()
        .find(|(other, _)| *other == word)
        .map(|(_, ours)| *ours)
}

/// What is said in the place of clap's guess.
enum Answer {
    /// Something of the kind that was mistyped.
    Similar(String),
    /// A way on, or why there is none.
    Tip(String),
}

/// Replaces clap's guess in its message about the arguments of a command, where this module knows better, or where the
/// guess is no slip of what was written but another word that begins alike.
fn with_suggestion(mut e: Error, args: &[OsString]) -> Error {
    // That a word may stand behind -- helps nobody here.
    e.remove(ContextKind::Suggested);
    let command = args.get(1).and_then(|c| c.to_str()).unwrap_or("");
    let text = |kind| match e.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        _ => String::new(),
    };
    let (argument, value) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    );
    let (kind, answer) = match e.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let meant = meant_command(&word).map(Answer::Similar);
            (ContextKind::SuggestedSubcommand, meant)
        }
        ErrorKind::UnknownArgument => {
            let guess = text(ContextKind::SuggestedArg);
            let meant = meant_option(&argument, command, args, &guess);
            (ContextKind::SuggestedArg, meant)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let guess = text(ContextKind::SuggestedValue);
            let meant = meant_value(&argument, &value, &guess);
            (ContextKind::SuggestedValue, meant)
        }
        _ => return e,
    };
    put(&mut e, kind, answer, command);
    e
}

/// Puts the answer in the place of the guess; where the guess stays, so does the usage that shows it.
fn put(e: &mut Error, kind: ContextKind, answer: Option<Answer>, command: &str) {
    let guess = match e.get(kind) {
        Some(ContextValue::String(s)) => vec![s.clone()],
        Some(ContextValue::Strings(all)) => all.clone(),
        _ => vec![],
    };
    match answer {
        Some(Answer::Similar(ours)) if guess == [ours.as_str()] => return,
        Some(Answer::Similar(ours)) if kind == ContextKind::SuggestedSubcommand => {
            e.insert(kind, ContextValue::Strings(vec![ours]));
        }
        Some(Answer::Similar(ours)) => {
            e.insert(kind, ContextValue::String(ours));
        }
        Some(Answer::Tip(tip)) => {
            e.remove(kind);
            let tips = ContextValue::StyledStrs(vec![tip.into()]);
            e.insert(ContextKind::Suggested, tips);
        }
        None if guess.is_empty() => return,
        None => drop(e.remove(kind)),
    }
    let mut all = Cli::command();
    all.build();
    if let Some(usage) = all.find_subcommand_mut(command).map(|c| c.render_usage()) {
        e.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
}

/// The options of a command, as they are written.
fn options(command: &str) -> Vec<String> {
    let mut all = Cli::command();
    all.build();
    let found = all.find_subcommand(command);
    let arguments = found.into_iter().flat_map(|c| c.get_arguments());
    let longs = arguments.flat_map(|a| a.get_long_and_visible_aliases().unwrap_or_default());
    longs.map(|l| format!("--{l}")).collect()
}

/// What an option that a command does not have was meant for; `guess` is clap's.
fn meant_option(word: &str, command: &str, args: &[OsString], guess: &str) -> Option<Answer> {
    let has = options(command);
    let has = |option: &str| {
        let name = option.split(' ').next().unwrap_or(option);
        has.iter().any(|o| o == name)
    };
    let ours = known(&OPTIONS, word).unwrap_or(&[]);
    if let Some(ours) = ours.iter().find(|o| has(o)) {
        return Some(Answer::Similar(ours.to_string()));
    }
    if let Some(near) = nearest(word, Some(guess).filter(|g| !g.is_empty())) {
        return Some(Answer::Similar(near.into()));
    }
    if has("--set") {
        return match set::option(word, value_of(word, args).as_deref()) {
            Some(Meant::Set(written)) => Some(Answer::Tip(format!("write {written}"))),
            Some(Meant::Missing(why)) => Some(Answer::Tip(why)),
            None => None,
        };
    }
    None
}

/// The word behind an option, if that is not an option, or what stands behind its `=`.
fn value_of(option: &str, args: &[OsString]) -> Option<String> {
    let mut words = args.iter().filter_map(|a| a.to_str());
    let word = words.find(|w| w.split('=').next() == Some(option))?;
    let value = match word.split_once('=') {
        Some((_, value)) => value,
        None => words.next().filter(|w| !w.starts_with("--"))?,
    };
    Some(value.into())
}

/// What a value that an option does not take was meant for; `guess` is clap's.
fn meant_value(argument: &str, value: &str, guess: &str) -> Option<Answer> {
    let option = argument.split(' ').next().unwrap_or(argument);
    if option == "--target"
        && let Some(target) = known(&TARGETS, value)
    {
        return Some(Answer::Similar(target.into()));
    }
    if ["--target", "--device"].contains(&option)
        && let Some(written) = device(value)
    {
        return Some(Answer::Tip(format!("write {written}")));
    }
    nearest(value, Some(guess).filter(|g| !g.is_empty())).map(|g| Answer::Similar(g.into()))
}

/// How a device is chosen that others call `gpu`, `cuda:1` or `cpu`.
fn device(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let name = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &text[name.len()..];
    match name.trim_end_matches(':') {
        "gpu" | "cuda" | "nvidia" => Some(match number {
            "" => "--target cuda".into(),
            number => format!("--target cuda --device {number}"),
        }),
        "cpu" => Some("--target cpu".into()),
        "sim" | "simulator" | "softgpu" => Some("--target cuda --device software".into()),
        _ => None,
    }
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
    let models: Vec<String> = models.collect();
    let name = match name.contains('.') {
        true => name.into_owned(),
        false => format!("{name}.nn"),
    };
    let near = nearest(&name, models.iter().map(String::as_str));
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
        assert!(COMMANDS.is_sorted() && TARGETS.is_sorted());
        assert!(OPTIONS.is_sorted_by_key(|(word, _)| *word));
        for (word, ours) in COMMANDS {
            assert!(is_command(ours) && !is_command(word), "{word}");
        }
        for (word, ours) in TARGETS {
            let args = |t| ["lenetc", "train", "m.nn", "--target", t];
            assert!(Cli::try_parse_from(args(ours)).is_ok());
            assert!(Cli::try_parse_from(args(word)).is_err());
        }
    }

    /// An option is offered where the command has it, and each is offered somewhere.
    #[test]
    fn options_that_are_offered_are_the_commands() {
        let mut offered = Vec::new();
        for command in commands().iter().filter(|c| *c != "help") {
            let has = options(command);
            for (word, _) in OPTIONS.iter().filter(|(w, _)| !has.iter().any(|o| o == w)) {
                let args = ["lenetc", command, word, "x"].map(OsString::from);
                let Some(answer) = meant_option(word, command, &args, "") else {
                    continue;
                };
                let ours = match answer {
                    Answer::Similar(ours) => ours,
                    Answer::Tip(tip) => tip.trim_start_matches("write ").to_string(),
                };
                let name = ours.split(' ').next().unwrap_or("");
                assert!(has.iter().any(|o| o == name), "{command} {word}: {ours}");
                offered.push((*word, ours));
            }
        }
        for (word, ours) in OPTIONS {
            for ours in ours {
                assert!(offered.contains(&(word, ours.to_string())), "{word} {ours}");
            }
        }
    }

    #[test]
    fn an_option_of_another_command_is_offered_nowhere_else() {
        for (command, word, meant) in [
            ("train", "-o", Some("--save")),
            ("emit", "-o", Some("--output")),
            ("emit", "--out", Some("--output")),
            ("emit", "--save", Some("--output")),
            ("fmt", "-o", None),
            ("devices", "-o", None),
            ("check", "--gpu", Some("--target cuda")),
            ("fmt", "--gpu", None),
            ("emit", "--gpu", Some("--stage cuda")),
            ("bench", "--gpu", Some("--target cuda")),
            ("fmt", "--optimizer", None),
            ("eval", "--resume", Some("--weights")),
            ("bench", "--resume", None),
        ] {
            let answer = meant_option(word, command, &[], "");
            let found = answer.map(|a| match a {
                Answer::Similar(o) | Answer::Tip(o) => o,
            });
            assert_eq!(found.as_deref(), meant, "{command} {word}");
        }
    }

    #[test]
    fn devices_are_known_by_the_names_of_others() {
        for (text, written) in [
            ("gpu", Some("--target cuda")),
            ("cuda:0", Some("--target cuda --device 0")),
            ("CUDA:12", Some("--target cuda --device 12")),
            ("gpu1", Some("--target cuda --device 1")),
            ("cpu", Some("--target cpu")),
            ("cpu:0", Some("--target cpu")),
            ("", None),
            ("-1", None),
            ("cuda:x", None),
        ] {
            assert_eq!(device(text).as_deref(), written, "{text}");
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
