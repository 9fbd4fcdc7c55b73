//! The table of layers as a user meets it: that it fits its page, and which multiply-adds it counts.

use std::io::Write;
use std::process::Command;

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
