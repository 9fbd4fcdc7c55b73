//! `lenetc bench` as a user meets it: what it reports and that its figures fit each other. No test depends on a speed.

use std::process::Command;

use serde_json::Value;

fn bench(args: &[&str]) -> String {
    let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("COLUMNS")
        .args(["bench", "--seconds", "0.05"])
        .args(args)
        .output()
        .expect("lenetc starts");
    assert!(
        o.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&o.stderr)
    );
    // On a busy machine NVRTC takes more than the second that it is told after.
    let stderr = String::from_utf8_lossy(&o.stderr);
    let mut told = stderr.lines().filter(|l| !l.starts_with("note: compiling"));
    assert_eq!(told.next(), None, "progress is for terminals");
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn json(args: &[&str]) -> Value {
    let text = bench(&[args, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON on stdout")
}

fn number(v: &Value, key: &str) -> f64 {
    v[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number in {v}"))
}

fn kernels(v: &Value) -> &[Value] {
    v["kernels"].as_array().expect("a list")
}

#[test]
fn every_figure_is_there() {
    let v = json(&["models/lenet.nn", "--threads", "1"]);
    for key in [
        "compile_ms",
        "train_examples_per_sec",
        "inference_images_per_sec",
        "peak_gflops",
        "bandwidth_gbytes_per_sec",
        "bandwidth_set_bytes",
        "block",
        "unfused_block",
    ] {
        assert!(number(&v, key) > 0.0, "{key}");
    }
    assert_eq!((number(&v, "threads"), number(&v, "batch")), (1.0, 256.0));
    assert!(v["isa"].is_string());
    for k in kernels(&v) {
        for key in ["us_per_image", "bytes_per_image", "share_of_roofline"] {
            assert!(number(k, key) >= 0.0, "{key} of {k}");
        }
        let contracts = number(k, "macs_per_image") > 0.0;
        assert_eq!(k["gflops"].is_number(), contracts, "{k}");
        assert_eq!(k["share_of_peak"].is_number(), contracts, "{k}");
    }
}

#[test]
fn the_parts_of_a_step_add_up_to_it() {
    for args in [
        &["models/lenet.nn"][..],
        &["models/branches.nn", "--batch", "20"],
    ] {
        let v = json(args);
        let step = &v["step"];
        let sum: f64 = kernels(&v).iter().map(|k| number(k, "us_per_image")).sum();
        let total = number(step, "us_per_image");
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        assert!(close(sum, number(step, "kernels_us_per_image")), "{step}");
        let others = ["clearing", "sum_of_shards", "rest"].map(|k| format!("{k}_us_per_image"));
        let others: f64 = others.iter().map(|k| number(step, k)).sum();
        assert!(close(sum + others, total), "{step}");
    }
}

#[test]
fn single_images_have_percentiles_in_order() {
    let v = json(&["models/lenet.nn", "--batch", "1"]);
    assert_eq!(number(&v, "batch"), 1.0);
    for key in ["train_step_us", "inference_us"] {
        let [a, b, c] = ["p50", "p90", "p99"].map(|p| number(&v[key], p));
        assert!(0.0 < a && a <= b && b <= c, "{}", v[key]);
        assert!(number(&v[key], "samples") >= 10.0, "ten parts are measured");
    }
}

#[test]
fn fused_kernels_have_the_time_of_their_operators_alone() {
    let v = json(&["models/lenet.nn"]);
    let fused = |k: &&Value| {
        let name = k["name"].as_str().unwrap_or("");
        name.ends_with("_sigmoid") || name.ends_with("_sigmoid_grad")
    };
    assert_eq!(kernels(&v).iter().filter(fused).count(), 8);
    for k in kernels(&v) {
        let apart = &k["unfused_us_per_image"];
        assert_eq!(apart.is_number(), fused(&k), "{k}");
    }
    assert!(number(&v["step"], "unfused_kernels_us_per_image") > 0.0);

    let v = json(&["models/lenet.nn", "--opt", "0"]);
    let apart = |k: &Value| k["unfused_us_per_image"].is_number();
    assert!(!kernels(&v).iter().any(apart), "nothing is fused");
    assert!(v["step"]["unfused_kernels_us_per_image"].is_null());
}

/// Counted by hand: what does not depend on a block, and what is shared by the images of one.
#[test]
fn bytes_are_those_of_the_buffers() {
    let v = json(&["models/lenet.nn", "--isa", "cranelift"]);
    let block = number(&v, "block");
    let bytes = |name: &str| -> Vec<f64> {
        let named = kernels(&v).iter().filter(|k| k["name"] == name);
        named.map(|k| number(k, "bytes_per_image")).collect()
    };
    let images = 28.0 * 28.0;
    assert_eq!(bytes("gather")[0], images + 4.0 + 4.0 * images);
    let pool = 6.0 * images + 6.0 * images / 4.0;
    assert_eq!(bytes("avg_pool2d")[0], 4.0 * pool);
    let conv = 4.0 * (images + 6.0 * images) + 4.0 * (6.0 * 25.0 + 6.0) / block;
    assert_eq!(bytes("conv2d_sigmoid")[0], conv);
    // The parameter, which is changed in place, and its gradient, once for the whole batch.
    assert_eq!(bytes("sgd")[0], 4.0 * 2.0 * 6.0 * 25.0 / 256.0);
}

#[test]
fn a_batch_has_no_more_images_than_the_data_set() {
    let v = json(&["models/edge.nn", "--batch", "7"]);
    assert_eq!(number(&v, "batch"), 1.0);
}

#[test]
fn the_text_has_the_same_rows() {
    let text = bench(&["models/lenet.nn", "--batch", "8"]);
    for row in [
        "lenetc ",
        "processor ",
        "data       fashion_mnist: ",
        "batch      8 images, in blocks of ",
        "machine    ",
        "compile ",
        "train ",
        "inference ",
        "a step of training ",
        "inference of a batch ",
        "conv2d_sigmoid ",
        "kernels ",
        "shards set to zero ",
        "sum of shards ",
        "rest ",
        "step ",
        "peak ",
        "bandwidth ",
    ] {
        assert!(text.lines().any(|l| l.starts_with(row)), "{row}\n{text}");
    }
}

#[test]
fn figures_say_what_they_are_of() {
    let v = json(&["models/edge.nn", "--threads", "1"]);
    for key in ["version", "processor", "data", "isa"] {
        assert!(
            v[key].as_str().is_some_and(|t| !t.is_empty()),
            "{key} of {v}"
        );
    }
    assert_eq!(
        (&v["model"], &v["target"]),
        (&"models/edge.nn".into(), &"cpu".into())
    );
    assert!(number(&v, "processor_threads") >= 1.0);
    assert_eq!(number(&v, "train_examples"), 1.0);
    assert!(v["test_examples"].is_null());
    assert!(
        v["data"]
            .as_str()
            .is_some_and(|t| t.starts_with("inline data: 1 image "))
    );
}

#[test]
fn figures_say_whether_the_machine_was_busy() {
    let v = json(&["models/lenet.nn"]);
    let machine = &v["machine"];
    let busy = machine["busy"].as_bool().expect("it says so");
    let said = machine["text"].as_str().expect("in words as well");
    assert_eq!(said.contains("not to be quoted"), busy, "{machine}");
    assert!(number(machine, "repeats_differ") >= 0.0);
    for key in ["stolen", "other_processes"] {
        let part = &machine[key];
        let known = part.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p));
        assert!(known || part.is_null(), "{machine}");
    }
    let rest = number(&v["step"], "rest_us_per_image");
    assert!(
        rest >= 0.0 || v["step"]["note"].is_string(),
        "{}",
        v["step"]
    );
}

fn names(k: &Value) -> Vec<&str> {
    let layers = k["layers"].as_array().expect("a list");
    layers.iter().filter_map(Value::as_str).collect()
}

#[test]
fn kernels_bear_their_layers() {
    let v = json(&["models/branches.nn", "--batch", "4"]);
    for k in kernels(&v) {
        let name = k["name"].as_str().unwrap_or("");
        let of_none = [
            "gather",
            "cross_entropy",
            "correct",
            "fill",
            "cross_entropy_grad",
        ];
        assert_eq!(names(k).is_empty(), of_none.contains(&name), "{k}");
    }
    let first = kernels(&v).iter().find(|k| k["name"] == "conv2d_relu");
    assert_eq!(names(first.expect("the stem")), ["stem", "1"]);
}

/// LeNet's first convolution meets padding, its second has none.
#[test]
fn multiply_adds_on_padding_are_no_work() {
    let v = json(&["models/lenet.nn", "--batch", "4"]);
    let of = |layer: &str| {
        let contracts = |k: &&Value| number(k, "macs_per_image") > 0.0;
        let of_layer = kernels(&v).iter().filter(contracts);
        let of_layer = of_layer.filter(|k| names(k).contains(&layer));
        let counts = of_layer
            .map(|k| ["macs_per_image", "macs_with_padding_per_image"].map(|key| number(k, key)));
        counts.collect::<Vec<_>>()
    };
    assert_eq!(of("0"), [[107_736.0, 117_600.0]; 2], "forward, weights");
    assert_eq!(of("3"), [[240_000.0; 2]; 3], "forward, image, weights");
    let text = bench(&["models/lenet.nn", "--batch", "4"]);
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let [exist, padded] = ["macs_per_image", "macs_with_padding_per_image"].map(|key| {
        let counts = kernels(&v).iter().map(|k| number(k, key));
        counts.sum::<f64>()
    });
    assert_eq!(padded - exist, 2.0 * (117_600.0 - 107_736.0));
    let expected = format!("of {padded} multiply-adds for an image {exist} exist");
    assert!(said.contains(&expected), "{text}");
}

#[test]
fn tables_fit_eighty_columns_unless_they_are_wide() {
    let widest = |text: &str| text.lines().map(|l| l.chars().count()).max();
    for args in [
        &["models/branches.nn", "--batch", "4"][..],
        &[
            "models/lenet.nn",
            "--target",
            "cuda",
            "--device",
            "software",
        ],
    ] {
        let text = bench(args);
        assert!(widest(&text) <= Some(80), "{text}");
        let wide = bench(&[args, &["--wide"]].concat());
        assert!(widest(&wide) > Some(80), "{wide}");
    }
}

#[test]
fn the_software_gpu_says_the_same_of_itself() {
    let v = json(&[
        "models/lenet.nn",
        "--target",
        "cuda",
        "--device",
        "software",
    ]);
    assert_eq!((&v["target"], &v["batch"]), (&"cuda".into(), &256.into()));
    assert!(v["device"].as_str().is_some_and(|d| d.contains("software")));
    assert!(v["processor"].is_string() && v["data"].is_string());
    for k in kernels(&v) {
        assert!(!names(k).is_empty(), "{k}");
    }
    let gradients = kernels(&v).iter().find(|k| k["name"] == "gradients");
    let mut layers = names(gradients.expect("sums over images"));
    layers.sort();
    assert_eq!(layers, ["0", "11", "3", "7", "9"]);
}
