//! Floating-point operations of one lane: PTX's rounding modes, `.ftz` and `.sat`, and the rules of min and max. Results
//! that are NaN keep the host's payload, except those of min and max.

use super::lanes::{Compare, Op1, Op2, Op3};

/// Bits of the mode that most operations take as a constant.
pub const FTZ: u8 = 1;
pub const SAT: u8 = 2;

/// Rounding modes: to nearest even, to zero, down, up.
pub const RN: u8 = 0;
pub const RZ: u8 = 1;
pub const RM: u8 = 2;
pub const RP: u8 = 3;

const NAN: f32 = f32::from_bits(0x7fff_ffff);
const NAN64: f64 = f64::from_bits(0x7fff_ffff_ffff_ffff);

/// Zero of the same sign where the value is subnormal.
#[inline(always)]
pub fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    if bits & 0x7f80_0000 == 0 {
        f32::from_bits(bits & 0x8000_0000)
    } else {
        value
    }
}

/// Into [0, 1]; NaN becomes zero.
#[inline(always)]
pub fn saturate(value: f32) -> f32 {
    let low = if value > 0.0 { value } else { 0.0 };
    if low > 1.0 { 1.0 } else { low }
}

#[inline(always)]
fn input<const M: u8>(value: f32) -> f32 {
    if M & FTZ != 0 { flush(value) } else { value }
}

#[inline(always)]
fn output<const M: u8>(value: f32) -> f32 {
    let value = if M & FTZ != 0 { flush(value) } else { value };
    if M & SAT != 0 { saturate(value) } else { value }
}

macro_rules! float_ops {
    ($($(#[$doc:meta])* $name:ident $args:tt $body:block)*) => {$( float_ops!(@one [$(#[$doc])*] $name $args $body); )*};
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident) $body:block) => {
        $(#[$doc])*
        pub struct $name<const M: u8>;
        impl<const M: u8> Op1 for $name<M> {
            type A = f32;
            type D = f32;
            #[inline(always)]
            fn apply($a: f32) -> f32 {
                let $a = input::<M>($a);
                output::<M>($body)
            }
        }
    };
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident, $b:ident) $body:block) => {
        $(#[$doc])*
        pub struct $name<const M: u8>;
        impl<const M: u8> Op2 for $name<M> {
            type A = f32;
            type B = f32;
            type D = f32;
            #[inline(always)]
            fn apply($a: f32, $b: f32) -> f32 {
                let ($a, $b) = (input::<M>($a), input::<M>($b));
                output::<M>($body)
            }
        }
    };
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident, $b:ident, $c:ident) $body:block) => {
        $(#[$doc])*
        pub struct $name<const M: u8>;
        impl<const M: u8> Op3 for $name<M> {
            type A = f32;
            type B = f32;
            type C = f32;
            type D = f32;
            #[inline(always)]
            fn apply($a: f32, $b: f32, $c: f32) -> f32 {
                let ($a, $b, $c) = (input::<M>($a), input::<M>($b), input::<M>($c));
                output::<M>($body)
            }
        }
    };
}

float_ops! {
    Add(a, b) { a + b }
    Sub(a, b) { a - b }
    Mul(a, b) { a * b }
    Fma(a, b, c) { a.mul_add(b, c) }
    Div(a, b) { a / b }
    Rcp(a) { 1.0 / a }
    Sqrt(a) { a.sqrt() }
    Rsqrt(a) { (1.0 / f64::from(a).sqrt()) as f32 }
    Abs(a) { f32::from_bits(a.to_bits() & 0x7fff_ffff) }
    Neg(a) { f32::from_bits(a.to_bits() ^ 0x8000_0000) }
    Ex2(a) { exp2(a) }
    Lg2(a) { f64::from(a).log2() as f32 }
    Sin(a) { f64::from(a).sin() as f32 }
    Cos(a) { f64::from(a).cos() as f32 }
    Tanh(a) { f64::from(a).tanh() as f32 }
    Min(a, b) { minimum(a, b) }
    Max(a, b) { maximum(a, b) }
    MinNan(a, b) { if a.is_nan() || b.is_nan() { NAN } else { minimum(a, b) } }
    MaxNan(a, b) { if a.is_nan() || b.is_nan() { NAN } else { maximum(a, b) } }
    /// To an integer value: to nearest even, to zero, down, up.
    RoundNearest(a) { a.round_ties_even() }
    RoundZero(a) { a.trunc() }
    RoundDown(a) { a.floor() }
    RoundUp(a) { a.ceil() }
    Identity(a) { a }
}

#[inline(always)]
fn minimum(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    let ordered = if a < b {
        a
    } else if b < a {
        b
    } else {
        equal
    };
    let unordered = if a.is_nan() {
        if b.is_nan() { NAN } else { b }
    } else {
        a
    };
    if a.is_nan() || b.is_nan() {
        unordered
    } else {
        ordered
    }
}

#[inline(always)]
fn maximum(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    let ordered = if a > b {
        a
    } else if b > a {
        b
    } else {
        equal
    };
    let unordered = if a.is_nan() {
        if b.is_nan() { NAN } else { b }
    } else {
        a
    };
    if a.is_nan() || b.is_nan() {
        unordered
    } else {
        ordered
    }
}

/// 2^x, nearly correctly rounded: a polynomial in f64 on [-1/2, 1/2], in plain arithmetic so that it is vectorised.
#[inline(always)]
fn exp2(x: f32) -> f32 {
    /// 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let x = x.clamp(-200.0, 200.0);
    let shifted = x + MAGIC;
    let z = (x - (shifted - MAGIC)) * std::f64::consts::LN_2;
    let mut sum = 1.0 / 3_628_800.0;
    for coefficient in [
        362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0,
    ] {
        sum = sum * z + 1.0 / coefficient;
    }
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (sum * scale) as f32
}

/// The f32 next to `sum + rest` in direction `R`, where `sum` is rounded to nearest in f64 and `rest` what that lost.
#[inline(always)]
pub fn round_exact<const R: u8>(sum: f64, rest: f64) -> f32 {
    let nearest = sum as f32;
    let difference = sum - f64::from(nearest);
    let difference = if difference == 0.0 { rest } else { difference };
    let down = match R {
        RZ => nearest > 0.0,
        RM => true,
        _ => false,
    };
    let up = match R {
        RZ => nearest < 0.0,
        RP => true,
        _ => false,
    };
    if down && difference < 0.0 {
        nearest.next_down()
    } else if up && difference > 0.0 {
        nearest.next_up()
    } else {
        nearest
    }
}

/// Sum in f64 and the exact error of it.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let other = sum - a;
    (sum, (a - (sum - other)) + (b - other))
}

#[inline(always)]
fn directed_sum<const R: u8>(a: f64, b: f64) -> f32 {
    let (sum, rest) = two_sum(a, b);
    if R == RM && sum == 0.0 && (a.is_sign_negative() || b.is_sign_negative()) {
        return -0.0;
    }
    round_exact::<R>(sum, rest)
}

macro_rules! directed {
    ($($name:ident $trait:ident ($($arg:ident: $assoc:ident),*) $body:block)*) => {$(
        /// In a directed rounding mode.
        pub struct $name<const R: u8, const M: u8>;
        impl<const R: u8, const M: u8> $trait for $name<R, M> {
            $(type $assoc = f32;)*
            type D = f32;
            #[inline(always)]
            fn apply($($arg: f32),*) -> f32 {
                $(let $arg = f64::from(input::<M>($arg));)*
                output::<M>($body)
            }
        }
    )*};
}

directed! {
    AddTo Op2 (a: A, b: B) { directed_sum::<R>(a, b) }
    SubTo Op2 (a: A, b: B) { directed_sum::<R>(a, -b) }
    MulTo Op2 (a: A, b: B) { round_exact::<R>(a * b, 0.0) }
    FmaTo Op3 (a: A, b: B, c: C) { directed_sum::<R>(a * b, c) }
    DivTo Op2 (a: A, b: B) { divide::<R>(a, b) }
    RcpTo Op1 (a: A) { divide::<R>(1.0, a) }
    SqrtTo Op1 (a: A) { let root = a.sqrt(); round_exact::<R>(root, (-root).mul_add(root, a)) }
}

/// The remainder of the rounded quotient has the sign of what the quotient lacks, or the opposite one for negative `b`.
#[inline(always)]
fn divide<const R: u8>(a: f64, b: f64) -> f32 {
    let quotient = a / b;
    let rest = (-quotient).mul_add(b, a);
    round_exact::<R>(quotient, if b < 0.0 { -rest } else { rest })
}

/// Directed rounding of f64: `nearest` and the sign of what it lacks.
#[inline(always)]
fn adjust<const R: u8>(nearest: f64, rest: f64) -> f64 {
    let down = R == RM || R == RZ && nearest > 0.0;
    let up = R == RP || R == RZ && nearest < 0.0;
    if down && rest < 0.0 {
        nearest.next_down()
    } else if up && rest > 0.0 {
        nearest.next_up()
    } else {
        nearest
    }
}

macro_rules! double_ops {
    ($($name:ident $trait:ident ($($arg:ident: $assoc:ident),*) $body:block)*) => {$(
        /// Of f64, in rounding mode `R`.
        pub struct $name<const R: u8>;
        impl<const R: u8> $trait for $name<R> {
            $(type $assoc = f64;)*
            type D = f64;
            #[inline(always)]
            fn apply($($arg: f64),*) -> f64 $body
        }
    )*};
}

double_ops! {
    Add64 Op2 (a: A, b: B) { let (sum, rest) = two_sum(a, b); adjust::<R>(sum, rest) }
    Sub64 Op2 (a: A, b: B) { let (sum, rest) = two_sum(a, -b); adjust::<R>(sum, rest) }
    Mul64 Op2 (a: A, b: B) { let product = a * b; adjust::<R>(product, a.mul_add(b, -product)) }
    Div64 Op2 (a: A, b: B) {
        let quotient = a / b;
        let rest = (-quotient).mul_add(b, a);
        adjust::<R>(quotient, if b < 0.0 { -rest } else { rest })
    }
    Rcp64 Op1 (a: A) { Div64::<R>::apply(1.0, a) }
    Sqrt64 Op1 (a: A) { let root = a.sqrt(); adjust::<R>(root, (-root).mul_add(root, a)) }
    Fma64 Op3 (a: A, b: B, c: C) { a.mul_add(b, c) }
    Abs64 Op1 (a: A) { a.abs() }
    Neg64 Op1 (a: A) { -a }
    Rsqrt64 Op1 (a: A) { 1.0 / a.sqrt() }
    Min64 Op2 (a: A, b: B) { if a.is_nan() && b.is_nan() { NAN64 } else { a.min(b) } }
    Max64 Op2 (a: A, b: B) { if a.is_nan() && b.is_nan() { NAN64 } else { a.max(b) } }
}

/// `copysign a, b`: the sign of a on the magnitude of b.
pub struct CopySign;

impl Op2 for CopySign {
    type A = f32;
    type B = f32;
    type D = f32;
    #[inline(always)]
    fn apply(a: f32, b: f32) -> f32 {
        b.copysign(a)
    }
}

pub struct CopySign64;

impl Op2 for CopySign64 {
    type A = f64;
    type B = f64;
    type D = f64;
    #[inline(always)]
    fn apply(a: f64, b: f64) -> f64 {
        b.copysign(a)
    }
}

macro_rules! float_compares {
    ($($name:ident |$a:ident, $b:ident| $test:expr;)*) => {$(
        /// Of f32, subnormals flushed where `F`.
        pub struct $name<const F: bool>;
        impl<const F: bool> Compare for $name<F> {
            type A = f32;
            #[inline(always)]
            fn apply($a: f32, $b: f32) -> bool {
                let ($a, $b) = if F { (flush($a), flush($b)) } else { ($a, $b) };
                $test
            }
        }
    )*};
}

macro_rules! double_compares {
    ($($name:ident |$a:ident, $b:ident| $test:expr;)*) => {$(
        pub struct $name;
        impl Compare for $name {
            type A = f64;
            #[inline(always)]
            fn apply($a: f64, $b: f64) -> bool { $test }
        }
    )*};
}

float_compares! {
    Eq |a, b| a == b;
    Ne |a, b| is_apart(a, b);
    Lt |a, b| a < b;
    Le |a, b| a <= b;
    Gt |a, b| a > b;
    Ge |a, b| a >= b;
    Equ |a, b| !is_apart(a, b);
    Neu |a, b| a != b;
    Ltu |a, b| !is_ge(a, b);
    Leu |a, b| !is_gt(a, b);
    Gtu |a, b| !is_ge(b, a);
    Geu |a, b| !is_gt(b, a);
    Num |a, b| !a.is_nan() && !b.is_nan();
    Nan |a, b| a.is_nan() || b.is_nan();
}

double_compares! {
    Eq64 |a, b| a == b;
    Ne64 |a, b| is_apart(a, b);
    Lt64 |a, b| a < b;
    Le64 |a, b| a <= b;
    Gt64 |a, b| a > b;
    Ge64 |a, b| a >= b;
    Equ64 |a, b| !is_apart(a, b);
    Neu64 |a, b| a != b;
    Ltu64 |a, b| !is_ge(a, b);
    Leu64 |a, b| !is_gt(a, b);
    Gtu64 |a, b| !is_ge(b, a);
    Geu64 |a, b| !is_gt(b, a);
    Num64 |a, b| !a.is_nan() && !b.is_nan();
    Nan64 |a, b| a.is_nan() || b.is_nan();
}

/// Ordered and not equal: false where one is NaN.
#[inline(always)]
fn is_apart<T: PartialOrd + Copy>(a: T, b: T) -> bool {
    is_gt(a, b) || is_gt(b, a)
}

#[inline(always)]
fn is_ge<T: PartialOrd>(a: T, b: T) -> bool {
    a >= b
}

#[inline(always)]
fn is_gt<T: PartialOrd>(a: T, b: T) -> bool {
    a > b
}

/// `testp`, by number: finite, infinite, number, notanumber, normal, subnormal.
pub fn test(value: f64, is_subnormal: bool, property: i64) -> bool {
    match property {
        0 => value.is_finite(),
        1 => value.is_infinite(),
        2 => !value.is_nan(),
        3 => value.is_nan(),
        4 => value.is_finite() && value != 0.0 && !is_subnormal,
        _ => is_subnormal,
    }
}
