//! Lanes of one warp that touch the same bytes, and memory that a launch both reads as read-only and writes: kernels that
//! are right stay unreported, and the same ones with a fault are named.

mod common;

use common::{Session, compile_for, report, session};
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use serde_json::Value;

const N: usize = 128;

/// Runs a kernel `k(a, b, c)` of three arrays of 128 floats; `c` is the same array as `b`. What was found.
fn run(s: &Session, ptx: Ptx, grid: u32, block: u32) -> Vec<Value> {
    let module = s.context.load_module(ptx);
    let module = module.unwrap_or_else(|error| panic!("{error}: {}", report()));
    let stream = s.context.new_stream().unwrap();
    let a = stream.clone_htod(&vec![1.0f32; N]).unwrap();
    let mut b: CudaSlice<f32> = stream.clone_htod(&vec![2.0f32; N]).unwrap();
    use cudarc::driver::DevicePtr;
    let same = b.device_ptr(&stream).0;
    let shape = LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: 0,
    };
    let function = module.load_function("k").unwrap();
    let launched = unsafe {
        let mut launch = stream.launch_builder(&function);
        launch.arg(&a).arg(&mut b).arg(&same).launch(shape)
    };
    launched.unwrap();
    let result = stream.synchronize();
    let findings = report()["findings"].as_array().unwrap().clone();
    assert_eq!(result.is_err(), !findings.is_empty(), "{result:?}");
    findings
}

/// A kernel from its body; `t` is the thread, `s` shared memory.
fn kernel(body: &str) -> String {
    format!(
        "extern \"C\" __global__ void k(const float* __restrict__ a, float* b, float* c) {{\n\
         __shared__ float s[64]; int t = threadIdx.x; int i = blockIdx.x * blockDim.x + t;\n{body}\n}}"
    )
}

/// The findings of a body in one block of a warp, under these settings.
fn found(settings: &str, body: &str, block: u32) -> Vec<Value> {
    let s = session(settings);
    run(&s, compile_for(&kernel(body), "compute_60", &[]), 1, block)
}

/// Clean where it is right, in several orders and under all sanitizers; named with this kind where it is not.
fn pair(sanitizer: &str, good: &str, bad: &str, kind: &str) -> Value {
    for order in [0, 1, 5] {
        for sanitize in [sanitizer, "all"] {
            let settings = format!("compute=7.0;sanitize={sanitize};warp_order={order}");
            assert_eq!(found(&settings, good, 32), [] as [Value; 0], "{good}");
        }
    }
    let settings = format!("compute=7.0;sanitize={sanitizer}");
    let named = found(&settings, bad, 32);
    assert_eq!(named.len(), 1, "{bad}");
    assert_eq!(named[0]["kind"], kind, "{bad}: {}", named[0]);
    named[0].clone()
}

const SYNC: &str = "__syncwarp();";

/// Shared or global memory under the same faults: `M` is an array of 32, which is `s` or `b`.
fn in_both(good: &str, bad: &str) -> [Value; 2] {
    [("race_shared", "s"), ("race_global", "b")].map(|(kind, name)| {
        let text = |body: &str| {
            assert!(body.contains('M'));
            body.replace('M', name)
        };
        let named = pair(kind, &text(good), &text(bad), kind);
        let detail = named["detail"].as_str().unwrap();
        assert!(
            detail.contains("in one warp") && detail.contains("at line"),
            "{detail}"
        );
        named
    })
}

#[test]
fn a_read_of_what_another_lane_wrote() {
    let body = |sync: &str| format!("M[t] = a[t]; {sync} float v = M[31 - t]; c[64 + t] = v;");
    for named in in_both(&body(SYNC), &body("")) {
        assert!(
            named["detail"].as_str().unwrap().contains("wrote it"),
            "{named}"
        );
        assert!(
            named["text"].as_str().unwrap().starts_with("ld."),
            "{named}"
        );
        let (thread, detail) = (
            named["thread"][0].as_u64().unwrap(),
            named["detail"].to_string(),
        );
        // The two lanes differ: 31 - t is another one for all.
        assert!(detail.contains(&(31 - thread).to_string()), "{named}");
    }
    // A barrier of the block orders lanes as well.
    in_both(&body("__syncthreads();"), &body(""));
}

#[test]
fn a_write_of_what_another_lane_read() {
    let body = |sync: &str| {
        format!("M[t] = a[t]; __syncwarp(); float v = M[31 - t]; {sync} M[t] = v + 1;")
    };
    for named in in_both(&body(SYNC), &body("")) {
        assert!(
            named["detail"].as_str().unwrap().contains("read it"),
            "{named}"
        );
    }
    // All lanes read one element at once; its owner writes it again too early.
    let broadcast = |sync: &str| {
        format!(
            "if (t == 7) M[7] = a[7]; __syncwarp(); float v = M[7]; {sync} if (t == 7) M[7] = v + 1; c[64 + t] = v;"
        )
    };
    in_both(&broadcast(SYNC), &broadcast(""));
}

#[test]
fn two_lanes_write_one_element() {
    let then_read = "__syncwarp(); c[64 + t] = M[t];";
    let one = |index: &str| format!("M[t] = 1; __syncwarp(); M[{index}] = a[t]; {then_read}");
    in_both(&one("t"), &one("t / 2"));
    let twice = |sync: &str| format!("M[t] = a[t]; {sync} M[31 - t] = 3; {then_read}");
    in_both(&twice(SYNC), &twice(""));
}

#[test]
fn a_tree_needs_a_meeting_between_its_steps() {
    let tree = |sync: &str| {
        format!(
            "M[t] = a[t]; {sync}\n\
             for (int h = 16; h > 0; h /= 2) {{ float v = t < h ? M[t + h] : 0; {sync} if (t < h) M[t] += v; {sync} }}\n\
             if (t == 0) c[64] = M[0];"
        )
    };
    in_both(&tree(SYNC), &tree(""));
}

#[test]
fn only_lanes_that_meet_are_ordered() {
    // Halves of the warp that keep to themselves.
    let halves = |mask: &str, other: &str| {
        format!("M[t] = a[t]; __syncwarp({mask}); float v = M[t ^ {other}]; c[64 + t] = v;")
    };
    let own = "t < 16 ? 0xffffu : 0xffff0000u";
    in_both(&halves(own, "8"), &halves(own, "16"));
    // A meeting reaches further by a lane that was at both.
    let chain = |second: &str| {
        format!(
            "if (t == 0) M[0] = a[0];\n\
             if (t < 2) __syncwarp(3u);\n\
             if (t == {second} || t == 2) __syncwarp(1u << {second} | 4u);\n\
             if (t == 2) c[64] = M[0];"
        )
    };
    in_both(&chain("1"), &chain("3"));
}

#[test]
fn shuffles_and_votes_order_no_memory() {
    let body = |sync: &str| {
        format!(
            "M[t] = a[t]; {sync} int w = __shfl_xor_sync(~0u, t, 1) + __any_sync(~0u, t > 3); float v = M[31 - t]; c[64 + t] = v + w;"
        )
    };
    in_both(&body(SYNC), &body(""));
}

#[test]
fn atomics_do_not_race_with_atomics() {
    let sum = |add: &str| {
        format!(
            "if (t == 0) M[0] = 0; __syncwarp(); {add}; __syncwarp(); if (t == 0) c[64] = M[0];"
        )
    };
    in_both(
        &sum("atomicAdd(&M[0], a[t])"),
        &sum("if (t < 2) M[0] += a[t]"),
    );
    let read = |sync: &str| {
        format!(
            "if (t == 0) M[0] = 0; __syncwarp(); atomicAdd(&M[0], a[t]); {sync} float v = M[0]; c[64 + t] = v;"
        )
    };
    in_both(&read(SYNC), &read(""));
    // A reader that took part itself is still too early for the others.
    let last = |sync: &str| {
        format!(
            "if (t == 0) M[0] = 0; __syncwarp(); atomicAdd(&M[0], a[t]); {sync} if (t == 31) c[64] = M[0];"
        )
    };
    in_both(&last(SYNC), &last(""));
    // A plain write before a barrier is no party any more.
    let s = "if (t == 0) b[0] = 0; __syncthreads(); atomicAdd(&b[0], a[t]);";
    assert_eq!(found("sanitize=all", s, 64), [] as [Value; 0]);
}

#[test]
fn before_volta_a_warp_goes_in_lockstep() {
    let bad = "s[t] = a[t]; float v = s[31 - t]; b[t] = v;";
    let named = found("compute=7.0;sanitize=race_shared", bad, 32);
    assert_eq!(named[0]["kind"], "race_shared");
    for settings in ["compute=6.1;sanitize=all", "card=p100;sanitize=race_shared"] {
        assert_eq!(found(settings, bad, 32), [] as [Value; 0], "{settings}");
    }
    // Between warps it always was a race.
    let named = found(
        "compute=6.1;sanitize=race_shared",
        &bad.replace("31", "63"),
        64,
    );
    assert_eq!(named[0]["kind"], "race_shared");
}

#[test]
fn memory_that_is_read_only_is_not_written() {
    // `__ldg` is ld.global.nc. Each thread reads and writes its own element: no race, and yet wrong.
    let own = "float v = __ldg(&c[t]); b[t + 64] = v;";
    let read_first = "float v = __ldg(&c[t]); b[t] = v + 1;";
    let named = pair("read_only", own, read_first, "read_only");
    let detail = named["detail"].as_str().unwrap();
    assert!(
        detail.contains("reads as read-only") && detail.contains("ld.global.nc"),
        "{named}"
    );
    let write_first = "b[t] = 5; __syncthreads(); float v = __ldg(&c[t ^ 1]); b[t + 64] = v;";
    let plain = write_first.replace("__ldg(&c[t ^ 1])", "*(volatile float*)&c[t ^ 1]");
    let named = pair("read_only", &plain, write_first, "read_only");
    assert!(
        named["detail"].as_str().unwrap().contains("writes it"),
        "{named}"
    );
    assert!(named["text"].as_str().unwrap().contains(".nc"), "{named}");
    let atomic = "atomicAdd(&b[t], 1.0f); float v = __ldg(&c[t]); b[t + 64] = v;";
    pair("read_only", own, atomic, "read_only");
    // Another sanitizer sees none of it, and other blocks count too.
    assert_eq!(
        found("sanitize=race_global", read_first, 32),
        [] as [Value; 0]
    );
    let blocks = "if (blockIdx.x == 0) b[t] = __ldg(&c[64 + t]); else b[64 + t] = 1;";
    for order in [0, 1] {
        let s = session(&format!("sanitize=read_only;warp_order={order}"));
        let named = run(&s, compile_for(&kernel(blocks), "compute_80", &[]), 2, 32);
        assert_eq!(named[0]["kind"], "read_only");
    }
    // The next launch may write what this one read.
    let s = session("sanitize=all");
    for body in ["b[t] = __ldg(&c[64 + t]);", "b[64 + t] = 1;"] {
        let found = run(&s, compile_for(&kernel(body), "compute_80", &[]), 1, 32);
        assert_eq!(found, [] as [Value; 0]);
    }
}
