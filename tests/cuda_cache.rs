//! What is compiled for a GPU and what is not: the kernels that a command needs, each once for all runs and models; and
//! the word that a user gets who waits for them.
//!
//! lenetc runs as users run it, on the software GPU, with a cache of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Files of the cache for a module: machine code, the PTX that the software GPU runs for it, and which of them worked.
const FILES: usize = 3;

/// A cache that is empty at first.
struct Fresh {
    dir: tempfile::TempDir,
}

impl Fresh {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a command says where it goes well.
    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("XDG_CACHE_HOME", self.dir.path())
            .env_remove("LENETC_SOFTGPU")
            .args(args);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("lenetc starts");
        let text = [stdout, stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(status.success(), "{args:?}: {}", text.concat());
        text.concat()
    }

    /// The same on the software GPU.
    fn on_gpu(&self, args: &[&str]) -> String {
        self.run(&[args, &["--target", "cuda", "--device", "software"]].concat())
    }

    fn files(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.path("lenetc")).into_iter();
        folder.flatten().flatten().map(|e| e.path()).collect()
    }

    /// The kernels that the cache has PTX of.
    fn kernels(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for file in self.files() {
            let text = std::fs::read(file).expect("it was just written");
            let text = String::from_utf8_lossy(&text).into_owned();
            let entries = text.split(".entry ").skip(1);
            names.extend(entries.filter_map(|e| Some(e.split_once('(')?.0.to_string())));
        }
        names
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// A net of few kernels, with inline data.
fn model(folder: &Path) -> String {
    let path = folder.join("small.nn");
    let text = "model Small { input(2, 4, 4); Conv2d(3, kernel_size=3); ReLU; Flatten; Linear(2) }
train {
    data = inline { x = [[[[1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1], [4, 3, 2, 1]],
                          [[1, 2, 3, 4], [1, 2, 3, 4], [4, 3, 2, 1], [4, 3, 2, 1]]]]
                    y = [1] }
    loss = CrossEntropyLoss
    optimizer = SGD(lr=0.1)
    batch_size = 1
    epochs = 1
}
";
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

#[test]
fn evaluating_compiles_what_it_needs_and_training_the_rest() {
    let fresh = Fresh::new();
    let (model, weights) = (model(fresh.dir.path()), fresh.path("w.safetensors"));
    let weights = weights.display().to_string();
    fresh.run(&[&model, "--quiet", "--save", &weights]);
    assert!(fresh.files().is_empty(), "the processor needs no cache");

    let eval = ["eval", &model, "--weights", &weights];
    let on_processor = fresh.run(&eval);
    // A word about the compilation may follow.
    let on_gpu = fresh.on_gpu(&eval);
    assert!(on_gpu.starts_with(&on_processor), "{on_gpu}");
    assert_eq!(fresh.kernels(), set(&["chain_2", "close"]));
    let of_eval = fresh.files().len();

    fresh.on_gpu(&[&model, "--quiet"]);
    let all = set(&["chain", "chain_2", "close", "gradients", "update"]);
    assert_eq!(fresh.kernels(), all);
    let of_both = fresh.files().len();
    assert!(of_both > of_eval && of_both.is_multiple_of(FILES));

    // The other way round nothing is left to do.
    fresh.on_gpu(&eval);
    fresh.on_gpu(&[&model, "--quiet"]);
    assert_eq!(fresh.files().len(), of_both);
}

/// Two nets whose first layers and whose batches are equal.
#[test]
fn kernels_that_two_models_have_in_common_are_compiled_once() {
    let fresh = Fresh::new();
    let net = |name: &str, rest: &str| {
        let path = fresh.path(name);
        let text = format!(
            "model Net {{ input(1, 28, 28); Conv2d(4, kernel_size=5); ReLU; MaxPool2d(2); {rest}; \
             Flatten; Linear(10) }}\n\
             train {{ data = fashion_mnist; loss = CrossEntropyLoss; optimizer = SGD(lr=0.1); \
             batch_size = 128; epochs = 1 }}\n"
        );
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let modules = |fresh: &Fresh, model: &str| {
        fresh.on_gpu(&[model, "--quiet", "--steps", "1", "--epochs", "1"]);
        fresh.files().len() / FILES
    };
    let (first, second) = (
        net("a.nn", "Identity"),
        net("b.nn", "Conv2d(4, kernel_size=3)"),
    );
    let both = [modules(&fresh, &first), modules(&fresh, &second)];
    let alone = modules(&Fresh::new(), &second);
    assert!(both[1] - both[0] < alone, "{both:?}, {alone} alone");
}

/// A net whose kernels take many seconds: each layer is another.
fn slow(folder: &Path) -> String {
    let layers = (0..8).map(|k| {
        let (channels, size) = (3 + k, [3, 5, 7][k % 3]);
        format!("Conv2d({channels}, kernel_size={size}, padding=same); Sigmoid")
    });
    let layers: Vec<String> = layers.collect();
    let path = folder.join("slow.nn");
    let text = format!(
        "model Slow {{ input(1, 28, 28); {}; Flatten; Linear(10) }}\n\
         train {{ data = fashion_mnist; loss = CrossEntropyLoss; optimizer = SGD(lr=0.1); \
         batch_size = 8; epochs = 1 }}\n",
        layers.join("; ")
    );
    std::fs::write(&path, text).expect("writable");
    path.display().to_string()
}

#[test]
fn a_word_is_said_where_compiling_takes_long_and_only_then() {
    let fresh = Fresh::new();
    let model = slow(fresh.dir.path());
    let emit = ["emit", &model, "--stage", "ptx"];
    let first = fresh.run(&emit);
    let (text, word) = first
        .split_once("note: compiling ")
        .expect("a word on stderr");
    let kernels = text.matches(".visible .entry ").count();
    let expected = format!("{kernels} kernels for compute capability 8.0 …\n");
    assert_eq!(word, expected);
    // What is known is there at once.
    assert_eq!(fresh.run(&emit), text);
}
