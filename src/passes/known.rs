//! What torch has under a name that a model may use, and lenetc has not: so that a message says so, and never
//! offers something that computes another function.
//!
//! Names only, as `torch.nn`, `torch.optim`, `torch.nn.init` and `torchvision.datasets` have them. Does not know what
//! lenetc has: the callers do. What is added to lenetc leaves its list here; a test holds that.

use crate::diag::nearest::{self, begins, closest, few, plain};

/// What a name is meant to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Layer,
    Loss,
    Optimizer,
    Schedule,
    Initialisation,
    Data,
}

/// What is said of a name that lenetc does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why it is not there, where torch has it; else nothing more than that it is not there is known.
    pub missing: Option<String>,
    pub label: &'static str,
    /// Ways on, where there are any.
    pub help: Vec<String>,
}

const LABEL: &str = "torch has it, lenetc not yet";

/// The answer to a name of a kind of which lenetc has the `known` ones.
pub fn unknown(kind: Kind, name: &str, known: &[&str]) -> Answer {
    let list = nearest::known(known);
    if let Some(same) = known.iter().find(|k| plain(k) == plain(name)) {
        return Answer {
            missing: None,
            label: "unknown",
            help: vec![format!("did you mean `{same}`?")],
        };
    }
    if let Some(torch) = kind.missing().iter().find(|k| plain(k) == plain(name)) {
        let hint = HINTS.iter().find(|h| h.0 == *torch);
        // Layers are many: a model that misses some of them would repeat the list for each.
        let list = (kind != Kind::Layer).then_some(list);
        return Answer {
            missing: Some(format!("{torch} is not supported yet")),
            label: LABEL,
            help: hint
                .map(|h| h.1.to_string())
                .into_iter()
                .chain(list)
                .collect(),
        };
    }
    let help = match meant(name, known, kind.missing()) {
        Some(Nearest::Known(k)) => format!("did you mean `{k}`?"),
        Some(Nearest::Missing(k)) => format!("did you mean `{k}`? It is not supported yet"),
        None => list,
    };
    Answer {
        missing: None,
        label: "unknown",
        help: vec![help],
    }
}

enum Nearest<'a> {
    Known(&'a str),
    Missing(&'a str),
}

/// The name that was probably meant. One that lenetc has must be nearer than all that it lacks, or be told by its
/// start; one that it lacks must be nearer than all that it has, and very near: such names differ in a letter or two.
fn meant<'a>(name: &str, known: &[&'a str], missing: &[&'a str]) -> Option<Nearest<'a>> {
    let had = closest(name, known.iter().copied());
    let lacked = closest(name, missing.iter().copied());
    let fewest = lacked.map_or(usize::MAX, |l| l.slips);
    let had = had.filter(|h| h.slips <= few(name));
    if let Some(h) = had.filter(|h| h.slips < fewest || (h.slips == fewest && begins(name, h.name)))
    {
        return Some(Nearest::Known(h.name));
    }
    let lacked = lacked.filter(|l| l.slips <= 1 + name.chars().count() / 8);
    let lacked = lacked.filter(|l| had.is_none_or(|h| l.slips < h.slips));
    lacked.map(|l| Nearest::Missing(l.name))
}

/// An argument that torch's layer, loss or optimizer takes and lenetc's does not: what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub message: String,
    pub label: &'static str,
    /// A way on, where it is not the signature alone.
    pub help: Option<&'static str>,
}

/// What is said of an argument of `owner`; nothing where torch does not have it either.
pub fn argument(owner: &str, argument: &str) -> Option<Gap> {
    let needless = NEEDLESS.iter().find(|n| n.0 == argument);
    if let Some((_, help)) = needless {
        return Some(Gap {
            message: format!("{owner} has no argument `{argument}`"),
            label: "to be left out",
            help: Some(help),
        });
    }
    let (_, arguments) = ARGUMENTS.iter().find(|a| a.0 == owner)?;
    arguments.contains(&argument).then(|| Gap {
        message: format!("{owner} does not support `{argument}` yet"),
        label: LABEL,
        help: None,
    })
}

/// Arguments of torch's that lenetc's of the same name does not take.
pub fn arguments(owner: &str) -> &'static [&'static str] {
    let gaps = ARGUMENTS.iter().find(|a| a.0 == owner);
    gaps.map_or(&[], |a| a.1)
}

impl Kind {
    /// One of them, in words.
    pub fn article(self) -> &'static str {
        match self {
            Self::Layer => "a layer",
            Self::Loss => "a loss",
            Self::Optimizer => "an optimizer",
            Self::Schedule => "a schedule",
            Self::Initialisation => "an initialisation",
            Self::Data => "a data set",
        }
    }

    /// Names that torch has and lenetc has not.
    pub fn missing(self) -> &'static [&'static str] {
        match self {
            Self::Layer => LAYERS,
            Self::Loss => LOSSES,
            Self::Optimizer => OPTIMIZERS,
            Self::Schedule => SCHEDULES,
            Self::Initialisation => INITIALISATIONS,
            Self::Data => DATA,
        }
    }
}

/// What does without a missing layer.
const HINTS: &[(&str, &str)] = &[
    (
        "LazyConv2d",
        "Conv2d infers its input channels here: write `Conv2d(…)`",
    ),
    (
        "LazyLinear",
        "Linear infers its input features here: write `Linear(…)`",
    ),
    ("Softmax2d", "Softmax runs over the channels of images too"),
    (
        "AdaptiveAvgPool2d",
        "over an image of 7×7, AvgPool2d(7) is AdaptiveAvgPool2d(1)",
    ),
    (
        "AdaptiveMaxPool2d",
        "over an image of 7×7, MaxPool2d(7) is AdaptiveMaxPool2d(1)",
    ),
    (
        "SequentialLR",
        "schedules that follow each other are a list: [LinearLR(…), CosineAnnealingLR(…)]",
    ),
];

/// Arguments of torch that say what the compiler finds out by itself.
const NEEDLESS: &[(&str, &str)] = &[
    ("inplace", "the compiler decides what is computed in place"),
    ("device", "`--target` and `--device` choose where it runs"),
    ("dtype", "all values are 32-bit floats"),
];

/// Arguments by what takes them in torch.
pub(super) const ARGUMENTS: &[(&str, &[&str])] = &[
    ("Conv2d", &["padding_mode"]),
    ("MaxPool2d", &["dilation", "return_indices", "ceil_mode"]),
    (
        "AvgPool2d",
        &["ceil_mode", "count_include_pad", "divisor_override"],
    ),
    ("Flatten", &["start_dim", "end_dim"]),
    (
        "CrossEntropyLoss",
        &["size_average", "ignore_index", "reduce"],
    ),
    ("NLLLoss", &["size_average", "ignore_index", "reduce"]),
    ("BCEWithLogitsLoss", &["weight", "size_average", "reduce"]),
    ("MSELoss", &["size_average", "reduce"]),
    ("L1Loss", &["size_average", "reduce"]),
    ("SmoothL1Loss", &["size_average", "reduce"]),
    ("SGD", &["maximize", "foreach", "differentiable", "fused"]),
];

#[rustfmt::skip]
const LAYERS: &[&str] = &[
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveLogSoftmaxWithLoss",
    "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AlphaDropout", "AvgPool1d", "AvgPool3d",
    "BatchNorm3d", "Bilinear", "CELU", "ChannelShuffle", "CircularPad1d",
    "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "Conv1d", "Conv3d",
    "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "CosineSimilarity", "Dropout1d",
    "Dropout3d", "Embedding", "EmbeddingBag", "FeatureAlphaDropout", "Fold",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "GLU", "GRU", "GRUCell", "Hardshrink",
    "Hardtanh", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LPPool1d",
    "LPPool2d", "LPPool3d", "LSTM", "LSTMCell", "LazyBatchNorm1d", "LazyBatchNorm2d",
    "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d",
    "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d", "LazyLinear",
    "LocalResponseNorm", "LogSigmoid", "MaxPool1d", "MaxPool3d", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d", "Mish", "ModuleDict", "ModuleList", "MultiheadAttention", "PReLU",
    "PairwiseDistance", "PixelShuffle", "PixelUnshuffle", "RMSNorm", "RNN", "RNNCell", "RReLU",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "SELU", "Softmax2d", "Softmin", "Softshrink", "Softsign",
    "SyncBatchNorm", "Tanhshrink", "Threshold", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer", "Unflatten", "Unfold", "Upsample", "UpsamplingBilinear2d",
    "UpsamplingNearest2d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
];

#[rustfmt::skip]
const LOSSES: &[&str] = &[
    "BCELoss", "CTCLoss", "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss",
    "KLDivLoss", "MarginRankingLoss", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss", "SoftMarginLoss",
    "TripletMarginLoss", "TripletMarginWithDistanceLoss",
];

#[rustfmt::skip]
const OPTIMIZERS: &[&str] = &[
    "ASGD", "Adadelta", "Adafactor", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "Rprop", "SparseAdam",
];

#[rustfmt::skip]
const SCHEDULES: &[&str] = &[
    "ChainedScheduler", "ConstantLR", "CosineAnnealingWarmRestarts", "CyclicLR", "LambdaLR", "MultiplicativeLR",
    "PolynomialLR", "ReduceLROnPlateau", "SWALR", "SequentialLR",
];

#[rustfmt::skip]
const INITIALISATIONS: &[&str] = &[
    "dirac", "eye", "orthogonal", "sparse", "trunc_normal",
];

#[rustfmt::skip]
const DATA: &[&str] = &[
    "CIFAR10", "CIFAR100", "EMNIST", "FakeData", "ImageNet", "KMNIST", "QMNIST", "STL10", "SVHN", "USPS",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;

    fn layers() -> Vec<&'static str> {
        Op::signatures().iter().map(|s| s.name).collect()
    }

    #[test]
    fn what_torch_has_is_never_another_layer() {
        for torch in LAYERS {
            let lower = torch.to_lowercase();
            for name in [*torch, &lower] {
                let answer = unknown(Kind::Layer, name, &layers());
                let said = format!("{torch} is not supported yet");
                assert_eq!(answer.missing.as_ref(), Some(&said));
                assert!(!answer.help.concat().contains("did you mean"), "{answer:?}");
            }
        }
    }

    #[test]
    fn what_is_there_is_not_called_missing() {
        for kind in [
            Kind::Loss,
            Kind::Optimizer,
            Kind::Schedule,
            Kind::Initialisation,
            Kind::Data,
        ] {
            assert!(!kind.missing().is_empty());
        }
        let there = layers();
        for torch in LAYERS {
            assert!(!there.contains(torch), "{torch} is supported");
        }
        for (owner, arguments) in ARGUMENTS {
            let signatures = Op::signatures();
            let Some(s) = signatures.iter().find(|s| s.name == *owner) else {
                continue;
            };
            let takes = |name: &&str| s.arguments.iter().any(|a| a.name == *name);
            assert!(
                !arguments.iter().any(takes),
                "{owner} takes one of {arguments:?}"
            );
        }
    }

    #[test]
    fn the_case_of_a_name_is_a_slip() {
        for (name, meant) in [
            ("conv2d", "Conv2d"),
            ("relu", "ReLU"),
            ("Maxpool2d", "MaxPool2d"),
            ("max_pool2d", "MaxPool2d"),
            ("FLATTEN", "Flatten"),
        ] {
            let help = unknown(Kind::Layer, name, &layers()).help;
            assert_eq!(help, [format!("did you mean `{meant}`?")]);
        }
    }

    #[test]
    fn a_slip_is_put_right_by_the_nearest_name() {
        let help = |name| unknown(Kind::Layer, name, &layers()).help.concat();
        assert_eq!(help("Sigmiod"), "did you mean `Sigmoid`?");
        assert_eq!(help("Conv"), "did you mean `Conv2d`?");
        assert_eq!(help("LeakyReLu6"), "did you mean `LeakyReLU`?");
        assert_eq!(
            help("PixelShufle"),
            "did you mean `PixelShuffle`? It is not supported yet"
        );
        for meant in ["AvgPool", "MaxPool"] {
            assert_eq!(help(meant), format!("did you mean `{meant}2d`?"));
        }
        assert!(help("Capsule").starts_with("known are: Conv2d"));
        assert!(help("").starts_with("known are: Conv2d"));
    }

    /// Where a layer that is missing is as near, none is named: it would be another function.
    #[test]
    fn of_a_name_between_two_none_is_taken() {
        for name in ["CReLU", "crelu", "Conv4d", "conv9d", "MaxPool4d"] {
            let answer = unknown(Kind::Layer, name, &layers());
            assert_eq!(answer.help, [nearest::known(&layers())], "{name}");
            assert_eq!((answer.missing, answer.label), (None, "unknown"));
        }
    }
}
