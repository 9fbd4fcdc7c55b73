//! Functions of vectors in Cranelift: exp, log, tanh, sigmoid by range reduction and a polynomial.
//!
//! The polynomials are those of the Cephes library's single-precision functions. Knows no kernel.

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

/// 2^n for whole numbers −126 ≤ n ≤ 127 held as i32.
fn power(b: &mut B, n: Value) -> Value {
    let bias = b.ins().iconst(types::I32, 127);
    let bias = b.ins().splat(types::I32X4, bias);
    let biased = b.ins().iadd(n, bias);
    let bits = b.ins().ishl_imm_s(biased, 23);
    b.ins().bitcast(types::F32X4, cast_flags(), bits)
}

/// e^x; the result is scaled in two steps, so that subnormal results round once and large ones overflow.
pub fn exp(b: &mut B, fused: bool, x: Value) -> Value {
    let (low, high) = (splat(b, -104.0), splat(b, 89.0));
    let y = select(b, FloatCC::LessThan, x, low, low, x);
    let y = select(b, FloatCC::GreaterThan, y, high, high, y);
    let per_ln2 = splat(b, std::f32::consts::LOG2_E);
    let n = b.ins().fmul(y, per_ln2);
    let n = b.ins().nearest(n);
    // ln 2 in two parts, the first short enough that its product with n is exact.
    let (part1, part2) = (splat(b, -0.693_359_4), splat(b, 2.121_944_4e-4));
    let r = fma(b, fused, n, part1, y);
    let r = fma(b, fused, n, part2, r);
    let p = polynomial(
        b,
        fused,
        r,
        &[
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            0.166_666_65,
            0.5,
        ],
    );
    let square = b.ins().fmul(r, r);
    let p = fma(b, fused, p, square, r);
    let one = splat(b, 1.0);
    let p = b.ins().fadd(p, one);
    let n = b.ins().fcvt_to_sint_sat(types::I32X4, n);
    let half = b.ins().sshr_imm_s(n, 1);
    let rest = b.ins().isub(n, half);
    let (f, g) = (power(b, half), power(b, rest));
    let p = b.ins().fmul(p, f);
    let p = b.ins().fmul(p, g);
    select(b, FloatCC::NotEqual, x, x, x, p)
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

/// 1 / (1 + e^−x)
pub fn sigmoid(b: &mut B, fused: bool, x: Value) -> Value {
    let minus = b.ins().fneg(x);
    let e = exp(b, fused, minus);
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
    let twice = b.ins().fadd(size, size);
    let e = exp(b, fused, twice);
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
