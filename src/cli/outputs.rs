//! Where the results of a run go, looked at before the first step: a run of hours must not end with nothing, nor with
//! one of its own inputs overwritten.
//!
//! Does not know how files are written; `lenetc_runtime::files` does.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lenetc::passes::config::{Config, Data};
use lenetc_runtime::files::{self, Identity};

use super::Stop;
use super::args::TrainArgs;

/// Formats of other programs, by the ends of their files' names.
const FOREIGN: [&str; 25] = [
    "bin",
    "caffemodel",
    "ckpt",
    "csv",
    "gguf",
    "h5",
    "hdf5",
    "json",
    "jsonl",
    "keras",
    "mat",
    "mlmodel",
    "nn",
    "npy",
    "npz",
    "onnx",
    "params",
    "pb",
    "pkl",
    "pt",
    "pt2",
    "pth",
    "tflite",
    "txt",
    "zip",
];
/// Ends of names of files that hold no metrics.
const NO_METRICS: [&str; 7] = ["nn", "onnx", "pt", "pth", "npz", "safetensors", "st"];

/// What `--save` names, `-` for stdout: no file that the name says to be of another format.
pub fn weights_file(path: PathBuf) -> Result<PathBuf, String> {
    if path == Path::new("-") {
        return Ok("/dev/stdout".into());
    }
    named(path, &FOREIGN, "it writes safetensors", "safetensors")
}

/// What `--metrics` names.
pub fn metrics_file(path: PathBuf) -> Result<PathBuf, String> {
    named(path, &NO_METRICS, "it writes lines of JSON", "jsonl")
}

fn named(path: PathBuf, others: &[&str], what: &str, ending: &str) -> Result<PathBuf, String> {
    let end = path.extension().and_then(|e| e.to_str());
    let end = end.unwrap_or("").to_lowercase();
    match others.contains(&end.as_str()) {
        true => Err(format!(
            "{what}\n\n  tip: name it {}",
            path.with_extension(ending).display()
        )),
        false => Ok(path),
    }
}

/// An output, and the option that names it.
struct Output<'a> {
    option: &'static str,
    path: &'a Path,
    /// None where it is stdout or a device, which can take several outputs.
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
            identity,
        })
    }
}

fn is_device(m: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&m.file_type())
}

/// Refuses outputs that cannot be written, that are one of the inputs, or the same.
pub fn check(a: &TrainArgs, config: &Config) -> Result<(), Stop> {
    let metrics = a.metrics.as_deref().filter(|p| *p != Path::new("-"));
    let save = a
        .save
        .as_deref()
        .map(|p| Output::new("--save", p))
        .transpose()?;
    let metrics = metrics.map(|p| Output::new("--metrics", p)).transpose()?;
    if let (Some(s), Some(m)) = (&save, &metrics)
        && s.identity.is_some()
        && s.identity == m.identity
    {
        let path = m.path.display();
        let text = format!("--save and --metrics are one file, {path}: give each its own");
        return Err(Stop::Message(text));
    }
    let model = a.run.model.file.as_path();
    for output in [&save, &metrics].into_iter().flatten() {
        apart(output, "the model", [model.to_path_buf()])?;
        apart(output, "the data", data_files(a, config))?;
    }
    // Weights are read before the first step and written after the last: a run that goes on where another ended may
    // save to the file that it starts from. Metrics are written in between.
    let weights = a.weights.clone();
    metrics.map_or(Ok(()), |m| apart(&m, "the weights to start from", weights))
}

/// Checks the one output of a command that reads a model.
pub fn check_one(option: &'static str, path: &Path, model: &Path) -> Result<(), Stop> {
    apart(
        &Output::new(option, path)?,
        "the model",
        [model.to_path_buf()],
    )
}

fn apart(
    output: &Output,
    what: &str,
    inputs: impl IntoIterator<Item = PathBuf>,
) -> Result<(), Stop> {
    let same =
        |input: PathBuf| output.identity.is_some() && Identity::of(&input) == output.identity;
    match inputs.into_iter().any(same) {
        true => Err(Stop::Message(format!(
            "{} {} would overwrite {what}: name another file",
            output.option,
            output.path.display()
        ))),
        false => Ok(()),
    }
}

/// The files that a run's data may come from: the one that is named, or those of the folders that are looked through.
fn data_files(a: &TrainArgs, config: &Config) -> Vec<PathBuf> {
    let beside = a.run.model.file.parent().unwrap_or(Path::new("."));
    let named = match &config.data {
        Some(Data::Idx(name) | Data::Npz(name)) => Some(beside.join(name)),
        _ => None,
    };
    let usual = std::env::var_os("LENETC_DATA").map(PathBuf::from);
    let place = a.run.data.clone().or(named).or(usual);
    let Some(place) = place else {
        return vec![];
    };
    if !place.is_dir() {
        return vec![place];
    }
    let folders = ["", "fashion-mnist", "mnist"].map(|name| place.join(name));
    let entries = folders.iter().filter_map(|f| std::fs::read_dir(f).ok());
    let files = entries.flatten().flatten().map(|e| e.path());
    files.filter(|p| is_idx(p)).collect()
}

/// Whether a name is as those of MNIST's files are, `train-images-idx3-ubyte` for one.
fn is_idx(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains("-idx") || name.contains(".idx")
}

/// Whether stdout is taken by an output, so that lines for people go to stderr.
pub fn take_stdout(a: &TrainArgs) -> bool {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.and_then(|fd| std::fs::File::from(fd).metadata());
    let stdout = stdout.ok().filter(|m| !is_device(m));
    let stdout = stdout.map(|m| Identity::of_metadata(&m));
    let is_stdout = |p: &PathBuf| stdout.is_some() && Identity::of(p) == stdout;
    let outputs = [&a.save, &a.metrics];
    a.metrics.as_deref() == Some(Path::new("-")) || outputs.into_iter().flatten().any(is_stdout)
}
