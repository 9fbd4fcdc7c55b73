//! What figures are of: the program, the model, the machine, the data and the batch.
//!
//! Does not measure anything.

use lenetc::diag;
use lenetc::passes::config::Config;
use lenetc::train::Loaded;
use serde_json::{Value, json};

use super::super::args::RunArgs;
use super::super::width;

/// Columns of what stands before a line.
pub const NAMES: usize = 11;

/// What was measured, in words.
pub struct Setting {
    model: String,
    processor: String,
    /// Threads that the machine runs at once.
    available: usize,
    target: Target,
    data: String,
    /// Examples to train on and to test on.
    train: usize,
    test: Option<usize>,
    batch: usize,
}

/// What ran it.
pub enum Target {
    Cpu {
        threads: usize,
        isa: &'static str,
        /// Images in a block.
        block: u32,
    },
    Cuda {
        device: String,
    },
}

impl Setting {
    pub fn new(a: &RunArgs, data: &Loaded, config: &Config, target: Target) -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            model: a.model.file.display().to_string(),
            processor: processor(&info),
            available: std::thread::available_parallelism().map_or(1, usize::from),
            target,
            data: data.source.introduction(),
            train: data.train.len(),
            test: data.test.as_ref().map(|t| t.len()),
            batch: config.batch_size as usize,
        }
    }

    /// The lines above the figures.
    pub fn text(&self, page: usize) -> String {
        let available = self.available;
        let (machine, blocks) = match &self.target {
            Target::Cpu {
                threads,
                isa,
                block,
            } => (
                format!(
                    "{}, {threads} of {}, {isa}",
                    self.processor,
                    diag::count(available as u64, "thread")
                ),
                format!(", in blocks of {block}"),
            ),
            Target::Cuda { .. } => (self.processor.clone(), String::new()),
        };
        let version = env!("CARGO_PKG_VERSION");
        let mut out = line("lenetc", &format!("{version}, {}", self.model), page);
        out += &line("processor", &machine, page);
        if let Target::Cuda { device } = &self.target {
            out += &line("device", &format!("{device} (cuda)"), page);
        }
        out += &line("data", &self.data, page);
        let batch = diag::count(self.batch as u64, "image");
        out + &line("batch", &format!("{batch}{blocks}"), page)
    }

    /// Adds the same to an object.
    pub fn extend(&self, out: &mut Value) {
        let mut set = |key: &str, value: Value| out[key] = value;
        set("version", json!(env!("CARGO_PKG_VERSION")));
        set("model", json!(self.model));
        set("processor", json!(self.processor));
        set("processor_threads", json!(self.available));
        set("data", json!(self.data));
        set("train_examples", json!(self.train));
        set("test_examples", json!(self.test));
        set("batch", json!(self.batch));
        match &self.target {
            Target::Cpu {
                threads,
                isa,
                block,
            } => {
                set("target", json!("cpu"));
                set("threads", json!(threads));
                set("isa", json!(isa));
                set("block", json!(block));
            }
            Target::Cuda { device } => {
                set("target", json!("cuda"));
                set("device", json!(device));
            }
        }
    }
}

/// A line of a name and a text, folded to the page.
pub fn line(name: &str, text: &str, page: usize) -> String {
    let whole = format!("{name:<NAMES$}{text}");
    let folded = width::fold(&whole, page, NAMES);
    folded.iter().map(|l| format!("{l}\n")).collect()
}

/// The processor's name, from the text of `/proc/cpuinfo`.
fn processor(info: &str) -> String {
    let entries = info.lines().filter_map(|l| l.split_once(':'));
    let mut named = entries.filter(|(key, _)| ["model name", "Model"].contains(&key.trim()));
    let words = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = named.next().map(|(_, name)| words(name));
    let unknown = || format!("unknown {} processor", std::env::consts::ARCH);
    name.filter(|n| !n.is_empty()).unwrap_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named_as_the_system_names_them() {
        let x86 = "processor\t: 0\nmodel name\t: AMD  EPYC 7B13\nmodel name\t: other\n";
        assert_eq!(processor(x86), "AMD EPYC 7B13");
        assert_eq!(processor("Model\t\t: A Board\n"), "A Board");
        for info in ["", "model name\t:\n", "processor\t: 0\n"] {
            assert!(processor(info).starts_with("unknown "), "{info}");
        }
    }

    #[test]
    fn lines_are_folded_behind_their_names() {
        assert_eq!(line("batch", "256 images", 80), "batch      256 images\n");
        let folded = "data       one\n           two\n";
        assert_eq!(line("data", "one two", 15), folded);
    }
}
