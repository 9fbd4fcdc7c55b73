//! What can be written on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use lenetc::backend::cpu::Isa;
use lenetc::backend::cuda::ptx;
use lenetc::driver::Stage;
use lenetc_runtime::cuda::Choice;

use super::Stop;

/// A compiler for small convolutional networks.
///
/// `lenetc FILE` is short for `lenetc train FILE`.
#[derive(Parser, Debug)]
#[command(name = "lenetc", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Compile a model and train it
    Train(TrainArgs),
    /// Show diagnostics and a table of the layers
    Check {
        #[command(flatten)]
        model: ModelArgs,
        /// Diagnostics as JSON
        #[arg(long)]
        json: bool,
        /// A line for each layer, however long, rather than what fits the terminal
        #[arg(long)]
        wide: bool,
    },
    /// Show a stage of the compilation as text
    #[command(override_usage = "lenetc emit --stage <STAGE> [OPTIONS] <FILE>")]
    Emit(EmitArgs),
    /// Loss and accuracy on the test set
    Eval(EvalArgs),
    /// Write files in the canonical layout
    Fmt {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Change nothing; exit 1 where a file is not in the layout
        #[arg(long)]
        check: bool,
    },
    /// List what --target and --device can be here
    Devices,
    /// Compile time, examples a second, latency, and where the time of a step goes
    Bench(BenchArgs),
}

#[derive(Args, Debug, Clone)]
pub struct ModelArgs {
    /// The model
    pub file: PathBuf,
    /// Replace an entry of train, as train.batch_size=32 or train.optimizer.lr=0.5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    pub target: Target,
    /// The code generator; auto takes the best that the processor has
    #[arg(long, value_enum, default_value_t = IsaChoice::Auto)]
    pub isa: IsaChoice,
    /// 0 leaves out the optional passes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub opt: u8,
    /// The device of --target cuda: a number from 0, or `software` for the GPU that is a program
    #[arg(long, value_name = "N|software")]
    pub device: Option<Choice>,
    /// Threads; as many as the machine has by default
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Measure which tiles are the fastest here and keep that in the user's cache; results stay the same, bit for bit
    #[arg(long)]
    pub tune: bool,
    /// The folder or file of the data set
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Args, Debug, Clone)]
pub struct TrainArgs {
    #[command(flatten)]
    pub run: RunArgs,
    #[arg(long)]
    pub epochs: Option<u32>,
    /// Stop after so many updates
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    #[arg(long)]
    pub seed: Option<u64>,
    /// Weights to start from (safetensors)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Where the weights are written at the end (safetensors)
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// A line of JSON for each step and each epoch
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Take the examples in their order
    #[arg(long)]
    pub no_shuffle: bool,
    /// Print the closing lines only
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Args, Debug, Clone)]
pub struct EvalArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Weights of the model (safetensors); left out where it has no parameters
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

#[derive(Args, Debug, Clone)]
pub struct EmitArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// What is shown
    #[arg(long, value_parser = stages(), value_name = Stage::NAMES)]
    pub stage: Stage,
    /// Show only what is of this layer, by its path, and of those within it
    #[arg(long, value_name = "PATH")]
    pub layer: Option<String>,
    /// Show only what is of the kernels of this name, or of the one of this number
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// With --stage dot: the graph of a step in the place of the net
    #[arg(long)]
    pub grad: bool,
    /// Write to a file in the place of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The code generator; auto takes the best that the processor has
    #[arg(long, value_enum, default_value_t = IsaChoice::Auto)]
    pub isa: IsaChoice,
    /// 0 leaves out the optional passes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub opt: u8,
    /// The compute capability that cuda and ptx are made for, as 90 for 9.0
    #[arg(long, value_name = "NUMBER", default_value_t = ptx::CAPABILITY)]
    pub arch: u32,
}

#[derive(Args, Debug, Clone)]
pub struct BenchArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Images in a batch, short for --set train.batch_size=N; no more than the data set has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Seconds for each figure
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// A line for each kernel, however long, rather than what fits the terminal
    #[arg(long)]
    pub wide: bool,
    /// The GPU that --device software estimates the time of
    #[arg(long, value_name = "GPU", default_value = "h100", value_parser = PossibleValuesParser::new(super::counters::names()))]
    pub estimate: String,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Cpu,
    Cuda,
}

/// A choice of code generator.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsaChoice {
    Auto,
    Avx512,
    Avx2,
    Cranelift,
}

/// The stages by their names.
fn stages() -> impl TypedValueParser<Value = Stage> {
    let named = Stage::ALL.map(|d| PossibleValue::new(d.name).help(d.shows));
    PossibleValuesParser::new(named).try_map(|name| name.parse::<Stage>())
}

const COMMANDS: [&str; 8] = [
    "train", "check", "emit", "eval", "fmt", "devices", "bench", "help",
];

/// Puts `train` before a file or an option of train.
pub fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let own = ["-h", "--help", "-V", "--version"];
    let first = args.get(1).and_then(|a| a.to_str()).unwrap_or("");
    if args.len() > 1 && !COMMANDS.contains(&first) && !own.contains(&first) {
        args.insert(1, "train".into());
    }
    args
}

impl ModelArgs {
    /// The `--set` entries.
    pub fn overrides(&self) -> Vec<String> {
        self.set.clone()
    }
}

impl IsaChoice {
    /// What code is made for; refuses what this machine does not run.
    pub fn isa(self) -> Result<Isa, Stop> {
        let isa = match self {
            Self::Auto => Isa::best(),
            Self::Avx512 => Isa::Avx512,
            Self::Avx2 => Isa::Avx2,
            Self::Cranelift => Isa::Cranelift,
        };
        if isa.available() {
            return Ok(isa);
        }
        Err(Stop::Message(format!(
            "this processor does not have {isa}: leave out --isa"
        )))
    }
}

impl RunArgs {
    /// Threads to run on.
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, usize::from)
    }
}
