//! The software GPU under cudarc's safe layer.

mod common;

use common::{compile, report, session};
use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::{LaunchConfig, PushKernelArg};

const MATMUL: &str = r#"
extern "C" __global__ void mm(const float* __restrict__ a, const float* __restrict__ b, float* c, int n) {
    __shared__ float sa[16][16], sb[16][16];
    int x = threadIdx.x, y = threadIdx.y, j = blockIdx.x * 16 + x, i = blockIdx.y * 16 + y;
    float s = 0;
    for (int k = 0; k < n; k += 16) {
        sa[y][x] = a[i * n + k + x];
        sb[y][x] = b[(k + y) * n + j];
        __syncthreads();
        for (int t = 0; t < 16; t++) s += sa[y][t] * sb[t][x];
        __syncthreads();
    }
    c[i * n + j] = s;
}
"#;

#[test]
fn cudarc_talks_to_the_software_gpu() {
    let session = session("");
    assert_eq!(session.context.name().unwrap(), "lenetc software GPU");
    assert_eq!(session.context.compute_capability().unwrap(), (8, 0));
}

#[test]
fn tiled_matmul_agrees_with_f64_and_replays_as_a_graph() {
    let session = session("");
    let stream = session.context.new_stream().unwrap();
    let module = session.context.load_module(compile(MATMUL)).unwrap();
    let function = module.load_function("mm").unwrap();
    let n = 64usize;
    let value = |k: usize| ((k * 7919 % 1000) as f32) / 500.0 - 1.0;
    let a: Vec<f32> = (0..n * n).map(value).collect();
    let b: Vec<f32> = (0..n * n).map(|k| value(k + 13)).collect();
    let (da, db) = (
        stream.clone_htod(&a).unwrap(),
        stream.clone_htod(&b).unwrap(),
    );
    let mut dc = stream.alloc_zeros::<f32>(n * n).unwrap();
    stream.synchronize().unwrap();
    let shape = LaunchConfig {
        grid_dim: (4, 4, 1),
        block_dim: (16, 16, 1),
        shared_mem_bytes: 0,
    };
    stream
        .begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    unsafe {
        stream
            .launch_builder(&function)
            .arg(&da)
            .arg(&db)
            .arg(&mut dc)
            .arg(&(n as i32))
            .launch(shape)
    }
    .unwrap();
    let graph = stream
        .end_capture(CUgraphInstantiate_flags(0))
        .unwrap()
        .unwrap();
    assert_eq!(
        stream.clone_dtoh(&dc).unwrap(),
        vec![0.0; n * n],
        "capture must not execute"
    );
    for _ in 0..3 {
        graph.launch().unwrap();
    }
    let c = stream.clone_dtoh(&dc).unwrap();
    for i in 0..n {
        for j in 0..n {
            let exact: f64 = (0..n)
                .map(|k| f64::from(a[i * n + k]) * f64::from(b[k * n + j]))
                .sum();
            assert!((f64::from(c[i * n + j]) - exact).abs() < 1e-4, "{i} {j}");
        }
    }
    assert_eq!(report()["total"]["graph_launches"], 3);
    assert_eq!(report()["kernels"]["mm"]["launches"], 3);
}
