//! Floats of 16 bits, as f32; every one of them is an f32 exactly.

/// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
pub(crate) fn f32_of_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        // Subnormal: so many of the smallest number, 2⁻²⁴.
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        0x1f => 0xff << 23 | fraction << 13,
        // The bias is 15 there and 127 here.
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// bfloat16: the upper half of an f32.
pub(crate) fn f32_of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fields of the format stand for, in f64.
    fn slow(bits: u16) -> f64 {
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
        sign * match exponent {
            0 => fraction / 1024.0 * 2f64.powi(-14),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        }
    }

    #[test]
    fn every_f16_is_what_its_fields_say() {
        for bits in 0..=u16::MAX {
            let (fast, slow) = (f32_of_f16(bits), slow(bits));
            if slow.is_nan() {
                assert!(fast.is_nan(), "{bits:#x}");
            } else {
                let same = f64::from(fast).to_bits() == slow.to_bits();
                assert!(same, "{bits:#x}: {fast}, not {slow}");
            }
        }
        assert_eq!(f32_of_f16(0x3c00), 1.0);
        assert_eq!(f32_of_f16(0x7bff), 65504.0);
    }

    #[test]
    fn a_bfloat_is_the_upper_half_of_a_float() {
        assert_eq!(f32_of_bf16(0x3f80), 1.0);
        assert_eq!(f32_of_bf16(0xc040), -3.0);
        assert!(f32_of_bf16(0x7fc0).is_nan());
    }
}
