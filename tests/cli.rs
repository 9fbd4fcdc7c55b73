//! The command line as a user meets it: output, exit codes, files, signals, and input that means harm.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lenetc::driver::Stage;
use sha2::{Digest, Sha256};

#[path = "common/isas.rs"]
mod isas;

fn lenetc() -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_lenetc"));
    c.current_dir(env!("CARGO_MANIFEST_DIR"));
    c
}

fn run(args: &[&str]) -> Output {
    lenetc().args(args).output().expect("lenetc starts")
}

fn stdout(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path.to_str().expect("temporary paths are text").into()
}

#[test]
fn the_books_edge_detector() {
    let o = run(&["models/edge.nn"]);
    let text = stdout(&o);
    for (step, loss) in [
        (2, 4.9152),
        (4, 0.824634),
        (6, 0.138351),
        (8, 0.023211),
        (10, 0.003894),
    ] {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("step {step}: loss ")))
            .unwrap_or_else(|| panic!("no step {step} in\n{text}"));
        let found: f64 = line.parse().expect("a number");
        assert!(
            (found - loss).abs() <= 1e-5 * loss.max(0.1),
            "step {step}: {found}, the book has {loss}"
        );
    }
    assert!(text.contains("(0.98847, -0.98847)"), "{text}");
    assert!(o.status.success());
}

#[test]
fn from_one_half_the_edge_detector_takes_the_books_path() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let metrics = dir.path().join("m.jsonl");
    let o = lenetc()
        .args([
            "models/edge.nn",
            "--set",
            "train.init=constant(0.5)",
            "--metrics",
        ])
        .arg(&metrics)
        .output()
        .expect("lenetc starts");
    assert!(o.status.success(), "{}", stderr(&o));
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(metrics)
        .expect("written")
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    for (step, loss) in [
        (2u64, 14.5152),
        (4, 4.756794),
        (6, 1.748963),
        (8, 0.682918),
        (10, 0.274110),
    ] {
        let found = lines
            .iter()
            .find(|l| l["step"] == step)
            .and_then(|l| l["loss"].as_f64());
        assert!(
            found.is_some_and(|f| (f - loss).abs() < 1e-5 * loss),
            "step {step}: {found:?}"
        );
    }
}

/// Trains a few steps, and hashes the weights.
fn weights_after(model: &str, batch: u32, threads: &str, opt: &str, isa: &str) -> String {
    let batch = format!("train.batch_size={batch}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("w.safetensors");
    let o = lenetc()
        .args([
            "train", model, "--steps", "9", "--seed", "3", "--quiet", "--set", &batch,
        ])
        .args(["--threads", threads, "--opt", opt, "--isa", isa, "--save"])
        .arg(&file)
        .output()
        .expect("lenetc starts");
    assert!(o.status.success(), "{}", stderr(&o));
    let digest = Sha256::digest(std::fs::read(file).expect("written"));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Batches that leave a tail, and those that go image by image.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for isa in isas::here() {
        for (model, batch) in [
            ("models/lenet.nn", 181),
            ("models/branches.nn", 181),
            ("models/lenet.nn", isa.lanes() / 4),
            ("tests/models/norms.nn", 181),
            ("tests/models/dropout.nn", 181),
            ("tests/models/dropout.nn", isa.lanes() / 4),
        ] {
            let one = weights_after(model, batch, "1", "1", isa.name());
            for threads in ["2", "3", "7"] {
                assert_eq!(
                    one,
                    weights_after(model, batch, threads, "1", isa.name()),
                    "{model} with {threads} threads on {isa}, batch {batch}"
                );
            }
        }
    }
}

#[test]
fn closing_lines_say_what_they_cover() {
    let o = run(&["models/lenet.nn", "--steps", "3", "--quiet"]);
    let text = stdout(&o);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].starts_with("loss ")
            && lines[0].contains("test acc")
            && lines[0].contains("after 3 steps"),
        "{text}"
    );
    assert!(lines[1].contains(" examples/sec on cpu ("), "{text}");
}

#[test]
fn one_of_a_thing_is_singular() {
    let args = ["models/lenet.nn", "--steps", "1", "--threads", "1"];
    let text = stdout(&run(&args));
    assert!(
        text.contains("(after 1 step: ") && text.contains("(1 thread, "),
        "{text}"
    );
    let text = stdout(&run(&[
        "bench",
        "models/edge.nn",
        "--threads",
        "1",
        "--seconds",
        "0.01",
    ]));
    assert!(
        text.contains(", 1 of ") && text.contains("batch      1 image, in blocks of 1\n"),
        "{text}"
    );
}

/// Rates and sizes of batches have options of their own, which come before `--set`.
#[test]
fn options_of_train_are_those_of_set() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let weights = |args: &[&str]| {
        let file = dir.path().join("w.safetensors");
        let path = file.to_str().expect("text");
        let all = ["models/lenet.nn", "--steps", "2", "--quiet", "--save", path];
        let o = run(&[&all[..], args].concat());
        assert!(o.status.success(), "{}", stderr(&o));
        std::fs::read(&file).expect("written")
    };
    let set = |size, rate| weights(&["--set", size, "--set", rate]);
    let wanted = set("train.batch_size=19", "train.optimizer.lr=0.0123");
    for args in [
        &["--batch-size", "19", "--lr", "0.0123"][..],
        &["--batch=19", "--lr=123e-4"],
        &[
            "--set",
            "train.optimizer.lr=9",
            "--lr",
            "1.23e-2",
            "--batch-size",
            "19",
        ],
    ] {
        assert!(weights(args) == wanted, "{args:?}");
    }
    let other = set("train.batch_size=19", "train.optimizer.lr=0.0124");
    assert!(other != wanted);
}

#[test]
fn saved_weights_evaluate_and_start_a_run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("w.safetensors");
    let path = file.to_str().expect("text");
    let o = run(&["models/lenet.nn", "--steps", "2", "--quiet", "--save", path]);
    assert!(o.status.success(), "{}", stderr(&o));
    let o = run(&["eval", "models/lenet.nn", "--weights", path]);
    assert!(
        stdout(&o).starts_with("test loss 2.") && stdout(&o).contains("test acc 0."),
        "{}{}",
        stdout(&o),
        stderr(&o)
    );
    let o = run(&["eval", "models/branches.nn", "--weights", path]);
    assert_eq!(o.status.code(), Some(1));
    assert!(
        stderr(&o).contains("missing: stem.weight")
            && stderr(&o).contains("not in the model: 0.bias"),
        "{}",
        stderr(&o)
    );
}

#[test]
fn codes_of_exit() {
    assert_eq!(run(&["check", "models/lenet.nn"]).status.code(), Some(0));
    assert_eq!(run(&["check", "no/such/file.nn"]).status.code(), Some(1));
    assert_eq!(run(&["check", "models"]).status.code(), Some(1));
    assert_eq!(run(&["check"]).status.code(), Some(2));
    assert_eq!(run(&["--bogus"]).status.code(), Some(2));
    assert_eq!(
        run(&["models/lenet.nn", "--threads", "0"]).status.code(),
        Some(2)
    );
    assert_eq!(
        run(&["models/lenet.nn", "--target", "cuda"]).status.code(),
        Some(1)
    );
    assert_eq!(
        run(&["models/lenet.nn", "--set", "train.nothing=1"])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn diagnostics_as_json() {
    let o = run(&["check", "--json", "tests/diagnostics/kernel_too_large.nn"]);
    assert_eq!(o.status.code(), Some(1));
    let v: serde_json::Value = serde_json::from_str(&stdout(&o)).expect("JSON on stdout");
    assert!(v.to_string().contains("E0203"), "{v}");
    let o = run(&["check", "--json", "models/lenet.nn"]);
    assert_eq!(o.status.code(), Some(0));
    serde_json::from_str::<serde_json::Value>(&stdout(&o)).expect("JSON on stdout");
}

#[test]
fn no_colour_where_there_is_no_terminal() {
    let o = run(&["check", "tests/diagnostics/kernel_too_large.nn"]);
    assert!(
        stderr(&o).contains("error[E0203]") && !stderr(&o).contains('\x1b'),
        "{}",
        stderr(&o)
    );
}

#[test]
fn every_stage_is_printed() {
    for model in ["models/lenet.nn", "models/edge.nn", "models/branches.nn"] {
        for stage in [
            "ast", "ir", "grad", "fused", "plan", "nest", "loops", "clif", "asm", "cuda", "ptx",
            "dot",
        ] {
            let o = run(&["emit", model, "--stage", stage]);
            assert!(
                o.status.success() && o.stdout.len() > 100,
                "{model} {stage}: {}",
                stderr(&o)
            );
        }
    }
}

#[test]
fn help_says_what_each_stage_is() {
    for args in [["help", "emit"], ["emit", "--help"]] {
        let help = stdout(&run(&args));
        for stage in Stage::ALL {
            let line = help.lines().find(|l| {
                let l = l.trim_start().strip_prefix("- ");
                l.is_some_and(|l| l.starts_with(&format!("{}:", stage.name)))
            });
            assert!(
                line.is_some_and(|l| l.ends_with(stage.shows)),
                "{}: {help}",
                stage.name
            );
        }
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
    }
}

#[test]
fn without_a_stage_they_are_listed() {
    let o = run(&["emit", "models/lenet.nn"]);
    assert_eq!(o.status.code(), Some(2));
    assert!(stderr(&o).contains(Stage::NAMES), "{}", stderr(&o));
}

#[test]
fn a_stage_goes_to_a_file() {
    let folder = std::env::temp_dir().join(format!("lenetc-emit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("can be made");
    let file = folder.join("net.dot");
    let path = file.to_str().expect("is text");
    let args = ["emit", "models/edge.nn", "--stage", "dot"];
    let o = run(&[&args[..], &["--output", path]].concat());
    assert!(o.status.success() && o.stdout.is_empty(), "{}", stderr(&o));
    let written = std::fs::read_to_string(&file).expect("is written");
    assert_eq!(written, stdout(&run(&args)));
    let nowhere = folder.join("missing").join("net.dot");
    let path = nowhere.to_str().expect("is text");
    let o = run(&[&args[..], &["--output", path]].concat());
    assert_eq!(o.status.code(), Some(1));
    assert!(
        stderr(&o).starts_with("error: cannot write "),
        "{}",
        stderr(&o)
    );
    std::fs::remove_dir_all(&folder).expect("is ours");
}

#[test]
fn a_part_of_a_stage_is_shown() {
    let args = ["emit", "models/lenet.nn", "--stage", "nest"];
    let o = run(&[&args[..], &["--layer", "11", "--kernel", "linear"]].concat());
    let text = stdout(&o);
    assert!(
        o.status.success() && text.contains("Linear (11)"),
        "{}",
        stderr(&o)
    );
    assert_eq!(text.matches("\nnest ").count(), 1, "{text}");
    for [option, name] in [["--layer", "12"], ["--kernel", "conv3d"]] {
        let o = run(&[&args[..], &[option, name]].concat());
        assert_eq!(o.status.code(), Some(1));
        assert!(
            stderr(&o).starts_with("error: there is no "),
            "{}",
            stderr(&o)
        );
        assert!(o.stdout.is_empty());
    }
}

#[test]
fn machine_code_stands_beside_the_layers_that_it_is_of() {
    for isa in isas::here() {
        let args = ["emit", "models/lenet.nn", "--stage", "asm", "--isa"];
        let text = stdout(&run(&[&args[..], &[isa.name()]].concat()));
        for title in ["; 3: Conv2d (3) + Sigmoid (4)\n", ": Linear (11)\n"] {
            assert!(text.contains(title), "{title} with {isa}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child = lenetc()
        .args(["emit", "models/lenet.nn", "--stage", "asm"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lenetc starts");
    drop(child.stdout.take());
    let o = child.wait_with_output().expect("it ends");
    assert!(o.status.success(), "{}", stderr(&o));
}

#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_prints_the_closing_lines() {
    let child = lenetc()
        .args(["models/lenet.nn", "--epochs", "1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lenetc starts");
    std::thread::sleep(Duration::from_millis(1500));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let o = child.wait_with_output().expect("it ends");
    assert_eq!(o.status.code(), Some(130), "{}", stderr(&o));
    assert!(stdout(&o).contains("examples/sec on cpu"), "{}", stdout(&o));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let o = run(&[
        "models/edge.nn",
        "--set",
        "train.optimizer.lr=1e30",
        "--epochs",
        "50",
    ]);
    assert_eq!(o.status.code(), Some(1));
    assert!(stderr(&o).contains("the loss of step"), "{}", stderr(&o));
}

#[test]
fn data_that_does_not_fit_is_refused_before_training() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let model = |name: &str, layers: &str, train: &str| {
        write(
            dir.path(),
            name,
            format!("model M {{\n input(2)\n {layers}\n}}\ntrain {{\n{train}\n}}\n"),
        )
    };
    let cases = [
        (
            model(
                "a.nn",
                "Linear(2)",
                "data = inline { x = [[1, 2], [3, 4]] y = [0, 2] }",
            ),
            "label 1 is 2; the model has 2 classes, 0 to 1",
        ),
        (
            model(
                "b.nn",
                "Linear(2)",
                "data = inline { x = [[1, 2, 3], [3, 4, 5]] y = [0, 1] }",
            ),
            "shape",
        ),
        (
            model(
                "c.nn",
                "Linear(2)",
                "data = inline { x = [[1, 2], [3, 4]] y = [0.5, 1] }",
            ),
            "classes",
        ),
        (
            model("d.nn", "Linear(2)", "data = idx(\"../elsewhere\")"),
            "outside",
        ),
        (
            model("e.nn", "Linear(2)", "data = npz(\"missing.npz\")"),
            "missing.npz",
        ),
        (model("f.nn", "Linear(2)", ""), "names no data"),
        (model("g.nn", "Linear(2)", "data = fashion_mnist"), "shape"),
    ];
    for (path, text) in cases {
        let o = run(&[&path]);
        assert_eq!(o.status.code(), Some(1), "{path}: {}", stdout(&o));
        assert!(stderr(&o).contains(text), "{path}: {}", stderr(&o));
    }
}

/// Checks a file that no honest user writes: a diagnostic, in less than a second, no signal.
fn hostile(name: &str, text: impl AsRef<[u8]>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = write(dir.path(), name, text);
    let start = Instant::now();
    let o = run(&["check", &path]);
    let time = start.elapsed();
    assert_eq!(o.status.code(), Some(1), "{name}: {}", stderr(&o));
    assert!(stderr(&o).contains("error[E"), "{name}: {}", stderr(&o));
    assert!(time < Duration::from_secs(1), "{name} took {time:?}");
}

#[test]
fn hostile_files_are_diagnosed() {
    let model = |body: &str| {
        format!("model M {{\n    input(1, 28, 28)\n    {body}\n    Flatten\n    Linear(10)\n}}\n")
    };
    hostile("braces.nn", "{".repeat(1_000_000));
    hostile("open.nn", model(&"Add { ".repeat(1_000_000)));
    hostile(
        "parentheses.nn",
        model(&format!("Linear({})", "(".repeat(1_000_000))),
    );
    hostile("brackets.nn", "[".repeat(1_000_000));
    hostile(
        "minus.nn",
        model(&format!("Linear({}1)", "-".repeat(1_000_000))),
    );
    hostile("large.nn", vec![b' '; 100 << 20]);
    hostile(
        "bytes.nn",
        [b"model M {".as_slice(), &[0xff, 0xfe, 0x00], b"}"].concat(),
    );
    hostile("repeat.nn", model("repeat 1000000000 { ReLU }"));
    hostile(
        "empty_repeats.nn",
        model(&format!(
            "{} {}",
            "repeat 99999 {".repeat(40),
            "}".repeat(40)
        )),
    );
    hostile("channels.nn", model("Conv2d(1000000000, kernel_size=3)"));
    hostile("stride.nn", model("Conv2d(3, kernel_size=3, stride=0)"));
    hostile(
        "padding.nn",
        model("Conv2d(3, kernel_size=3, padding=1000000000)"),
    );
    hostile("linear.nn", "model M { input(1000000)\n Linear(1000000) }");
    hostile("empty.nn", "");
    let doubling: String = (1..60)
        .map(|k| format!("block B{k} {{ B{}\n B{} }}\n", k - 1, k - 1))
        .collect();
    hostile(
        "doubling.nn",
        format!("block B0 {{ ReLU }}\n{doubling}model M {{ input(4)\n B59 }}\n"),
    );
}

/// A text that comes through a pipe is written to stdout in its layout.
#[test]
fn a_pipe_is_formatted_to_stdout() {
    for name in ["-", "/dev/stdin"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lenetc"))
            .args(["fmt", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("lenetc starts");
        let mut input = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, b"model M{input(1);Linear( 2)}").expect("it reads");
        drop(input);
        let o = child.wait_with_output().expect("it ends");
        let text = stdout(&o);
        assert!(
            o.status.success() && text == "model M { input(1); Linear(2) }\n",
            "{name}: {text}"
        );
    }
}
