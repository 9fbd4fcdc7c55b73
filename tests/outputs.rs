//! Files that commands write: looked at before the first step, and written where the user has them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MODEL: &str = "\
model M {
    input(2)
    Linear(1)
}

train {
    data = inline { x = [[1, 2], [3, 4]] y = [[1], [2]] }
    loss = MSELoss
    optimizer = SGD(lr=0.01)
    batch_size = 1
    epochs = 3
    print_every = 1
}
";

/// A folder with `m.nn` in it.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("m.nn"), MODEL).expect("writable");
    dir
}

fn lenetc(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(dir)
        .args(args)
        .output()
        .expect("lenetc starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(o: &Output) {
    assert!(o.status.success(), "{}", text(&o.stderr));
}

/// A run that is refused before the first step, with what it says.
fn refused(dir: &Path, args: &[&str], why: &str) {
    let o = lenetc(dir, args);
    let said = text(&o.stderr);
    assert_eq!(o.status.code(), Some(1), "{args:?}: {said}");
    assert_eq!(said, format!("error: {why}\n"), "{args:?}");
    assert!(o.stdout.is_empty(), "{args:?}: {}", text(&o.stdout));
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo runs").success());
}

#[test]
fn an_output_that_is_an_input_is_refused() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::rename(at("m.nn"), at("m")).expect("writable");
    fs::hard_link(at("m"), at("hard")).expect("writable");
    symlink("m", at("soft")).expect("writable");
    fs::create_dir(at("sub")).expect("writable");
    let model = |option: &str, path: &str| {
        let why = format!("{option} {path} would overwrite the model: name another file");
        refused(dir.path(), &["m", option, path], &why);
    };
    for path in ["m", "./m", "sub/../m", "hard", "soft"] {
        model("--save", path);
        model("--metrics", path);
    }
    assert_eq!(fs::read_to_string(at("m")).expect("there"), MODEL);

    done(&lenetc(dir.path(), &["m", "--save", "w", "--quiet"]));
    let why = "--metrics w would overwrite the weights to start from: name another file";
    refused(dir.path(), &["m", "--weights", "w", "--metrics", "w"], why);
    // A run that goes on where another ended saves to where it began.
    let before = fs::read(at("w")).expect("there");
    let args = ["m", "--weights", "w", "--save", "w", "--quiet"];
    done(&lenetc(dir.path(), &args));
    assert_ne!(fs::read(at("w")).expect("there"), before);

    symlink("new", at("link")).expect("writable");
    let why = "--save and --metrics are one file, link: give each its own";
    refused(
        dir.path(),
        &["m", "--save", "new", "--metrics", "link"],
        why,
    );
    assert!(!at("new").exists());
}

#[test]
fn the_data_is_not_overwritten() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let idx = |code: u8, dims: &[u32], data: &[u8]| {
        let sizes: Vec<u8> = dims.iter().flat_map(|d| d.to_be_bytes()).collect();
        [&[0, 0, code, dims.len() as u8], &*sizes, data].concat()
    };
    fs::create_dir(at("set")).expect("writable");
    let images = idx(8, &[2, 1, 2], &[1, 2, 3, 4]);
    for name in ["train", "t10k"] {
        let images_name = at(&format!("set/{name}-images-idx3-ubyte"));
        fs::write(images_name, &images).expect("writable");
        let labels = at(&format!("set/{name}-labels-idx1-ubyte"));
        fs::write(labels, idx(8, &[2], &[0, 1])).expect("writable");
    }
    let model = "model M {\n    input(1, 1, 2)\n    Flatten\n    Linear(2)\n}\n\ntrain {\n    data = idx(\"set\")\n}\n";
    fs::write(at("m.nn"), model).expect("writable");
    for data in [&[][..], &["--data", "set"]] {
        for option in ["--save", "--metrics"] {
            let path = "set/train-images-idx3-ubyte";
            let why = format!("{option} {path} would overwrite the data: name another file");
            refused(dir.path(), &[&["m.nn", option, path], data].concat(), &why);
        }
    }
    // Beside the data there is room, again and again.
    for _ in 0..2 {
        done(&lenetc(
            dir.path(),
            &["m.nn", "--save", "set/w.st", "--quiet"],
        ));
    }
    assert_eq!(
        fs::read(at("set/train-images-idx3-ubyte")).expect("there"),
        images
    );
    // A named set is found in folders that nobody names.
    let named = model.replace("idx(\"set\")", "fashion_mnist");
    fs::write(at("m.nn"), named).expect("writable");
    for (folder, file, data) in [
        ("d/FashionMNIST/raw", "train-images-idx3-ubyte", Some("d")),
        ("home/lenetc/fashion-mnist", "t10k-labels-idx1-ubyte", None),
    ] {
        fs::create_dir_all(at(folder).parent().expect("a folder")).expect("writable");
        fs::rename(at("set"), at(folder)).expect("ours");
        let path = format!("{folder}/{file}");
        let before = fs::read(at(&path)).expect("there");
        for option in ["--save", "--metrics"] {
            let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
                .current_dir(dir.path())
                .env_remove("LENETC_DATA")
                .env("XDG_DATA_HOME", at("home"))
                .args(["m.nn", option, &path])
                .args(data.iter().flat_map(|d| ["--data", d]))
                .output()
                .expect("lenetc starts");
            let why = format!("{option} {path} would overwrite the data: name another file");
            assert_eq!(text(&o.stderr), format!("error: {why}\n"));
            assert_eq!(o.status.code(), Some(1));
        }
        assert_eq!(fs::read(at(&path)).expect("there"), before);
        fs::rename(at(folder), at("set")).expect("ours");
    }
}

/// Runs a line of a shell, where `lenetc` is the program.
fn shell(dir: &Path, line: &str) -> Output {
    let line = format!(
        "lenetc() {{ {} \"$@\"; }}\n{line}",
        env!("CARGO_BIN_EXE_lenetc")
    );
    let o = Command::new("sh")
        .current_dir(dir)
        .args(["-c", &line])
        .output();
    o.expect("sh starts")
}

#[test]
fn what_stdout_holds_already_stays() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let header = "header\n";
    for to in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        for line in [
            format!("lenetc m.nn --save {to} >> log"),
            format!("{{ cat log; lenetc m.nn --save {to}; echo footer; }} > new; mv new log"),
            format!("lenetc m.nn --metrics {to} >> log"),
            format!("{{ cat log; lenetc m.nn --metrics {to}; echo footer; }} > new; mv new log"),
            format!("lenetc emit m.nn --stage ast --output {to} >> log"),
            "lenetc m.nn --save /dev/fd/3 3>> log".into(),
            "lenetc m.nn --metrics /dev/fd/3 --quiet 3>> log".into(),
        ] {
            fs::write(at("log"), header).expect("writable");
            done(&shell(dir.path(), &line));
            let log = fs::read(at("log")).expect("there");
            assert!(log.starts_with(header.as_bytes()), "{line}");
            let rest = &log[header.len()..];
            let footer: &[u8] = if line.contains("footer") {
                b"footer\n"
            } else {
                b""
            };
            let rest = rest.strip_suffix(footer).expect("what follows stays too");
            if line.contains("--save") {
                fs::write(at("w.st"), rest).expect("writable");
                done(&lenetc(dir.path(), &["eval", "m.nn", "--weights", "w.st"]));
            } else if line.contains("--metrics") {
                assert_eq!(text(rest).lines().count(), 6 + 3, "{line}");
            } else {
                let stage = lenetc(dir.path(), &["emit", "m.nn", "--stage", "ast"]);
                assert_eq!(text(rest), text(&stage.stdout), "{line}");
            }
        }
    }
    assert!(!at("-").exists());
}

#[test]
fn stdout_takes_one_output() {
    let dir = folder();
    let why = "--save and --metrics are both stdout: give one of them a file";
    for save in ["-", "/dev/stdout"] {
        for metrics in ["-", "/dev/fd/1"] {
            refused(
                dir.path(),
                &["m.nn", "--save", save, "--metrics", metrics],
                why,
            );
        }
    }
    let line = "lenetc m.nn --save - --metrics - > /dev/null";
    assert_eq!(
        text(&shell(dir.path(), line).stderr),
        format!("error: {why}\n")
    );
    for line in [
        "lenetc m.nn --save /dev/null --metrics /dev/null > /dev/null",
        "lenetc m.nn --save /dev/null --metrics - > /dev/null",
    ] {
        done(&shell(dir.path(), line));
    }
    let o = shell(dir.path(), "lenetc m.nn --save - 1< m.nn");
    let why = "cannot write /dev/stdout: it is open for reading alone";
    assert_eq!(text(&o.stderr), format!("error: {why}\n"));
}

/// `/dev/full` has no room; `--save` reaches it through a link, as a user's disk may be reached.
#[test]
fn a_run_that_cannot_save_tells_its_figures() {
    let dir = folder();
    let model = MODEL.replace("epochs", "print_parameters = true\n    epochs");
    fs::write(dir.path().join("m.nn"), model).expect("writable");
    symlink("/dev/full", dir.path().join("full")).expect("writable");
    let o = lenetc(dir.path(), &["m.nn", "--save", "full", "--quiet"]);
    assert_eq!(o.status.code(), Some(1));
    assert_eq!(
        text(&o.stderr),
        "error: cannot write full: the disk is full\n"
    );
    let said = text(&o.stdout);
    for part in ["0.weight [1, 2] = (", "loss ", " examples/sec on cpu"] {
        assert!(said.contains(part), "{said}");
    }
    let args = ["m.nn", "--save", "full", "--metrics", "full", "--quiet"];
    let o = lenetc(dir.path(), &args);
    let line = "error: cannot write full: the disk is full\n";
    assert!(
        text(&o.stderr).ends_with(&line.repeat(2)),
        "{}",
        text(&o.stderr)
    );
}

#[test]
fn a_loss_that_is_not_finite_closes_the_metrics() {
    let dir = folder();
    let args = ["m.nn", "--lr", "1e30", "--metrics", "m.jsonl", "--quiet"];
    let o = lenetc(dir.path(), &args);
    assert_eq!(o.status.code(), Some(1), "{}", text(&o.stderr));
    let lines = fs::read_to_string(dir.path().join("m.jsonl")).expect("there");
    let last = lines.lines().last().expect("a line");
    let end: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(end["kind"], "end");
    assert!(
        end.as_object().expect("an object")["train_loss"].is_null(),
        "{end}"
    );
    let step = format!("the loss of step {} is", end["steps"]);
    assert!(text(&o.stderr).contains(&step), "{}", text(&o.stderr));
}

#[test]
fn nothing_is_lost_where_one_of_two_outputs_cannot_be_written() {
    let dir = folder();
    fs::write(dir.path().join("old.jsonl"), "old").expect("writable");
    let args = ["m.nn", "--metrics", "old.jsonl", "--save", "none/w.st"];
    let why = "cannot write none/w.st: there is no folder none";
    refused(dir.path(), &args, why);
    let old = fs::read_to_string(dir.path().join("old.jsonl"));
    assert_eq!(old.expect("there"), "old");
    refused(
        dir.path(),
        &["m.nn", "--save", "/proc/w.st"],
        "cannot write /proc/w.st: there is no such file",
    );
}

#[test]
fn saving_follows_links_and_keeps_modes() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("runs")).expect("writable");
    fs::write(at("runs/w.st"), "old").expect("writable");
    fs::set_permissions(at("runs/w.st"), fs::Permissions::from_mode(0o640)).expect("ours");
    symlink("runs/w.st", at("latest.st")).expect("writable");
    done(&lenetc(
        dir.path(),
        &["m.nn", "--save", "latest.st", "--quiet"],
    ));
    assert!(at("latest.st").is_symlink());
    let saved = fs::metadata(at("runs/w.st")).expect("there");
    assert_eq!(saved.mode() & 0o777, 0o640);
    done(&lenetc(
        dir.path(),
        &["eval", "m.nn", "--weights", "runs/w.st"],
    ));
    assert_eq!(fs::read_dir(at("runs")).expect("a folder").count(), 1);
}

#[test]
fn a_fifo_takes_weights_and_metrics_and_stays() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    for name in ["w", "m"] {
        make_fifo(&at(name));
    }
    let readers = ["w", "m"].map(|name| {
        let path = at(name);
        std::thread::spawn(move || fs::read(path).expect("readable"))
    });
    let args = ["m.nn", "--save", "w", "--metrics", "m", "--quiet"];
    done(&lenetc(dir.path(), &args));
    let [weights, metrics] = readers.map(|r| r.join().expect("it ends"));
    fs::write(at("w.st"), weights).expect("writable");
    done(&lenetc(dir.path(), &["eval", "m.nn", "--weights", "w.st"]));
    assert_eq!(text(&metrics).lines().count(), 6 + 3, "{}", text(&metrics));
    for name in ["w", "m"] {
        let kind = fs::symlink_metadata(at(name)).expect("there").file_type();
        assert!(kind.is_fifo(), "{name}");
    }
}

#[test]
fn stdout_takes_metrics_alone() {
    let dir = folder();
    for path in ["-", "/dev/stdout"] {
        let o = lenetc(dir.path(), &["m.nn", "--metrics", path]);
        done(&o);
        let lines = text(&o.stdout);
        for line in lines.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }
        assert_eq!(lines.lines().count(), 6 + 3, "{lines}");
        let said = text(&o.stderr);
        assert!(
            said.contains("epoch  3/3") && said.contains("step 6: loss"),
            "{said}"
        );
        assert!(said.contains("examples/sec on cpu"), "{said}");
    }
    assert!(!dir.path().join("-").exists());
}

#[test]
fn stdout_takes_weights_alone() {
    let dir = folder();
    for (path, to_file) in [("-", false), ("/dev/stdout", false), ("-", true)] {
        let out = dir.path().join("w.st");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
        command
            .current_dir(dir.path())
            .args(["m.nn", "--save", path]);
        if to_file {
            command.stdout(fs::File::create(&out).expect("writable"));
        } else {
            command.stdout(Stdio::piped());
        }
        let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let o = child.wait_with_output().expect("it ends");
        done(&o);
        if !to_file {
            fs::write(&out, &o.stdout).expect("writable");
        }
        done(&lenetc(dir.path(), &["eval", "m.nn", "--weights", "w.st"]));
        assert!(text(&o.stderr).contains("examples/sec on cpu"));
    }
}

#[test]
fn a_run_within_an_epoch_closes_its_metrics() {
    let dir = folder();
    let args = ["m.nn", "--steps", "3", "--metrics", "m.jsonl", "--quiet"];
    done(&lenetc(dir.path(), &args));
    let lines = fs::read_to_string(dir.path().join("m.jsonl")).expect("there");
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|l| l["kind"].as_str().unwrap_or(""))
        .collect();
    assert_eq!(kinds, ["step", "step", "epoch", "step", "end"]);
    let end = &lines[4];
    assert_eq!((&end["epoch"], &end["steps"]), (&2.into(), &3.into()));
    assert_eq!(
        (&end["examples"], &end["of_examples"]),
        (&1.into(), &2.into())
    );
    assert_eq!(end["train_loss"], lines[3]["loss"]);
    assert_eq!(end["interrupted"], false);
    // A run that ends with an epoch has that epoch's line and no other.
    let args = ["m.nn", "--steps", "4", "--metrics", "m.jsonl", "--quiet"];
    done(&lenetc(dir.path(), &args));
    let lines = fs::read_to_string(dir.path().join("m.jsonl")).expect("there");
    assert!(
        !lines.contains("\"end\"") && lines.lines().count() == 6,
        "{lines}"
    );
}

#[test]
fn fmt_writes_where_the_file_is() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let untidy = MODEL.replace("    ", "  ");
    fs::write(at("m.nn"), &untidy).expect("writable");
    fs::set_permissions(at("m.nn"), fs::Permissions::from_mode(0o600)).expect("ours");
    symlink("m.nn", at("link.nn")).expect("writable");
    done(&lenetc(dir.path(), &["fmt", "link.nn"]));
    assert!(at("link.nn").is_symlink());
    assert_eq!(fs::read_to_string(at("m.nn")).expect("there"), MODEL);
    let mode = fs::metadata(at("m.nn")).expect("there").mode();
    assert_eq!(mode & 0o777, 0o600);

    make_fifo(&at("fifo"));
    let path = at("fifo");
    let other_end = std::thread::spawn(move || {
        fs::write(&path, untidy).expect("it is read");
        fs::read_to_string(&path).expect("it is written")
    });
    done(&lenetc(dir.path(), &["fmt", "fifo"]));
    assert_eq!(other_end.join().expect("it ends"), MODEL);
    let kind = fs::symlink_metadata(at("fifo")).expect("there").file_type();
    assert!(kind.is_fifo());
}
