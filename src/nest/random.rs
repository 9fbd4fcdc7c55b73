//! Random numbers of formulas: one for each element of each image in each step, by counter.
//!
//! Philox4x32-10 (Salmon and others 2011, Parallel random numbers: as easy as 1, 2, 3) under the run's seed, of a counter
//! that says which number it is. So it depends on nothing that was drawn before: each target, and each number of threads,
//! finds the same. Does not know what the numbers are for.

use crate::ir::{Scalar, Scalars};

/// Streams of formulas are counted from here on: those below are weights' and shuffles'.
const FIRST_STREAM: u32 = 2;

/// Which number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Within the image, as the formula counts.
    pub element: u32,
    /// The image's position in the batch.
    pub image: u32,
    pub stream: u32,
}

/// The word of the counter that a stream of formulas has.
pub fn stream_word(stream: u32) -> u32 {
    stream.wrapping_add(FIRST_STREAM)
}

/// A number in [0, 1), a multiple of 2⁻²⁴, at a step that has these scalars.
pub fn uniform(counter: Counter, scalars: &Scalars) -> f32 {
    let word = |scalar| scalars.get(scalar) as u32;
    let counter = [
        counter.element,
        counter.image,
        word(Scalar::Step),
        stream_word(counter.stream),
    ];
    let key = [word(Scalar::SeedLow), word(Scalar::SeedHigh)];
    (philox(counter, key) >> 8) as f32 * SCALE
}

/// 2⁻²⁴
pub const SCALE: f32 = 1.0 / 16_777_216.0;
pub const ROUNDS: u32 = 10;
/// What the first and the third word of a counter are multiplied by.
pub const FACTORS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What a round adds to each word of the key.
pub const STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The first word of the last counter. The runtime has the same rounds for weights and shuffles; formulas know no runtime,
/// and their emitters need the constants.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> u32 {
    for _ in 0..ROUNDS {
        let products = [0, 1].map(|k| u64::from(counter[2 * k]) * u64::from(FACTORS[k]));
        let [low, high] = [0, 32].map(|from| products.map(|p| (p >> from) as u32));
        counter = [
            high[1] ^ counter[1] ^ key[0],
            low[1],
            high[0] ^ counter[3] ^ key[1],
            low[0],
        ];
        key = [0, 1].map(|k| key[k].wrapping_add(STEPS[k]));
    }
    counter[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First words of the known answers that come with Random123.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), 0x6627_e8d5);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), 0x408f_276d);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), 0xd16c_fe09);
    }
}
