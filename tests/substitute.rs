//! Producers computed where they are read, against the two one after the other.

use lenetc::ir::{DType, Leading, TensorType};
use lenetc::nest::interp::{self, Env};
use lenetc::nest::{substitute, verify};
use lenetc::ops::{Conv2d, Gather, Op, Padding, Window};

/// A convolution that gathers its images itself gives what it gives of gathered ones.
#[test]
fn a_gather_is_computed_where_it_is_read() {
    let data = TensorType {
        dtype: DType::U8,
        leading: Leading::Dataset,
        dims: vec![2, 5, 4],
    };
    let indices = TensorType {
        dtype: DType::I32,
        leading: Leading::Batch,
        dims: vec![],
    };
    let gather = Op::from(Gather { scale: true });
    let types = gather
        .infer(&[data.clone(), indices.clone()])
        .expect("fits");
    let gather = gather.lower(&[data, indices], &types);
    let conv = Op::from(Conv2d {
        out_channels: 3,
        window: Window {
            kernel: [3, 2],
            stride: [1, 2],
            padding: Padding::Sides([[1, 1], [0, 1]]),
            dilation: [1, 1],
        },
        groups: 1,
        bias: true,
    });
    let inputs = [
        types[0].clone(),
        TensorType::fixed([3, 2, 3, 2]),
        TensorType::fixed([3]),
    ];
    let out = conv.infer(&inputs).expect("fits");
    let conv = conv.lower(&inputs, &out);
    let whole = substitute(&conv, 0, &gather, &[3, 4]).expect("a gather is elementwise");
    verify(&whole).expect("a nest");
    let env = Env::new(2, 0.0);
    let x: Vec<f64> = (0..120).map(|k| f64::from(k * 7 % 256)).collect();
    let w: Vec<f64> = (0..36).map(|k| f64::from(k % 5) - 2.0).collect();
    let (b, at) = ([0.5, 1.0, -1.0], [2.0, 0.0]);
    let gathered = interp::run(&gather, &[&x, &at], env).remove(0);
    let apart = interp::run(&conv, &[&gathered, &w, &b], env);
    assert_eq!(interp::run(&whole, &[&[], &w, &b, &x, &at], env), apart);
}
