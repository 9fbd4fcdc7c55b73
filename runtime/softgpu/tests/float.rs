//! Floating-point instructions: rounding modes, subnormals, saturation and NaN rules.

mod common;

use common::lanes::{Out, check_float, check32, check64, eval, rounded};
use common::session;

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

fn triples() -> Vec<[f32; 3]> {
    (0..32)
        .map(|k| {
            [
                VALUES[k % 12],
                VALUES[(k * 5 + k / 12) % 12],
                VALUES[(k * 7 + 3) % 12],
            ]
        })
        .collect()
}

/// Values near one with full mantissas, whose products and sums f64 holds exactly.
fn near_one() -> Vec<[f32; 3]> {
    let value = |k: u32| {
        let bits = k.wrapping_mul(2_654_435_761) >> 9;
        let sign = if k.is_multiple_of(3) { -1.0 } else { 1.0 };
        sign * f32::from_bits(0x3f80_0000 | bits)
    };
    (0..32)
        .map(|k| [value(3 * k + 1), value(3 * k + 2), value(3 * k + 3)])
        .collect()
}

#[test]
fn nearest_is_the_hosts_arithmetic() {
    let s = session("");
    let t = triples();
    check_float(&s, "add.f32 d, a, b;", &t, |a, b, _| a + b);
    check_float(&s, "sub.rn.f32 d, a, b;", &t, |a, b, _| a - b);
    check_float(&s, "mul.f32 d, a, b;", &t, |a, b, _| a * b);
    check_float(&s, "fma.rn.f32 d, a, b, c;", &t, f32::mul_add);
    check_float(&s, "mad.rn.f32 d, a, b, c;", &t, f32::mul_add);
    check_float(&s, "div.rn.f32 d, a, b;", &t, |a, b, _| a / b);
    check_float(&s, "sqrt.rn.f32 d, a;", &t, |a, _, _| a.sqrt());
    check_float(&s, "rcp.rn.f32 d, a;", &t, |a, _, _| 1.0 / a);
    check_float(&s, "abs.f32 d, a;", &t, |a, _, _| a.abs());
    check_float(&s, "neg.f32 d, a;", &t, |a, _, _| -a);
    check_float(&s, "copysign.f32 d, a, b;", &t, |a, b, _| b.copysign(a));
}

#[test]
fn directed_rounding_is_exact() {
    let s = session("");
    let t = near_one();
    let wide = f64::from;
    for mode in ["rn", "rz", "rm", "rp"] {
        check_float(&s, &format!("add.{mode}.f32 d, a, b;"), &t, |a, b, _| {
            rounded(wide(a) + wide(b), mode)
        });
        check_float(&s, &format!("sub.{mode}.f32 d, a, b;"), &t, |a, b, _| {
            rounded(wide(a) - wide(b), mode)
        });
        check_float(&s, &format!("mul.{mode}.f32 d, a, b;"), &t, |a, b, _| {
            rounded(wide(a) * wide(b), mode)
        });
        check_float(&s, &format!("fma.{mode}.f32 d, a, b, c;"), &t, |a, b, c| {
            rounded(wide(a) * wide(b) + wide(c), mode)
        });
    }
}

#[test]
fn directed_rounding_sees_the_smallest_part() {
    let s = session("");
    let tiny = f32::from_bits(1);
    let t = [
        [1.0, tiny, 0.0],
        [1.0, -tiny, 0.0],
        [-1.0, tiny, 0.0],
        [1.0, 0.0, 0.0],
    ];
    let next = |up: bool, value: f32| {
        if up {
            value.next_up()
        } else {
            value.next_down()
        }
    };
    check_float(&s, "add.rp.f32 d, a, b;", &t, |a, b, _| {
        if b > 0.0 { next(true, a) } else { a }
    });
    check_float(&s, "add.rm.f32 d, a, b;", &t, |a, b, _| {
        if b < 0.0 { next(false, a) } else { a }
    });
    check_float(&s, "add.rz.f32 d, a, b;", &t, |a, b, _| {
        if a * b < 0.0 { next(a < 0.0, a) } else { a }
    });
    check_float(&s, "add.rm.f32 d, a, b;", &[[1.5, -1.5, 0.0]], |_, _, _| {
        -0.0
    });
    check_float(
        &s,
        "add.rz.f32 d, a, b;",
        &[[3.4e38, 3.4e38, 0.0]],
        |_, _, _| f32::MAX,
    );
    check_float(
        &s,
        "mul.rp.f32 d, a, b;",
        &[[1e-30, 1e-30, 0.0]],
        |_, _, _| tiny,
    );
    check_float(
        &s,
        "mul.rz.f32 d, a, b;",
        &[[1e-30, 1e-30, 0.0]],
        |_, _, _| 0.0,
    );
}

#[test]
fn directed_quotients_and_roots_enclose_the_exact_value() {
    let s = session("");
    for &[a, b, _] in &near_one() {
        let run = |code: &str| {
            let inputs = [[u64::from(a.abs().to_bits()), u64::from(b.to_bits()), 0]];
            f64::from(f32::from_bits(
                eval(&s, code, Out::Narrow, &inputs)[0] as u32,
            ))
        };
        let (a, b) = (f64::from(a.abs()), f64::from(b));
        let (low, high) = (run("div.rm.f32 d, a, b;"), run("div.rp.f32 d, a, b;"));
        let slack = if b > 0.0 {
            (low * b <= a, high * b >= a)
        } else {
            (low * b >= a, high * b <= a)
        };
        assert_eq!(slack, (true, true), "{a} / {b}");
        assert!(f64::from((low as f32).next_up()) >= high);
        let (low, high) = (run("sqrt.rm.f32 d, a;"), run("sqrt.rp.f32 d, a;"));
        assert!(low * low <= a && high * high >= a, "sqrt {a}");
    }
}

#[test]
fn subnormals_are_flushed_on_request() {
    let s = session("");
    let t = [
        [1e-40, 1e-40, 2.0],
        [-1e-40, 0.0, 1.0],
        [1e-30, 1e-15, 0.0],
        [1.0, 1e-40, 0.0],
    ];
    let flush = |x: f32| {
        if x.is_subnormal() {
            0f32.copysign(x)
        } else {
            x
        }
    };
    check_float(&s, "add.ftz.f32 d, a, b;", &t, |a, b, _| {
        flush(flush(a) + flush(b))
    });
    check_float(&s, "mul.ftz.f32 d, a, b;", &t, |a, b, _| {
        flush(flush(a) * flush(b))
    });
    check_float(&s, "fma.rn.ftz.f32 d, a, b, c;", &t, |a, b, c| {
        flush(flush(a).mul_add(flush(b), flush(c)))
    });
    check_float(&s, "abs.ftz.f32 d, a;", &t, |a, _, _| flush(a.abs()));
    let found = eval(
        &s,
        "setp.eq.ftz.f32 p, a, b;",
        Out::Pred,
        &[[u64::from(1e-40f32.to_bits()), 0, 0]],
    );
    assert_eq!(found, [1]);
}

#[test]
fn saturation_gives_zero_to_one() {
    let s = session("");
    let saturate = |x: f32| if x > 0.0 { x.min(1.0) } else { 0.0 };
    check_float(&s, "add.sat.f32 d, a, b;", &triples(), |a, b, _| {
        saturate(a + b)
    });
    check_float(&s, "fma.rn.sat.f32 d, a, b, c;", &triples(), |a, b, c| {
        saturate(a.mul_add(b, c))
    });
    check_float(&s, "cvt.sat.f32.f32 d, a;", &triples(), |a, _, _| {
        saturate(a)
    });
}

#[test]
fn minima_prefer_numbers() {
    let s = session("");
    let order = |a: f32, b: f32| (a, a.is_sign_positive()) < (b, b.is_sign_positive());
    let pick = |a: f32, b: f32, low: bool| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if order(a, b) == low => a,
        _ => b,
    };
    check_float(&s, "min.f32 d, a, b;", &triples(), |a, b, _| {
        pick(a, b, true)
    });
    check_float(&s, "max.f32 d, a, b;", &triples(), |a, b, _| {
        pick(a, b, false)
    });
    check_float(&s, "max.NaN.f32 d, a, b;", &triples(), |a, b, _| {
        if b.is_nan() {
            b
        } else if a.is_nan() {
            a
        } else {
            pick(a, b, false)
        }
    });
    check32(
        &s,
        "min.f32 d, a, b;",
        &[[0x7fc0_0001, 0xffc0_0000, 0]],
        |_, _, _| 0x7fff_ffff,
    );
}

#[test]
fn comparisons_know_nan() {
    let s = session("");
    let t = triples();
    let inputs: Vec<[u64; 3]> = t
        .iter()
        .map(|triple| triple.map(|value| u64::from(value.to_bits())))
        .collect();
    let check = |name: &str, exact: fn(f32, f32) -> bool| {
        let found = eval(&s, &format!("setp.{name}.f32 p, a, b;"), Out::Pred, &inputs);
        for (&[a, b, _], found) in t.iter().zip(found) {
            assert_eq!(found == 1, exact(a, b), "{name} {a} {b}");
        }
    };
    let nan = |a: f32, b: f32| a.is_nan() || b.is_nan();
    check("eq", |a, b| a == b);
    check("ne", |a, b| !a.is_nan() && !b.is_nan() && a != b);
    check("lt", |a, b| a < b);
    check("le", |a, b| a <= b);
    check("gt", |a, b| a > b);
    check("ge", |a, b| a >= b);
    check("equ", |a, b| a == b || a.is_nan() || b.is_nan());
    check("neu", |a, b| a != b);
    check(
        "ltu",
        |a, b| !matches!(a.partial_cmp(&b), Some(order) if order.is_ge()),
    );
    check(
        "leu",
        |a, b| !matches!(a.partial_cmp(&b), Some(order) if order.is_gt()),
    );
    check(
        "gtu",
        |a, b| !matches!(a.partial_cmp(&b), Some(order) if order.is_le()),
    );
    check(
        "geu",
        |a, b| !matches!(a.partial_cmp(&b), Some(order) if order.is_lt()),
    );
    check("num", |a, b| !(a.is_nan() || b.is_nan()));
    check("nan", nan);
}

#[test]
fn approximations_are_close() {
    let s = session("");
    let t: Vec<[f32; 3]> = (0..32)
        .map(|k| [(k as f32 - 15.3) * 1.7, 0.0, 0.0])
        .collect();
    let inputs: Vec<[u64; 3]> = t
        .iter()
        .map(|triple| triple.map(|value| u64::from(value.to_bits())))
        .collect();
    let check = |code: &str, exact: fn(f64) -> f64| {
        for (&[a, _, _], found) in t.iter().zip(eval(&s, code, Out::Narrow, &inputs)) {
            let (found, exact) = (f64::from(f32::from_bits(found as u32)), exact(f64::from(a)));
            assert!(
                (found - exact).abs() <= 1e-6 * exact.abs().max(1e-3)
                    || exact.is_nan() && found.is_nan(),
                "{code} {a} {found}"
            );
        }
    };
    check("ex2.approx.f32 d, a;", f64::exp2);
    check("ex2.approx.ftz.f32 d, a;", f64::exp2);
    check("lg2.approx.f32 d, a;", f64::log2);
    check("sin.approx.f32 d, a;", f64::sin);
    check("cos.approx.f32 d, a;", f64::cos);
    check("tanh.approx.f32 d, a;", f64::tanh);
    check("rsqrt.approx.f32 d, a;", |x| 1.0 / x.sqrt());
    check("rcp.approx.ftz.f32 d, a;", |x| 1.0 / x);
    check("sqrt.approx.f32 d, a;", f64::sqrt);
    check("div.full.f32 d, a, a;", |x| x / x);
    let ends = [
        [200.0, 0.0, 0.0],
        [-200.0, 0.0, 0.0],
        [f32::INFINITY, 0.0, 0.0],
        [f32::NAN, 0.0, 0.0],
        [-130.0, 0.0, 0.0],
    ];
    check_float(&s, "ex2.approx.f32 d, a;", &ends, |a, _, _| {
        f64::from(a).exp2() as f32
    });
}

#[test]
fn doubles() {
    let s = session("");
    let t: Vec<[u64; 3]> = near_one()
        .iter()
        .map(|triple| triple.map(|value| (f64::from(value) * 1.000_000_000_3).to_bits()))
        .collect();
    let f = f64::from_bits;
    check64(&s, "add.f64 D, A, B;", &t, |a, b, _| {
        (f(a) + f(b)).to_bits()
    });
    check64(&s, "fma.rn.f64 D, A, B, C;", &t, |a, b, c| {
        f(a).mul_add(f(b), f(c)).to_bits()
    });
    check64(&s, "div.rn.f64 D, A, B;", &t, |a, b, _| {
        (f(a) / f(b)).to_bits()
    });
    check64(&s, "sqrt.rn.f64 D, A;", &t, |a, _, _| f(a).sqrt().to_bits());
    check64(&s, "neg.f64 D, A;", &t, |a, _, _| (-f(a)).to_bits());
    check64(&s, "max.f64 D, A, B;", &t, |a, b, _| {
        f(a).max(f(b)).to_bits()
    });
    check64(&s, "mul.rp.f64 D, A, A;", &t, |a, _, _| {
        let product = f(a) * f(a);
        if f(a).mul_add(f(a), -product) > 0.0 {
            product.next_up()
        } else {
            product
        }
        .to_bits()
    });
}
