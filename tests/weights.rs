//! Weights that other programs saved, as a user meets them on the command line.

use std::path::Path;
use std::process::Command;

const MODEL: &str = "model M {\n input(2)\n Linear(1)\n}\n\
    train { data = inline { x = [[1, 2], [3, 4]]\n y = [1, 2] }\n loss = MSELoss }\n";

/// A tensor of a file.
#[derive(Clone)]
struct Tensor {
    name: &'static str,
    dtype: &'static str,
    shape: &'static str,
    data: Vec<u8>,
}

fn tensor(name: &'static str, dtype: &'static str, shape: &'static str, data: &[u8]) -> Tensor {
    Tensor {
        name,
        dtype,
        shape,
        data: data.to_vec(),
    }
}

/// The weight of the model's layer.
fn weight(dtype: &'static str, data: &[u8]) -> Tensor {
    tensor("0.weight", dtype, "[1,2]", data)
}

fn bias() -> Tensor {
    tensor("0.bias", "F32", "[1]", &0.25f32.to_le_bytes())
}

/// A safetensors file.
fn file(tensors: &[Tensor]) -> Vec<u8> {
    let mut at = 0;
    let mut entries = Vec::new();
    for t in tensors {
        let end = at + t.data.len();
        entries.push(format!(
            "\"{}\":{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{at},{end}]}}",
            t.name, t.dtype, t.shape
        ));
        at = end;
    }
    let header = format!("{{{}}}", entries.join(","));
    let len = (header.len() as u64).to_le_bytes();
    let data = tensors.iter().flat_map(|t| t.data.clone());
    let start = len.into_iter().chain(header.into_bytes());
    start.chain(data).collect()
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Evaluates the model with the weights that the bytes of a file are.
fn eval(bytes: &[u8]) -> Ended {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(Path::new(folder.path()).join(name), bytes).expect("writable");
    };
    put("m.nn", MODEL.as_bytes());
    put("w.safetensors", bytes);
    let o = Command::new(env!("CARGO_BIN_EXE_lenetc"))
        .current_dir(folder.path())
        .args(["eval", "m.nn", "--weights", "w.safetensors"])
        .output()
        .expect("lenetc starts");
    Ended {
        code: o.status.code(),
        out: String::from_utf8_lossy(&o.stdout).into_owned(),
        err: String::from_utf8_lossy(&o.stderr).into_owned(),
    }
}

/// Why the weights are refused.
fn refused(tensors: &[Tensor]) -> String {
    let ended = eval(&file(tensors));
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    ended.err
}

#[test]
fn floats_of_other_widths_are_converted_with_a_note() {
    let floats = [1.5f32, -1.0].map(f32::to_le_bytes).concat();
    let plain = eval(&file(&[weight("F32", &floats), bias()]));
    assert!(plain.out.starts_with("train loss "), "{}", plain.err);
    assert!(plain.err.is_empty(), "{}", plain.err);
    let doubles = [1.5f64, -1.0].map(f64::to_le_bytes).concat();
    for (dtype, data, done) in [
        ("F16", &[0x00, 0x3e, 0x00, 0xbc][..], "converted"),
        ("BF16", &[0xc0, 0x3f, 0x80, 0xbf], "converted"),
        ("F64", &doubles, "rounded"),
    ] {
        let ended = eval(&file(&[weight(dtype, data), bias()]));
        assert_eq!((ended.code, &ended.out), (Some(0), &plain.out));
        let note = format!("note: w.safetensors: 1 tensor of {dtype} {done} to f32\n");
        assert_eq!(ended.err, note);
    }
}

#[test]
fn tensors_that_the_model_lacks_are_called_that_whatever_their_type() {
    let floats = [0; 8];
    let counter = tensor("bn.num_batches_tracked", "I64", "[]", &[0; 8]);
    let text = refused(&[weight("F32", &floats), bias(), counter]);
    let said = "not in the model: bn.num_batches_tracked\n";
    assert!(text.ends_with(said), "{text}");
    let numbers = tensor("numbers", "I64", "[1]", &[0; 8]);
    let text = refused(&[weight("F32", &floats), bias(), numbers]);
    let said = "not in the model: numbers (I64)\n";
    assert!(text.ends_with(said), "{text}");
    let text = refused(&[weight("I32", &floats), bias()]);
    assert!(
        text.contains("not F32, F16, BF16 or F64: 0.weight (I32)"),
        "{text}"
    );
}

#[test]
fn a_double_beyond_the_range_of_floats_is_refused() {
    let doubles = [1.5f64, 1e300].map(f64::to_le_bytes).concat();
    let text = refused(&[weight("F64", &doubles), bias()]);
    assert!(
        text.contains("number 1 of tensor 0.weight is 1e300"),
        "{text}"
    );
}

#[test]
fn files_of_other_formats_are_called_by_their_names() {
    for (bytes, what) in [
        (&b"PK\x03\x04\0\0\0\0"[..], "it is a zip file"),
        (b"\x80\x02\x8a\nl\xfc\x9cF", "it is a Python pickle"),
        (b"", "it is empty"),
    ] {
        let text = eval(bytes).err;
        let start = format!(
            "error: cannot use the weights in w.safetensors: not a safetensors file: {what}"
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains("= help: write it with safetensors"), "{text}");
    }
}
