//! The model of time, on kernels whose time is known by hand, and its parts alone.

mod common;

use common::lanes::HEADER;
use common::{report, session};
use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use lenetc_softgpu::card::Card;
use lenetc_softgpu::ptx::ast::{Instruction, Operand};
use lenetc_softgpu::time::cache::{L1, L2, MemoryTraffic};
use lenetc_softgpu::time::cost::Cost;
use lenetc_softgpu::time::launch::{Place, time};
use lenetc_softgpu::time::plan::PIPES;
use lenetc_softgpu::time::rates::{CardRates, Rates};
use lenetc_softgpu::time::ready::BlockTime;
use serde_json::Value;

const WORDS: usize = 1 << 20;

/// Launches a kernel with this body once for each grid, all with the same memory, and gives the report of each. `%d1` is
/// the memory, `%r0` the thread, `%r1` the thread in the grid, `%d2` its place in the memory, `%d4` shared memory.
fn launched(settings: &str, body: &str, grids: &[u32], block: u32) -> Vec<Value> {
    let s = session(&format!("count=1;{settings}"));
    // What all cards take.
    let header = HEADER.replace("sm_80", "sm_60");
    let text = format!(
        "{header}.visible .entry k(.param .u64 out)\n{{\n.reg .pred %p<4>;\n.reg .b32 %r<16>;\n.reg .f32 %f<16>;\n\
         .reg .b64 %d<8>;\n.shared .align 16 .b8 sh[8192];\nld.param.u64 %d1, [out];\nmov.u32 %r0, %tid.x;\n\
         mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmad.lo.u32 %r1, %r2, %r3, %r0;\nmul.wide.u32 %d2, %r1, 4;\n\
         add.s64 %d2, %d1, %d2;\nmov.u64 %d4, sh;\n{body}\nret;\n}}\n"
    );
    let module = s.context.load_module(Ptx::from_src(text));
    let module = module.unwrap_or_else(|error| panic!("{error}: {}", report()));
    let function = module.load_function("k").unwrap();
    let stream = s.context.new_stream().unwrap();
    let mut out = stream.alloc_zeros::<f32>(WORDS).unwrap();
    let mut reports = Vec::new();
    for &grid in grids {
        let shape = LaunchConfig {
            grid_dim: (grid, 1, 1),
            block_dim: (block, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the body stays inside the memory.
        unsafe { stream.launch_builder(&function).arg(&mut out).launch(shape) }.unwrap();
        stream
            .synchronize()
            .unwrap_or_else(|error| panic!("{error}: {}", report()));
        reports.push(report()["kernels"]["k"].clone());
    }
    reports
}

fn cycles(report: &Value, bound: &str, mhz: f64) -> f64 {
    report["bounds_us"][bound].as_f64().unwrap() * mhz
}

fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap()
}

#[test]
fn a_chain_takes_the_latency_of_each_step() {
    let chain = |steps: usize| {
        let step = "fma.rn.f32 %f1, %f1, %f1, %f1;\n";
        let body = format!(
            "mov.f32 %f1, 0f3F800000;\n{}st.global.f32 [%d2], %f1;",
            step.repeat(steps)
        );
        cycles(
            &launched("card=h100", &body, &[1], 32)[0],
            "latency",
            1980.0,
        )
    };
    assert!((chain(300) - chain(100) - 200.0 * 4.0).abs() < 0.5);
    // Independent ones wait for an issue only.
    let apart = |count: usize| {
        let body: String = (0..count)
            .map(|k| format!("fma.rn.f32 %f{}, %f9, %f9, %f9;\n", k % 8))
            .collect();
        cycles(
            &launched(
                "card=h100",
                &format!("mov.f32 %f9, 0f3F800000;\n{body}"),
                &[1],
                32,
            )[0],
            "latency",
            1980.0,
        )
    };
    assert!((apart(300) - apart(100) - 200.0).abs() < 0.5);
    // 64 lanes of a multiprocessor are 16 of a scheduler: two cycles for a warp.
    let half = |count: usize| {
        let body = "fma.rn.f32 %f1, %f9, %f9, %f9;\n".repeat(count);
        cycles(
            &launched(
                "card=a100",
                &format!("mov.f32 %f9, 0f3F800000;\n{body}"),
                &[1],
                32,
            )[0],
            "latency",
            1410.0,
        )
    };
    assert!((half(300) - half(100) - 400.0).abs() < 0.5);
}

#[test]
fn barriers_wait_for_the_slowest_warp() {
    let half = |body: &str| {
        format!("setp.ge.u32 %p1, %r0, 32;\n@%p1 bra JOIN;\n{body}JOIN:\nbar.sync 0;\n")
    };
    let chain = "fma.rn.f32 %f1, %f1, %f1, %f1;\n".repeat(100);
    let body = |all: String| format!("mov.f32 %f1, 0f3F800000;\n{all}st.global.f32 [%d2], %f1;");
    let span = |text: String| {
        cycles(
            &launched("card=h100", &text, &[1], 64)[0],
            "latency",
            1980.0,
        )
    };
    let without = span(body(half("")));
    let with = span(body(half(&chain)));
    assert!((with - without - 400.0).abs() < 8.0, "{with} {without}");
    let barrier = "bar.sync 0;\n";
    let more = span(body(barrier.repeat(10))) - span(body(barrier.to_string()));
    assert!((more - 9.0 * 20.0).abs() < 60.0, "{more}");
}

#[test]
fn neighbouring_loads_of_shared_memory_become_one() {
    let load = |from: &str| {
        let body = format!("mul.wide.u32 %d5, %r0, 16;\nadd.s64 %d5, %d4, %d5;\n{from}");
        launched("", &body, &[1], 32).remove(0)
    };
    let four = |kind: &str, first: u32, between: &str| -> String {
        (0..4)
            .map(|k| format!("{kind} %f{k}, [%d5+{}];\n{between}", first + 4 * k))
            .collect()
    };
    let shared = |report: &Value| {
        ["shared_accesses", "shared_wavefronts", "bank_conflicts"].map(|name| count(report, name))
    };
    assert_eq!(
        shared(&load(&four("ld.shared.f32", 0, ""))),
        [1, 4, 0],
        "one of sixteen bytes"
    );
    assert_eq!(
        shared(&load(&four("ld.shared.f32", 4, ""))),
        [3, 12, 8],
        "4, then 8 and 12, then 16"
    );
    assert_eq!(
        shared(&load(&four("ld.volatile.shared.f32", 0, "")))[0],
        4,
        "volatile"
    );
    let store = "st.shared.f32 [%d5+4096], %f0;\n";
    assert_eq!(
        shared(&load(&four("ld.shared.f32", 0, store)))[0],
        8,
        "a store may change what is loaded next"
    );
    let moved = "add.s64 %d5, %d5, 0;\n";
    assert_eq!(
        shared(&load(&four("ld.shared.f32", 0, moved)))[0],
        4,
        "the address changes"
    );
    // They also are one issue, and later ones are ready with the first.
    let issues = |report: &Value| count(report, "issues");
    let one = load(&four("ld.shared.f32", 0, ""));
    let apart = load(&four("ld.volatile.shared.f32", 0, ""));
    assert_eq!(issues(&apart) - issues(&one), 3);
}

#[test]
fn wide_accesses_take_the_wavefronts_of_their_groups() {
    let wavefronts = |stride: u32, what: &str| {
        let body = format!("mul.wide.u32 %d5, %r0, {stride};\nadd.s64 %d5, %d4, %d5;\n{what}");
        count(&launched("", &body, &[1], 32)[0], "shared_wavefronts")
    };
    let two = "ld.shared.v2.f32 {%f0, %f1}, [%d5];";
    let four = "ld.shared.v4.f32 {%f0, %f1, %f2, %f3}, [%d5];";
    assert_eq!(wavefronts(8, two), 2);
    assert_eq!(wavefronts(0, two), 1, "both halves read the same");
    assert_eq!(wavefronts(16, four), 4);
    assert_eq!(wavefronts(0, four), 2);
    assert_eq!(wavefronts(32, four), 8);
}

#[test]
fn sequences_count_what_they_take() {
    let issues = |line: &str| {
        let body = format!(
            "mov.f32 %f1, 0f3F800000;\nmov.u32 %r4, 77;\n{}",
            line.repeat(10)
        );
        count(&launched("", &body, &[1], 32)[0], "issues")
    };
    let none = issues("");
    let of = |line: &str| (issues(line) - none) as f64 / 10.0;
    assert_eq!(of("fma.rn.f32 %f2, %f1, %f1, %f1;\n"), 1.0);
    assert_eq!(of("ex2.approx.ftz.f32 %f2, %f1;\n"), 1.0);
    assert_eq!(of("mov.f32 %f2, %f1;\n"), 0.0);
    assert!((8.0..16.0).contains(&of("div.rn.f32 %f2, %f1, %f1;\n")));
    assert!((5.0..12.0).contains(&of("rcp.rn.f32 %f2, %f1;\n")));
    assert!((7.0..14.0).contains(&of("sqrt.rn.f32 %f2, %f1;\n")));
    assert!((12.0..30.0).contains(&of("div.u32 %r5, %r0, %r4;\n")));
    assert!(of("rem.u32 %r5, %r0, %r4;\n") > of("div.u32 %r5, %r0, %r4;\n"));
    assert!(
        (2.0..6.0).contains(&of("div.u32 %r5, %r0, 77;\n")),
        "a constant is multiplied by"
    );
    assert!(of("div.u64 %d5, %d1, %d2;\n") > 50.0);
    // The special pipe has 16 lanes: two cycles a warp.
    let special = |lines: usize| {
        let body = "ex2.approx.ftz.f32 %f2, %f1;\n".repeat(lines);
        cycles(
            &launched(
                "card=h100",
                &format!("mov.f32 %f1, 0f3F800000;\n{body}"),
                &[1],
                1024,
            )[0],
            "special",
            1980.0,
        )
    };
    assert!((special(20) - special(10) - 10.0 * 32.0 * 2.0).abs() < 0.5);
}

#[test]
fn what_fits_the_l2_comes_from_memory_once() {
    let read = "ld.global.f32 %f1, [%d2];\nadd.f32 %f1, %f1, %f1;\nst.global.f32 [%d2], %f1;";
    let bytes = |reports: &[Value]| -> Vec<u64> {
        reports
            .iter()
            .map(|r| count(r, "memory_bytes_read"))
            .collect()
    };
    // 1 MiB in 1.5 MiB: the second launch finds all of it.
    let fitting = launched("card=gtx1660", read, &[256, 256], 1024);
    assert_eq!(bytes(&fitting), [1 << 20, 1 << 20]);
    assert_eq!(count(&fitting[1], "l2_sectors"), 2 * 2 * 32768);
    // 4 MiB do not fit: each launch reads all anew, and what was written has left.
    let larger = launched("card=gtx1660", read, &[1024, 1024], 1024);
    assert_eq!(bytes(&larger), [4 << 20, 8 << 20]);
    let written = count(&larger[1], "memory_bytes_written");
    assert!((4 << 20..8 << 20).contains(&written), "{written}");
}

#[test]
fn more_work_takes_no_less_time() {
    let body =
        "ld.global.f32 %f1, [%d2];\nfma.rn.f32 %f1, %f1, %f1, %f1;\nst.global.f32 [%d2], %f1;";
    for card in [
        "h100", "a100", "a6000", "rtx4090", "rtx5090", "l4", "t4", "gtx1660", "v100", "p100",
    ] {
        let mut before = 0.0;
        for grid in [1, 7, 40, 300, 1024] {
            let us = launched(&format!("card={card}"), body, &[grid], 1024)[0]["us"]
                .as_f64()
                .unwrap();
            assert!(
                us >= before && us > 1.5,
                "{card}, {grid} blocks: {us} after {before}"
            );
            before = us;
        }
    }
}

#[test]
fn a_launch_has_waves() {
    let card = CardRates::of(&Card::named("h100").unwrap());
    let block = BlockTime {
        span: 1980.0,
        work: [10.0; PIPES],
    };
    let of = |blocks: usize, resident: u32| {
        let place = Place {
            multiprocessors: 4,
            resident,
        };
        time(
            &vec![block; blocks],
            place,
            0,
            MemoryTraffic::default(),
            0.0,
            &card,
        )
    };
    // A span is a microsecond.
    for (blocks, resident, waves) in [
        (1, 1, 1.0),
        (4, 1, 1.0),
        (5, 1, 2.0),
        (8, 2, 1.0),
        (9, 2, 2.0),
    ] {
        let t = of(blocks, resident);
        assert!(
            (t.seconds - card.launch - waves * 1e-6).abs() < 1e-12,
            "{blocks} {resident}"
        );
        assert_eq!(t.bound(), "latency");
    }
    // A multiprocessor is not done before its pipes.
    let busy = BlockTime {
        span: 1980.0,
        work: [1980.0; PIPES],
    };
    let place = Place {
        multiprocessors: 4,
        resident: 8,
    };
    let t = time(&[busy; 32], place, 0, MemoryTraffic::default(), 0.0, &card);
    assert!((t.seconds - card.launch - 8e-6).abs() < 1e-12);
    // Traffic of all together.
    let memory = MemoryTraffic {
        read: 1 << 30,
        written: 1 << 30,
    };
    let t = time(&[block], place, 1 << 31, memory, 0.0, &card);
    assert_eq!(t.bound(), "memory");
    assert!((t.seconds - card.launch - (1u64 << 31) as f64 / card.memory).abs() < 1e-12);
}

#[test]
fn an_l1_keeps_what_was_touched_last() {
    let mut l1 = L1::new(4 * 128);
    assert!(
        !l1.load(0) && l1.load(0) && !l1.load(1),
        "a line's sectors come one by one"
    );
    for line in 1..=4 {
        assert!(!l1.load(4 * line));
    }
    assert!(l1.load(0), "the last four lines beside it");
    for line in 5..=10 {
        l1.load(4 * line);
    }
    assert!(!l1.load(0));
    l1.clear();
    assert!(!l1.load(40));
}

#[test]
fn an_l2_writes_what_is_dirty_when_it_leaves() {
    let mut l2 = L2::new(1024);
    l2.start_wave();
    assert!(!l2.touch(0, true) && l2.touch(0, false));
    assert_eq!(
        l2.end_launch(),
        MemoryTraffic {
            read: 0,
            written: 0
        }
    );
    for sector in 1..=40 {
        l2.start_wave();
        l2.touch(sector, false);
    }
    l2.start_wave();
    assert_eq!(
        l2.end_launch(),
        MemoryTraffic {
            read: 40 * 32,
            written: 32
        }
    );
    assert!(!l2.touch(0, false) && l2.touch(40, false));
    // A wave that writes twice what there is room for.
    let mut l2 = L2::new(1024);
    l2.start_wave();
    for sector in 0..64 {
        l2.touch(sector, true);
    }
    assert_eq!(l2.end_launch().written, 32 * 32);
}

#[test]
fn costs_are_of_the_instruction_as_written() {
    let cost = |opcode: &str, operands: Vec<Operand>| {
        Cost::of(&Instruction {
            line: 1,
            guard: None,
            opcode: opcode.into(),
            operands,
        })
    };
    let plain = |opcode: &str| cost(opcode, vec![]);
    assert_eq!(plain("ld.param.u64").issues(), 0);
    assert_eq!(plain("cvta.to.global.u64").issues(), 0);
    assert_eq!(plain("cvt.u64.u32").issues(), 0);
    assert_eq!(
        (plain("cvt.rn.f32.s32").special, plain("cvt.s64.s32").alu),
        (1, 1)
    );
    assert_eq!((plain("add.s32").alu, plain("add.s64").alu), (1, 2));
    assert_eq!(
        (
            plain("mul.lo.s32").fma,
            plain("mul.hi.u32").fma,
            plain("mul.lo.s64").fma
        ),
        (1, 2, 4)
    );
    assert_eq!(plain("mul.wide.u32").fma, 1);
    assert_eq!(plain("fma.rn.f64").double, 1);
    let by = |divisor: i128| {
        cost(
            "div.u32",
            vec![
                Operand::Word("%r1".into()),
                Operand::Word("%r2".into()),
                Operand::Integer(divisor),
            ],
        )
    };
    assert!(by(8).issues() < by(7).issues() && by(7).issues() < plain("div.u32").issues());
}

#[test]
fn rates_are_of_the_nearest_capability_below() {
    assert_eq!(Rates::of((8, 6)).fma_lanes, 128.0);
    assert_eq!(Rates::of((8, 7)), Rates::of((8, 6)));
    assert_eq!(Rates::of((10, 3)), Rates::of((9, 0)));
    assert_eq!(Rates::of((5, 2)), Rates::of((6, 0)));
    assert_eq!(
        Rates::of((9, 0)).l1_of_block(33 << 10, 2),
        ((256 - 66) / 2) << 10
    );
    assert_eq!(
        Rates::of((6, 0)).l1_of_block(32 << 10, 2),
        12 << 10,
        "shared memory is apart"
    );
    let h100 = CardRates::of(&Card::named("h100").unwrap());
    // 67 TFLOP/s and 3.35 TB/s, as published.
    assert!((h100.clock * 132.0 * 256.0 / 66.9e12 - 1.0).abs() < 0.01);
    assert!((h100.memory / 0.92 / 3.35e12 - 1.0).abs() < 0.01);
}

#[test]
fn a_loop_of_few_rounds_is_written_out() {
    let rounds = |limit: &str| {
        format!(
            "mov.u32 %r4, 0;\nmov.u32 %r7, 4;\nmov.f32 %f1, 0f3F800000;\n$L_ROUND:\nmul.wide.u32 %d5, %r4, 4;\n\
             add.s64 %d5, %d4, %d5;\nld.volatile.shared.f32 %f2, [%d5];\nfma.rn.f32 %f1, %f2, %f2, %f1;\n\
             add.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, {limit};\n@%p1 bra $L_ROUND;\nst.global.f32 [%d2], %f1;"
        )
    };
    let of = |limit: &str| launched("card=h100", &rounds(limit), &[1], 32).remove(0);
    // A load and a multiply-add are left of each round, and all loads go at once.
    let (two, four) = (of("2"), of("4"));
    assert_eq!(count(&four, "issues") - count(&two, "issues"), 2 * 2);
    let span = |report: &Value| cycles(report, "latency", 1980.0);
    assert!(
        (span(&four) - span(&two) - 2.0 * 4.0).abs() < 4.5,
        "{} {}",
        span(&four),
        span(&two)
    );
    // A limit that is not known leaves the loop as it is: seven instructions, two of them for 64 bits.
    let unknown = of("%r7");
    assert_eq!(count(&unknown, "issues") - count(&four, "issues"), 4 * 6);
}
