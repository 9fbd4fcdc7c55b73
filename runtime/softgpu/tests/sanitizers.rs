//! Every sanitizer, by a kernel that is right and stays unreported, and the same kernel with a fault, which is named.

mod common;

use common::{Session, compile, report, session};
use cudarc::driver::{CudaSlice, DriverError, LaunchConfig, PushKernelArg};
use serde_json::Value;

const N: usize = 256;

/// Compiles kernel `k(const float* a, float* b, int n)` and runs it on two arrays of 256 floats, `b` never written.
fn run(s: &Session, source: &str, grid: u32, block: u32) -> Result<Vec<f32>, DriverError> {
    let module = s.context.load_module(compile(source))?;
    let stream = s.context.new_stream()?;
    let a = stream.clone_htod(&vec![1.0f32; N])?;
    let mut b: CudaSlice<f32> = unsafe { stream.alloc(N) }?;
    let shape = LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: 0,
    };
    unsafe {
        stream
            .launch_builder(&module.load_function("k")?)
            .arg(&a)
            .arg(&mut b)
            .arg(&(N as i32))
            .launch(shape)
    }?;
    stream.synchronize()?;
    stream.clone_dtoh(&b)
}

fn kernel(body: &str) -> String {
    format!(
        "extern \"C\" __global__ void k(const float* a, float* b, int n) {{ int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;\n{body}\n}}"
    )
}

/// The good kernel is clean in several orders; the bad one fails with this code and is reported with this kind.
fn pair(
    settings: &str,
    good: &str,
    bad: &str,
    (grid, block): (u32, u32),
    code: &str,
    kind: &str,
) -> Value {
    for sanitize in [settings, "sanitize=all"] {
        for order in [0, 1, 7] {
            let s = session(&format!("{sanitize};warp_order={order}"));
            let clean = run(&s, &kernel(good), grid, block);
            assert!(clean.is_ok(), "{good}: {:?} {}", clean, report());
            assert_eq!(report()["findings"].as_array().unwrap().len(), 0);
        }
    }
    let mut named = Value::Null;
    for order in [0, 1, 7] {
        let s = session(&format!("{settings};warp_order={order}"));
        let error = run(&s, &kernel(bad), grid, block).expect_err("the fault must be found");
        assert_eq!(format!("{:?}", error.0), code, "{}", report());
        // The context is lost: whatever comes next fails in the same way.
        assert_eq!(s.context.synchronize().expect_err("sticky").0, error.0);
        named = report()["findings"][0].clone();
        assert_eq!(named["kind"], kind);
        assert_eq!(named["kernel"], "k");
        assert!(named["line"].as_u64().unwrap() > 0 && !named["text"].as_str().unwrap().is_empty());
    }
    named
}

#[test]
fn out_of_bounds_is_always_found() {
    let named = pair(
        "",
        "b[i] = a[i];",
        "b[i] = a[i + 1];",
        (2, 128),
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "out_of_bounds",
    );
    assert_eq!(
        (&named["block"][0], &named["thread"][0]),
        (&Value::from(1), &Value::from(127))
    );
    assert!(named["text"].as_str().unwrap().contains("ld.global"));
    assert!(
        named["detail"]
            .as_str()
            .unwrap()
            .contains("0 bytes past the end of an allocation of 1024 bytes"),
        "{named}"
    );
}

#[test]
fn stores_out_of_bounds_and_null_pointers() {
    let code = "CUDA_ERROR_ILLEGAL_ADDRESS";
    let named = pair(
        "",
        "b[i] = 1;",
        "b[i - 1] = 1;",
        (1, 256),
        code,
        "out_of_bounds",
    );
    assert!(
        named["detail"].as_str().unwrap().contains("4 bytes before"),
        "{named}"
    );
    pair(
        "",
        "b[i] = 1;",
        "((volatile float*)0)[t] = 1;",
        (1, 32),
        code,
        "out_of_bounds",
    );
}

#[test]
fn shared_and_local_out_of_bounds() {
    let code = "CUDA_ERROR_ILLEGAL_ADDRESS";
    let shared = |index: &str| {
        format!("__shared__ float s[64]; s[t] = a[i]; __syncthreads(); b[i] = s[{index}];")
    };
    let named = pair(
        "",
        &shared("63 - t"),
        &shared("64 - t"),
        (1, 64),
        code,
        "out_of_bounds",
    );
    assert!(
        named["detail"]
            .as_str()
            .unwrap()
            .contains("the block has 256 bytes"),
        "{named}"
    );
    let local = |index: &str| {
        format!("float l[8]; for (int k = 0; k < 8; k++) l[k] = a[k]; b[i] = l[{index}];")
    };
    pair(
        "",
        &local("t & 7"),
        &local("t & 15"),
        (1, 64),
        code,
        "out_of_bounds",
    );
}

#[test]
fn misaligned_accesses() {
    let wide = |offset: &str| {
        format!("float4 v = *(const float4*)(a + {offset}); b[t] = v.x + v.y + v.z + v.w;")
    };
    let named = pair(
        "",
        &wide("4 * (t & 31)"),
        &wide("4 * (t & 31) + 1"),
        (1, 64),
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        "misaligned",
    );
    pair(
        "sanitize=all",
        &wide("4 * (t & 31)"),
        &wide("4 * (t & 31) + 1"),
        (1, 64),
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        "misaligned",
    );
    assert!(
        named["detail"]
            .as_str()
            .unwrap()
            .contains("16 bytes in global")
    );
}

#[test]
fn uninitialised_memory() {
    let code = "CUDA_ERROR_ILLEGAL_ADDRESS";
    let settings = "sanitize=init";
    pair(
        settings,
        "b[i] = 1; b[i] += a[i];",
        "b[i] += a[i];",
        (1, 256),
        code,
        "uninitialised",
    );
    let shared = |writes: &str| {
        format!(
            "__shared__ float s[64]; if ({writes}) s[t] = a[i]; __syncthreads(); b[i] = s[t ^ 1];"
        )
    };
    let named = pair(
        settings,
        &shared("t < 64"),
        &shared("t != 9"),
        (2, 64),
        code,
        "uninitialised",
    );
    assert_eq!(named["thread"][0], 8);
    let local = |from: &str| {
        format!("float l[8]; for (int k = {from}; k < 8; k++) l[k] = a[k + t]; b[i] = l[t & 7];")
    };
    pair(
        settings,
        &local("0"),
        &local("(t & 8) / 8"),
        (1, 64),
        code,
        "uninitialised",
    );
}

#[test]
fn registers_never_written() {
    use cudarc::nvrtc::Ptx;
    let load = |s: &Session, write: &str| {
        let text = format!(
            ".version 8.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{{\n.reg .pred p;\n.reg .b32 a, b;\n\
             mov.u32 b, %tid.x;\nsetp.lt.u32 p, b, 40;\n{write} mov.u32 a, 1;\nadd.u32 b, b, a;\nret;\n}}\n"
        );
        let function = s
            .context
            .load_module(Ptx::from_src(text))
            .unwrap()
            .load_function("k")
            .unwrap();
        let shape = LaunchConfig {
            grid_dim: (2, 1, 1),
            block_dim: (64, 1, 1),
            shared_mem_bytes: 0,
        };
        unsafe {
            s.context
                .default_stream()
                .launch_builder(&function)
                .launch(shape)
        }
        .unwrap();
        s.context.synchronize()
    };
    load(&session("sanitize=init"), "").unwrap();
    let s = session("sanitize=init");
    load(&s, "@p").unwrap_err();
    let named = &report()["findings"][0];
    assert_eq!(
        (named["line"].as_u64(), named["thread"][0].as_u64()),
        (Some(11), Some(40))
    );
    assert_eq!(named["text"], "add.u32 b, b, a;");
}

#[test]
fn races_in_shared_memory() {
    let body = |barrier: &str| {
        format!("__shared__ float s[256]; s[t] = a[i]; {barrier} b[i] = s[255 - t];")
    };
    let code = "CUDA_ERROR_LAUNCH_FAILED";
    let named = pair(
        "sanitize=race_shared",
        &body("__syncthreads();"),
        &body("__syncwarp();"),
        (1, 256),
        code,
        "race_shared",
    );
    assert!(
        named["detail"].as_str().unwrap().contains(".shared.f32"),
        "{named}"
    );
    // A barrier at the end of a loop's body keeps the next round's writes from this one's reads.
    let rounds = |barrier: &str| {
        format!(
            "__shared__ float s[256]; float v = 0; for (int k = 0; k < 3; k++) {{ s[t] = a[i] + k; __syncthreads(); v += s[255 - t]; {barrier} }} b[i] = v;"
        )
    };
    pair(
        "sanitize=race_shared",
        &rounds("__syncthreads();"),
        &rounds(""),
        (1, 256),
        code,
        "race_shared",
    );
    let sum = |add: &str| {
        format!(
            "__shared__ int s; if (t == 0) s = 0; __syncthreads(); {add}; __syncthreads(); b[i] = s;"
        )
    };
    pair(
        "sanitize=race_shared",
        &sum("atomicAdd(&s, 1)"),
        &sum("if (t % 32 == 0) s += 1"),
        (1, 128),
        code,
        "race_shared",
    );
}

#[test]
fn races_between_blocks() {
    let code = "CUDA_ERROR_LAUNCH_FAILED";
    let named = pair(
        "sanitize=race_global",
        "b[i] = a[i];",
        "b[i / 2] = a[i];",
        (4, 63),
        code,
        "race_global",
    );
    assert!(
        named["detail"]
            .as_str()
            .unwrap()
            .contains("wrote it at line"),
        "{named}"
    );
    let reads = |index: &str| {
        format!("b[i] = a[i]; __syncthreads(); float v = b[{index}]; if (v == 77) b[i] = 3;")
    };
    pair(
        "sanitize=race_global",
        &reads("i ^ 1"),
        &reads("(i + 64) % 256"),
        (4, 64),
        code,
        "race_global",
    );
    // The last block sums what all have written: right with a fence, wrong without.
    let last = |fence: &str| {
        format!(
            "__shared__ unsigned ticket; unsigned* count = (unsigned*)b + 200; if (i == 0 && n < 0) *count = 0;\n\
             if (t == 0) {{ b[blockIdx.x] = a[i]; {fence} ticket = atomicAdd(&counter, 1u); }} __syncthreads();\n\
             if (ticket == gridDim.x - 1 && t == 0) {{ __threadfence(); float v = 0; for (int k = 0; k < gridDim.x; k++) v += ((volatile float*)b)[k]; b[100] = v; }}"
        )
    };
    let with_counter = |body: &str| format!("__device__ unsigned counter = 0;\n{}", kernel(body));
    let s = session("sanitize=race_global;warp_order=3");
    run(&s, &with_counter(&last("__threadfence();")), 4, 64)
        .unwrap_or_else(|error| panic!("{error} {}", report()));
    drop(s);
    let s = session("sanitize=race_global;warp_order=3");
    run(&s, &with_counter(&last("")), 4, 64).unwrap_err();
    assert_eq!(report()["findings"][0]["kind"], "race_global");
}

#[test]
fn divergent_barriers_and_deadlocks() {
    let code = "CUDA_ERROR_LAUNCH_FAILED";
    let barrier = "asm volatile(\"bar.sync 0;\" ::: \"memory\");";
    let good = format!("if (t < 64) b[i] = 1; else b[i] = 2; {barrier}");
    let bad = format!(
        "if (t < 64) {{ b[i] = 1; {barrier} b[i] += 1; }} else {{ b[i] = 2; {barrier} b[i] += 3; }}"
    );
    let named = pair(
        "sanitize=barrier",
        &good,
        &bad,
        (1, 128),
        code,
        "divergent_barrier",
    );
    assert!(
        named["detail"].as_str().unwrap().contains("waits at line"),
        "{named}"
    );
    // Found without a sanitizer too: threads wait at barriers of different numbers for ever.
    let bad =
        "if (t < 64) asm volatile(\"bar.sync 1;\"); else asm volatile(\"bar.sync 2;\"); b[i] = 1;";
    let named = pair(
        "",
        "asm volatile(\"bar.sync 1;\"); b[i] = 1;",
        bad,
        (1, 128),
        code,
        "deadlock",
    );
    assert!(
        named["detail"]
            .as_str()
            .unwrap()
            .contains("64 of 128 threads"),
        "{named}"
    );
    let exits =
        |condition: &str| format!("if ({condition}) return; b[i] = 1; {barrier} b[i] += 1;");
    pair(
        "sanitize=barrier_exit",
        &exits("n < 0"),
        &exits("t >= 96"),
        (1, 128),
        code,
        "divergent_barrier",
    );
}

#[test]
fn shuffles_from_lanes_elsewhere() {
    let body = |condition: &str| {
        format!("float v = a[i]; if ({condition}) v = __shfl_xor_sync(~0u, v, 16); b[i] = v;")
    };
    let code = "CUDA_ERROR_LAUNCH_FAILED";
    pair(
        "sanitize=barrier",
        &body("t >= 0"),
        &body("(t & 31) < 16"),
        (1, 64),
        code,
        "divergent_shuffle",
    );
}

#[test]
fn a_trap_is_named_and_a_loop_is_stopped() {
    pair(
        "",
        "b[i] = 1;",
        "if (t == 5) __trap(); b[i] = 1;",
        (1, 64),
        "CUDA_ERROR_LAUNCH_FAILED",
        "trap",
    );
    pair(
        "watchdog=1",
        "b[i] = 1;",
        "while (((volatile float*)a)[t] == 1) ; b[i] = 1;",
        (1, 64),
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        "timeout",
    );
}

#[test]
fn a_missing_barrier_shows_in_some_order_without_a_sanitizer() {
    let bad = kernel("__shared__ float s[256]; s[t] = t; __syncwarp(); b[i] = s[255 - t];");
    let exact: Vec<f32> = (0..256).map(|t| 255.0 - t as f32).collect();
    let wrong = (0..6)
        .filter(|order| {
            run(&session(&format!("warp_order={order}")), &bad, 1, 256).unwrap() != exact
        })
        .count();
    assert!(wrong >= 4, "{wrong} of 6 orders");
}
