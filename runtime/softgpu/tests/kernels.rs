//! CUDA kernels compiled by NVRTC, for several architectures, against f64.

mod common;

use common::{Session, compile_for, report, session};
use cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};

const ARCHITECTURES: [&str; 4] = ["compute_75", "compute_80", "compute_90", "compute_120"];

fn function(
    s: &Session,
    source: &str,
    arch: &'static str,
    options: &[&str],
    name: &str,
) -> CudaFunction {
    let module = s.context.load_module(compile_for(source, arch, options));
    let module =
        module.unwrap_or_else(|error| panic!("{arch}: {error}: {}", report()["last_error"]));
    module.load_function(name).unwrap()
}

fn one_row(threads: u32, blocks: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// Applies a CUDA expression in `x` to values and compares it with f64.
fn check_expression(
    s: &Session,
    arch: &'static str,
    options: &[&str],
    text: &str,
    exact: fn(f64) -> f64,
    tolerance: f64,
) {
    let source = format!(
        "extern \"C\" __global__ void k(const float* in, float* out, int n) {{\n\
         int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) {{ float x = in[i]; out[i] = {text}; }} }}"
    );
    let kernel = function(s, &source, arch, options, "k");
    let stream = s.context.default_stream();
    let values: Vec<f32> = (0..777)
        .map(|k| (k as f32 - 388.0) * 0.0371 + 0.001)
        .collect();
    let input = stream.clone_htod(&values).unwrap();
    let mut output = stream.alloc_zeros::<f32>(values.len()).unwrap();
    let n = values.len() as i32;
    unsafe {
        stream
            .launch_builder(&kernel)
            .arg(&input)
            .arg(&mut output)
            .arg(&n)
            .launch(one_row(128, 7))
    }
    .unwrap();
    for (x, found) in values.iter().zip(stream.clone_dtoh(&output).unwrap()) {
        let (found, exact) = (f64::from(found), exact(f64::from(*x)));
        let close = (found - exact).abs() <= tolerance * exact.abs().max(1e-2);
        assert!(
            close || found.is_nan() && exact.is_nan(),
            "{arch} {options:?} {text}: x={x}: {found} and not {exact}"
        );
    }
}

#[test]
fn functions_agree_with_f64() {
    let s = session("compute=12.0;sanitize=all");
    for arch in ARCHITECTURES {
        check_expression(&s, arch, &[], "expf(x)", f64::exp, 3e-7);
        check_expression(&s, arch, &[], "logf(x)", f64::ln, 3e-7);
        check_expression(&s, arch, &[], "tanhf(x)", f64::tanh, 3e-7);
        check_expression(
            &s,
            arch,
            &[],
            "1.0f / (1.0f + expf(-x))",
            |x| 1.0 / (1.0 + (-x).exp()),
            3e-7,
        );
        check_expression(&s, arch, &[], "x / 3.7f", |x| x / f64::from(3.7f32), 1e-7);
        check_expression(&s, arch, &[], "sqrtf(x)", f64::sqrt, 1e-7);
    }
}

#[test]
fn more_functions_and_fast_math() {
    let s = session("");
    let arch = "compute_80";
    check_expression(&s, arch, &[], "sinf(x)", f64::sin, 5e-6);
    check_expression(
        &s,
        arch,
        &[],
        "cosf(x * 100000.0f)",
        |x| f64::from(x as f32 * 100_000.0).cos(),
        5e-5,
    );
    check_expression(
        &s,
        arch,
        &[],
        "powf(fabsf(x), 1.7f)",
        |x| x.abs().powf(f64::from(1.7f32)),
        2e-6,
    );
    check_expression(&s, arch, &[], "rsqrtf(x)", |x| 1.0 / x.sqrt(), 1e-6);
    check_expression(
        &s,
        arch,
        &[],
        "fmodf(x, 0.7f)",
        |x| x % f64::from(0.7f32),
        1e-6,
    );
    check_expression(&s, arch, &[], "(float)exp((double)x)", f64::exp, 1e-7);
    check_expression(&s, arch, &[], "roundf(x)", f64::round, 0.0);
    check_expression(&s, arch, &[], "__fadd_rd(x, 0.25f)", |x| x + 0.25, 2e-7);
    for options in [&["--use_fast_math"][..], &["--fmad=false"]] {
        check_expression(&s, arch, options, "expf(x)", f64::exp, 2e-5);
        check_expression(&s, arch, options, "logf(x)", f64::ln, 2e-5);
        check_expression(&s, arch, options, "tanhf(x)", f64::tanh, 2e-5);
        check_expression(
            &s,
            arch,
            options,
            "x / 3.7f",
            |x| x / f64::from(3.7f32),
            1e-6,
        );
    }
}

const REDUCTION: &str = r#"
extern "C" __global__ void sum(const float* in, float* out, int n) {
    __shared__ float parts[32];
    float s = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += in[i];
    for (int m = 16; m; m >>= 1) s += __shfl_xor_sync(~0u, s, m);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x < 32) {
        s = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0;
        for (int m = 16; m; m >>= 1) s += __shfl_down_sync(~0u, s, m);
        if (threadIdx.x == 0) atomicAdd(out, s);
    }
}
"#;

#[test]
fn shuffle_reduction_in_every_order() {
    for order in 0..6 {
        let sanitize = if order % 2 == 0 { "none" } else { "all" };
        let s = session(&format!(
            "compute=12.0;warp_order={order};sanitize={sanitize}"
        ));
        for arch in ARCHITECTURES {
            let kernel = function(&s, REDUCTION, arch, &[], "sum");
            let stream = s.context.default_stream();
            let values: Vec<f32> = (0..10_000).map(|k| (k % 97) as f32).collect();
            let input = stream.clone_htod(&values).unwrap();
            let mut output = stream.alloc_zeros::<f32>(1).unwrap();
            unsafe {
                stream
                    .launch_builder(&kernel)
                    .arg(&input)
                    .arg(&mut output)
                    .arg(&10_000i32)
                    .launch(one_row(256, 5))
            }
            .unwrap();
            // All partial sums are integers below 2^24: exact in any order.
            assert_eq!(
                stream.clone_dtoh(&output).unwrap(),
                [values.iter().sum::<f32>()],
                "{arch}, order {order}"
            );
        }
    }
}

const GATHER: &str = r#"
extern "C" __global__ void gather(const unsigned char* data, const int* index, float4* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uchar4 v = *(const uchar4*)(data + 4 * index[i]);
    out[i] = make_float4(v.x / 255.0f, v.y / 255.0f, v.z / 255.0f, v.w / 255.0f);
}
"#;

#[test]
fn bytes_are_gathered_by_index() {
    let s = session("sanitize=all");
    let kernel = function(&s, GATHER, "compute_80", &[], "gather");
    let stream = s.context.default_stream();
    let bytes: Vec<u8> = (0..4096u32).map(|k| ((k * 37) >> 2) as u8).collect();
    let index: Vec<i32> = (0..1000).map(|k| k * 619 % 1024).collect();
    let (data, order) = (
        stream.clone_htod(&bytes).unwrap(),
        stream.clone_htod(&index).unwrap(),
    );
    let mut out = stream.alloc_zeros::<f32>(4000).unwrap();
    unsafe {
        stream
            .launch_builder(&kernel)
            .arg(&data)
            .arg(&order)
            .arg(&mut out)
            .arg(&1000i32)
            .launch(one_row(128, 8))
    }
    .unwrap();
    let found = stream.clone_dtoh(&out).unwrap();
    for (i, &at) in index.iter().enumerate() {
        for k in 0..4 {
            assert_eq!(
                found[4 * i + k],
                f32::from(bytes[4 * at as usize + k]) / 255.0
            );
        }
    }
}

/// Everything that a kernel of ours may meet in one text: whatever NVRTC makes of it must decode on all architectures.
const MIXTURE: &str = r#"
__constant__ float table[4] = {1, 2, 3, 4};
__device__ int counter = 5;
struct Shape { int n; int strides[6]; };
template <typename T> __device__ T twice(T v) { return v + v; }
extern "C" __global__ void __launch_bounds__(256, 2) mixture(const unsigned char* p, float* o, const float4* v, Shape shape, double d, int* ip) {
    extern __shared__ float dyn[];
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = shape.n;
    dyn[threadIdx.x] = i;
    __syncthreads();
    if (i < n) {
        float x = p[i] / 255.0f;
        float4 q = v[i];
        float arr[8];
        for (int k = 0; k < 8; k++) arr[k] = o[(i + k) % n] * table[k & 3];
        float s = arr[((int)q.x) & 7] + expf(q.y) + logf(q.z) + tanhf(q.w) + powf(x, q.x) + sinf(x) + erff(x) + dyn[threadIdx.x ^ 1];
        unsigned mask = __activemask();
        unsigned votes = __ballot_sync(mask, s > 1);
        if ((threadIdx.x & 31) == 0) { atomicMax(ip, (int)s); atomicCAS(ip + 1, 3, 4); atomicAdd(&counter, 1); }
        long long wide = (long long)(q.y * 1000) * shape.strides[i % 6];
        o[i] = s + __popc(votes) + __clz(i) + i / 7 + i % (n + 1) + (float)sqrt(d) + rsqrtf(q.x + 9) + (float)exp(d) + __fdividef(x, q.x + 9) + (float)(wide % 1000)
            + __uint_as_float(__float_as_uint(x) & 0xffffff00u) + fminf(x, q.y) + fmaxf(x, q.z) + roundf(q.z) + floorf(q.y) + (float)twice(d);
        ip[2 + i] = __float2int_rn(q.x) + (int)q.y + (int)(unsigned)fabsf(q.z) + __byte_perm(i, n, 0x1234) + __ffs(i) + (i << (n & 7)) + __umulhi(i, n)
            + (short)i + (char)n + __brev(i) + __funnelshift_l(i, n, 5) + (i >= 2 && n < 9000 ? 3 : 4) + __shfl_sync(mask, i, 0);
    }
    __threadfence();
}
"#;

#[test]
fn a_mixture_decodes_and_runs_on_all_architectures() {
    let s = session("compute=12.0;warp_order=3;sanitize=init+race_shared+barrier");
    let stream = s.context.default_stream();
    let mut seen: Option<(Vec<f32>, Vec<i32>)> = None;
    for arch in ARCHITECTURES {
        for options in [&[][..], &["--use_fast_math"], &["-lineinfo"]] {
            let kernel = function(&s, MIXTURE, arch, options, "mixture");
            let bytes = stream
                .clone_htod(&(0..300u32).map(|k| k as u8).collect::<Vec<_>>())
                .unwrap();
            let mut o = stream.clone_htod(&vec![1.5f32; 300]).unwrap();
            let v = stream
                .clone_htod(&(0..1200).map(|k| (k % 7) as f32 + 0.25).collect::<Vec<_>>())
                .unwrap();
            let mut ip = stream.alloc_zeros::<i32>(302).unwrap();
            let shape = [300i32, 1, 2, 3, 4, 5, 6];
            let config = LaunchConfig {
                shared_mem_bytes: 1024,
                ..one_row(256, 2)
            };
            let mut launch = stream.launch_builder(&kernel);
            let launch = launch
                .arg(&bytes)
                .arg(&mut o)
                .arg(&v)
                .arg(&shape)
                .arg(&2.25f64)
                .arg(&mut ip);
            unsafe { launch.launch(config) }.unwrap();
            stream
                .synchronize()
                .unwrap_or_else(|error| panic!("{arch} {options:?} {error}: {}", report()));
            let found = (
                stream.clone_dtoh(&o).unwrap(),
                stream.clone_dtoh(&ip).unwrap(),
            );
            let first = seen.get_or_insert(found.clone());
            // The elements after the first depend on what other threads have stored by then.
            assert!(found.0.iter().all(|value| value.is_finite()));
            assert_eq!(found.1[2..], first.1[2..], "{arch} {options:?}");
        }
    }
}
