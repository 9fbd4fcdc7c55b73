//! How fast kernels run: lane-instructions a second, by kernel. Needs NVRTC, as the tests do.
//! `cargo run --release -p lenetc-softgpu --example throughput`; RAYON_NUM_THREADS=1 for one core. An argument gives settings, as
//! `sanitize=all`.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{compile, configure, report, session};
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};
use std::time::Instant;

const SOURCE: &str = r#"
extern "C" __global__ void fma_only(const float* a, const float*, float* c, int n) {
    float x = a[threadIdx.x], s = x, t = 1, u = 2, v = 3;
    for (int k = 0; k < n * 4; k++) {
        s = s * x + t; t = t * x + u; u = u * x + v; v = v * x + s;
        s = s * x + t; t = t * x + u; u = u * x + v; v = v * x + s;
    }
    c[blockIdx.x * blockDim.x + threadIdx.x] = s + t + u + v;
}

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* c, int n) {
    __shared__ float sa[16][16], sb[16][16];
    int x = threadIdx.x % 16, y = threadIdx.x / 16, j = blockIdx.x * 16 + x, i = blockIdx.y * 16 + y;
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

// Each thread computes 4 x 4 elements of a tile of 64 x 64.
extern "C" __global__ void register_tiled(const float* __restrict__ a, const float* __restrict__ b, float* c, int n) {
    __shared__ float sa[16][64], sb[16][64];
    int t = threadIdx.x, tx = t % 16, ty = t / 16, i0 = blockIdx.y * 64, j0 = blockIdx.x * 64;
    float acc[4][4] = {};
    for (int k = 0; k < n; k += 16) {
        for (int r = 0; r < 4; r++) {
            int e = r * 256 + t;
            sa[e % 16][e / 16] = a[(i0 + e / 16) * n + k + e % 16];
            sb[e / 64][e % 64] = b[(k + e / 64) * n + j0 + e % 64];
        }
        __syncthreads();
        #pragma unroll
        for (int q = 0; q < 16; q++) {
            float4 u = *(float4*)&sa[q][ty * 4], v = *(float4*)&sb[q][tx * 4];
            float p[4] = {u.x, u.y, u.z, u.w}, r[4] = {v.x, v.y, v.z, v.w};
            for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) acc[i][j] += p[i] * r[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) c[(i0 + ty * 4 + i) * n + j0 + tx * 4 + j] = acc[i][j];
}

extern "C" __global__ void conv(const float* __restrict__ x, const float* __restrict__ w, float* y, int n) {
    // 16 output channels of 5 x 5 over 6 input channels of 14 x 14; one image a block.
    int t = threadIdx.x;
    const float* image = x + (blockIdx.x + 512 * blockIdx.y) % 64 * 1176;
    for (int o = t; o < 1600; o += blockDim.x) {
        int ch = o / 100, i = o / 10 % 10, j = o % 10;
        float s = 0;
        for (int ci = 0; ci < 6; ci++)
            for (int di = 0; di < 5; di++)
                for (int dj = 0; dj < 5; dj++)
                    s += image[ci * 196 + (i + di) * 14 + j + dj] * w[(ch * 6 + ci) * 25 + di * 5 + dj];
        y[(blockIdx.x % 64) * 1600 + o] = 1 / (1 + expf(-s));
    }
}
"#;

fn main() {
    let settings = std::env::args().nth(1).unwrap_or_default();
    let session = session(&settings);
    let stream = session.context.new_stream().expect("a stream");
    let module = session
        .context
        .load_module(compile(SOURCE))
        .expect("a module");
    let n = 512usize;
    let host: Vec<f32> = (0..n * n).map(|k| (k % 1000) as f32 / 1000.0).collect();
    let (a, b) = (
        stream.clone_htod(&host).expect("memory"),
        stream.clone_htod(&host).expect("memory"),
    );
    let mut c: CudaSlice<f32> = stream.alloc_zeros(n * n).expect("memory");
    let shapes: [(&str, (u32, u32)); 4] = [
        ("fma_only", (256, 1)),
        ("matmul", (32, 32)),
        ("register_tiled", (8, 8)),
        ("conv", (64, 1)),
    ];
    for (name, (x, y)) in shapes {
        let function = module.load_function(name).expect("a kernel");
        let shape = LaunchConfig {
            grid_dim: (x, y, 1),
            block_dim: (256, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = || {
            let (size, begin) = (n as i32, Instant::now());
            // SAFETY: the kernels stay inside the arrays.
            unsafe {
                stream
                    .launch_builder(&function)
                    .arg(&a)
                    .arg(&b)
                    .arg(&mut c)
                    .arg(&size)
                    .launch(shape)
            }
            .expect("a launch");
            stream.synchronize().expect("no error");
            begin.elapsed().as_secs_f64()
        };
        let best = (0..3).map(|_| launch()).fold(f64::INFINITY, f64::min);
        configure("count=1").expect("settings");
        launch();
        configure("count=0").expect("settings");
        let report = report();
        let counts = report["kernels"][name]["counts"]
            .as_object()
            .expect("counts");
        let lanes = |prefix: &str| -> f64 {
            counts
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(_, value)| value.as_f64().unwrap_or(0.0))
                .sum()
        };
        let (all, fma) = (lanes("lane_"), lanes("lane_fma"));
        println!(
            "{name:16} {best:.4} s  {:.2} G lane-instructions/s, of them {:.2} G fma/s",
            all / best / 1e9,
            fma / best / 1e9
        );
    }
}
