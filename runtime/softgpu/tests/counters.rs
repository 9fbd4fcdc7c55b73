//! Counters, on kernels whose counts are known by hand.

mod common;

use common::lanes::HEADER;
use common::{configure, report, session};
use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use serde_json::Value;

/// Runs `body` with `%d1` = the output and `%r0` = the thread, and gives the kernel's counts.
fn counts(body: &str, grid: u32, block: u32) -> Value {
    let s = session("count=1");
    let text = format!(
        "{HEADER}.visible .entry k(.param .u64 out)\n{{\n.reg .pred %p<4>;\n.reg .b32 %r<16>;\n.reg .f32 %f<8>;\n.reg .b64 %d<8>;\n\
         .shared .align 16 .b8 sh[8192];\nld.param.u64 %d1, [out];\nmov.u32 %r0, %tid.x;\nmov.u64 %d2, sh;\n{body}\nret;\n}}\n"
    );
    let module = s
        .context
        .load_module(Ptx::from_src(text))
        .unwrap_or_else(|error| panic!("{error}: {}", report()));
    let stream = s.context.default_stream();
    let mut out = stream.alloc_zeros::<u32>(8192).unwrap();
    let shape = LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: 0,
    };
    unsafe {
        stream
            .launch_builder(&module.load_function("k").unwrap())
            .arg(&mut out)
            .launch(shape)
    }
    .unwrap();
    stream
        .synchronize()
        .unwrap_or_else(|error| panic!("{error}: {}", report()));
    let report = report();
    assert_eq!(report["kernels"]["k"]["counts"], report["total"]["counts"]);
    report["kernels"]["k"]["counts"].clone()
}

fn expect(counts: &Value, wanted: &[(&str, u64)]) {
    for (name, value) in wanted {
        assert_eq!(counts[name].as_u64(), Some(*value), "{name} in {counts}");
    }
}

#[test]
fn instructions_by_kind() {
    // Three blocks of 48 threads: six warps, of which three have 16 lanes.
    let body = "mov.f32 %f1, 0f3F800000;\nfma.rn.f32 %f2, %f1, %f1, %f1;\nfma.rn.f32 %f2, %f2, %f1, %f1;\nadd.f32 %f3, %f2, %f1;\n\
                ex2.approx.f32 %f4, %f3;\nadd.u32 %r1, %r0, 1;\nshl.b32 %r2, %r1, 2;\nbar.sync 0;\nsetp.lt.u32 %p1, %r0, 8;\n\
                @%p1 add.u32 %r1, %r1, 1;\n@%p1 bra DONE;\nmul.f32 %f5, %f1, %f1;\nDONE:";
    let found = counts(body, 3, 48);
    expect(
        &found,
        &[
            ("blocks", 3),
            ("warp_fma", 12),
            ("lane_fma", 2 * 144),
            ("warp_special", 6),
            ("lane_special", 144),
        ],
    );
    // add on all, mul where the branch is not taken.
    expect(
        &found,
        &[
            ("lane_float", 144 + 3 * 40),
            ("warp_float", 12),
            ("lane_barrier", 144),
            ("warp_barrier", 6),
        ],
    );
    // add, shl and setp on all lanes, the guarded add in 8 lanes of each block.
    expect(
        &found,
        &[("lane_integer", 3 * 144 + 24), ("warp_integer", 24)],
    );
    expect(
        &found,
        &[
            ("lane_branch", 2 * 144),
            ("warp_branch", 12),
            ("lane_param", 144),
            ("lane_move", 3 * 144),
        ],
    );
}

#[test]
fn global_traffic() {
    let at = |index: &str| format!("{index}\nmul.wide.u32 %d3, %r1, 4;\nadd.s64 %d3, %d1, %d3;\n");
    // 32 neighbours: four sectors. The same word: one. Stride 8 words: a sector each where four would do.
    let body = format!(
        "{}ld.global.u32 %r2, [%d3];\nst.global.u32 [%d3], %r2;\n{}ld.global.u32 %r2, [%d3];\n{}ld.global.u32 %r2, [%d3];",
        at("mov.u32 %r1, %r0;"),
        at("mov.u32 %r1, 5;"),
        at("mul.lo.u32 %r1, %r0, 8;")
    );
    let found = counts(&body, 1, 32);
    expect(
        &found,
        &[
            ("warp_ld_global", 3),
            ("lane_ld_global", 96),
            ("warp_st_global", 1),
            ("lane_st_global", 32),
        ],
    );
    expect(
        &found,
        &[
            ("global_bytes_read", 3 * 128),
            ("global_bytes_written", 128),
        ],
    );
    expect(
        &found,
        &[
            ("global_sectors", 4 + 4 + 1 + 32),
            ("global_sectors_ideal", 4 + 4 + 1 + 4),
        ],
    );
    let vector = format!(
        "{}ld.global.v4.u32 {{%r2, %r3, %r4, %r5}}, [%d3];",
        at("shl.b32 %r1, %r0, 2;")
    );
    expect(
        &counts(&vector, 1, 32),
        &[
            ("global_bytes_read", 512),
            ("global_sectors", 16),
            ("global_sectors_ideal", 16),
        ],
    );
    let atomics = "red.global.add.u32 [%d1], 1;";
    expect(
        &counts(atomics, 1, 32),
        &[
            ("lane_atomic", 32),
            ("global_bytes_read", 128),
            ("global_bytes_written", 128),
        ],
    );
}

#[test]
fn shared_bank_conflicts() {
    let load = |stride: u32, what: &str| {
        format!("mul.wide.u32 %d3, %r0, {stride};\nadd.s64 %d3, %d2, %d3;\n{what}")
    };
    let word = "ld.shared.u32 %r2, [%d3];";
    let conflicts = |body: &str| counts(body, 1, 32)["bank_conflicts"].as_u64().unwrap();
    assert_eq!(conflicts(&load(4, word)), 0);
    assert_eq!(conflicts(&load(0, word)), 0, "one word goes to all lanes");
    assert_eq!(conflicts(&load(8, word)), 1);
    assert_eq!(conflicts(&load(128, word)), 31);
    assert_eq!(conflicts(&load(132, word)), 0, "a row of 33 words");
    assert_eq!(
        conflicts(&load(1, "ld.shared.u8 %r2, [%d3];")),
        0,
        "four lanes share a word"
    );
    assert_eq!(
        conflicts(&load(16, "ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%d3];")),
        0
    );
    // Quarter warps of stride 32 bytes: eight lanes need 4 banks of every 8, twice.
    assert_eq!(
        conflicts(&load(32, "ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%d3];")),
        4
    );
    assert_eq!(
        conflicts(&load(8, "st.shared.v2.u32 [%d3], {%r2, %r3};")),
        0
    );
    let found = counts(
        &load(4, "st.shared.u32 [%d3], %r0;\nld.shared.u32 %r2, [%d3];"),
        2,
        64,
    );
    expect(
        &found,
        &[
            ("shared_accesses", 8),
            ("warp_ld_shared", 4),
            ("warp_st_shared", 4),
            ("lane_st_shared", 128),
        ],
    );
}

#[test]
fn local_accesses() {
    let body = ".local .align 4 .b8 depot[8];\nmov.u64 %d3, depot;\nst.local.u32 [%d3], %r0;\nld.local.u32 %r1, [%d3];";
    expect(
        &counts(body, 1, 32),
        &[("warp_local", 2), ("lane_local", 64), ("global_sectors", 0)],
    );
}

#[test]
fn launches_and_copies_are_always_counted() {
    let s = session("");
    let text = format!("{HEADER}.visible .entry empty()\n{{\nret;\n}}\n");
    let function = s
        .context
        .load_module(Ptx::from_src(text))
        .unwrap()
        .load_function("empty")
        .unwrap();
    let stream = s.context.new_stream().unwrap();
    let shape = LaunchConfig::for_num_elems(1);
    unsafe { stream.launch_builder(&function).launch(shape) }.unwrap();
    stream
        .begin_capture(CU_STREAM_CAPTURE_MODE_RELAXED)
        .unwrap();
    unsafe { stream.launch_builder(&function).launch(shape) }.unwrap();
    let graph = stream
        .end_capture(CUgraphInstantiate_flags(0))
        .unwrap()
        .unwrap();
    graph.launch().unwrap();
    graph.launch().unwrap();
    let a = stream.clone_htod(&[1u8; 100]).unwrap();
    let mut b = stream.alloc_zeros::<u8>(100).unwrap();
    stream.memcpy_dtod(&a, &mut b).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), [1; 100]);
    stream.synchronize().unwrap();
    let total = &report()["total"];
    assert_eq!(
        (&total["launches"], &total["graph_launches"]),
        (&Value::from(3), &Value::from(2))
    );
    for name in [
        "host_to_device",
        "device_to_host",
        "device_to_device",
        "memset",
    ] {
        assert_eq!(
            total["copies"][name],
            serde_json::json!({"count": 1, "bytes": 100}),
            "{name}"
        );
    }
    assert_eq!(total["counts"]["lane_branch"], 0, "counting is off");
    configure("count=1").unwrap();
    unsafe { stream.launch_builder(&function).launch(shape) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(report()["total"]["counts"]["lane_branch"], 1024);
}
