//! What is checked as a user meets it. The table of layers: that it fits its page, and which multiply-adds it counts. The
//! kernels for a GPU: what is told of each, and what a fault in one comes to.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// `lenetc check` with stdout in a pipe; `COLUMNS` is what it is set to.
fn check(model: &str, args: &[&str], columns: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("COLUMNS")
        .args(["check", model])
        .args(args);
    let o = command
        .envs(columns.map(|c| ("COLUMNS", c)))
        .output()
        .expect("lenetc starts");
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn widest(text: &str) -> usize {
    text.lines().map(|l| l.chars().count()).max().unwrap_or(0)
}

#[test]
fn tables_fit_eighty_columns_or_what_is_asked_for() {
    let files = ["models", "models/book"].map(|f| std::fs::read_dir(f).expect("there are models"));
    for entry in files.into_iter().flatten() {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let model = path.to_str().expect("a plain name");
        for (columns, most) in [
            (None, 80),
            (Some("60"), 60),
            (Some("100"), 100),
            (Some("words"), 80),
            (Some("0"), 80),
        ] {
            let text = check(model, &[], columns);
            assert!(widest(&text) <= most, "{text}");
        }
        let wide = check(model, &["--wide"], None);
        assert_eq!(wide, check(model, &["--wide"], Some("60")));
    }
    assert!(widest(&check("models/lenet.nn", &["--wide"], None)) > 100);
}

fn layer(text: &str) -> String {
    let mut file = tempfile::Builder::new()
        .suffix(".nn")
        .tempfile()
        .expect("a file");
    let model =
        format!("model M {{\n input(1, 28, 28)\n {text}\n}}\ntrain {{\n loss = MSELoss\n}}\n");
    file.write_all(model.as_bytes()).expect("space");
    check(
        file.path().to_str().expect("a plain name"),
        &["--wide"],
        None,
    )
}

#[test]
fn multiply_adds_are_those_that_exist() {
    for (text, terms, padded) in [
        ("Conv2d(6, kernel_size=5)", "86,400", None),
        (
            "Conv2d(6, kernel_size=5, padding=2)",
            "107,736",
            Some("117,600"),
        ),
        (
            "Conv2d(6, kernel_size=5, padding=2, stride=2)",
            "26,934",
            Some("29,400"),
        ),
        // A tap three elements to the left and right leaves the image for three of 28 positions.
        (
            "Conv2d(2, kernel_size=(1, 3), dilation=3, padding=((0, 0), (3, 3)))",
            "4,368",
            Some("4,704"),
        ),
        ("AvgPool2d(3, padding=1)", "0", None),
        ("Flatten; Linear(10)", "7,840", None),
    ] {
        let shown = layer(text);
        let expected = match padded {
            Some(padded) => {
                format!("{terms} multiply-adds forward ({padded} with those on padding)")
            }
            None => format!("{terms} multiply-adds forward,"),
        };
        assert!(shown.contains(&expected), "{text}: {shown}");
        let remark = shown.contains(" MACs with padding");
        assert_eq!(remark, padded.is_some(), "{shown}");
    }
}

/// `lenetc check --target cuda` with stdout in a pipe; `settings` are the software GPU's.
fn on_gpu(model: &str, args: &[&str], settings: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("COLUMNS")
        .env("LENETC_SOFTGPU", settings)
        .args(["check", model, "--target", "cuda"])
        .args(args)
        .output()
        .expect("lenetc starts")
}

fn stdout(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

fn json(o: &Output) -> Value {
    serde_json::from_str(&stdout(o)).unwrap_or_else(|e| panic!("{e}: {}{}", stdout(o), stderr(o)))
}

#[test]
fn kernels_are_checked_for_a_card() {
    let o = on_gpu(
        "models/lenet.nn",
        &["--card", "t4", "--batch", "8", "--json"],
        "",
    );
    assert!(o.status.success(), "{}", stderr(&o));
    let v = json(&o);
    assert_eq!(
        (&v["capability"], &v["multiprocessors"]),
        (&75.into(), &40.into())
    );
    assert_eq!(
        (&v["findings"], &v["finite"]),
        (&Value::Array(vec![]), &true.into())
    );
    let kernels = v["kernels"].as_array().expect("a list");
    assert!(kernels.len() >= 10, "{v}");
    for k in kernels {
        let number = |key: &str| k[key].as_f64().unwrap_or_else(|| panic!("{key} of {k}"));
        assert!(number("registers") > 0.0 && number("threads") > 0.0, "{k}");
        assert_eq!(number("spill_stores") + number("spill_loads"), 0.0, "{k}");
        assert!(number("blocks_per_multiprocessor") >= 1.0, "{k}");
        assert!(
            number("occupancy") > 0.0 && number("occupancy") <= 1.0,
            "{k}"
        );
        // All have run: each touches memory, and those with tiles shared memory.
        assert!(number("sectors") >= 1.0, "{k}");
        assert_eq!(
            number("shared_bytes") > 0.0,
            k["bank_conflicts"].is_number(),
            "{k}"
        );
        let bounds = ["warps", "registers", "shared", "blocks", "grid"];
        assert!(bounds.iter().any(|b| k["bound"] == *b), "{k}");
    }
    let layers = |name: &str| {
        let found = kernels.iter().find(|k| k["name"] == name);
        found.map(|k| k["layers"].clone()).unwrap_or_default()
    };
    assert_eq!(layers("conv2d_sigmoid"), serde_json::json!(["0", "1"]));
}

#[test]
fn the_table_of_kernels_fits_its_page() {
    for (columns, most) in [("40", 40), ("80", 80), ("100", 100)] {
        let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("COLUMNS", columns)
            .args(["check", "models/edge.nn", "--target", "cuda"])
            .args(["--device", "software"])
            .output()
            .expect("lenetc starts");
        let text = stdout(&o);
        assert!(
            o.status.success() && widest(&text) <= most,
            "{text}{}",
            stderr(&o)
        );
        assert!(
            text.contains("chain (0)") && text.contains("no finding"),
            "{text}"
        );
    }
    let wide = stdout(&on_gpu("models/edge.nn", &["--arch", "90", "--wide"], ""));
    assert!(
        wide.contains("compute capability 9.0, 132 multiprocessors"),
        "{wide}"
    );
    let line = wide.lines().find(|l| l.starts_with("gradients (0)"));
    assert!(line.is_some_and(|l| l.contains(" 1.00x ")), "{wide}");
}

/// A kernel that fails is lenetc's fault: the sanitizers name it, and the command fails.
#[test]
fn a_finding_names_the_kernel_and_its_layers_and_fails() {
    let settings = "fault=launch:2:719";
    let args = ["--device", "software"];
    let o = on_gpu("models/edge.nn", &args, settings);
    assert_eq!(o.status.code(), Some(1));
    assert!(
        stdout(&o).contains("sanitizers 1 finding\n"),
        "{}",
        stdout(&o)
    );
    let said = "error: the sanitizers found 1 fault; this is a bug in lenetc:\n  injected in gradients (0): ";
    assert!(stderr(&o).contains(said), "{}", stderr(&o));
    assert!(widest(&stderr(&o)) <= 80, "{}", stderr(&o));

    let o = on_gpu(
        "models/edge.nn",
        &[&args[..], &["--json"]].concat(),
        settings,
    );
    assert_eq!(o.status.code(), Some(1));
    assert!(!stderr(&o).contains("error"), "{}", stderr(&o));
    let finding = &json(&o)["findings"][0];
    assert_eq!(
        (&finding["kernel"], &finding["kind"]),
        (&"gradients".into(), &"injected".into())
    );
    assert_eq!(finding["layers"], serde_json::json!(["0"]));
}

/// What the driver fails with is its own, not a kernel's.
#[test]
fn an_error_of_the_driver_is_no_finding() {
    let o = on_gpu("models/edge.nn", &["--device", "software"], "memory=4096");
    assert_eq!((o.status.code(), stdout(&o)), (Some(1), String::new()));
    assert!(stderr(&o).contains("out of memory"), "{}", stderr(&o));
}

#[test]
fn models_that_are_not_trained_are_checked_forward() {
    for (model, batches) in [
        (
            "models/book/pool_max.nn",
            "evaluations of 64 and of 11 images",
        ),
        (
            "models/book/channels_out.nn",
            "evaluations of 64 and of 11 images",
        ),
    ] {
        let o = on_gpu(model, &["--card", "h100"], "");
        assert!(o.status.success(), "{model}: {}", stderr(&o));
        assert!(
            stdout(&o).contains(&format!("no finding in {batches}")),
            "{}",
            stdout(&o)
        );
    }
}

/// The kernels are those of the GPU that the driver has, whatever else the software GPU is set to.
#[test]
fn a_gpu_of_the_machine_is_stood_for_by_the_software_gpu() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Cargo builds the library beside what it is a part of.
    let own = Path::new(env!("CARGO_BIN_EXE_lenetc"));
    let library = own.with_file_name("deps").join("liblenetc_softgpu.so");
    std::fs::copy(library, dir.path().join("libcuda.so.1")).expect("space");
    let lenetc = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lenetc"));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("XDG_CACHE_HOME", dir.path())
            .env("LENETC_SOFTGPU", "card=t4;multiprocessors=17")
            .args(["check", "models/edge.nn", "--target", "cuda", "--json"])
            .args(args);
        command
    };
    // NVRTC asks a driver for more than the software GPU has, so the kernels are there before it is one.
    for args in [&[][..], &["--arch", "80"]] {
        let o = lenetc(&[args, &["--device", "software"]].concat()).output();
        assert!(o.expect("lenetc starts").status.success());
    }
    let run = |args: &[&str]| {
        let mut command = lenetc(args);
        command.env("LD_LIBRARY_PATH", dir.path());
        command.output().expect("lenetc starts")
    };
    for args in [
        &[][..],
        &["--device", "0", "--batch", "1", "--set", "train.seed=3"],
    ] {
        let v = json(&run(args));
        let name = v["device"].as_str().unwrap_or_default();
        assert!(name.ends_with("(as the software GPU)"), "{v}");
        assert_eq!(
            (&v["capability"], &v["multiprocessors"]),
            (&75.into(), &17.into())
        );
    }
    assert_eq!(
        json(&run(&["--arch", "80", "--device", "0"]))["capability"],
        80
    );
    let o = run(&["--device", "1"]);
    assert!(stderr(&o).contains("no CUDA device 1"), "{}", stderr(&o));
}

#[test]
fn what_cannot_be_checked_is_told() {
    let card = ["--card", "h100"];
    for (args, said) in [
        (
            &["--card", "h100", "--device", "0"][..],
            "leave out --device",
        ),
        (&["--arch", "97"], "9.7: no GPU has it; known are"),
    ] {
        let o = on_gpu("models/edge.nn", args, "");
        assert_eq!((o.status.code(), stdout(&o)), (Some(1), String::new()));
        assert!(stderr(&o).contains(said), "{}", stderr(&o));
        assert!(widest(&stderr(&o)) <= 80, "{}", stderr(&o));
    }
    // A device too new for NVRTC: what its driver makes is not known, and the step runs all the same.
    let o = on_gpu("models/edge.nn", &["--arch", "110"], "");
    assert!(o.status.success(), "{}", stderr(&o));
    assert!(
        stdout(&o).contains("no NVRTC knows the device"),
        "{}",
        stdout(&o)
    );
    for option in ["--arch", "--card", "--device"] {
        let value = if option == "--arch" {
            "90"
        } else if option == "--card" {
            "t4"
        } else {
            "0"
        };
        let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
            .args(["check", "models/edge.nn", option, value])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("lenetc starts");
        let said = format!("error: {option} is for kernels of GPUs: add --target cuda\n");
        assert_eq!((o.status.code(), stderr(&o)), (Some(1), said));
    }
    // A wrong model needs no device.
    let mut file = tempfile::Builder::new()
        .suffix(".nn")
        .tempfile()
        .expect("a file");
    file.write_all(b"model M { input(1, 4, 4)\n Conv2d(3, kernel_size=9) }")
        .expect("space");
    let model = file.path().to_str().expect("a plain name");
    let o = on_gpu(model, &card, "");
    assert_eq!((o.status.code(), stdout(&o)), (Some(1), String::new()));
    assert!(stderr(&o).contains("error[E0203]"), "{}", stderr(&o));
    let o = on_gpu(model, &["--json"], "");
    assert_eq!(
        (o.status.code(), &json(&o)["diagnostics"][0]["code"]),
        (Some(1), &"E0203".into())
    );
}

/// Each card that can be named is one that the software GPU can stand for.
#[test]
fn all_cards_are_known() {
    let help = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .args(["check", "--help"])
        .output()
        .expect("lenetc starts");
    let help = stdout(&help)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let (_, rest) = help.split_once("--card <CARD>").expect("an option");
    let (_, rest) = rest.split_once("[possible values: ").expect("its values");
    let cards: Vec<&str> = rest
        .split(']')
        .next()
        .unwrap_or_default()
        .split(", ")
        .collect();
    assert!(cards.len() >= 9, "{cards:?}");
    for card in cards {
        let o = on_gpu("models/edge.nn", &["--card", card, "--json"], "");
        assert!(o.status.success(), "{card}: {}", stderr(&o));
        assert!(
            json(&o)["findings"].as_array().is_some_and(Vec::is_empty),
            "{card}"
        );
    }
}
