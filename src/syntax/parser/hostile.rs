//! Texts made to overflow a stack, to fill the memory or to take forever; and random ones.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Time that this thread has worked; where the system does not tell, time that has passed since `start`. Other work on
/// the machine does not count.
fn worked(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|t| t.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn read(text: String) -> Vec<Diagnostic> {
    let source = Source {
        name: "hostile.nn".into(),
        text,
    };
    let start = Instant::now();
    let before = worked(start);
    let (file, diags) = parse(&source);
    drop(file);
    let took = worked(start) - before;
    // Unoptimised code is slower, and says nothing about the compiler that is shipped.
    let limit = if cfg!(debug_assertions) { 60 } else { 2 };
    let head: String = source.text.chars().take(40).collect();
    assert!(took < Duration::from_secs(limit), "{head} took {took:?}");
    assert!(!diags.is_empty() && diags.len() <= 50, "{head}");
    let fits = |diag: &Diagnostic| {
        diag.labels
            .iter()
            .all(|l| l.span.end as usize <= source.text.len())
    };
    assert!(diags.iter().all(fits), "{head}");
    diags
}

/// As much as fits of `unit` between `head` and `tail`.
fn filled(head: &str, unit: &str, tail: &str) -> String {
    let units = (MAX_BYTES - head.len() - tail.len()) / unit.len();
    format!("{head}{}{tail}", unit.repeat(units))
}

#[test]
fn openers_of_any_kind() {
    let heads = [
        "",
        "model M { A(",
        "model M { ",
        "train { a = ",
        "block B(",
        "model M { Add { ",
    ];
    for head in heads {
        for unit in [
            "(",
            "[",
            "{",
            "f(",
            "r { x = ",
            "Add { {",
            "repeat 1 {\n",
            "([{",
            "-(",
            "x=[",
        ] {
            read(filled(head, unit, ""));
        }
    }
}

#[test]
fn closers_and_marks() {
    for head in [
        "",
        "model M { A(1, ",
        "model M {\n",
        "train { a = [",
        "train { a = 1",
    ] {
        for unit in [
            "}", ")", "]", ",", ";", "=", ":", ".", "..", "//", "-", "+ ", "%", "\0", "\"", "'",
        ] {
            read(filled(head, unit, ""));
        }
    }
}

#[test]
fn long_values() {
    for unit in [
        "1,", "-1,", "1 ", "[1],", "a,", "f(),", "k=1,", "1+", "-", "a.", "1.5e3,\n", "9", "a",
        "(1),",
    ] {
        read(filled("model M { A(x=[", unit, "])\nB(,)}"));
        read(filled("model M { A(", unit, ")\nB(,)}"));
        read(filled("train { a = ", unit, "1 }"));
    }
}

#[test]
fn many_statements() {
    for unit in [
        "A\n",
        "A;",
        "a: A\n",
        "{}",
        "a=1\n",
        "\n",
        " ",
        "#\n",
        "\r",
        "é",
        "A(1)\n",
        "repeat 1 {}\n",
        "A { {} }\n",
    ] {
        read(filled("model M {", unit, ""));
        read(filled("train {", unit, ""));
        read(filled("train { a = r {", unit, ""));
        read(filled("", unit, ""));
    }
}

#[test]
fn many_items() {
    for unit in [
        "model M {}\n",
        "train{}",
        "block A{}\n",
        "block A(a=1){}\n",
        "model\n",
        "train {\n",
        "block ",
    ] {
        read(filled("", unit, ""));
    }
}

#[test]
fn a_million_numbers_in_a_list() {
    let numbers = "0.25, ".repeat(1_000_000);
    let text = format!("train {{ data = inline {{ x = [{numbers}] }} }}\nmodel M {{ A }}");
    let source = Source {
        name: "data.nn".into(),
        text,
    };
    let (_, diags) = parse(&source);
    assert_eq!(diags, []);
}

const SOUP: &[&str] = &[
    "model",
    "train",
    "block",
    "repeat",
    "in",
    "M",
    "Add",
    "{",
    "}",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "=",
    ":",
    ".",
    "..",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "1",
    "2.5",
    "1e999",
    "3px",
    "\"s\"",
    "\"",
    "'s'",
    "#c\n",
    "\n",
    "\n",
    " ",
    " ",
    "é",
    "@",
    "\u{feff}",
    "\r\n",
    "model M {\n",
    "train {\n",
    "A(k=1)\n",
    "x = [1, 2]\n",
    "{ {",
    "} }",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_tokens_are_read(words in proptest::collection::vec(0..SOUP.len(), 0..120)) {
        let text: String = words.iter().map(|&word| SOUP[word]).collect();
        let source = Source { name: "soup.nn".into(), text };
        let (_, diags) = parse(&source);
        prop_assert!(diags.len() <= 50);
        for label in diags.iter().flat_map(|diag| &diag.labels) {
            prop_assert!(label.span.start <= label.span.end);
            prop_assert!(source.text.get(label.span.start as usize..label.span.end as usize).is_some());
        }
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        let source = Source { name: "text.nn".into(), text };
        prop_assert!(parse(&source).1.len() <= 50);
    }
}
