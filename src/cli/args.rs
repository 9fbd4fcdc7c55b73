//! What can be written on the command line.

use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use lenetc::backend::cpu::Isa;
use lenetc::backend::cuda::ptx;
use lenetc::driver::Stage;
use lenetc_runtime::cuda::{Choice, software_cards};

use super::{Stop, outputs};

/// A compiler for small convolutional networks.
///
/// `lenetc FILE` is short for `lenetc train FILE`.
#[derive(Parser, Debug)]
#[command(
    name = "lenetc",
    version,
    arg_required_else_help = true,
    max_term_width = 80,
    override_usage = "lenetc [OPTIONS] <FILE>\n       lenetc <COMMAND>"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Compile a model and train it
    Train(TrainArgs),
    /// Show diagnostics and a table of the layers, or of the kernels on a GPU
    Check(CheckArgs),
    /// Show a stage of the compilation as text
    #[command(override_usage = "lenetc emit --stage <STAGE> [OPTIONS] <FILE>")]
    Emit(EmitArgs),
    /// Print loss and accuracy on the test set
    Eval(EvalArgs),
    /// Write files in the canonical layout
    Fmt {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Change nothing; exit 1 where a file is not in the layout
        #[arg(long)]
        check: bool,
    },
    /// List what --target and --device can be here
    Devices,
    /// Measure compile time, throughput, latency and every kernel
    Bench(BenchArgs),
}

#[derive(Args, Debug, Clone)]
pub struct ModelArgs {
    /// The model, a .nn file
    pub file: PathBuf,
    /// Replace an entry of train, as train.seed=3
    #[arg(long = "set", value_name = "ENTRY=VALUE")]
    pub set: Vec<String>,
    /// Examples in a batch, for --set train.batch_size=N
    #[arg(long, allow_negative_numbers = true, visible_alias = "batch", value_name = "N", value_parser = number::<u32>(1, 1 << 20))]
    pub batch_size: Option<u32>,
    /// The learning rate, for --set train.optimizer.lr=X
    #[arg(long, allow_negative_numbers = true, value_name = "X", value_parser = learning_rate)]
    pub lr: Option<f32>,
}

#[derive(Args, Debug, Clone)]
pub struct CheckArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print the diagnostics, or what is found of the kernels, as JSON
    #[arg(long)]
    pub json: bool,
    /// A line for each layer or kernel, however long, rather than what fits the terminal
    #[arg(long)]
    pub wide: bool,
    /// cuda compiles the kernels and runs a step under the software GPU's sanitizers
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    pub target: Target,
    /// The GPU whose kernels are checked: a number from 0, or `software`
    #[arg(long, value_name = "N|software")]
    pub device: Option<Choice>,
    /// The card that the software GPU stands for
    #[arg(long, value_parser = PossibleValuesParser::new(software_cards()))]
    pub card: Option<String>,
    /// The compute capability that is compiled for, as 90 for 9.0
    #[arg(long, value_name = "NUMBER")]
    pub arch: Option<u32>,
}

#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// What the model runs on: the processor or an NVIDIA GPU
    #[arg(long, value_enum, default_value_t = Target::Cpu)]
    pub target: Target,
    /// The code generator; auto takes the best that the processor has
    #[arg(long, value_enum, default_value_t = IsaChoice::Auto)]
    pub isa: IsaChoice,
    /// 0 leaves out the optional passes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub opt: u8,
    /// The GPU: a number from 0, or `software` for one that is a program
    #[arg(long, value_name = "N|software")]
    pub device: Option<Choice>,
    /// Threads to run on; as many as the machine has by default
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = number::<u16>(1, 1024))]
    pub threads: Option<u16>,
    /// Measure which tiles are the fastest here; results stay the same
    #[arg(long)]
    pub tune: bool,
    /// The data set's folder or .npz file, in the place of the model's
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Args, Debug, Clone)]
pub struct TrainArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Passes over the data, in the place of the model's epochs
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = number::<u32>(1, 1 << 30))]
    pub epochs: Option<u32>,
    /// Stop after so many updates
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = number::<u64>(1, u64::MAX))]
    pub steps: Option<u64>,
    /// What initial weights and the order of examples are drawn from
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = number::<u64>(0, i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Weights to start from (safetensors)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Where the weights go at the end (safetensors); - is stdout
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(outputs::weights_file))]
    pub save: Option<PathBuf>,
    /// Lines of JSON, of each step and each epoch; - is stdout, and lines for people go to stderr
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(outputs::metrics_file))]
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
    /// The weights to test (safetensors); left out where the model has no parameters
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
    /// Write to a file in the place of stdout, which - is too
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(outputs::text_file))]
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
    /// Seconds for each figure
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    pub seconds: f64,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
    /// A line for each kernel, however long, rather than what fits the terminal
    #[arg(long)]
    pub wide: bool,
    /// The GPU that --device software stands for, to estimate its time [default: h100]
    #[arg(long, value_name = "GPU", value_parser = PossibleValuesParser::new(software_cards()))]
    pub estimate: Option<String>,
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

/// Reads whole numbers of a range that `T` holds.
fn number<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number: i128 = text.parse().map_err(|e: ParseIntError| match e.kind() {
            IntErrorKind::PosOverflow => format!("it must be {most} or less"),
            IntErrorKind::NegOverflow => format!("it must be {least} or more"),
            _ => "it is no whole number".to_string(),
        })?;
        if number < i128::from(least) {
            return Err(format!("it must be {least} or more"));
        }
        let number = u64::try_from(number).ok().filter(|&n| n <= most);
        let number = number.and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| format!("it must be {most} or less"))
    }
}

/// A learning rate, as the language takes it.
fn learning_rate(text: &str) -> Result<f32, String> {
    let rate: f32 = text.parse().map_err(|_| "it is no number".to_string())?;
    match rate.is_finite() && rate > 0.0 {
        true => Ok(rate),
        false => Err("it must be above 0".into()),
    }
}

impl ModelArgs {
    /// The entries of `train` that are replaced, as `--set` has them; those with an option of their own come last.
    pub fn overrides(&self) -> Vec<String> {
        let batch = self.batch_size.map(|n| format!("train.batch_size={n}"));
        let rate = self.lr.map(|x| format!("train.optimizer.lr={x:e}"));
        let set = self.set.iter().cloned();
        set.chain(batch).chain(rate).collect()
    }
}

impl CheckArgs {
    /// An option that only GPUs have a use for.
    pub fn option_of_gpus(&self) -> Option<&'static str> {
        let given = [
            ("--device", self.device.is_some()),
            ("--card", self.card.is_some()),
            ("--arch", self.arch.is_some()),
        ];
        given.into_iter().find(|g| g.1).map(|g| g.0)
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

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_out_of_its_range_is_told_by_the_end_that_it_passes() {
        let read = number::<u16>(1, 1024);
        for text in ["1", "+7", "1024", "007"] {
            assert!(read(text).is_ok(), "{text}");
        }
        let below = "-99999999999999999999999999999999999999999";
        let above = "99999999999999999999999999999999999999999";
        for (text, said) in [
            ("0", "it must be 1 or more"),
            ("-1", "it must be 1 or more"),
            (below, "it must be 1 or more"),
            ("1025", "it must be 1024 or less"),
            ("65537", "it must be 1024 or less"),
            (above, "it must be 1024 or less"),
            ("", "it is no whole number"),
            ("2.5", "it is no whole number"),
            ("many", "it is no whole number"),
        ] {
            assert_eq!(read(text), Err(said.to_string()), "{text}");
        }
        let all = number::<u64>(0, u64::MAX);
        assert_eq!(all("18446744073709551615"), Ok(u64::MAX));
        assert!(all("18446744073709551616").is_err());
    }
}
