//! Signals to a run: what is said, what is finished, what is left behind, and the exit code.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A model whose passes over many small images take seconds, and its data.
fn folder(train: u32, test: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, n) in [("train", train), ("t10k", test)] {
        let file = |kind: &str| dir.path().join(format!("{name}-{kind}-ubyte"));
        let idx = |dims: &[u32]| {
            let bytes = dims.iter().product::<u32>();
            let data: Vec<u8> = (0..bytes).map(|k| (k % 2) as u8).collect();
            let sizes: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
            [&[0, 0, 8, dims.len() as u8], &*sizes, &data].concat()
        };
        fs::write(file("images-idx3"), idx(&[n, 2, 2])).expect("writable");
        fs::write(file("labels-idx1"), idx(&[n])).expect("writable");
    }
    let model = "\
model M {
    input(1, 2, 2)
    Flatten
    Linear(1024); ReLU
    Linear(1024); ReLU
    Linear(2)
}

train {
    data = idx(\".\")
    optimizer = SGD(lr=0.01)
    epochs = 1000
}
";
    fs::write(dir.path().join("m.nn"), model).expect("writable");
    dir
}

fn start(dir: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(dir)
        .args(["m.nn", "--save", "w.st", "--metrics", "m.jsonl"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lenetc starts")
}

fn send(child: &Child, signal: &str) {
    let killed = Command::new("kill")
        .args([&format!("-{signal}"), &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lines(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("m.jsonl")).unwrap_or_default();
    let line = |l: &str| serde_json::from_str(l).expect("JSON");
    text.lines().map(line).collect()
}

fn evaluates(dir: &Path) {
    let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(dir)
        .args(["eval", "m.nn", "--weights", "w.st", "--data", "small"])
        .output()
        .expect("lenetc starts");
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.success(), "{said}");
}

/// The same data, but fewer of it.
fn smaller(dir: &Path) {
    let small = folder(8, 8);
    fs::create_dir(dir.join("small")).expect("writable");
    for entry in fs::read_dir(small.path()).expect("a folder").flatten() {
        fs::copy(entry.path(), dir.join("small").join(entry.file_name())).expect("writable");
    }
}

/// Messages without the first, which says what data the run has.
fn behind_data(said: &str) -> &str {
    let (data, rest) = said.split_once('\n').expect("the data is named");
    assert!(data.starts_with("note: .: ") && data.contains(" to train on, "));
    rest
}

#[test]
fn the_first_signal_ends_the_run_in_good_order() {
    for (signal, code, again) in [
        ("INT", 130, "Ctrl-C"),
        ("TERM", 143, "signal"),
        ("HUP", 129, "signal"),
    ] {
        let dir = folder(20_000, 500);
        let child = start(dir.path(), &[]);
        until("step", || !lines(dir.path()).is_empty());
        send(&child, signal);
        let o = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&o.stderr);
        let said = behind_data(&said);
        assert_eq!(o.status.code(), Some(code), "{said}");
        let wanted =
            format!("note: finishing this step, saving to w.st, testing; a second {again} quits\n");
        assert_eq!(said, wanted);
        let closing = String::from_utf8_lossy(&o.stdout);
        assert!(
            closing.contains("test acc") && closing.contains(" examples/sec"),
            "{closing}"
        );
        let all = lines(dir.path());
        let end = all.last().expect("a line");
        assert_eq!(
            (&end["kind"], &end["interrupted"]),
            (&"end".into(), &true.into())
        );
        let steps = all.iter().filter(|l| l["kind"] == "step").count();
        assert_eq!(end["steps"], steps);
        assert!(end["test_loss"].is_number() && end["train_loss"].is_number());
        smaller(dir.path());
        evaluates(dir.path());
    }
}

#[test]
fn the_second_signal_leaves_weights_and_metrics_during_the_last_test_pass() {
    let dir = folder(64, 1_000_000);
    let mut child = start(dir.path(), &["--steps", "1"]);
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut data = String::new();
    err.read_line(&mut data).expect("readable");
    assert_eq!(behind_data(&data), "");
    until("weights", || dir.path().join("w.st").exists());
    send(&child, "INT");
    let mut note = String::new();
    err.read_line(&mut note).expect("readable");
    assert_eq!(
        note,
        "note: finishing the test pass; a second Ctrl-C quits\n"
    );
    std::thread::sleep(Duration::from_millis(200));
    let sent = Instant::now();
    send(&child, "INT");
    let status = child.wait().expect("it ends");
    assert!(
        sent.elapsed() < Duration::from_secs(5),
        "{:?}",
        sent.elapsed()
    );
    assert_eq!(status.code(), Some(130));
    let mut rest = String::new();
    err.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, "note: quit; the weights are in w.st\n");
    assert_eq!(lines(dir.path())[0]["kind"], "step");
    smaller(dir.path());
    evaluates(dir.path());
}

/// In a test pass between two epochs the run does not wait for its end with saving.
#[test]
fn a_signal_in_a_test_pass_saves_first() {
    let dir = folder(64, 1_000_000);
    let mut child = start(dir.path(), &[]);
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut data = String::new();
    err.read_line(&mut data).expect("readable");
    assert_eq!(behind_data(&data), "");
    until("step", || !lines(dir.path()).is_empty());
    std::thread::sleep(Duration::from_millis(300));
    assert!(!dir.path().join("w.st").exists());
    send(&child, "INT");
    let mut note = String::new();
    err.read_line(&mut note).expect("readable");
    assert_eq!(
        note,
        "note: saving to w.st, testing; a second Ctrl-C quits\n"
    );
    until("weights", || dir.path().join("w.st").exists());
    std::thread::sleep(Duration::from_millis(200));
    send(&child, "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    smaller(dir.path());
    evaluates(dir.path());
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let dir = folder(20_000, 500);
    let child = start(dir.path(), &[]);
    until("step", || !lines(dir.path()).is_empty());
    let id = child.id().to_string();
    let both = format!("kill -INT {id}; kill -INT {id}");
    let killed = Command::new("sh").args(["-c", &both]).status();
    assert!(killed.expect("sh runs").success());
    let o = child.wait_with_output().expect("it ends");
    assert_eq!(o.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&o.stdout).contains("examples/sec"));
}

#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let dir = folder(2_000, 100);
    let command = format!(
        "trap '' HUP; exec {} m.nn --metrics m.jsonl --epochs 2 --batch-size 8",
        env!("CARGO_BIN_EXE_lenetc")
    );
    let child = Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh starts");
    until("step", || !lines(dir.path()).is_empty());
    send(&child, "HUP");
    let o = child.wait_with_output().expect("it ends");
    assert_eq!(o.status.code(), Some(0));
    assert_eq!(behind_data(&String::from_utf8_lossy(&o.stderr)), "");
}
