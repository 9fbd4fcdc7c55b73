//! Functions of vectors in Cranelift: exp, log, tanh, sigmoid by range reduction and a polynomial.
//!
//! The polynomials of log and tanh are those of the Cephes library's single-precision functions. Knows no kernel.

use cranelift::prelude::*;

use super::clif::cast_flags;

type B<'a> = FunctionBuilder<'a>;

/// True where the target multiplies and adds f32 vectors with one rounding.
pub fn has_fma(isa: &dyn codegen::isa::TargetIsa) -> bool {
    let x86 = isa.triple().architecture.to_string() == "x86_64";
    !x86 || isa
        .isa_flags()
        .iter()
        .any(|f| f.name == "has_fma" && f.as_bool() == Some(true))
}

/// A number in all lanes.
pub fn splat(b: &mut B, x: f32) -> Value {
    let x = b.ins().f32const(x);
    b.ins().splat(types::F32X4, x)
}

/// 0, 1, 2, 3
pub fn lanes(b: &mut B) -> Value {
    let mut out = splat(b, 0.0);
    for l in 1..4u8 {
        let x = b.ins().f32const(f32::from(l));
        out = b.ins().insertlane(out, x, l);
    }
    out
}

/// x · y + z
pub fn fma(b: &mut B, fused: bool, x: Value, y: Value, z: Value) -> Value {
    if fused {
        return b.ins().fma(x, y, z);
    }
    let product = b.ins().fmul(x, y);
    b.ins().fadd(product, z)
}

/// `x ⋛ y ? yes : no` in each lane
pub fn select(b: &mut B, c: FloatCC, x: Value, y: Value, yes: Value, no: Value) -> Value {
    let mask = b.ins().fcmp(c, x, y);
    let mask = b.ins().bitcast(types::F32X4, cast_flags(), mask);
    b.ins().bitselect(mask, yes, no)
}

/// (x₀ + x₂) + (x₁ + x₃)
pub fn reduce(b: &mut B, x: Value) -> Value {
    let [a, c, d, e] = [0, 1, 2, 3].map(|l| b.ins().extractlane(x, l));
    let (low, high) = (b.ins().fadd(a, d), b.ins().fadd(c, e));
    b.ins().fadd(low, high)
}

/// Element `lane` of each of four vectors, by interleaving pairs and then pairs of pairs. What the lanes have in
/// common is left to the optimiser.
pub fn transposed(b: &mut B, rows: &[Value], lane: u8) -> Value {
    let (half, pair) = (lane / 2 * 2, lane % 2 * 2);
    let front = shuffle(b, rows[0], rows[1], [half, half + 4, half + 1, half + 5]);
    let back = shuffle(b, rows[2], rows[3], [half, half + 4, half + 1, half + 5]);
    shuffle(b, front, back, [pair, pair + 1, pair + 4, pair + 5])
}

/// Elements of two vectors, counted through both.
fn shuffle(b: &mut B, x: Value, y: Value, elements: [u8; 4]) -> Value {
    let mask: Vec<u8> = elements.iter().flat_map(|e| 4 * e..4 * e + 4).collect();
    let mask = b.func.dfg.immediates.push(mask.into());
    let [x, y] = [x, y].map(|v| b.ins().bitcast(types::I8X16, cast_flags(), v));
    let out = b.ins().shuffle(x, y, mask);
    b.ins().bitcast(types::F32X4, cast_flags(), out)
}

fn polynomial(b: &mut B, fused: bool, x: Value, coefficients: &[f32]) -> Value {
    let mut p = splat(b, coefficients[0]);
    for &c in &coefficients[1..] {
        let c = splat(b, c);
        p = fma(b, fused, p, x, c);
    }
    p
}

/// 1.5·2²³: a number below 2²² in size that is added to it is rounded to a whole one, which the low bits hold.
const WHOLE: f32 = 12_582_912.0;
/// The bias of an f32's exponent.
const BIAS: f32 = 127.0;

/// 2^n from `WHOLE + BIAS + n`, for −127 < n < 128; 0 at −127, infinite at 128.
fn power(b: &mut B, biased: Value) -> Value {
    let bits = b.ins().bitcast(types::I32X4, cast_flags(), biased);
    let bits = b.ins().ishl_imm_s(bits, 23);
    b.ins().bitcast(types::F32X4, cast_flags(), bits)
}

/// `low ≤ x ≤ high`, or NaN. In this order of operands both are one instruction on x86-64.
fn clamped(b: &mut B, x: Value, low: f32, high: f32) -> Value {
    let (low, high) = (splat(b, low), splat(b, high));
    let x = select(b, FloatCC::LessThan, x, low, low, x);
    select(b, FloatCC::LessThan, high, x, high, x)
}

/// Whether e^x or e^−x is wanted: the sign goes into the constants.
#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

/// e^±x as `p · 2^n`: p and `WHOLE + BIAS + n`. The polynomial is the minimax one of degree 6 for e^r, |r| ≤ ½ ln 2,
/// whose first two coefficients are 1: it is off by 3·10⁻⁹.
fn exp_parts(b: &mut B, fused: bool, x: Value, sign: Sign) -> [Value; 2] {
    let sign = match sign {
        Sign::Plus => 1.0,
        Sign::Minus => -1.0,
    };
    let per_ln2 = splat(b, sign * std::f32::consts::LOG2_E);
    let whole = splat(b, WHOLE + BIAS);
    let biased = fma(b, fused, x, per_ln2, whole);
    let n = b.ins().fsub(biased, whole);
    // ln 2 in two parts, the first short enough that its product with n is exact.
    let (part1, part2) = (
        splat(b, sign * -0.693_359_4),
        splat(b, sign * 2.121_944_4e-4),
    );
    let r = fma(b, fused, n, part1, x);
    let r = fma(b, fused, n, part2, r);
    let coefficients = [
        1.381_459_8e-3,
        sign * 8.368_717e-3,
        4.166_839e-2,
        sign * 0.166_665_21,
        0.499_999_94,
        sign,
        1.0,
    ];
    [polynomial(b, fused, r, &coefficients), biased]
}

/// e^±x, the exponent between −88 and 89; 0 at −88, infinite above 88.4.
fn exp_near(b: &mut B, fused: bool, x: Value, sign: Sign) -> Value {
    let [p, biased] = exp_parts(b, fused, x, sign);
    let scale = power(b, biased);
    b.ins().fmul(p, scale)
}

/// e^x; the result is scaled in two steps, so that subnormal results round once and large ones overflow.
pub fn exp(b: &mut B, fused: bool, x: Value) -> Value {
    let y = clamped(b, x, -104.0, 89.0);
    let [p, biased] = exp_parts(b, fused, y, Sign::Plus);
    // n = h + (n − h), h = n / 2 rounded: each of them has a power of two among the normal numbers.
    let (whole, half, none) = (splat(b, WHOLE + BIAS), splat(b, 0.5), splat(b, WHOLE));
    let n = b.ins().fsub(biased, whole);
    let h = fma(b, fused, n, half, none);
    let h = b.ins().fsub(h, none);
    let rest = b.ins().fsub(n, h);
    let scales = [h, rest].map(|n| {
        let biased = b.ins().fadd(n, whole);
        power(b, biased)
    });
    scales.iter().fold(p, |p, &s| b.ins().fmul(p, s))
}

/// ln x for positive normal x; −∞ at 0, NaN below.
pub fn log(b: &mut B, fused: bool, x: Value) -> Value {
    // A subnormal number has its exponent in the fraction: scaled by 2²³ it is normal.
    let (least, scale) = (splat(b, f32::MIN_POSITIVE), splat(b, 8_388_608.0));
    let scaled = b.ins().fmul(x, scale);
    let normal = select(b, FloatCC::LessThan, x, least, scaled, x);
    let (steps, none) = (splat(b, -23.0), splat(b, 0.0));
    let offset = select(b, FloatCC::LessThan, x, least, steps, none);
    let bits = b.ins().bitcast(types::I32X4, cast_flags(), normal);
    // The exponent is counted so that the fraction lies in [√½, √2): 0x3f3504f3 is √½.
    let root = b.ins().iconst(types::I32, 0x3f35_04f3);
    let root = b.ins().splat(types::I32X4, root);
    let above = b.ins().isub(bits, root);
    let e = b.ins().sshr_imm_s(above, 23);
    let shift = b.ins().ishl_imm_s(e, 23);
    let m = b.ins().isub(bits, shift);
    let m = b.ins().bitcast(types::F32X4, cast_flags(), m);
    let (one, zero) = (splat(b, 1.0), splat(b, 0.0));
    let f = b.ins().fsub(m, one);
    let e = b.ins().fcvt_from_sint(types::F32X4, e);
    let e = b.ins().fadd(e, offset);
    let p = polynomial(
        b,
        fused,
        f,
        &[
            7.037_684e-2,
            -0.115_146_1,
            0.116_769_98,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_58,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ],
    );
    let square = b.ins().fmul(f, f);
    let p = b.ins().fmul(p, f);
    let p = b.ins().fmul(p, square);
    let (part1, part2) = (splat(b, 0.693_359_4), splat(b, -2.121_944_4e-4));
    let p = fma(b, fused, e, part2, p);
    let minus_half = splat(b, -0.5);
    let p = fma(b, fused, square, minus_half, p);
    let p = b.ins().fadd(f, p);
    let p = fma(b, fused, e, part1, p);
    let (infinity, nan) = (splat(b, f32::INFINITY), splat(b, f32::NAN));
    let minus_infinity = splat(b, f32::NEG_INFINITY);
    let p = select(b, FloatCC::Equal, x, infinity, infinity, p);
    let p = select(b, FloatCC::Equal, x, zero, minus_infinity, p);
    let p = select(b, FloatCC::LessThan, x, zero, nan, p);
    select(b, FloatCC::NotEqual, x, x, x, p)
}

/// 1 / (1 + e^−x); 0 below −88.4, where that is no normal number.
pub fn sigmoid(b: &mut B, fused: bool, x: Value) -> Value {
    let x = clamped(b, x, -89.0, 88.0);
    let e = exp_near(b, fused, x, Sign::Minus);
    let one = splat(b, 1.0);
    let sum = b.ins().fadd(one, e);
    b.ins().fdiv(one, sum)
}

/// tanh x: a polynomial near 0, 1 − 2 / (e^2|x| + 1) with the sign of x elsewhere.
pub fn tanh(b: &mut B, fused: bool, x: Value) -> Value {
    let size = b.ins().fabs(x);
    let square = b.ins().fmul(x, x);
    let p = polynomial(
        b,
        fused,
        square,
        &[
            -5.704_988_7e-3,
            2.063_909e-2,
            -5.373_971_6e-2,
            0.133_314_42,
            -0.333_332_8,
        ],
    );
    let p = b.ins().fmul(p, square);
    let near = fma(b, fused, p, x, x);
    // From 10 on, 1 is nearest.
    let near_one = clamped(b, size, 0.0, 10.0);
    let twice = b.ins().fadd(near_one, near_one);
    let e = exp_near(b, fused, twice, Sign::Plus);
    let (one, two, border) = (splat(b, 1.0), splat(b, 2.0), splat(b, 0.625));
    let below = b.ins().fadd(e, one);
    let part = b.ins().fdiv(two, below);
    let far = b.ins().fsub(one, part);
    // `far` is not negative, so the sign of x can be put in by bits; Cranelift has no vector `fcopysign` here.
    let minus_zero = splat(b, -0.0);
    let sign = b.ins().band(x, minus_zero);
    let far = b.ins().bor(far, sign);
    select(b, FloatCC::LessThan, size, border, near, far)
}
