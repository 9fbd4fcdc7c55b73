//! The examples of the book's chapter on convolutional networks (Dive into Deep Learning, 6.2 to 6.6), as they lie in
//! `models/book`: shapes and values that the book prints, and every stage of the compilation, though nothing is trained.
//!
//! Values are the interpreter's, in f64, of the nests that all code is made of; the code is held to the nests.

use std::path::{Path, PathBuf};
use std::process::Command;

use lenetc::backend::cpu::clif::Target;
use lenetc::backend::cpu::{Isa, Options};
use lenetc::diag::{self, Source as Text};
use lenetc::driver::{self, Failure, Model, NoStage, Stage};
use lenetc::ir::{DType, Leading, Role, Source};
use lenetc::nest::interp::Env;
use lenetc::nest::{Nest, Tensor, TensorRole};
use lenetc::ops::evaluate;
use lenetc::passes::build::Built;

#[path = "common/guard.rs"]
mod guard;
#[path = "common/kernels.rs"]
#[allow(
    dead_code,
    reason = "each test is a program of its own and uses what it needs"
)]
mod kernels;
#[path = "common/tolerance.rs"]
mod tolerance;

/// The examples, each with the shapes of its layers' results.
const EXAMPLES: [(&str, &[&[u32]]); 16] = [
    ("corr2d", &[&[1, 2, 2]]),
    ("edges", &[&[1, 6, 7]]),
    ("padding", &[&[1, 8, 8]]),
    ("padding_uneven", &[&[1, 8, 8]]),
    ("stride", &[&[1, 4, 4]]),
    ("stride_uneven", &[&[1, 2, 2]]),
    ("channels_in", &[&[1, 2, 2]]),
    ("channels_out", &[&[3, 2, 2]]),
    ("one_by_one", &[&[2, 3, 3]]),
    ("pool_max", &[&[1, 2, 2]]),
    ("pool_avg", &[&[1, 2, 2]]),
    ("pool_default", &[&[1, 1, 1]]),
    ("pool_stride", &[&[1, 2, 2]]),
    ("pool_uneven", &[&[1, 2, 2]]),
    ("pool_channels", &[&[2, 2, 2]]),
    (
        "lenet",
        &[
            &[6, 28, 28],
            &[6, 28, 28],
            &[6, 14, 14],
            &[16, 10, 10],
            &[16, 10, 10],
            &[16, 5, 5],
            &[400],
            &[120],
            &[120],
            &[84],
            &[84],
            &[10],
        ],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/book")
}

fn shown(f: &Failure) -> String {
    diag::render(&f.diagnostics, &f.source, false)
}

fn read(name: &str, overrides: &[String]) -> Model {
    let path = folder().join(name).with_extension("nn");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let name = name.into();
    let model = driver::read(Text { name, text }, overrides);
    model.unwrap_or_else(|f| panic!("{}", shown(&f)))
}

fn build(model: &Model) -> Built {
    let built = model.build(driver::holds_bytes(&model.config));
    built.unwrap_or_else(|f| panic!("{}", shown(&f)))
}

fn stage(model: &Model, stage: Stage, isa: Isa) -> Result<String, NoStage> {
    let target = || Target::named("aarch64");
    driver::text(model, &driver::Options::new(stage, isa), target)
}

/// What a model makes of one image, its parameters given in source order.
fn result(name: &str, image: &[f64], parameters: &[&[f64]]) -> Vec<f64> {
    let g = build(&read(name, &[])).graphs.step;
    let env = Env::new(1, 0.0);
    let values = evaluate(&g, env, |source| match source {
        Source::Images => image.to_vec(),
        Source::Indices => vec![0.0],
        Source::State(id) => parameters[id.index()].to_vec(),
        other => panic!("a forward pass has no {other:?}"),
    });
    let logits = g.output_for(Role::Logits).expect("it yields something");
    values[&logits].clone()
}

/// from, from + 1, …
fn counted(from: u32, count: u32) -> Vec<f64> {
    (from..from + count).map(f64::from).collect()
}

#[test]
fn every_file_is_an_example() {
    let files = std::fs::read_dir(folder()).expect("the folder is part of the repository");
    let mut files: Vec<String> = files
        .flatten()
        .map(|f| {
            f.path()
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into()
        })
        .collect();
    files.sort();
    let mut names = EXAMPLES.map(|e| e.0.to_string());
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn every_file_is_in_the_layout() {
    for (name, _) in EXAMPLES {
        let model = read(name, &[]);
        let formatted = lenetc::syntax::format(&model.source).expect("it has no errors");
        assert_eq!(formatted, model.source.text, "{name}");
    }
}

#[test]
fn shapes_are_the_books() {
    for (name, shapes) in EXAMPLES {
        let built = build(&read(name, &[]));
        let found: Vec<&[u32]> = built.rows.iter().map(|r| &r.ty.dims[..]).collect();
        assert_eq!(found, shapes, "{name}");
    }
}

#[test]
fn the_command_line_checks_every_example() {
    for (name, shapes) in EXAMPLES {
        let file = folder().join(name).with_extension("nn");
        let lenetc = Path::new(env!("CARGO_BIN_EXE_lenetc"));
        let o = Command::new(lenetc).arg("check").arg(file).output();
        let o = o.expect("lenetc starts");
        let text = String::from_utf8_lossy(&o.stdout);
        let dims: Vec<String> = shapes[0].iter().map(u32::to_string).collect();
        assert!(o.status.success() && o.stderr.is_empty(), "{name}");
        assert!(text.contains(&dims.join("×")), "{name}: {text}");
    }
}

#[test]
fn lenet_has_the_books_size() {
    let rows = build(&read("lenet", &[])).rows;
    let parameters: u64 = rows.iter().map(|r| r.parameters).sum();
    assert_eq!(parameters, 61_706);
}

/// Nothing is trained: a graph has what the network yields, and no loss.
#[test]
fn a_forward_pass_yields_its_last_layer() {
    for (name, _) in EXAMPLES {
        let g = build(&read(name, &[])).graphs.step;
        let roles: Vec<Role> = g.outputs.iter().map(|o| o.role).collect();
        assert_eq!(roles, [Role::Logits], "{name}");
    }
}

#[test]
fn every_stage_of_the_forward_pass_can_be_shown() {
    for (name, _) in EXAMPLES {
        for batch in [1, 7, 64] {
            let model = read(name, &[format!("train.batch_size={batch}")]);
            for (stage_name, which) in Stage::ALL.iter().map(|d| (d.name, d.stage)) {
                // Those that need a compiler of CUDA, or have nothing to show, are tested below.
                if matches!(which, Stage::Grad | Stage::Ptx) {
                    continue;
                }
                for isa in Isa::ALL {
                    let text = stage(&model, which, isa);
                    let text = text.unwrap_or_else(|e| panic!("{name}, {stage_name}: {e:?}"));
                    assert!(
                        text.lines().count() > 2,
                        "{name}, {stage_name}, {isa}: {text}"
                    );
                }
            }
        }
    }
}

/// What a nest reads, in a batch of `images`: small numbers, and images that exist.
fn inputs(nest: &Nest, images: usize) -> Vec<Vec<f64>> {
    let stored = images + 3;
    let value = |t: &Tensor, k: usize| match t.ty.dtype {
        DType::I32 => (k * 5 % stored) as f64,
        _ => (k * 37 % 17) as f64 / 8.0 - 1.0,
    };
    let all = nest.tensors.iter();
    let read = all.filter(|t| matches!(t.role, TensorRole::Input(_)));
    let values = read.map(|t| {
        let copies = match t.ty.leading {
            Leading::None => 1,
            Leading::Batch => images,
            Leading::Dataset => stored,
        };
        let len = copies * t.ty.elements() as usize;
        (0..len).map(|k| value(t, k)).collect()
    });
    values.collect()
}

#[test]
fn code_computes_what_the_nests_say() {
    for (name, _) in EXAMPLES {
        let mut g = build(&read(name, &[])).graphs.step;
        for group in driver::group(&mut g, true) {
            for isa in Isa::ALL {
                let lanes = isa.lanes();
                for (block, valid) in [(1, 1), (lanes, lanes - 1), (2 * lanes, 2 * lanes)] {
                    let (valid, options) = (valid as usize, Options::new(isa, block));
                    let inputs = inputs(&group.nest, valid);
                    kernels::check(isa, options, name, &group.nest, &inputs, valid);
                }
            }
        }
    }
}

#[test]
fn kernels_become_ptx() {
    for (name, _) in EXAMPLES {
        let text = stage(&read(name, &[]), Stage::Ptx, Isa::Cranelift);
        let text = text.unwrap_or_else(|e| panic!("{name}: tests/run installs NVRTC: {e:?}"));
        assert!(text.contains(".entry next_batch("), "{name}: {text}");
    }
}

/// On a GPU too there is no step of training and no loss to add up.
#[test]
fn launches_are_those_of_a_forward_pass() {
    for (name, _) in EXAMPLES {
        let text = stage(&read(name, &[]), Stage::Cuda, Isa::Cranelift).expect("it can be shown");
        assert!(text.starts_with("// A step of evaluation:\n"), "{name}");
        assert!(
            !text.contains("losses") && !text.contains("correct"),
            "{name}"
        );
    }
}

/// The last layer may be the input under another shape: what gathers the batch is then all that there is to do.
#[test]
fn a_layer_that_computes_nothing_is_a_model() {
    for layers in [
        "Flatten",
        "Identity",
        "Add { { Identity } { Identity } }",
        "Concat { { Identity } { Identity } }",
    ] {
        let source = Text {
            name: "view".into(),
            text: format!("model View {{ input(1, 3, 3); {layers} }}"),
        };
        let model = driver::read(source, &[]).unwrap_or_else(|f| panic!("{}", shown(&f)));
        for which in [Stage::Plan, Stage::Asm, Stage::Cuda] {
            let text = stage(&model, which, Isa::Cranelift).expect("it can be shown");
            let made = ["gather", "add", "concat"].iter().any(|k| text.contains(k));
            assert!(made, "{layers}: {text}");
        }
    }
}

#[test]
fn what_is_not_trained_has_no_gradient() {
    for (name, _) in EXAMPLES {
        let Err(NoStage::Unavailable(why)) = stage(&read(name, &[]), Stage::Grad, Isa::Cranelift)
        else {
            panic!("{name} has a gradient")
        };
        let expected = format!("{name} has no train block, so there is no gradient");
        assert!(why.starts_with(&expected), "{why}");
    }
}

/// An entry of `train` stands for the block; the size of the batch alone does not.
#[test]
fn an_entry_of_train_asks_for_a_loss() {
    let lenet = read("lenet", &["train.loss=CrossEntropyLoss".into()]);
    let grad = stage(&lenet, Stage::Grad, Isa::Cranelift).expect("it is trained");
    assert!(grad.contains("update 0.weight"), "{grad}");
    assert!(!read("lenet", &["train.batch_size=3".into()]).trained);
}

#[test]
fn cross_correlation() {
    let x = counted(0, 9);
    let k = counted(0, 4);
    assert_eq!(result("corr2d", &x, &[&k]), [19.0, 25.0, 37.0, 43.0]);
    let two = [x, counted(1, 9)].concat();
    let kernels = [k.clone(), counted(1, 4)].concat();
    let sums = [56.0, 72.0, 104.0, 120.0];
    assert_eq!(result("channels_in", &two, &[&kernels]), sums);
    // K, K + 1 and K + 2.
    let stack: Vec<f64> = (0..3)
        .flat_map(|n| kernels.iter().map(move |k| k + f64::from(n)))
        .collect();
    let all = result("channels_out", &two, &[&stack]);
    assert_eq!(all[..4], sums);
    assert_eq!(all[4..8], [76.0, 100.0, 148.0, 172.0]);
    assert_eq!(all[8..], [96.0, 128.0, 192.0, 224.0]);
}

#[test]
fn vertical_edges() {
    let row = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
    let edges = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0];
    let found = result("edges", &row.repeat(6), &[&[1.0, -1.0]]);
    assert_eq!(found, edges.repeat(6));
}

#[test]
fn a_convolution_of_one_by_one_is_a_product_of_matrices() {
    let (x, k) = (counted(1, 27), counted(1, 6));
    let product: Vec<f64> = (0..18)
        .map(|at| (0..3).map(|c| k[at / 9 * 3 + c] * x[9 * c + at % 9]).sum())
        .collect();
    assert_eq!(result("one_by_one", &x, &[&k]), product);
}

#[test]
fn pooling() {
    let x = counted(0, 9);
    assert_eq!(result("pool_max", &x, &[]), [4.0, 5.0, 7.0, 8.0]);
    assert_eq!(result("pool_avg", &x, &[]), [2.0, 3.0, 5.0, 6.0]);
    let x = counted(0, 16);
    let quarters = [5.0, 7.0, 13.0, 15.0];
    assert_eq!(result("pool_default", &x, &[]), [10.0]);
    assert_eq!(result("pool_stride", &x, &[]), quarters);
    assert_eq!(result("pool_uneven", &x, &[]), quarters);
    let two = [x, counted(1, 16)].concat();
    let both = [quarters, quarters.map(|q| q + 1.0)].concat();
    assert_eq!(result("pool_channels", &two, &[]), both);
}
