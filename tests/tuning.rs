//! Tuning changes how long a program takes and nothing else: every tile that it may choose gives the same bits, and what
//! it remembers is used, or passed by where it is not what was written.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use lenetc::backend::beyond::Beyond;
use lenetc::backend::cpu::code::Code;
use lenetc::backend::cpu::{Chosen, Isa, candidates};
use lenetc::data::Search;
use lenetc::diag::Source;
use lenetc::driver::{self, Modes};
use lenetc::ir::{DType, Scalars};
use lenetc::nest::loops::{Buffer, Kernel};
use lenetc::train::{self, Doing, Epoch, Options, Session, Watcher};
use lenetc_runtime::exec::Uniforms;

#[macro_use]
#[path = "common/cases.rs"]
mod cases;
#[path = "common/guard.rs"]
mod guard;
#[path = "common/isas.rs"]
mod isas;
use cases::Case;
use guard::Guarded;

/// Some of the case's numbers, in an order of no meaning: bits are compared, not results. Integers are zero.
fn bytes(b: &Buffer, numbers: &[f64], salt: usize) -> Vec<u8> {
    let number = |k: usize| numbers[(k * 31 + salt) % numbers.len()] as f32;
    match b.dtype {
        DType::F32 => (0..b.len as usize)
            .flat_map(|k| number(k).to_ne_bytes())
            .collect(),
        _ => vec![0; (b.len * b.dtype.size_bytes()) as usize],
    }
}

/// What a kernel leaves in its buffers.
fn results(c: &Chosen, numbers: &[f64], valid: u32) -> Vec<Vec<u8>> {
    let k: &Kernel = &c.kernel;
    let code = Code::compile(std::slice::from_ref(k)).expect("there is memory for code");
    let numbered = k.buffers.iter().zip(1..);
    let buffers: Vec<Guarded> = numbered
        .map(|(b, n)| Guarded::new(&bytes(b, numbers, n * 1000)))
        .collect();
    let pointers: Vec<*mut u8> = buffers.iter().map(Guarded::start).collect();
    let uniforms = Uniforms::new(valid as f32, &Scalars::new(valid as usize, 0.5).floats());
    // SAFETY: each buffer has the length that the kernel states, and nothing else uses them meanwhile.
    unsafe { code.call(0, &pointers, &uniforms) };
    buffers.iter().map(|b| b.bytes().to_vec()).collect()
}

/// Compares every candidate with the static choice.
fn run(list: Vec<Case>) {
    for isa in isas::here() {
        for c in &list {
            for block in [1, isa.lanes(), 2 * isa.lanes()] {
                let valid = (block - 1).max(1);
                let numbers = c.values(valid as usize).concat();
                let nest = c.nest();
                let all = candidates(&nest, isa, block, Beyond::alone(&nest));
                let want = results(&all[0], &numbers, valid);
                for other in &all[1..] {
                    let tile = other.choice.options.tile;
                    assert!(
                        results(other, &numbers, valid) == want,
                        "{} on {isa}, blocks of {block}: {tile:?}",
                        c.name
                    );
                }
            }
        }
    }
}

every_family!(run);

/// Without candidates the tests above would show nothing.
#[test]
fn contractions_have_candidates() {
    for isa in Isa::ALL {
        let lists = [
            cases::convolutions(),
            cases::rows_of_many_widths(),
            cases::linear_and_biases(),
        ];
        for list in lists {
            let most = list
                .iter()
                .map(|c| candidates(&c.nest(), isa, isa.lanes(), Beyond::default()).len());
            let most = most.max().unwrap_or(0);
            let some = if isa == Isa::Cranelift {
                most == 1
            } else {
                most > 2 && most <= 9
            };
            assert!(some, "{most} schedules at most on {isa}");
        }
    }
}

struct Deaf;

impl Watcher for Deaf {
    fn doing(&mut self, _: Doing) {}
    fn warning(&mut self, _: &str) {}
    fn progress(&mut self, _: u32, _: usize, _: usize, _: f64) {}
    fn step(&mut self, _: u64, _: f64) {}
    fn epoch(&mut self, _: &Epoch, _: u32) {}
}

/// The bits of all weights after a few steps; `other` tells whether every kernel has its last candidate.
fn weights(path: &str, batch: u32, isa: Isa, other: bool) -> Vec<Vec<u32>> {
    let text = std::fs::read_to_string(path).expect("models are part of the repository");
    let source = Source {
        name: path.into(),
        text,
    };
    let small = [format!("train.batch_size={batch}")];
    let model = driver::read(source, &small).unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
    let built = model.build(driver::holds_bytes(&model.config));
    let built = built.unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
    let modes = Modes::new(model.differentiate(built.graphs.clone()), true);
    let mut plan = modes.plan(batch, isa);
    if other {
        for (k, group) in modes.groups().enumerate() {
            let beyond = plan.steps[k].beyond();
            let last = candidates(&group.nest, isa, plan.block, beyond).pop();
            plan.steps[k].chosen = last.expect("the static choice is always there");
        }
    }
    let data = model.config.data.as_ref().expect("the model names data");
    let search = Search {
        folder: Path::new("models"),
        given: None,
    };
    let wanted = train::wanted(&built.input, &built.output, &model.config.loss);
    let data = train::open(data, search).and_then(|source| train::load(source, &wanted));
    let data = data.unwrap_or_else(|e| panic!("{e}"));
    let mut session = Session::new(&plan, data, model.config, 2).unwrap_or_else(|e| panic!("{e}"));
    let drawn = session.initialise();
    drawn.unwrap_or_else(|e| panic!("{e}"));
    let options = Options {
        steps: Some(4),
        ..Options::default()
    };
    let trained = session.train(&options, &AtomicBool::new(false), &mut Deaf);
    trained.unwrap_or_else(|e| panic!("{e}"));
    let tensors = session.tensors().unwrap_or_else(|e| panic!("{e}"));
    let bits = |x: &f32| x.to_bits();
    let all = tensors.iter().map(|t| t.data.iter().map(bits).collect());
    all.collect()
}

#[test]
fn a_program_of_other_tiles_learns_the_same_bits() {
    for isa in isas::here() {
        for model in ["models/lenet.nn", "models/branches.nn"] {
            // Blocks of many images, the last one not full, and of one.
            for batch in [45, 2] {
                let [own, other] = [false, true].map(|o| weights(model, batch, isa, o));
                assert!(own == other, "{model} on {isa}, batches of {batch}");
            }
        }
    }
}

/// A few steps with the user's cache in a folder; the weights, and what was said.
fn lenet(cache: &Path, isa: &str, more: &[&str]) -> (Vec<u8>, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("w.safetensors");
    let o: Output = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("XDG_CACHE_HOME", cache)
        .args(["models/lenet.nn", "--steps", "3", "--quiet", "--isa", isa])
        .args(more)
        .arg("--save")
        .arg(&file)
        .output()
        .expect("lenetc starts");
    let said = String::from_utf8_lossy(&o.stderr).into_owned();
    assert!(o.status.success(), "{said}");
    (std::fs::read(file).expect("written"), said)
}

/// The entries of a cache.
fn entries(cache: &Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(cache.join("lenetc"))
        .into_iter()
        .flatten();
    all.map(|e| e.expect("readable").path()).collect()
}

#[test]
fn tuning_is_remembered_and_changes_no_weight() {
    for isa in isas::here().map(Isa::name) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (want, said) = lenet(dir.path(), isa, &[]);
        assert!(!said.contains("tuning"), "{said}");
        assert!(entries(dir.path()).is_empty(), "nothing asks for a cache");
        let (first, said) = lenet(dir.path(), isa, &["--tune"]);
        assert!(said.contains("tuning: measured "), "{said}");
        let (second, said) = lenet(dir.path(), isa, &["--tune"]);
        assert!(said.contains("tuning: from the cache, "), "{said}");
        assert!(first == want && second == want, "the same bits on {isa}");
    }
}

#[test]
fn what_the_cache_holds_is_not_believed_blindly() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let isa = Isa::best().name();
    let (want, _) = lenet(dir.path(), isa, &["--tune"]);
    let entry = entries(dir.path()).pop().expect("an entry was written");
    let whole = std::fs::read(&entry).expect("readable");
    let mut changed = whole.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    for damaged in [
        &changed[..],
        &whole[..whole.len() / 2],
        b"",
        b"{\"tiles\": []}",
    ] {
        std::fs::write(&entry, damaged).expect("writable");
        let (weights, said) = lenet(dir.path(), isa, &["--tune"]);
        assert!(said.contains("tuning: measured "), "{said}");
        assert!(weights == want);
        let (_, said) = lenet(dir.path(), isa, &["--tune"]);
        assert!(said.contains("tuning: from the cache, "), "{said}");
    }
}

#[test]
fn every_command_that_runs_kernels_uses_the_same_tiles() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let weights = dir.path().join("w.safetensors");
    let said = |args: &[&str]| {
        let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("XDG_CACHE_HOME", dir.path())
            .args(args)
            .output()
            .expect("lenetc starts");
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    let (model, file) = ("models/lenet.nn", weights.to_str().expect("text"));
    let first = said(&[model, "--tune", "--steps", "1", "--quiet", "--save", file]);
    assert!(first.contains("tuning: measured "), "{first}");
    let eval = said(&["eval", model, "--tune", "--weights", file]);
    assert!(eval.contains("tuning: from the cache, "), "{eval}");
    let bench = said(&["bench", model, "--tune", "--seconds", "0.02"]);
    assert!(bench.contains("tuning: from the cache, "), "{bench}");
    let cuda = said(&[model, "--tune", "--target", "cuda"]);
    assert!(
        cuda.contains("--tune chooses tiles for the processor"),
        "{cuda}"
    );
}

#[test]
fn a_folder_that_cannot_be_used_is_no_error() {
    let (_, said) = lenet(Path::new("/dev/null"), Isa::best().name(), &["--tune"]);
    assert!(said.contains("tuning: measured "), "{said}");
}
