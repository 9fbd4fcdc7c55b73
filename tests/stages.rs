//! What `emit` shows of each stage: lines that fit, layers over every kernel, and no more than is asked for.

use std::path::{Path, PathBuf};

use lenetc::backend::cpu::Isa;
use lenetc::backend::cpu::clif::Target;
use lenetc::diag::Source;
use lenetc::driver::{self, Model, NoStage, Options, Stage};
use lenetc::nest::loops;

const LENET: &str = "models/lenet.nn";
const BRANCHES: &str = "models/branches.nn";

fn source(path: &Path) -> Source {
    Source {
        name: path.display().to_string(),
        text: std::fs::read_to_string(path).expect("a model is text"),
    }
}

fn read(source: Source) -> Model {
    driver::read(source, &[]).unwrap_or_else(|f| panic!("{:?}", f.diagnostics))
}

fn shown(model: &Model, options: &Options) -> Result<String, String> {
    let target = || Target::named("aarch64");
    driver::text(model, options, target).map_err(|e| match e {
        NoStage::Model(f) => panic!("{:?}", f.diagnostics),
        NoStage::Unavailable(why) => why,
    })
}

/// A part of a stage of a model of the repository.
fn part(
    path: &str,
    stage: Stage,
    layer: Option<&str>,
    kernel: Option<&str>,
) -> Result<String, String> {
    let options = Options {
        layer: layer.map(String::from),
        kernel: kernel.map(String::from),
        ..Options::new(stage, Isa::Cranelift)
    };
    shown(&read(source(Path::new(path))), &options)
}

/// The stages that any machine makes.
fn everywhere() -> impl Iterator<Item = Stage> {
    let all = Stage::ALL.into_iter().map(|d| d.stage);
    all.filter(|s| *s != Stage::Ptx)
}

/// The stages that are lists of kernels.
const KERNELS: [Stage; 7] = [
    Stage::Fused,
    Stage::Plan,
    Stage::Nest,
    Stage::Loops,
    Stage::Clif,
    Stage::Asm,
    Stage::Cuda,
];

fn models() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in ["models", "tests/golden"] {
        let entries = std::fs::read_dir(folder).expect("is there").flatten();
        all.extend(
            entries
                .map(|e| e.path())
                .filter(|p| p.extension().is_some_and(|e| e == "nn")),
        );
    }
    assert!(all.len() > 10);
    all
}

/// Every line of every stage that this program writes itself fits, of the models and of a deep one with long names.
#[test]
fn no_line_is_wide() {
    let layers = "Linear(4); ".to_string() + &"Sigmoid; Tanh; ".repeat(15);
    let branches = "{ Linear(3) } ".repeat(40);
    let deep = format!(
        "block B(n) {{ Add {{ {{ {layers} }} {{ Identity }} }} }}\n\
         block C(n) {{ first: B(n); Add {{ {branches} }} }}\n\
         model Deep {{ input(4)\n a_block_with_a_long_name: C(4); Linear(2) }}\n\
         train {{ batch_size = 8 }}\n"
    );
    let deep = Source {
        name: "deep.nn".into(),
        text: deep,
    };
    let files = models().into_iter().map(|path| {
        let mut s = source(&path);
        if let Some((model, _)) = s.text.split_once("#### ") {
            s.text = model.into();
        }
        s
    });
    for s in files.chain([deep]) {
        let name = s.name.clone();
        let model = read(s);
        for stage in everywhere().filter(|s| *s != Stage::Clif && *s != Stage::Asm) {
            for isa in Isa::ALL {
                let text = shown(&model, &Options::new(stage, isa)).expect("can be shown");
                let wide = text.lines().find(|l| l.chars().count() > 160);
                assert_eq!(wide, None, "{name}, {}", stage.name());
            }
        }
    }
}

/// What loops print as a stage is read back, comments and all.
#[test]
fn the_loops_of_a_model_are_read_back() {
    let model = read(source(Path::new(BRANCHES)));
    for isa in Isa::ALL {
        let text = shown(&model, &Options::new(Stage::Loops, isa)).expect("can be shown");
        let kernels = loops::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(kernels.len(), text.matches("kernel ").count());
        for trip in [" in 0..1 ", " in 0..1,"] {
            assert!(!text.contains(trip), "a loop of one trip");
        }
    }
}

/// Every kernel stands under its operators and their layers, in every stage that has kernels.
#[test]
fn every_kernel_bears_its_layers() {
    for stage in KERNELS {
        let text = part(LENET, stage, None, None).expect("can be shown");
        for layers in ["Conv2d (0) + Sigmoid (1)", "Conv2d (3) + Sigmoid (4)"] {
            assert!(text.contains(layers), "{}: {layers}", stage.name());
        }
    }
    let cuda = part(LENET, Stage::Cuda, None, None).expect("can be shown");
    let mut above = "";
    for line in cuda.lines() {
        if line.starts_with("extern \"C\"") {
            assert!(above.starts_with("// "), "{line} has no layers");
        }
        above = line;
    }
}

/// Of a layer each stage shows something, and nothing of another one.
#[test]
fn a_layer_is_shown_alone() {
    for stage in everywhere() {
        let name = stage.name();
        let whole = part(LENET, stage, None, None).expect("can be shown");
        let some = part(LENET, stage, Some("3"), None).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(some.len() < whole.len(), "{name}");
        // Launches that share their work name all of it.
        if stage != Stage::Cuda {
            assert!(!some.contains("Linear"), "{name}: {some}");
        }
        assert!(some.contains("onv2d"), "{name}: {some}");
    }
    let inner = part(BRANCHES, Stage::Fused, Some("2.0"), None).expect("can be shown");
    assert!(
        inner.contains("Conv2d (2.0.0.0)") && !inner.contains("(3."),
        "{inner}"
    );
}

#[test]
fn a_kernel_is_shown_alone() {
    for stage in KERNELS.into_iter().filter(|s| *s != Stage::Cuda) {
        let name = stage.name();
        let some = part(LENET, stage, None, Some("linear_sigmoid")).expect("can be shown");
        assert!(
            some.contains("Linear (7)") && some.contains("Linear (9)"),
            "{name}: {some}"
        );
        assert!(!some.contains("Conv2d"), "{name}: {some}");
        let one = part(LENET, stage, Some("9"), Some("linear_sigmoid")).expect("can be shown");
        assert!(
            one.contains("Linear (9)") && !one.contains("Linear (7)"),
            "{name}: {one}"
        );
        let numbered = part(LENET, stage, None, Some("1")).expect("can be shown");
        assert!(
            numbered.contains("1: Conv2d (0) + Sigmoid (1)"),
            "{name}: {numbered}"
        );
    }
    let cuda = part(LENET, Stage::Cuda, None, Some("update")).expect("can be shown");
    assert!(
        cuda.contains("update(") && !cuda.contains("gradients("),
        "{cuda}"
    );
    for stage in [Stage::Ir, Stage::Grad, Stage::Dot] {
        let some = part(LENET, stage, None, Some("conv2d_sigmoid")).expect("can be shown");
        assert!(
            some.contains("0.weight") && some.contains("Sigmoid"),
            "{some}"
        );
        assert!(!some.contains("Linear"), "{some}");
    }
    let ast = part(LENET, Stage::Ast, None, Some("conv2d_sigmoid")).expect("can be shown");
    assert!(
        ast.contains("Conv2d") && ast.contains("Sigmoid") && !ast.contains("Linear"),
        "{ast}"
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    for stage in Stage::ALL.map(|d| d.stage) {
        let e = part(LENET, stage, Some("nowhere"), None).expect_err("is no layer");
        assert!(
            e.contains("no layer `nowhere`") && e.contains("0, 1, 2, 3"),
            "{e}"
        );
        let e = part(LENET, stage, None, Some("nothing")).expect_err("is no kernel");
        assert!(
            e.contains("no kernel `nothing`") && e.contains("conv2d_sigmoid"),
            "{e}"
        );
        assert!(e.lines().all(|l| l.chars().count() <= 80), "{e}");
    }
    let e = part(LENET, Stage::Ir, None, Some("sgd")).expect_err("is not of the forward pass");
    assert_eq!(e, "ir has nothing of kernel `sgd`");
    let e = part(LENET, Stage::Plan, Some("0"), Some("linear")).expect_err("is of another layer");
    assert_eq!(e, "plan has nothing of layer `0` in kernel `linear`");
    assert!(
        part(LENET, Stage::Ir, Some(""), None).is_err(),
        "an empty path"
    );
    let e = shown(
        &read(source(Path::new(LENET))),
        &Options {
            grad: true,
            ..Options::new(Stage::Ir, Isa::Cranelift)
        },
    );
    assert!(
        e.expect_err("is for dot")
            .contains("--grad is for --stage dot")
    );
}

/// `fused` lists nodes by kernel, and each of them once.
#[test]
fn fused_does_not_repeat_the_graph() {
    let text = part(LENET, Stage::Fused, None, None).expect("can be shown");
    assert!(!text.contains("graph "));
    let defined = text.lines().filter(|l| l.starts_with("    %"));
    // What several read through a change of shape says so.
    let defined: Vec<&str> = defined.filter(|l| !l.contains("= Flatten")).collect();
    assert!(defined.len() > 20);
    let mut once = defined.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), defined.len());
}

/// Quotes, names and clusters are as Graphviz wants them.
fn checked_dot(text: &str) -> &str {
    let mut open = 0;
    for line in text.lines() {
        let line = line.trim();
        let quotes = line
            .replace("\\\\", "")
            .replace("\\\"", "")
            .matches('"')
            .count();
        assert_eq!(quotes % 2, 0, "{line}");
        open += i32::from(line.ends_with('{')) - i32::from(line == "}");
        let whole = line.ends_with(['{', '}', ';']);
        assert!(whole && open >= 0, "{line}");
    }
    assert_eq!(open, 0);
    text
}

#[test]
fn dot_draws_the_net() {
    let text = part(BRANCHES, Stage::Dot, None, None).expect("can be shown");
    checked_dot(&text);
    for drawn in [
        "label=\"2: Residual\"",
        "label=\"stem.weight\\nf32[8,1,5,5]\", shape=cylinder",
        "2.0: Add of 2 branches",
        "label=\"input\\nf32[N,1,28,28]\", shape=ellipse",
    ] {
        assert!(text.contains(drawn), "{drawn}: {text}");
    }
    for left_out in ["Loss", "Grad", "Sgd", "targets", "indices", "Gather"] {
        assert!(!text.contains(left_out), "{left_out}: {text}");
    }
    let nodes = text
        .lines()
        .filter(|l| l.contains("[label=") && !l.contains("->"));
    let edges = text.lines().filter(|l| l.contains(" -> "));
    assert!(nodes.count() > 15 && edges.count() > 15);
}

#[test]
fn dot_draws_the_graph_of_a_step() {
    let options = Options {
        grad: true,
        ..Options::new(Stage::Dot, Isa::Cranelift)
    };
    let text = shown(&read(source(Path::new(BRANCHES))), &options).expect("can be shown");
    checked_dot(&text);
    for drawn in [
        "CrossEntropyLoss",
        "0: Conv2dGradWeight",
        "Sgd",
        "targets",
        "2: Residual",
    ] {
        assert!(text.contains(drawn), "{drawn}");
    }
}

/// The page about stages has each of them.
#[test]
fn every_stage_is_documented() {
    let page = include_str!("../docs/stages.md");
    for stage in Stage::ALL {
        let row = format!(
            "| `{}` | {}",
            stage.name,
            stage.shows.split(';').next().unwrap_or("")
        );
        assert!(page.contains(&row), "{row}");
    }
}
