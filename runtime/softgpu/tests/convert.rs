//! Conversions between integers and floats of all widths, and tests of what a float is.

mod common;

use common::lanes::{Out, check32, check64, eval, rounded};
use common::{Session, session};

const VALUES: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    1e-40,
    -1e-40,
    3.4e38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    1.000_000_1,
    0.333_333_34,
];

fn float_inputs(values: &[f32]) -> Vec<[u64; 3]> {
    values
        .iter()
        .map(|value| [u64::from(value.to_bits()), 0, 0])
        .collect()
}

fn check_values(s: &Session, code: &str, out: Out, values: &[f32], exact: impl Fn(f32) -> u64) {
    for (value, found) in values.iter().zip(eval(s, code, out, &float_inputs(values))) {
        assert_eq!(found, exact(*value), "{code} {value}");
    }
}

#[test]
fn floats_become_integers() {
    let s = session("");
    let values = [
        0.5,
        1.5,
        -0.5,
        -1.5,
        2.5,
        1e10,
        -1e10,
        255.7,
        300.0,
        -3.0,
        f32::NAN,
        f32::INFINITY,
        1e20,
    ];
    check_values(&s, "cvt.rzi.s32.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x as i32 as u32)
    });
    check_values(&s, "cvt.rni.s32.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x.round_ties_even() as i32 as u32)
    });
    check_values(&s, "cvt.rmi.s32.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x.floor() as i32 as u32)
    });
    check_values(&s, "cvt.rpi.s32.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x.ceil() as i32 as u32)
    });
    check_values(&s, "cvt.rzi.u32.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x as u32)
    });
    check_values(&s, "cvt.rni.u8.f32 d, a;", Out::Narrow, &values, |x| {
        u64::from(x.round_ties_even() as u8)
    });
    check_values(&s, "cvt.rzi.s64.f32 D, a;", Out::Wide, &values, |x| {
        x as i64 as u64
    });
    check_values(&s, "cvt.rzi.u64.f32 D, a;", Out::Wide, &values, |x| {
        x as u64
    });
    check_values(
        &s,
        "cvt.rni.f32.f32 d, a;",
        Out::Narrow,
        &values[..10],
        |x| u64::from(x.round_ties_even().to_bits()),
    );
    check_values(
        &s,
        "cvt.rzi.f32.f32 d, a;",
        Out::Narrow,
        &values[..10],
        |x| u64::from(x.trunc().to_bits()),
    );
    check_values(
        &s,
        "cvt.rmi.f32.f32 d, a;",
        Out::Narrow,
        &values[..10],
        |x| u64::from(x.floor().to_bits()),
    );
    check_values(&s, "cvt.f64.f32 D, a;", Out::Wide, &values[..10], |x| {
        f64::from(x).to_bits()
    });
}

#[test]
fn integers_become_floats_and_other_integers() {
    let s = session("");
    let words = [
        0u32,
        1,
        0x0100_0001,
        0x7fff_ffff,
        0x8000_0001,
        0xffff_ff80,
        200,
        0x1_8080,
    ];
    let t: Vec<[u32; 3]> = words.iter().map(|&word| [word, 0, 0]).collect();
    check32(&s, "cvt.rn.f32.s32 d, a;", &t, |a, _, _| {
        (a as i32 as f32).to_bits()
    });
    check32(&s, "cvt.rn.f32.u32 d, a;", &t, |a, _, _| {
        (a as f32).to_bits()
    });
    check32(&s, "cvt.rz.f32.u32 d, a;", &t, |a, _, _| {
        rounded(f64::from(a), "rz").to_bits()
    });
    check32(&s, "cvt.rp.f32.s32 d, a;", &t, |a, _, _| {
        rounded(f64::from(a as i32), "rp").to_bits()
    });
    check32(&s, "cvt.rn.f32.u8 d, a;", &t, |a, _, _| {
        f32::from(a as u8).to_bits()
    });
    check32(&s, "cvt.rn.f32.u16 d, ha;", &t, |a, _, _| {
        f32::from(a as u16).to_bits()
    });
    check32(&s, "cvt.s32.s8 d, a;", &t, |a, _, _| a as i8 as i32 as u32);
    check32(&s, "cvt.u32.u8 d, a;", &t, |a, _, _| a & 255);
    check32(&s, "cvt.s32.s16 d, ha;", &t, |a, _, _| {
        a as i16 as i32 as u32
    });
    check32(&s, "cvt.sat.u8.s32 d, a;", &t, |a, _, _| {
        (a as i32).clamp(0, 255) as u32
    });
    check32(&s, "cvt.sat.s8.s32 d, a;", &t, |a, _, _| {
        (a as i32).clamp(-128, 127) as u32
    });
    let w: Vec<[u64; 3]> = words
        .iter()
        .map(|&word| [u64::from(word) << 20 | 5, 0, 0])
        .collect();
    check64(&s, "cvt.s64.s32 D, a;", &w, |a, _, _| {
        a as i32 as i64 as u64
    });
    check64(&s, "cvt.u64.u32 D, a;", &w, |a, _, _| a & 0xffff_ffff);
    check64(&s, "cvt.s64.s8 D, A;", &w, |a, _, _| a as i8 as i64 as u64);
    check64(&s, "cvt.rn.f64.s64 D, A;", &w, |a, _, _| {
        (a as i64 as f64).to_bits()
    });
    check64(
        &s,
        "cvt.rn.f32.u64 d, A; cvt.u64.u32 D, d;",
        &w,
        |a, _, _| u64::from((a as f32).to_bits()),
    );
    check64(
        &s,
        "cvt.rz.f32.u64 d, A; cvt.u64.u32 D, d;",
        &[[0xffff_ffff_ffff_ffff, 0, 0]],
        |_, _, _| 0x5f7f_ffff,
    );
}

#[test]
fn halves_and_singles_from_doubles() {
    let s = session("");
    let halves = [
        (0.0, 0u64),
        (1.0, 0x3c00),
        (-2.0, 0xc000),
        (65504.0, 0x7bff),
        (65520.0, 0x7c00),
        (6e-8, 1),
        (0.1, 0x2e66),
    ];
    for (value, bits) in halves {
        check_values(&s, "cvt.rn.f16.f32 hd, a;", Out::Half, &[value], |_| bits);
    }
    for (value, bits) in &halves[..4] {
        let found = eval(&s, "cvt.f32.f16 d, ha;", Out::Narrow, &[[*bits, 0, 0]]);
        assert_eq!(f32::from_bits(found[0] as u32), *value);
    }
    let t = [
        [1.000_000_05f64.to_bits(), 0, 0],
        [(-1.000_000_05f64).to_bits(), 0, 0],
        [1e300f64.to_bits(), 0, 0],
    ];
    for mode in ["rn", "rz", "rm", "rp"] {
        check64(
            &s,
            &format!("cvt.{mode}.f32.f64 d, A; cvt.u64.u32 D, d;"),
            &t,
            |a, _, _| u64::from(rounded(f64::from_bits(a), mode).to_bits()),
        );
    }
}

#[test]
fn properties_of_floats() {
    let s = session("");
    let values = VALUES;
    let check = |name: &str, exact: fn(f32) -> bool| {
        check_values(
            &s,
            &format!("testp.{name}.f32 p, a;"),
            Out::Pred,
            &values,
            |x| u64::from(exact(x)),
        );
    };
    check("finite", f32::is_finite);
    check("infinite", f32::is_infinite);
    check("number", |x| !x.is_nan());
    check("notanumber", f32::is_nan);
    check("normal", f32::is_normal);
    check("subnormal", f32::is_subnormal);
}
