//! The report as JSON:
//!
//! ```json
//! {"last_error": "...",
//!  "findings": [{"code": 700, "kind": "out_of_bounds", "kernel": "k", "line": 12, "text": "ld.global.f32 ...",
//!                "block": [0,0,0], "thread": [1,0,0], "address": 123, "detail": "..."}],
//!  "total": {"launches": 1, "graph_launches": 0, "modules_cubin": 0, "modules_ptx": 1, "copies": {"host_to_device": {"count": 1, "bytes": 4}}, "counts": {}},
//!  "kernels": {"k": {"launches": 1, "counts": {"blocks": 1, "warp_fma": 3}, "resident": 2, "us": 3.1, "bound": "L2", "bounds_us": {"L2": 1.6}}}}
//! ```
//!
//! Kinds of findings: `out_of_bounds`, `misaligned`, `uninitialised`, `race_shared`, `race_global`, `read_only`, `divergent_barrier`,
//! `deadlock`, `wrong_barrier`, `divergent_shuffle`, `stream`, `trap`, `timeout`, `injected`.

use crate::count::{COPY_NAMES, Counters, Counts};
use crate::exec::fault::Fault;
use crate::time::launch::{BOUNDS, Time};
use std::fmt::Write;

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other if (other as u32) < 0x20 => _ = write!(out, "\\u{:04x}", other as u32),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn finding(fault: &Fault) -> String {
    let Fault {
        code,
        line,
        address,
        block: [bx, by, bz],
        thread: [tx, ty, tz],
        ..
    } = fault;
    format!(
        "{{\"code\":{code},\"kind\":{},\"kernel\":{},\"line\":{line},\"text\":{},\"block\":[{bx},{by},{bz}],\
         \"thread\":[{tx},{ty},{tz}],\"address\":{address},\"detail\":{}}}",
        quote(fault.kind),
        quote(&fault.kernel),
        quote(&fault.text),
        quote(&fault.detail)
    )
}

fn object(members: impl Iterator<Item = (String, String)>) -> String {
    let members: Vec<String> = members
        .map(|(name, value)| format!("{}:{value}", quote(&name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn counts(counts: &Counts) -> String {
    object(
        counts
            .list()
            .into_iter()
            .map(|(name, value)| (name, value.to_string())),
    )
}

/// Microseconds: all, and each bound alone.
fn time(time: &Time) -> String {
    let bounds = object(
        BOUNDS
            .iter()
            .zip(time.bounds)
            .map(|(name, seconds)| (name.to_string(), (seconds * 1e6).to_string())),
    );
    format!(
        "\"us\":{},\"bound\":{},\"bounds_us\":{bounds}",
        time.seconds * 1e6,
        quote(time.bound())
    )
}

pub fn json(findings: &[Fault], counters: &Counters, last_error: &str) -> String {
    let findings: Vec<String> = findings.iter().map(finding).collect();
    let total = &counters.total;
    let copies = object(
        COPY_NAMES
            .iter()
            .zip(total.copies)
            .map(|(name, (count, bytes))| {
                (
                    name.to_string(),
                    format!("{{\"count\":{count},\"bytes\":{bytes}}}"),
                )
            }),
    );
    let kernels = object(counters.kernels.iter().map(|(name, kernel)| {
        (
            name.clone(),
            format!(
                "{{\"launches\":{},\"counts\":{},\"resident\":{},{}}}",
                kernel.launches,
                counts(&kernel.counts),
                kernel.resident,
                time(&kernel.time)
            ),
        )
    }));
    format!(
        "{{\"last_error\":{},\"findings\":[{}],\"total\":{{\"launches\":{},\"graph_launches\":{},\"modules_cubin\":{},\"modules_ptx\":{},\
         \"copies\":{copies},\
         \"counts\":{}}},\"kernels\":{kernels}}}",
        quote(last_error),
        findings.join(","),
        total.launches,
        total.graph_launches,
        total.modules_cubin,
        total.modules_ptx,
        counts(&total.counts)
    )
}
