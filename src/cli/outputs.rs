//! Where the results of a run go, looked at before the first step: a run of hours must not end with nothing, nor with
//! one of its own inputs overwritten.
//!
//! Does not know how files are written; `lenetc_runtime::files` does.

use std::path::{Path, PathBuf};

use lenetc_runtime::files::{self, Identity};

use super::Stop;
use super::args::TrainArgs;

/// What a file holds, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Safetensors,
    /// Models and weights of other programs.
    Foreign,
    /// Arrays and tables.
    Data,
    Json,
    Text,
    Model,
    Image,
    Archive,
}

/// Ends of names that stand for a format.
const ENDINGS: [(Format, &[&str]); 8] = [
    (Format::Safetensors, &["safetensors", "st"]),
    (
        Format::Foreign,
        &[
            "bin",
            "caffemodel",
            "ckpt",
            "gguf",
            "keras",
            "mlmodel",
            "onnx",
            "params",
            "pb",
            "pkl",
            "pt",
            "pt2",
            "pth",
            "tflite",
        ],
    ),
    (
        Format::Data,
        &["csv", "h5", "hdf5", "mat", "npy", "npz", "tsv"],
    ),
    (Format::Json, &["json", "jsonl", "ndjson"]),
    (Format::Text, &["log", "txt"]),
    (Format::Model, &["nn"]),
    (Format::Image, &["jpg", "pdf", "png", "svg"]),
    (Format::Archive, &["bz2", "gz", "tar", "xz", "zip", "zst"]),
];

/// The format that a path's name stands for; none where it says nothing.
fn format(path: &Path) -> Option<Format> {
    let end = path.extension()?.to_str()?.to_lowercase();
    let known = ENDINGS
        .iter()
        .find(|(_, endings)| endings.contains(&&*end))?;
    Some(known.0)
}

/// What `--save` names, `-` for stdout: no file that the name says to be of another format.
pub fn weights_file(path: PathBuf) -> Result<PathBuf, String> {
    let own = [Format::Safetensors];
    named(path, &own, "it writes safetensors", "safetensors")
}

/// What `--metrics` names, in the same way.
pub fn metrics_file(path: PathBuf) -> Result<PathBuf, String> {
    let own = [Format::Json, Format::Text];
    named(path, &own, "it writes lines of JSON", "jsonl")
}

/// What `--output` names, in the same way.
pub fn text_file(path: PathBuf) -> Result<PathBuf, String> {
    named(path, &[Format::Text], "it writes text", "txt")
}

fn named(path: PathBuf, own: &[Format], what: &str, ending: &str) -> Result<PathBuf, String> {
    if path == Path::new("-") {
        return Ok(files::STDOUT.into());
    }
    match format(&path).is_none_or(|f| own.contains(&f)) {
        true => Ok(path),
        false => Err(format!(
            "{what}\n\n  tip: name it {}",
            path.with_extension(ending).display()
        )),
    }
}

/// An output, and the option that names it.
struct Output<'a> {
    option: &'static str,
    path: &'a Path,
    is_stdout: bool,
    /// None where it is a device, which can take several outputs.
    identity: Option<Identity>,
}

impl<'a> Output<'a> {
    fn new(option: &'static str, path: &'a Path) -> Result<Self, Stop> {
        files::check(path).map_err(|e| Stop::Message(e.to_string()))?;
        let device = std::fs::metadata(path).is_ok_and(|m| is_device(&m));
        let identity = Identity::of(path).filter(|_| !device);
        Ok(Self {
            option,
            path,
            is_stdout: files::is_stdout(path),
            identity,
        })
    }
}

fn is_device(m: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&m.file_type())
}

/// Refuses outputs that cannot be written, that are one of the inputs, or the same. `data` are the files that the
/// examples were read from.
pub fn check(a: &TrainArgs, data: &[PathBuf]) -> Result<(), Stop> {
    let save = a.save.as_deref().map(|p| Output::new("--save", p));
    let metrics = a.metrics.as_deref().map(|p| Output::new("--metrics", p));
    let (save, metrics) = (save.transpose()?, metrics.transpose()?);
    if let (Some(save), Some(metrics)) = (&save, &metrics) {
        different(save, metrics)?;
    }
    let model = a.run.model.file.as_path();
    for output in [&save, &metrics].into_iter().flatten() {
        apart(output, "the model", [model])?;
        apart(output, "the data", data.iter().map(PathBuf::as_path))?;
    }
    // Weights are read before the first step and written after the last: a run that goes on where another ended may
    // save to the file that it starts from. Metrics are written in between.
    let weights = a.weights.as_deref();
    metrics.map_or(Ok(()), |m| apart(&m, "the weights to start from", weights))
}

/// Refuses weights and metrics that go to one place.
fn different(save: &Output, metrics: &Output) -> Result<(), Stop> {
    if save.is_stdout && metrics.is_stdout {
        let text = "--save and --metrics are both stdout: give one of them a file";
        return Err(Stop::Message(text.into()));
    }
    if save.identity.is_some() && save.identity == metrics.identity {
        let path = metrics.path.display();
        let text = format!("--save and --metrics are one file, {path}: give each its own");
        return Err(Stop::Message(text));
    }
    Ok(())
}

/// Checks the one output of a command that reads a model.
pub fn check_one(option: &'static str, path: &Path, model: &Path) -> Result<(), Stop> {
    apart(&Output::new(option, path)?, "the model", [model])
}

fn apart<'a>(
    output: &Output,
    what: &str,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Stop> {
    let same = |input: &Path| output.identity.is_some() && Identity::of(input) == output.identity;
    match inputs.into_iter().any(same) {
        true => Err(Stop::Message(format!(
            "{} {} would overwrite {what}: name another file",
            output.option,
            output.path.display()
        ))),
        false => Ok(()),
    }
}

/// Whether stdout is taken by an output, so that lines for people go to stderr.
pub fn take_stdout(a: &TrainArgs) -> bool {
    let outputs = [&a.save, &a.metrics];
    outputs.into_iter().flatten().any(|p| files::is_stdout(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_refuses_the_formats_that_are_not_its_own() {
        let files = [
            weights_file as fn(PathBuf) -> Result<PathBuf, String>,
            metrics_file,
            text_file,
        ];
        let taken = |name: &str| files.map(|file| file(name.into()).is_ok());
        for (name, by) in [
            ("w.st", [true, false, false]),
            ("w.Safetensors", [true, false, false]),
            ("m.jsonl", [false, true, false]),
            ("run.log", [false, true, true]),
            ("net.dot", [true, true, true]),
            ("out", [true, true, true]),
            (".st", [true, true, true]),
            ("m.nn", [false; 3]),
            ("w.onnx", [false; 3]),
            ("x.npz", [false; 3]),
            ("x.csv", [false; 3]),
            ("net.PNG", [false; 3]),
            ("w.st.gz", [false; 3]),
        ] {
            assert_eq!(taken(name), by, "{name}");
        }
        for file in files {
            assert_eq!(file("-".into()), Ok(files::STDOUT.into()));
        }
        let all = ENDINGS.iter().flat_map(|(_, endings)| *endings);
        for (k, ending) in all.clone().enumerate() {
            assert_eq!(all.clone().position(|e| e == ending), Some(k), "{ending}");
        }
    }
}
