//! Signals to a run: what is said, what is finished, what is left behind, and the exit code.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
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

/// A program that ends with the test that started it, however that ends.
struct Running(Option<Child>);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("it starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it runs")
    }

    /// Waits for its end.
    fn output(mut self) -> Output {
        let child = self.0.take().expect("it runs");
        child.wait_with_output().expect("it ends")
    }

    /// Sends Ctrl-C until it ends: one that comes at once after the first counts as the same.
    fn interrupted(mut self) -> ExitStatus {
        let mut status = None;
        until("end", || {
            status = self.child().try_wait().expect("ours");
            if status.is_none() {
                send(self.child(), "INT");
            }
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
    command
        .current_dir(dir)
        .args(["m.nn", "--metrics", "m.jsonl"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(dir: &Path, args: &[&str]) -> Running {
    Running::start(command(dir, &["--save", "w.st"]).args(args))
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
        let mut child = start(dir.path(), &[]);
        until("step", || !lines(dir.path()).is_empty());
        send(child.child(), signal);
        let o = child.output();
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
    let mut err = BufReader::new(child.child().stderr.take().expect("piped"));
    let mut data = String::new();
    err.read_line(&mut data).expect("readable");
    assert_eq!(behind_data(&data), "");
    until("weights", || dir.path().join("w.st").exists());
    send(child.child(), "INT");
    let mut note = String::new();
    err.read_line(&mut note).expect("readable");
    assert_eq!(
        note,
        "note: finishing the test pass; a second Ctrl-C quits\n"
    );
    let sent = Instant::now();
    let status = child.interrupted();
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
    let mut err = BufReader::new(child.child().stderr.take().expect("piped"));
    let mut data = String::new();
    err.read_line(&mut data).expect("readable");
    assert_eq!(behind_data(&data), "");
    // The epoch's only step is written out when the test pass begins.
    until("step", || !lines(dir.path()).is_empty());
    assert!(!dir.path().join("w.st").exists());
    send(child.child(), "INT");
    let mut note = String::new();
    err.read_line(&mut note).expect("readable");
    assert_eq!(
        note,
        "note: saving to w.st, testing; a second Ctrl-C quits\n"
    );
    until("weights", || dir.path().join("w.st").exists());
    assert_eq!(child.interrupted().code(), Some(130));
    smaller(dir.path());
    evaluates(dir.path());
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let dir = folder(20_000, 500);
    let mut child = start(dir.path(), &[]);
    until("step", || !lines(dir.path()).is_empty());
    let id = child.child().id().to_string();
    let both = format!("kill -INT {id}; kill -INT {id}");
    let killed = Command::new("sh").args(["-c", &both]).status();
    assert!(killed.expect("sh runs").success());
    let o = child.output();
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
    let mut shell = Command::new("sh");
    shell
        .current_dir(dir.path())
        .args(["-c", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Running::start(&mut shell);
    until("step", || !lines(dir.path()).is_empty());
    send(child.child(), "HUP");
    let o = child.output();
    assert_eq!(o.status.code(), Some(0));
    assert_eq!(behind_data(&String::from_utf8_lossy(&o.stderr)), "");
}

/// A run whose weights are lost says so before its last test pass, and in the end.
#[test]
fn a_failed_save_is_told_at_once_and_by_the_second_signal() {
    let dir = folder(64, 1_000_000);
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full")).expect("writable");
    let args = ["--save", "full", "--steps", "1", "--quiet"];
    let mut child = Running::start(&mut command(dir.path(), &args));
    let mut err = BufReader::new(child.child().stderr.take().expect("piped"));
    let mut told = String::new();
    err.read_line(&mut told).expect("readable");
    let lost = "cannot write full: the disk is full";
    assert_eq!(told, format!("warning: {lost}; the test pass goes on\n"));
    assert!(child.child().try_wait().expect("ours").is_none());
    send(child.child(), "INT");
    let mut note = String::new();
    err.read_line(&mut note).expect("readable");
    assert!(note.ends_with("a second Ctrl-C quits\n"), "{note}");
    assert_eq!(child.interrupted().code(), Some(130));
    let mut rest = String::new();
    err.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, "note: quit; saving to full has failed\n");

    let dir = folder(64, 64);
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full")).expect("writable");
    let o = Running::start(&mut command(dir.path(), &args)).output();
    assert_eq!(o.status.code(), Some(1));
    let said = String::from_utf8_lossy(&o.stderr);
    assert_eq!(said, format!("{told}error: {lost}\n"));
    let closing = String::from_utf8_lossy(&o.stdout);
    assert!(
        closing.contains("test acc") && closing.contains(" examples/sec"),
        "{closing}"
    );
}

/// Stderr is a pipe that is full: what the first signal has to say is held up, and the second is noticed all the same.
#[test]
fn a_second_signal_is_noticed_while_the_first_cannot_be_told() {
    let dir = folder(64, 1_000_000);
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    let full = [b'.'; 1 << 16];
    writer
        .write_all(&full)
        .expect("a pipe has room for so much");
    let args = ["--save", "w.st", "--quiet"];
    let mut child = Running::start(command(dir.path(), &args).stderr(writer));
    until("step", || !lines(dir.path()).is_empty());
    send(child.child(), "INT");
    until("weights", || dir.path().join("w.st").exists());
    // As long as the first signal may come twice.
    std::thread::sleep(Duration::from_millis(60));
    send(child.child(), "INT");
    let o = child.output();
    assert_eq!(o.status.code(), Some(130));
    assert!(o.stdout.is_empty(), "the test pass is not waited for");
}
