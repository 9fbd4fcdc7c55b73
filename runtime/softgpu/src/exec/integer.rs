//! Integer operations of one lane, with PTX's rules for overflow (wraps), shifts (clamped) and division by zero (all ones;
//! PTX leaves that value open).

use super::lanes::{Compare, Lane, Op1, Op2, Op3};
use std::marker::PhantomData;

/// What the operations need of an integer type.
pub trait Int: Lane + Ord {
    const BITS: u32;
    type Unsigned: Int;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn mul_hi(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn abs(self) -> Self;
    fn shl(self, count: u32) -> Self;
    fn shr(self, count: u32) -> Self;
    fn clz(self) -> u32;
    fn popc(self) -> u32;
    fn brev(self) -> Self;
    fn is_negative(self) -> bool;
    /// The low bits, with nothing above `BITS`.
    fn to_u64(self) -> u64;
    fn from_u64(bits: u64) -> Self;
    fn saturating_add(self, other: Self) -> Self;
    fn saturating_sub(self, other: Self) -> Self;
}

macro_rules! int {
    ($($kind:ident, $unsigned:ident, $wide:ident, $abs:ident;)*) => {$(
        impl Int for $kind {
            const BITS: u32 = $kind::BITS;
            type Unsigned = $unsigned;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn mul_hi(self, other: Self) -> Self { ((self as $wide * other as $wide) >> $kind::BITS) as $kind }
            #[inline(always)]
            fn div(self, other: Self) -> Self { if other == 0 { !0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn rem(self, other: Self) -> Self { if other == 0 { self } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn and(self, other: Self) -> Self { self & other }
            #[inline(always)]
            fn or(self, other: Self) -> Self { self | other }
            #[inline(always)]
            fn xor(self, other: Self) -> Self { self ^ other }
            #[inline(always)]
            fn not(self) -> Self { !self }
            #[inline(always)]
            fn abs(self) -> Self { int!(@$abs self) }
            #[inline(always)]
            fn shl(self, count: u32) -> Self { if count < $kind::BITS { self << (count & ($kind::BITS - 1)) } else { 0 } }
            #[inline(always)]
            fn shr(self, count: u32) -> Self { self >> count.min($kind::BITS - 1) >> u32::from(count >= $kind::BITS) }
            #[inline(always)]
            fn clz(self) -> u32 { self.leading_zeros() }
            #[inline(always)]
            fn popc(self) -> u32 { self.count_ones() }
            #[inline(always)]
            fn brev(self) -> Self { self.reverse_bits() }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "one text for signed and unsigned types")]
            fn is_negative(self) -> bool { self < 0 }
            #[inline(always)]
            fn to_u64(self) -> u64 { self as $unsigned as u64 }
            #[inline(always)]
            fn from_u64(bits: u64) -> Self { bits as $kind }
            #[inline(always)]
            fn saturating_add(self, other: Self) -> Self { $kind::saturating_add(self, other) }
            #[inline(always)]
            fn saturating_sub(self, other: Self) -> Self { $kind::saturating_sub(self, other) }
        }
    )*};
    (@signed $value:ident) => { $value.wrapping_abs() };
    (@unsigned $value:ident) => { $value };
}

int! {
    u16, u16, u32, unsigned;
    i16, u16, i32, signed;
    u32, u32, u64, unsigned;
    i32, u32, i64, signed;
    u64, u64, u128, unsigned;
    i64, u64, i128, signed;
}

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident $args:tt -> $result:ty $body:block)*) => {$( ops!(@one [$(#[$doc])*] $name $args $result $body); )*};
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident: $A:ty) $D:ty $body:block) => {
        $(#[$doc])*
        pub struct $name<T>(PhantomData<T>);
        impl<T: Int> Op1 for $name<T> {
            type A = $A;
            type D = $D;
            #[inline(always)]
            fn apply($a: $A) -> $D $body
        }
    };
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident: $A:ty, $b:ident: $B:ty) $D:ty $body:block) => {
        $(#[$doc])*
        pub struct $name<T>(PhantomData<T>);
        impl<T: Int> Op2 for $name<T> {
            type A = $A;
            type B = $B;
            type D = $D;
            #[inline(always)]
            fn apply($a: $A, $b: $B) -> $D $body
        }
    };
    (@one [$(#[$doc:meta])*] $name:ident ($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty) $D:ty $body:block) => {
        $(#[$doc])*
        pub struct $name<T>(PhantomData<T>);
        impl<T: Int> Op3 for $name<T> {
            type A = $A;
            type B = $B;
            type C = $C;
            type D = $D;
            #[inline(always)]
            fn apply($a: $A, $b: $B, $c: $C) -> $D $body
        }
    };
}

ops! {
    Copy(a: T) -> T { a }
    Not(a: T) -> T { a.not() }
    /// Logical negation of C.
    CNot(a: T) -> T { T::from_u64(u64::from(a.to_u64() == 0)) }
    Neg(a: T) -> T { T::from_u64(0).sub(a) }
    Abs(a: T) -> T { a.abs() }
    Clz(a: T) -> u32 { a.clz() }
    Popc(a: T) -> u32 { a.popc() }
    Brev(a: T) -> T { a.brev() }
    /// Position of the most significant bit that differs from the sign, or all ones.
    Bfind(a: T) -> u32 { find(a) }
    /// The shift that brings that bit to the top, or all ones.
    BfindShift(a: T) -> u32 { let at = find(a); if at == u32::MAX { at } else { T::BITS - 1 - at } }
    Add(a: T, b: T) -> T { a.add(b) }
    AddSat(a: T, b: T) -> T { a.saturating_add(b) }
    Sub(a: T, b: T) -> T { a.sub(b) }
    SubSat(a: T, b: T) -> T { a.saturating_sub(b) }
    Mul(a: T, b: T) -> T { a.mul(b) }
    MulHi(a: T, b: T) -> T { a.mul_hi(b) }
    Div(a: T, b: T) -> T { a.div(b) }
    Rem(a: T, b: T) -> T { a.rem(b) }
    Min(a: T, b: T) -> T { if b < a { b } else { a } }
    Max(a: T, b: T) -> T { if b > a { b } else { a } }
    And(a: T, b: T) -> T { a.and(b) }
    Or(a: T, b: T) -> T { a.or(b) }
    Xor(a: T, b: T) -> T { a.xor(b) }
    Shl(a: T, b: u32) -> T { a.shl(b) }
    Shr(a: T, b: u32) -> T { a.shr(b) }
    Mad(a: T, b: T, c: T) -> T { a.mul(b).add(c) }
    MadHi(a: T, b: T, c: T) -> T { a.mul_hi(b).add(c) }
    Sad(a: T, b: T, c: T) -> T { c.add(if a < b { b.sub(a) } else { a.sub(b) }) }
    Bfe(a: T, b: u32, c: u32) -> T { extract(a, b & 255, c & 255) }
    /// `slct` with an s32 selector.
    Slct(a: T, b: T, c: i32) -> T { if c >= 0 { a } else { b } }
    /// `slct` with an f32 selector; subnormal negative selectors count as negative, -0 does not.
    SlctFloat(a: T, b: T, c: f32) -> T { if c >= 0.0 { a } else { b } }
}

#[inline(always)]
fn find<T: Int>(a: T) -> u32 {
    let bits = if a.is_negative() { a.not() } else { a };
    // An unsigned view: a clear sign bit makes both the same.
    (T::BITS - 1).wrapping_sub(bits.clz())
}

/// `bfe`: `len` bits from `position`; bits beyond the top, and the sign of a signed field, are filled in.
#[inline(always)]
fn extract<T: Int>(a: T, position: u32, len: u32) -> T {
    let is_signed = T::from_u64(u64::MAX).is_negative();
    let msb = T::BITS - 1;
    let sign_at = (position + len).saturating_sub(1).min(msb);
    let bit = |at: u32| a.to_u64() >> at & 1;
    let fill = if !is_signed || len == 0 {
        0
    } else {
        bit(sign_at)
    };
    let mut field = 0u64;
    for i in 0..T::BITS {
        let value = if i < len && position + i <= msb {
            bit(position + i)
        } else {
            fill
        };
        field |= value << i;
    }
    T::from_u64(field)
}

/// `mul.wide` and `mad.wide`: the product has twice the width.
pub trait Widen: Int {
    type Wide: Int;
    fn widen(self) -> Self::Wide;
}

macro_rules! widen {
    ($($narrow:ident $wide:ident)*) => {$(
        impl Widen for $narrow {
            type Wide = $wide;
            #[inline(always)]
            fn widen(self) -> $wide { $wide::from(self) }
        }
    )*};
}
widen!(u16 u32 i16 i32 u32 u64 i32 i64);

pub struct MulWide<T>(PhantomData<T>);

impl<T: Widen> Op2 for MulWide<T> {
    type A = T;
    type B = T;
    type D = T::Wide;
    #[inline(always)]
    fn apply(a: T, b: T) -> T::Wide {
        a.widen().mul(b.widen())
    }
}

pub struct MadWide<T>(PhantomData<T>);

impl<T: Widen> Op3 for MadWide<T> {
    type A = T;
    type B = T;
    type C = T::Wide;
    type D = T::Wide;
    #[inline(always)]
    fn apply(a: T, b: T, c: T::Wide) -> T::Wide {
        a.widen().mul(b.widen()).add(c)
    }
}

macro_rules! compares {
    ($($name:ident |$a:ident, $b:ident| $test:expr;)*) => {$(
        pub struct $name<T>(PhantomData<T>);
        impl<T: Int> Compare for $name<T> {
            type A = T;
            #[inline(always)]
            fn apply($a: T, $b: T) -> bool { $test }
        }
    )*};
}

compares! {
    Eq |a, b| a == b;
    Ne |a, b| a != b;
    Lt |a, b| a < b;
    Le |a, b| a <= b;
    Gt |a, b| a > b;
    Ge |a, b| a >= b;
}

macro_rules! single {
    ($($(#[$doc:meta])* $name:ident($a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty) -> $D:ty $body:block)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Op3 for $name {
            type A = $A;
            type B = $B;
            type C = $C;
            type D = $D;
            #[inline(always)]
            fn apply($a: $A, $b: $B, $c: $C) -> $D $body
        }
    )*};
}

single! {
    /// The upper word of the pair (b, a) shifted left, the count taken modulo 32.
    ShfLeftWrap(a: u32, b: u32, c: u32) -> u32 { (pair(a, b) << (c & 31) >> 32) as u32 }
    ShfLeftClamp(a: u32, b: u32, c: u32) -> u32 { (pair(a, b) << c.min(32) >> 32) as u32 }
    ShfRightWrap(a: u32, b: u32, c: u32) -> u32 { (pair(a, b) >> (c & 31)) as u32 }
    ShfRightClamp(a: u32, b: u32, c: u32) -> u32 { (pair(a, b) >> c.min(32)) as u32 }
    /// `mul24.lo` of unsigned values; the signed ones are `Mad24Lo`'s sign-extended.
    Mad24LoU(a: u32, b: u32, c: u32) -> u32 { (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c) }
    Mad24LoS(a: i32, b: i32, c: i32) -> i32 { (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c) }
    Mad24HiU(a: u32, b: u32, c: u32) -> u32 {
        (((u64::from(a << 8 >> 8) * u64::from(b << 8 >> 8)) >> 16) as u32).wrapping_add(c)
    }
    Mad24HiS(a: i32, b: i32, c: i32) -> i32 {
        (((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> 16) as i32).wrapping_add(c)
    }
}

#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// `bfi`: `a`'s low `len` bits put into `b` at `position`.
pub fn insert(a: u64, b: u64, position: u32, len: u32, bits: u32) -> u64 {
    let len = len.min(bits.saturating_sub(position));
    if len == 0 || position >= bits {
        return b;
    }
    let ones = if len == 64 { u64::MAX } else { (1 << len) - 1 };
    b & !(ones << position) | (a & ones) << position
}

/// What `prmt` makes byte `i` of its result of: in bits 0 to 2 one of the eight bytes of its operands; bit 3 asks for the
/// sign of that byte.
#[inline(always)]
pub fn permute_nibble(selector: u32, mode: u32, i: u32) -> u32 {
    let control = selector & 3;
    match mode {
        0 => selector >> (4 * i) & 15,
        1 => control + i,
        2 => control.wrapping_sub(i) & 7,
        3 => control,
        4 => control.max(i),
        5 => control.min(i),
        _ => (control & 1) * 2 + (i & 1),
    }
}

/// `prmt`, with `mode` 0 for the plain form and 1 to 6 for f4e, b4e, rc8, ecl, ecr, rc16.
pub fn permute(a: u32, b: u32, selector: u32, mode: u32) -> u32 {
    let bytes = pair(a, b).to_le_bytes();
    let mut result = 0;
    for i in 0..4u32 {
        let nibble = permute_nibble(selector, mode, i);
        let byte = bytes[(nibble & 7) as usize];
        let byte = if nibble & 8 != 0 {
            if byte & 0x80 != 0 { 0xff } else { 0 }
        } else {
            byte
        };
        result |= u32::from(byte) << (8 * i);
    }
    result
}

/// `lop3`: bit k of the table is the result where a, b, c are the bits of k, a the highest.
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut result = 0;
    for k in 0..8 {
        let select = |value: u32, bit: u32| if k >> bit & 1 != 0 { value } else { !value };
        let minterm = select(a, 2) & select(b, 1) & select(c, 0);
        result |= if table >> k & 1 != 0 { minterm } else { 0 };
    }
    result
}
