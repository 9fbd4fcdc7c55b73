//! Loads, stores, atomics, and what lanes and warps tell one another, in PTX written by hand.

mod common;

use common::lanes::{HEADER, check64};
use common::{Session, report, session};
use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

/// Runs kernel `k(.param .u64 out)` and gives the first `len` words of its output, which begin as zeros.
fn words(s: &Session, before: &str, body: &str, grid: u32, block: u32, len: usize) -> Vec<u32> {
    let text = format!(
        "{HEADER}{before}\n.visible .entry k(.param .u64 out)\n{{\n.reg .pred %p<8>;\n.reg .b16 %h<8>;\n.reg .b32 %r<32>;\n\
         .reg .b64 %d<32>;\nld.param.u64 %d0, [out];\ncvta.to.global.u64 %d0, %d0;\nmov.u32 %r0, %tid.x;\n\
         mul.wide.u32 %d1, %r0, 4;\nadd.s64 %d1, %d0, %d1;\n{body}\nret;\n}}\n"
    );
    let module = s.context.load_module(Ptx::from_src(text));
    let module = module.unwrap_or_else(|error| panic!("{error}: {}", report()["last_error"]));
    let stream = s.context.default_stream();
    let mut out = stream.alloc_zeros::<u32>(len).unwrap();
    let shape = LaunchConfig {
        grid_dim: (grid, 1, 1),
        block_dim: (block, 1, 1),
        shared_mem_bytes: 256,
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
    stream.clone_dtoh(&out).unwrap()
}

#[test]
fn loads_of_every_width() {
    let s = session("");
    let table = ".const .align 8 .b8 t[16] = {1, 255, 3, 4, 5, 6, 7, 200, 9, 10, 11, 12, 13, 14, 15, 16};\n\
                 .global .align 4 .u32 g = 77;\n.global .u64 at = generic(g)+0;\n.global .align 4 .f32 fs[2] = {0f3F800000, 0f40000000};";
    let out = words(
        &s,
        table,
        "mov.u64 %d2, t;\nld.const.u8 %h1, [%d2+1]; cvt.u32.u16 %r1, %h1; st.global.u32 [%d0], %r1;\n\
         ld.const.s8 %r2, [t+1]; st.global.u32 [%d0+4], %r2;\n\
         ld.const.s16 %r3, [t+6]; st.global.u32 [%d0+8], %r3;\n\
         ld.const.s8 %d3, [t+7]; st.global.u64 [%d0+16], %d3;\n\
         ld.const.v2.u32 {%r4, %r5}, [t]; st.global.v2.u32 [%d0+24], {%r5, %r4};\n\
         ld.const.v4.u8 {%r6, %r7, %r8, %r9}, [t+4]; st.global.v4.u32 [%d0+32], {%r6, %r7, %r8, %r9};\n\
         ld.global.u32 %r10, [g]; st.global.u32 [%d0+48], %r10;\n\
         ld.global.u64 %d4, [at]; ld.u32 %r11, [%d4]; st.u32 [%d0+52], %r11;\n\
         ld.global.f32 %r12, [fs+4]; st.global.f32 [%d0+56], %r12;\n\
         ld.const.u32 %d5, [t]; st.global.u16 [%d0+60], %d5;",
        1,
        1,
        16,
    );
    let signed = |value: i32| value as u32;
    assert_eq!(
        out[..4],
        [
            255,
            signed(-1),
            signed(i32::from(i16::from_le_bytes([7, 200]))),
            0
        ]
    );
    assert_eq!(out[4..6], [signed(-56), u32::MAX]);
    assert_eq!(out[6..8], [0xc807_0605, 0x0403_ff01]);
    assert_eq!(out[8..16], [5, 6, 7, 200, 77, 77, 2f32.to_bits(), 0xff01]);
}

#[test]
fn neighbours_strangers_and_one_address() {
    let s = session("");
    let out = words(
        &s,
        ".shared .align 4 .b32 sh[64];",
        "mov.u64 %d2, sh; mul.wide.u32 %d3, %r0, 4; add.s64 %d3, %d2, %d3;\n\
         mul.lo.u32 %r1, %r0, 3; st.shared.u32 [%d3], %r1; bar.sync 0;\n\
         ld.shared.u32 %r2, [%d3]; ld.shared.u32 %r3, [%d2+20];\n\
         mul.lo.u32 %r4, %r0, 7; and.b32 %r4, %r4, 63; mul.wide.u32 %d4, %r4, 4; add.s64 %d4, %d2, %d4; ld.shared.u32 %r5, [%d4];\n\
         add.u32 %r6, %r2, %r3; add.u32 %r6, %r6, %r5; st.global.u32 [%d1], %r6;",
        1,
        64,
        64,
    );
    let exact: Vec<u32> = (0..64).map(|t| t * 3 + 15 + (t * 7 % 64) * 3).collect();
    assert_eq!(out, exact);
}

#[test]
fn local_memory_belongs_to_a_lane() {
    let s = session("");
    let out = words(
        &s,
        "",
        ".local .align 4 .b8 depot[16];\n.reg .b64 SP;\nmov.u64 %d2, depot; cvta.local.u64 SP, %d2;\n\
         st.local.u32 [%d2+4], %r0; add.u32 %r1, %r0, 5; st.u32 [SP+8], %r1;\n\
         ld.local.u32 %r2, [%d2+8]; ld.u32 %r3, [SP+4]; add.u32 %r2, %r2, %r3; st.global.u32 [%d1], %r2;",
        1,
        40,
        40,
    );
    assert_eq!(out, (0..40).map(|t| 2 * t + 5).collect::<Vec<u32>>());
}

#[test]
fn dynamic_shared_memory_follows_the_static() {
    let s = session("");
    let out = words(
        &s,
        ".extern .shared .align 16 .b8 dyn[];\n.shared .align 4 .b8 fixed[12];",
        "mov.u64 %d2, dyn; mov.u64 %d3, fixed; st.shared.u32 [%d3+8], %r0; st.shared.u32 [%d2], 9; st.shared.u32 [%d2+252], 8;\n\
         cvta.shared.u64 %d4, %d2; ld.u32 %r1, [%d4+252]; mov.u32 %r2, %dynamic_smem_size; cvt.u32.u64 %r3, %d2;\n\
         st.global.v4.u32 [%d0], {%r1, %r2, %r3, %r0};",
        1,
        1,
        4,
    );
    assert_eq!(out, [8, 256, 16, 0]);
}

#[test]
fn inner_blocks_have_their_own_registers() {
    let s = session("");
    let out = words(
        &s,
        "",
        "{ .reg .b32 t; mov.u32 t, 5; { .reg .b32 t; mov.u32 t, 7; st.global.u32 [%d0], t; } st.global.u32 [%d0+4], t; }",
        1,
        1,
        2,
    );
    assert_eq!(out, [7, 5]);
}

#[test]
fn atomics_of_all_blocks_add_up() {
    let s = session("");
    let out = words(
        &s,
        "",
        "red.global.add.u32 [%d0], 1; atom.global.max.s32 %r1, [%d0+4], %r0; atom.global.add.f32 %r2, [%d0+8], 0f3F000000;\n\
         atom.global.or.b32 %r3, [%d0+12], 5; atom.global.inc.u32 %r4, [%d0+16], 9; atom.global.exch.b32 %r5, [%d0+20], 3;\n\
         atom.global.cas.b32 %r6, [%d0+24], 0, 4; atom.add.u64 %d5, [%d0+32], 2; red.global.min.s32 [%d0+40], -3;\n\
         atom.global.dec.u32 %r7, [%d0+44], 9;",
        8,
        64,
        12,
    );
    assert_eq!(out[..2], [512, 63]);
    assert_eq!(f32::from_bits(out[2]), 256.0);
    assert_eq!(out[3..7], [5, 512 % 10, 3, 4]);
    assert_eq!((out[8], out[10] as i32, out[11]), (1024, -3, 10 - 512 % 10));
}

#[test]
fn shuffles() {
    let s = session("");
    let store = |instruction: &str| {
        words(
            &s,
            "",
            &format!(
                "{instruction} selp.u32 %r3, 100, 0, %p1; add.u32 %r2, %r2, %r3; st.global.u32 [%d1], %r2;"
            ),
            1,
            32,
            32,
        )
    };
    let exact = |f: &dyn Fn(u32) -> (u32, bool)| {
        (0..32)
            .map(f)
            .map(|(v, p)| v + if p { 100 } else { 0 })
            .collect::<Vec<_>>()
    };
    let found = store("shfl.sync.bfly.b32 %r2|%p1, %r0, 5, 31, -1;");
    assert_eq!(found, exact(&|t| (t ^ 5, true)));
    let found = store("shfl.sync.down.b32 %r2|%p1, %r0, 3, 31, -1;");
    assert_eq!(
        found,
        exact(&|t| if t + 3 < 32 {
            (t + 3, true)
        } else {
            (t, false)
        })
    );
    let found = store("shfl.sync.up.b32 %r2|%p1, %r0, 2, 0, -1;");
    assert_eq!(
        found,
        exact(&|t| if t >= 2 { (t - 2, true) } else { (t, false) })
    );
    let found = store("shfl.sync.idx.b32 %r2|%p1, %r0, 7, 31, -1;");
    assert_eq!(found, exact(&|_| (7, true)));
    // Segments of eight lanes: mask 0x18 above, bound 7 below.
    let found = store("shfl.sync.down.b32 %r2|%p1, %r0, 4, 0x1807, -1;");
    assert_eq!(
        found,
        exact(&|t| if t % 8 < 4 { (t + 4, true) } else { (t, false) })
    );
    let found = store("shfl.sync.idx.b32 %r2|%p1, %r0, 2, 0x181f, -1;");
    assert_eq!(found, exact(&|t| (t / 8 * 8 + 2, true)));
}

#[test]
fn votes_and_reductions_of_a_warp() {
    let s = session("");
    let out = words(
        &s,
        "",
        "setp.lt.u32 %p1, %r0, 5; vote.sync.ballot.b32 %r1, %p1, -1; vote.sync.any.pred %p2, %p1, -1;\n\
         vote.sync.all.pred %p3, %p1, -1; vote.sync.uni.pred %p4, !%p1, 0xf0; selp.u32 %r2, 1, 0, %p2; selp.u32 %r3, 1, 0, %p3;\n\
         redux.sync.add.s32 %r4, %r0, -1; @%p1 activemask.b32 %r5; st.global.v4.u32 [%d0], {%r1, %r2, %r3, %r4};\n\
         @%p1 st.global.u32 [%d0+16], %r5; mov.u32 %r6, %lanemask_lt; st.global.u32 [%d0+20], %r6;",
        1,
        32,
        6,
    );
    assert_eq!(out, [31, 1, 0, 496, 31, 0x7fff_ffff]);
}

#[test]
fn barriers_count_votes() {
    let s = session("warp_order=5");
    let out = words(
        &s,
        "",
        "setp.lt.u32 %p1, %r0, 70; bar.red.popc.u32 %r1, 0, %p1; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1;\n\
         selp.u32 %r2, 1, 0, %p2; selp.u32 %r3, 1, 0, %p3; st.global.v4.u32 [%d0], {%r1, %r2, %r3, %r1};",
        1,
        128,
        4,
    );
    assert_eq!(out, [70, 0, 1, 70]);
}

#[test]
fn lanes_part_and_meet() {
    let s = session("");
    // A loop whose length differs from lane to lane, and two ways of a condition; then all lanes shuffle together.
    let body = "mov.u32 %r1, 0; mov.u32 %r2, 0;\nL1:\nsetp.ge.u32 %p1, %r1, %r0; @%p1 bra L2;\nadd.u32 %r2, %r2, %r1; add.u32 %r1, %r1, 1; bra.uni L1;\n\
                L2:\nand.b32 %r3, %r0, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra L3;\nadd.u32 %r2, %r2, 1000; bra L4;\nL3:\nadd.u32 %r2, %r2, 2000;\n\
                L4:\nshfl.sync.bfly.b32 %r4, %r2, 1, 31, -1; st.global.u32 [%d1], %r4;";
    let exact: Vec<u32> = (0..64u32)
        .map(|t| t ^ 1)
        .map(|t| t * t.saturating_sub(1) / 2 + if t % 2 == 0 { 2000 } else { 1000 })
        .collect();
    assert_eq!(words(&s, "", body, 1, 64, 64), exact);
}

#[test]
fn specials_tell_the_place() {
    let s = session("");
    let out = words(
        &s,
        "",
        "mov.u32 %r1, %ntid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %nctaid.x; mov.u32 %r4, %laneid; mov.u32 %r5, %warpid;\n\
         mad.lo.u32 %r6, %r2, %r1, %r0; mul.wide.u32 %d2, %r6, 16; add.s64 %d2, %d0, %d2; st.global.v4.u32 [%d2], {%r2, %r3, %r4, %r5};",
        3,
        40,
        480,
    );
    for (at, four) in out.chunks_exact(4).enumerate() {
        let (block, thread) = (at as u32 / 40, at as u32 % 40);
        assert_eq!(four, [block, 3, thread % 32, thread / 32]);
    }
}

#[test]
fn asynchronous_copies() {
    let s = session("");
    let out = words(
        &s,
        ".global .align 16 .b32 g[4] = {1, 2, 3, 4};\n.shared .align 16 .b8 sh[32];",
        "mov.u64 %d2, sh; mov.u64 %d3, g; cvt.u32.u64 %r1, %d2;\n\
         cp.async.ca.shared.global [%r1], [%d3], 16; cp.async.ca.shared.global [%r1+16], [%d3+8], 8, 4;\n\
         cp.async.commit_group; cp.async.wait_group 0; ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%d2];\n\
         st.global.v4.u32 [%d0], {%r2, %r3, %r4, %r5}; ld.shared.v2.u32 {%r6, %r7}, [%d2+16]; st.global.v2.u32 [%d0+16], {%r6, %r7};",
        1,
        1,
        6,
    );
    assert_eq!(out, [1, 2, 3, 4, 3, 0]);
}

#[test]
fn addresses_of_parameters() {
    let s = session("");
    check64(
        &s,
        "mov.b64 E, out; ld.param.u64 D, [E]; sub.s64 D, D, i; ld.param.u64 E, [in]; add.s64 D, D, i; ld.param.u64 i, [out]; sub.s64 D, D, i;",
        &[[0; 3]],
        |_, _, _| 0,
    );
}

#[test]
fn lanes_that_come_back_are_waited_for() {
    let s = session("");
    // Lane 0 takes a way that lies behind the instructions that all lanes execute together.
    let body = "setp.eq.u32 %p1, %r0, 0; mov.u32 %r1, %r0; @%p1 bra FAR;\nBACK:\nshfl.sync.idx.b32 %r2, %r1, 0, 31, -1;\n\
                vote.sync.ballot.b32 %r3, %p1, -1; redux.sync.add.s32 %r4, %r1, -1; bar.warp.sync -1;\n\
                add.u32 %r2, %r2, %r3; add.u32 %r2, %r2, %r4; st.global.u32 [%d1], %r2; ret;\n\
                FAR:\nmov.u32 %r1, 1000; bra BACK;";
    assert_eq!(
        words(&s, "", body, 1, 32, 32),
        [1000 + 1 + 1000 + 31 * 16; 32]
    );
}
