//! Dot products of packed small integers, `dp4a` and `dp2a`: what compilers make of index arithmetic too.

use super::lanes::Op3;

/// A byte or half of a word, as a signed or an unsigned number.
#[inline(always)]
fn part(word: u32, at: u32, bits: u32, signed: bool) -> i64 {
    let field = word >> at << (32 - bits);
    if signed {
        i64::from(field as i32 >> (32 - bits))
    } else {
        i64::from(field >> (32 - bits))
    }
}

/// c plus the products of four bytes with four bytes.
pub struct Dot4<const A: bool, const B: bool>;

impl<const A: bool, const B: bool> Op3 for Dot4<A, B> {
    type A = u32;
    type B = u32;
    type C = u32;
    type D = u32;
    #[inline(always)]
    fn apply(a: u32, b: u32, c: u32) -> u32 {
        let products = (0..4).map(|k| part(a, 8 * k, 8, A) * part(b, 8 * k, 8, B));
        c.wrapping_add(products.sum::<i64>() as u32)
    }
}

/// c plus the products of two halves with two bytes: the upper ones of the second word where `HIGH`.
pub struct Dot2<const A: bool, const B: bool, const HIGH: bool>;

impl<const A: bool, const B: bool, const HIGH: bool> Op3 for Dot2<A, B, HIGH> {
    type A = u32;
    type B = u32;
    type C = u32;
    type D = u32;
    #[inline(always)]
    fn apply(a: u32, b: u32, c: u32) -> u32 {
        let b = if HIGH { b >> 16 } else { b };
        let products = (0..2).map(|k| part(a, 16 * k, 16, A) * part(b, 8 * k, 8, B));
        c.wrapping_add(products.sum::<i64>() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_multiplied_in_pairs() {
        let (a, b) = (0x04_03_02_01, 0xff_02_03_04);
        assert_eq!(
            Dot4::<false, false>::apply(a, b, 5),
            5 + 4 + 6 + 6 + 4 * 255
        );
        let signed = Dot4::<false, true>::apply(a, b, 5);
        assert_eq!(signed as i32, 5 + 4 + 6 + 6 - 4);
        let halves = 0xffff_0003;
        assert_eq!(
            Dot2::<false, false, false>::apply(halves, b, 1),
            1 + 12 + 65535 * 3
        );
        assert_eq!(
            Dot2::<true, true, true>::apply(halves, b, 1) as i32,
            1 + 6 + 1
        );
    }
}
