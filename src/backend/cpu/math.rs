//! Functions of vectors by range reduction and a polynomial, or by instructions, the same for every emitter.
//!
//! The polynomials of log and tanh are those of the Cephes library's single-precision functions. Knows no kernel,
//! and of an emitter only what [`Vectors`] asks.

use super::code::{first_offset, uniform_offset};
use crate::ir::Scalar;
use crate::nest::loops::Uniform;
use crate::nest::{Binary, Compare, Unary, random};

/// What lanes do as patterns of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    And,
    Or,
    Xor,
    /// A sum of integers.
    Add,
    /// A difference of integers.
    Sub,
    /// The first operand shifted left; the second is not read.
    Left(u8),
    /// The first operand shifted right with its sign; the second is not read.
    Right(u8),
    /// The same, zeros coming in.
    RightZeros(u8),
}

/// Vectors of f32 that an emitter computes with.
pub trait Vectors {
    type V: Copy;
    /// A number in all lanes.
    fn splat(&mut self, x: f32) -> Self::V;
    /// What stands at this place among the run-time numbers, in all lanes.
    fn uniform(&mut self, offset: i32) -> Self::V;
    /// The other sign, of a NaN too.
    fn negative(&mut self, x: Self::V) -> Self::V;
    /// The square root, rounded once.
    fn sqrt(&mut self, x: Self::V) -> Self::V;
    fn binary(&mut self, f: Binary, x: Self::V, y: Self::V) -> Self::V;
    /// x · y + z, rounded once where the target has that.
    fn fma(&mut self, x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    /// `x ⋛ y ? yes : no` in each lane.
    fn select(&mut self, c: Compare, x: Self::V, y: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    fn bits(&mut self, f: Bits, x: Self::V, y: Self::V) -> Self::V;
    /// Integers as numbers.
    fn number(&mut self, x: Self::V) -> Self::V;
    /// The lower and the upper words of products of integers without sign.
    fn products(&mut self, x: Self::V, factor: u32) -> [Self::V; 2];
}

/// A function of one number.
pub fn unary<B: Vectors>(b: &mut B, f: Unary, x: B::V) -> B::V {
    match f {
        Unary::Neg => b.negative(x),
        Unary::Exp => exp(b, x),
        Unary::Expm1 => expm1(b, x),
        Unary::Log => log(b, x),
        Unary::Log1p => log1p(b, x),
        Unary::Tanh => tanh(b, x),
        Unary::Sigmoid => sigmoid(b, x),
        Unary::Erf => erf(b, x),
        Unary::Sqrt => b.sqrt(x),
        Unary::Rsqrt => {
            let (one, root) = (b.splat(1.0), b.sqrt(x));
            b.binary(Binary::Div, one, root)
        }
        Unary::Abs => size(b, x),
    }
}

/// A function of two numbers; `number` says that x is no NaN. Then a comparison alone gives the greater or the smaller
/// one, the second of equals, and NaN where y is: one instruction on x86-64.
pub fn binary<B: Vectors>(b: &mut B, f: Binary, x: B::V, y: B::V, number: bool) -> B::V {
    let compare = match f {
        Binary::Max => Compare::Gt,
        Binary::Min => Compare::Lt,
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div => return b.binary(f, x, y),
    };
    let most = b.select(compare, x, y, x, y);
    match number {
        true => most,
        false => b.select(Compare::Ne, x, x, x, most),
    }
}

/// |x|
fn size<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let positive = b.splat(f32::from_bits(0x7fff_ffff));
    b.bits(Bits::And, x, positive)
}

/// `x`, which is not negative, with the sign of another number.
fn with_sign<B: Vectors>(b: &mut B, x: B::V, of: B::V) -> B::V {
    let minus_zero = b.splat(-0.0);
    let sign = b.bits(Bits::And, of, minus_zero);
    b.bits(Bits::Or, x, sign)
}

fn polynomial<B: Vectors>(b: &mut B, x: B::V, coefficients: &[f32]) -> B::V {
    let mut p = b.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        let c = b.splat(c);
        p = b.fma(p, x, c);
    }
    p
}

/// 1.5·2²³: a number below 2²² in size that is added to it is rounded to a whole one, which the low bits hold.
const WHOLE: f32 = 12_582_912.0;
/// The bias of an f32's exponent.
const BIAS: f32 = 127.0;

/// 2^n from `WHOLE + BIAS + n`, for −127 < n < 128; 0 at −127, infinite at 128.
fn power<B: Vectors>(b: &mut B, biased: B::V) -> B::V {
    b.bits(Bits::Left(23), biased, biased)
}

/// `low ≤ x ≤ high`, or NaN. In this order of operands both are one instruction on x86-64.
fn clamped<B: Vectors>(b: &mut B, x: B::V, low: f32, high: f32) -> B::V {
    let (low, high) = (b.splat(low), b.splat(high));
    let x = b.select(Compare::Lt, x, low, low, x);
    b.select(Compare::Lt, high, x, high, x)
}

/// Whether e^x or e^−x is wanted: the sign goes into the constants.
#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

impl Sign {
    fn factor(self) -> f32 {
        match self {
            Self::Plus => 1.0,
            Self::Minus => -1.0,
        }
    }
}

/// e^±x as e^±r · 2^n with |r| ≤ ½ ln 2: r and `WHOLE + BIAS + n`.
fn reduced<B: Vectors>(b: &mut B, x: B::V, sign: Sign) -> [B::V; 2] {
    let sign = sign.factor();
    let per_ln2 = b.splat(sign * std::f32::consts::LOG2_E);
    let whole = b.splat(WHOLE + BIAS);
    let biased = b.fma(x, per_ln2, whole);
    let n = b.binary(Binary::Sub, biased, whole);
    // ln 2 in two parts, the first short enough that its product with n is exact.
    let (part1, part2) = (b.splat(sign * -0.693_359_4), b.splat(sign * 2.121_944_4e-4));
    let r = b.fma(n, part1, x);
    [b.fma(n, part2, r), biased]
}

/// e^±x as `p · 2^n`: p and `WHOLE + BIAS + n`. The polynomial is the minimax one of degree 6 for e^r, |r| ≤ ½ ln 2,
/// whose first two coefficients are 1: it is off by 3·10⁻⁹.
fn exp_parts<B: Vectors>(b: &mut B, x: B::V, sign: Sign) -> [B::V; 2] {
    let [r, biased] = reduced(b, x, sign);
    let sign = sign.factor();
    let coefficients = [
        1.381_459_8e-3,
        sign * 8.368_717e-3,
        4.166_839e-2,
        sign * 0.166_665_21,
        0.499_999_94,
        sign,
        1.0,
    ];
    [polynomial(b, r, &coefficients), biased]
}

/// e^±x, the exponent between −88 and 89; 0 at −88, infinite above 88.4.
fn exp_near<B: Vectors>(b: &mut B, x: B::V, sign: Sign) -> B::V {
    let [p, biased] = exp_parts(b, x, sign);
    let scale = power(b, biased);
    b.binary(Binary::Mul, p, scale)
}

/// e^x; the result is scaled in two steps, so that subnormal results round once and large ones overflow.
fn exp<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let y = clamped(b, x, -104.0, 89.0);
    let [p, biased] = exp_parts(b, y, Sign::Plus);
    // n = h + (n − h), h = n / 2 rounded: each of them has a power of two among the normal numbers.
    let (whole, half, none) = (b.splat(WHOLE + BIAS), b.splat(0.5), b.splat(WHOLE));
    let n = b.binary(Binary::Sub, biased, whole);
    let h = b.fma(n, half, none);
    let h = b.binary(Binary::Sub, h, none);
    let rest = b.binary(Binary::Sub, n, h);
    let scales = [h, rest].map(|n| {
        let biased = b.binary(Binary::Add, n, whole);
        power(b, biased)
    });
    scales.iter().fold(p, |p, &s| b.binary(Binary::Mul, p, s))
}

/// ln x for positive normal x; −∞ at 0, NaN below.
fn log<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    // A subnormal number has its exponent in the fraction: scaled by 2²³ it is normal.
    let (least, scale) = (b.splat(f32::MIN_POSITIVE), b.splat(8_388_608.0));
    let scaled = b.binary(Binary::Mul, x, scale);
    let normal = b.select(Compare::Lt, x, least, scaled, x);
    let (steps, none) = (b.splat(-23.0), b.splat(0.0));
    let offset = b.select(Compare::Lt, x, least, steps, none);
    // The exponent is counted so that the fraction lies in [√½, √2): 0x3f3504f3 is √½.
    let root = b.splat(f32::from_bits(0x3f35_04f3));
    let above = b.bits(Bits::Sub, normal, root);
    let e = b.bits(Bits::Right(23), above, above);
    let shift = b.bits(Bits::Left(23), e, e);
    let m = b.bits(Bits::Sub, normal, shift);
    let (one, zero) = (b.splat(1.0), b.splat(0.0));
    let f = b.binary(Binary::Sub, m, one);
    let e = b.number(e);
    let e = b.binary(Binary::Add, e, offset);
    let p = polynomial(
        b,
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
    let square = b.binary(Binary::Mul, f, f);
    let p = b.binary(Binary::Mul, p, f);
    let p = b.binary(Binary::Mul, p, square);
    let (part1, part2) = (b.splat(0.693_359_4), b.splat(-2.121_944_4e-4));
    let p = b.fma(e, part2, p);
    let minus_half = b.splat(-0.5);
    let p = b.fma(square, minus_half, p);
    let p = b.binary(Binary::Add, f, p);
    let p = b.fma(e, part1, p);
    let (infinity, nan) = (b.splat(f32::INFINITY), b.splat(f32::NAN));
    let minus_infinity = b.splat(f32::NEG_INFINITY);
    let p = b.select(Compare::Eq, x, infinity, infinity, p);
    let p = b.select(Compare::Eq, x, zero, minus_infinity, p);
    let p = b.select(Compare::Lt, x, zero, nan, p);
    b.select(Compare::Ne, x, x, x, p)
}

/// ln(1 + x); −∞ at −1, NaN below. With u = 1 + x as it is rounded, ln u · x / (u − 1): what ln u is off for the
/// rounding of u, the quotient makes good (Goldberg, What every computer scientist should know about floating-point
/// arithmetic, theorem 4).
fn log1p<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let (one, infinity) = (b.splat(1.0), b.splat(f32::INFINITY));
    let u = b.binary(Binary::Add, one, x);
    let near = b.binary(Binary::Sub, u, one);
    let quotient = b.binary(Binary::Div, x, near);
    let log = log(b, u);
    let y = b.binary(Binary::Mul, log, quotient);
    let y = b.select(Compare::Eq, u, infinity, u, y);
    b.select(Compare::Eq, u, one, x, y)
}

/// 1 / (1 + e^−x); 0 below −88.4, where that is no normal number.
fn sigmoid<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let x = clamped(b, x, -89.0, 88.0);
    let e = exp_near(b, x, Sign::Minus);
    let one = b.splat(1.0);
    let sum = b.binary(Binary::Add, one, e);
    b.binary(Binary::Div, one, sum)
}

/// tanh x: a polynomial near 0, 1 − 2 / (e^2|x| + 1) with the sign of x elsewhere.
fn tanh<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let size = size(b, x);
    let square = b.binary(Binary::Mul, x, x);
    let p = polynomial(
        b,
        square,
        &[
            -5.704_988_7e-3,
            2.063_909e-2,
            -5.373_971_6e-2,
            0.133_314_42,
            -0.333_332_8,
        ],
    );
    let p = b.binary(Binary::Mul, p, square);
    let near = b.fma(p, x, x);
    // From 10 on, 1 is nearest.
    let near_one = clamped(b, size, 0.0, 10.0);
    let twice = b.binary(Binary::Add, near_one, near_one);
    let e = exp_near(b, twice, Sign::Plus);
    let (one, two, border) = (b.splat(1.0), b.splat(2.0), b.splat(0.625));
    let below = b.binary(Binary::Add, e, one);
    let part = b.binary(Binary::Div, two, below);
    let far = b.binary(Binary::Sub, one, part);
    let far = with_sign(b, far, x);
    b.select(Compare::Lt, size, border, near, far)
}

/// e^x − 1 as 2 · (½ · 2^n · (e^r − 1) + (½ · 2^n − ½)): halves, so that the greatest results do not overflow before
/// they are put together. e^r − 1 = r + r² · p(r), p the minimax polynomial of degree 4: it is off by 1.4·10⁻⁸.
fn expm1<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    // From −25 on, −1 is nearest.
    let near = clamped(b, x, -25.0, 89.0);
    let [r, biased] = reduced(b, near, Sign::Plus);
    let p = polynomial(
        b,
        r,
        &[
            1.386_831_4e-3,
            8.366_424e-3,
            4.166_746_5e-2,
            0.166_665_45,
            0.499_999_97,
        ],
    );
    let square = b.binary(Binary::Mul, r, r);
    let below = b.fma(p, square, r);
    let (one, half) = (b.splat(1.0), b.splat(0.5));
    let biased = b.binary(Binary::Sub, biased, one);
    let scale = power(b, biased);
    let rest = b.binary(Binary::Sub, scale, half);
    let halved = b.fma(scale, below, rest);
    let y = b.binary(Binary::Add, halved, halved);
    // Below 2⁻²⁵, x is nearest, and keeps the sign of a zero.
    let (size, border) = (size(b, x), b.splat(2.980_232_2e-8));
    b.select(Compare::Lt, size, border, x, y)
}

/// erf x: x + x · p(x²) near 0, 1 − e^q(|x|) with the sign of x elsewhere. Both polynomials are minimax ones for the
/// relative error of the result: p is off by 1.4·10⁻⁸, e^q by 2·10⁻⁹.
fn erf<B: Vectors>(b: &mut B, x: B::V) -> B::V {
    let (size, square) = (size(b, x), b.binary(Binary::Mul, x, x));
    let p = polynomial(
        b,
        square,
        &[
            -6.040_721e-4,
            5.002_323e-3,
            -2.677_242_8e-2,
            0.112_819_65,
            -0.376_125_07,
            0.128_379_15,
        ],
    );
    let near = b.fma(p, x, x);
    // From 3.92 on, 1 is nearest.
    let most = b.splat(4.0);
    let up_to = b.select(Compare::Lt, most, size, most, size);
    let q = polynomial(
        b,
        up_to,
        &[
            2.009_980_1e-4,
            -3.092_302_2e-3,
            2.242_023_9e-2,
            -0.104_327_52,
            -0.636_737_2,
            -1.127_936_1,
            -1.335_748_8e-4,
        ],
    );
    let rest = exp_near(b, q, Sign::Plus);
    let (one, border) = (b.splat(1.0), b.splat(0.875));
    let far = b.binary(Binary::Sub, one, rest);
    let far = with_sign(b, far, x);
    b.select(Compare::Lt, size, border, near, far)
}

/// Random numbers of a stream as [`random`] defines them: `element` and `image` are integers, the image's counted from
/// the first of the block.
pub fn draw<B: Vectors>(b: &mut B, stream: u32, element: B::V, image: B::V) -> B::V {
    let first = b.uniform(first_offset());
    let image = b.bits(Bits::Add, image, first);
    let [step, low, high] = [Scalar::Step, Scalar::SeedLow, Scalar::SeedHigh]
        .map(|s| b.uniform(uniform_offset(Uniform::Scalar(s))));
    let word = |b: &mut B, word: u32| b.splat(f32::from_bits(word));
    let stream = word(b, random::stream_word(stream));
    let mut counter = [element, image, step, stream];
    let mut key = [low, high];
    for round in 0..random::ROUNDS {
        if round > 0 {
            key = [0, 1].map(|k| {
                let step = word(b, random::STEPS[k]);
                b.bits(Bits::Add, key[k], step)
            });
        }
        let [first, third] = [0, 1].map(|k| b.products(counter[2 * k], random::FACTORS[k]));
        let mixed = [(third[1], 1, 0), (first[1], 3, 1)].map(|(high, other, k)| {
            let mixed = b.bits(Bits::Xor, high, counter[other]);
            b.bits(Bits::Xor, mixed, key[k])
        });
        counter = [mixed[0], third[0], mixed[1], first[0]];
    }
    let whole = b.bits(Bits::RightZeros(8), counter[0], counter[0]);
    let (whole, scale) = (b.number(whole), b.splat(random::SCALE));
    b.binary(Binary::Mul, whole, scale)
}
