//! Messages that count: one thing is told as one, and as several only where they are.

use std::path::PathBuf;

use lenetc::diag::Source;
use lenetc::driver;
use lenetc::train::RunError;
use lenetc_runtime::data::{DataError, Place};

fn threads(threads: usize) -> String {
    let reason = "no memory".into();
    RunError::Threads { threads, reason }.to_string()
}

#[test]
fn threads_that_cannot_start_are_counted() {
    assert_eq!(threads(1), "cannot start 1 thread: no memory");
    assert_eq!(threads(2), "cannot start 2 threads: no memory");
}

#[test]
fn what_is_wrong_with_data_is_counted() {
    let place = || Place {
        path: PathBuf::from("x.npz"),
        array: None,
    };
    for (inputs, targets, said) in [
        (1, 2, "1 input, but 2 labels or values to be met"),
        (3, 1, "3 inputs, but 1 label or value to be met"),
    ] {
        let place = place();
        let error = DataError::Count {
            place,
            inputs,
            targets,
        };
        assert_eq!(error.to_string(), format!("x.npz: {said}"));
    }
    for (wanted, said) in [(1, "1 byte"), (2, "2 bytes")] {
        let place = place();
        let error = DataError::Trailing { place, wanted };
        let said = format!("x.npz: it goes on after the {said} that its header announces");
        assert_eq!(error.to_string(), said);
    }
}

/// What is said of a model whose input and layers are these.
fn said(layers: &str) -> String {
    let source = Source {
        name: "m.nn".into(),
        text: format!("model M {{ {layers} }}\ntrain {{ data = mnist }}"),
    };
    let model = driver::read(source, &[]).expect("it is well-formed");
    let failure = model.build(false).expect_err("it does not fit");
    let found = failure.diagnostics.iter();
    let said = found.flat_map(|d| {
        let labels = d.labels.iter().map(|l| l.text.clone());
        labels.chain([d.message.clone()])
    });
    said.collect::<Vec<_>>().join("; ")
}

#[test]
fn axes_and_values_are_counted() {
    let axes = said("input(1, 4, 4)\nLinear(10)");
    assert!(axes.contains("with 3 axes"), "{axes}");
    let values = said("input(1, 4, 4)\nMaxPool2d((2, 2, 2))");
    assert!(values.contains("not 3 values"), "{values}");
}
