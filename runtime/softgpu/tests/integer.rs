//! Integer, logic, shift and bit-field instructions against what the PTX manual says of them, in plain Rust.

mod common;

use common::lanes::{Out, check32, check64, eval};
use common::session;

const WORDS: [u32; 10] = [
    0,
    1,
    2,
    31,
    32,
    33,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff9,
    0xdead_beef,
];

/// 30 triples that meet the corners.
fn triples() -> Vec<[u32; 3]> {
    (0..30)
        .map(|k| {
            [
                WORDS[k % 10],
                WORDS[(k * 3 + k / 10) % 10],
                WORDS[(k * 7 + 3) % 10],
            ]
        })
        .collect()
}

fn triples64() -> Vec<[u64; 3]> {
    let wide = |word: u32, k: usize| {
        u64::from(word) << (k % 3 * 16) | u64::from(word.rotate_left(k as u32))
    };
    triples()
        .into_iter()
        .enumerate()
        .map(|(k, [a, b, c])| [wide(a, k), wide(b, k + 1), wide(c, k + 2)])
        .collect()
}

#[test]
fn sums_and_products_wrap() {
    let s = session("");
    let t = triples();
    check32(&s, "add.s32 d, a, b;", &t, |a, b, _| a.wrapping_add(b));
    check32(&s, "sub.u32 d, a, b;", &t, |a, b, _| a.wrapping_sub(b));
    check32(&s, "mul.lo.s32 d, a, b;", &t, |a, b, _| a.wrapping_mul(b));
    check32(&s, "mul.hi.s32 d, a, b;", &t, |a, b, _| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    });
    check32(&s, "mul.hi.u32 d, a, b;", &t, |a, b, _| {
        ((u64::from(a) * u64::from(b)) >> 32) as u32
    });
    check32(&s, "mad.lo.s32 d, a, b, c;", &t, |a, b, c| {
        a.wrapping_mul(b).wrapping_add(c)
    });
    check32(&s, "mad.hi.u32 d, a, b, c;", &t, |a, b, c| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    });
    check32(&s, "sad.u32 d, a, b, c;", &t, |a, b, c| {
        a.abs_diff(b).wrapping_add(c)
    });
    check32(&s, "sad.s32 d, a, b, c;", &t, |a, b, c| {
        (a as i32).abs_diff(b as i32).wrapping_add(c)
    });
    check32(&s, "add.sat.s32 d, a, b;", &t, |a, b, _| {
        (a as i32).saturating_add(b as i32) as u32
    });
    check32(&s, "sub.sat.s32 d, a, b;", &t, |a, b, _| {
        (a as i32).saturating_sub(b as i32) as u32
    });
    let w = triples64();
    check64(&s, "add.s64 D, A, B;", &w, |a, b, _| a.wrapping_add(b));
    check64(&s, "mul.lo.u64 D, A, B;", &w, |a, b, _| a.wrapping_mul(b));
    check64(&s, "mul.hi.u64 D, A, B;", &w, |a, b, _| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    });
    check64(&s, "mad.lo.s64 D, A, B, C;", &w, |a, b, c| {
        a.wrapping_mul(b).wrapping_add(c)
    });
}

#[test]
fn wide_products_have_twice_the_width() {
    let s = session("");
    let w: Vec<[u64; 3]> = triples()
        .into_iter()
        .map(|triple| triple.map(u64::from))
        .collect();
    check64(&s, "mul.wide.u32 D, a, b;", &w, |a, b, _| a * b);
    let signed = |a: u64| i64::from(a as u32 as i32);
    check64(&s, "mul.wide.s32 D, a, b;", &w, |a, b, _| {
        (signed(a) * signed(b)) as u64
    });
    check64(&s, "mad.wide.s32 D, a, b, C;", &w, |a, b, c| {
        ((signed(a) * signed(b)) as u64).wrapping_add(c)
    });
    check32(&s, "mul.wide.u16 d, ha, hb;", &triples(), |a, b, _| {
        (a & 0xffff) * (b & 0xffff)
    });
    check32(&s, "mul.wide.s16 d, ha, hb;", &triples(), |a, b, _| {
        (i32::from(a as i16) * i32::from(b as i16)) as u32
    });
    check32(&s, "mul24.lo.u32 d, a, b;", &triples(), |a, b, _| {
        (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff)
    });
    check32(&s, "mad24.hi.u32 d, a, b, c;", &triples(), |a, b, c| {
        (((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32).wrapping_add(c)
    });
}

#[test]
fn division_truncates() {
    let s = session("");
    let t: Vec<[u32; 3]> = triples().into_iter().filter(|[_, b, _]| *b != 0).collect();
    check32(&s, "div.u32 d, a, b;", &t, |a, b, _| a / b);
    check32(&s, "rem.u32 d, a, b;", &t, |a, b, _| a % b);
    check32(&s, "div.s32 d, a, b;", &t, |a, b, _| {
        (a as i32).wrapping_div(b as i32) as u32
    });
    check32(&s, "rem.s32 d, a, b;", &t, |a, b, _| {
        (a as i32).wrapping_rem(b as i32) as u32
    });
    let w: Vec<[u64; 3]> = triples64()
        .into_iter()
        .filter(|[_, b, _]| *b != 0)
        .collect();
    check64(&s, "div.s64 D, A, B;", &w, |a, b, _| {
        (a as i64).wrapping_div(b as i64) as u64
    });
    check64(&s, "rem.u64 D, A, B;", &w, |a, b, _| a % b);
    check32(&s, "div.u32 d, a, 0;", &[[7, 0, 0]], |_, _, _| u32::MAX);
}

#[test]
fn minima_and_signs() {
    let s = session("");
    let t = triples();
    check32(&s, "min.s32 d, a, b;", &t, |a, b, _| {
        (a as i32).min(b as i32) as u32
    });
    check32(&s, "max.u32 d, a, b;", &t, |a, b, _| a.max(b));
    check32(&s, "abs.s32 d, a;", &t, |a, _, _| {
        (a as i32).wrapping_abs() as u32
    });
    check32(&s, "neg.s32 d, a;", &t, |a, _, _| a.wrapping_neg());
    check64(&s, "max.s64 D, A, B;", &triples64(), |a, b, _| {
        (a as i64).max(b as i64) as u64
    });
}

#[test]
fn shifts_are_clamped() {
    let s = session("");
    let t = triples();
    check32(
        &s,
        "shl.b32 d, a, b;",
        &t,
        |a, b, _| if b > 31 { 0 } else { a << b },
    );
    check32(
        &s,
        "shr.u32 d, a, b;",
        &t,
        |a, b, _| if b > 31 { 0 } else { a >> b },
    );
    check32(&s, "shr.s32 d, a, b;", &t, |a, b, _| {
        ((a as i32) >> b.min(31)) as u32
    });
    check32(&s, "shr.b32 d, a, 4;", &t, |a, _, _| a >> 4);
    check64(&s, "shl.b64 D, A, b;", &triples64(), |a, b, _| {
        if b as u32 > 63 { 0 } else { a << (b as u32) }
    });
    check64(&s, "shr.s64 D, A, b;", &triples64(), |a, b, _| {
        ((a as i64) >> (b as u32).min(63)) as u64
    });
    let pair = |a: u32, b: u32| u64::from(b) << 32 | u64::from(a);
    check32(&s, "shf.l.wrap.b32 d, a, b, c;", &t, |a, b, c| {
        (pair(a, b) << (c & 31) >> 32) as u32
    });
    check32(&s, "shf.l.clamp.b32 d, a, b, c;", &t, |a, b, c| {
        (pair(a, b) << c.min(32) >> 32) as u32
    });
    check32(&s, "shf.r.wrap.b32 d, a, b, c;", &t, |a, b, c| {
        (pair(a, b) >> (c & 31)) as u32
    });
    check32(&s, "shf.r.clamp.b32 d, a, b, c;", &t, |a, b, c| {
        (pair(a, b) >> c.min(32)) as u32
    });
}

#[test]
fn logic_and_its_tables() {
    let s = session("");
    let t = triples();
    check32(&s, "and.b32 d, a, b;", &t, |a, b, _| a & b);
    check32(&s, "or.b32 d, a, -8388608;", &t, |a, _, _| a | 0xff80_0000);
    check32(&s, "xor.b32 d, a, b;", &t, |a, b, _| a ^ b);
    check32(&s, "not.b32 d, a;", &t, |a, _, _| !a);
    check32(&s, "cnot.b32 d, a;", &t, |a, _, _| u32::from(a == 0));
    check32(&s, "lop3.b32 d, a, b, c, 0x96;", &t, |a, b, c| a ^ b ^ c);
    check32(&s, "lop3.b32 d, a, b, c, 0xe8;", &t, |a, b, c| {
        a & b | b & c | a & c
    });
    check32(&s, "lop3.b32 d, a, b, c, 0x1a;", &t, |a, b, c| {
        by_table(a, b, c, 0x1a)
    });
}

fn by_table(a: u32, b: u32, c: u32, table: u32) -> u32 {
    (0..32).fold(0, |all, bit| {
        let at = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1);
        all | (table >> at & 1) << bit
    })
}

#[test]
fn bit_fields_and_counts() {
    let s = session("");
    let t = triples();
    check32(&s, "clz.b32 d, a;", &t, |a, _, _| a.leading_zeros());
    check32(&s, "popc.b32 d, a;", &t, |a, _, _| a.count_ones());
    check32(&s, "brev.b32 d, a;", &t, |a, _, _| a.reverse_bits());
    check32(&s, "bfind.u32 d, a;", &t, |a, _, _| {
        31u32.wrapping_sub(a.leading_zeros())
    });
    check32(&s, "bfind.shiftamt.u32 d, a;", &t, |a, _, _| {
        if a == 0 { u32::MAX } else { a.leading_zeros() }
    });
    check32(&s, "bfind.s32 d, a;", &t, |a, _, _| {
        let bits = if (a as i32) < 0 { !a } else { a };
        31u32.wrapping_sub(bits.leading_zeros())
    });
    let fields = [
        [0xdead_beef, 4, 8],
        [0xdead_beef, 28, 8],
        [0xdead_beef, 0, 32],
        [0xdead_beef, 40, 3],
        [0xdead_beef, 3, 0],
    ];
    let mask = |len: u32| if len >= 32 { u32::MAX } else { (1 << len) - 1 };
    check32(&s, "bfe.u32 d, a, b, c;", &fields, |a, b, c| {
        if b > 31 { 0 } else { a >> b & mask(c) }
    });
    check32(&s, "bfe.s32 d, a, 4, 8;", &fields, |a, _, _| {
        i32::from((a >> 4) as i8) as u32
    });
    check32(&s, "bfe.s32 d, a, 28, 8;", &fields, |a, _, _| {
        ((a as i32) >> 28) as u32
    });
    check32(&s, "bfi.b32 d, a, b, 8, 12;", &t, |a, b, _| {
        b & !(0xfff << 8) | (a & 0xfff) << 8
    });
    check64(&s, "bfi.b64 D, A, B, 32, 32;", &triples64(), |a, b, _| {
        b & 0xffff_ffff | a << 32
    });
    check64(
        &s,
        "popc.b64 d, A; cvt.u64.u32 D, d;",
        &triples64(),
        |a, _, _| u64::from(a.count_ones()),
    );
}

#[test]
fn permutations_of_bytes() {
    let s = session("");
    let t = [[0x0302_0100, 0x0706_0504, 1]];
    check32(&s, "prmt.b32 d, a, b, 0x4321;", &t, |_, _, _| 0x0403_0201);
    check32(&s, "prmt.b32 d, a, b, 0x7700;", &t, |_, _, _| 0x0707_0000);
    check32(&s, "prmt.b32 d, 128, 0, 0x8888;", &t, |_, _, _| 0xffff_ffff);
    check32(&s, "prmt.b32.f4e d, a, b, c;", &t, |_, _, _| 0x0403_0201);
    check32(&s, "prmt.b32.b4e d, a, b, c;", &t, |_, _, _| 0x0607_0001);
    check32(&s, "prmt.b32.rc8 d, a, b, c;", &t, |_, _, _| 0x0101_0101);
    check32(&s, "prmt.b32.rc16 d, a, b, c;", &t, |_, _, _| 0x0302_0302);
}

#[test]
fn carries_go_from_word_to_word() {
    let s = session("");
    let code = "cvt.u32.u64 d, A; shr.u64 C, A, 32; cvt.u32.u64 c, C; cvt.u32.u64 e, B; shr.u64 E, B, 32; cvt.u32.u64 b, E;";
    let join = "mov.b64 D, {d, c};";
    let sum = format!("{code} add.cc.u32 d, d, e; addc.u32 c, c, b; {join}");
    check64(&s, &sum, &triples64(), |a, b, _| a.wrapping_add(b));
    let difference = format!("{code} sub.cc.u32 d, d, e; subc.u32 c, c, b; {join}");
    check64(&s, &difference, &triples64(), |a, b, _| a.wrapping_sub(b));
}

#[test]
fn packing_and_selection() {
    let s = session("");
    let w = triples64();
    check64(
        &s,
        "mov.b64 {d, e}, A; mov.b64 D, {e, d};",
        &w,
        |a, _, _| a.rotate_left(32),
    );
    check64(&s, "mov.b64 {_, e}, A; cvt.u64.u32 D, e;", &w, |a, _, _| {
        a >> 32
    });
    check32(
        &s,
        "mov.b32 {ha, hb}, a; mov.b32 d, {hb, ha};",
        &triples(),
        |a, _, _| a.rotate_left(16),
    );
    check32(&s, "selp.b32 d, a, b, r;", &triples(), |a, b, c| {
        if c != 0 { a } else { b }
    });
    check32(&s, "selp.b32 d, a, b, !r;", &triples(), |a, b, c| {
        if c == 0 { a } else { b }
    });
    check32(&s, "slct.u32.s32 d, a, b, c;", &triples(), |a, b, c| {
        if c as i32 >= 0 { a } else { b }
    });
    check32(
        &s,
        "@r mov.u32 d, a; @!r mov.u32 d, b;",
        &triples(),
        |a, b, c| if c != 0 { a } else { b },
    );
}

#[test]
fn sixteen_bits() {
    let s = session("");
    let w = triples64();
    let run = |code: &str, exact: fn(u16, u16) -> u16| {
        for (&[a, b, _], found) in w.iter().zip(eval(&s, code, Out::Half, &w)) {
            assert_eq!(
                found as u16,
                exact(a as u16, b as u16),
                "{code} {a:x} {b:x}"
            );
        }
    };
    run("add.s16 hd, ha, hb;", u16::wrapping_add);
    run("mul.lo.s16 hd, ha, hb;", u16::wrapping_mul);
    run("min.s16 hd, ha, hb;", |a, b| {
        (a as i16).min(b as i16) as u16
    });
    run("shr.u16 hd, ha, 3;", |a, _| a >> 3);
    run("shr.s16 hd, ha, 3;", |a, _| ((a as i16) >> 3) as u16);
    run("and.b16 hd, ha, 255;", |a, _| a & 255);
    run("not.b16 hd, ha;", |a, _| !a);
}

#[test]
fn integer_comparisons() {
    let s = session("");
    let w: Vec<[u64; 3]> = triples()
        .into_iter()
        .map(|triple| triple.map(u64::from))
        .collect();
    let check = |code: &str, exact: &dyn Fn(u32, u32, bool) -> bool| {
        for (&[a, b, c], found) in w.iter().zip(eval(&s, code, Out::Pred, &w)) {
            assert_eq!(
                found == 1,
                exact(a as u32, b as u32, c as u32 != 0),
                "{code} {a:x} {b:x} {c:x}"
            );
        }
    };
    check("setp.lt.s32 p, a, b;", &|a, b, _| (a as i32) < b as i32);
    check("setp.lt.u32 p, a, b;", &|a, b, _| a < b);
    check("setp.hs.u32 p, a, b;", &|a, b, _| a >= b);
    check("setp.eq.s32 p, a, b;", &|a, b, _| a == b);
    check("setp.ne.b32 p, a, b;", &|a, b, _| a != b);
    check("setp.le.and.s32 p, a, b, r;", &|a, b, r| {
        a as i32 <= b as i32 && r
    });
    check("setp.gt.or.u32 p, a, b, !r;", &|a, b, r| a > b || !r);
    check("setp.ge.xor.s32 p|q, a, b, r;", &|a, b, r| {
        (a as i32 >= b as i32) ^ r
    });
    check("setp.ge.and.s32 q|p, a, b, r;", &|a, b, r| {
        (a as i32) < b as i32 && r
    });
    check("setp.lt.u32 q, a, b; and.pred p, q, r;", &|a, b, r| {
        a < b && r
    });
    check("setp.lt.u32 q, a, b; or.pred p, q, !r;", &|a, b, r| {
        a < b || !r
    });
    check("setp.lt.u32 q, a, b; xor.pred p, q, r;", &|a, b, r| {
        (a < b) ^ r
    });
    check("not.pred p, r;", &|_, _, r| !r);
    check("mov.pred p, r;", &|_, _, r| r);
    check32(&s, "set.lt.u32.s32 d, a, b;", &triples(), |a, b, _| {
        if (a as i32) < b as i32 { u32::MAX } else { 0 }
    });
    check32(&s, "set.eq.f32.u32 d, a, b;", &triples(), |a, b, _| {
        if a == b { 1f32.to_bits() } else { 0 }
    });
}
