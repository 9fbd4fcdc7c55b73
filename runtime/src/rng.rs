//! Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
//!
//! A number depends on the seed, the tensor, the step, the purpose and its index alone, never on what was drawn
//! before: so any thread or device finds the same ones, and a run can be resumed anywhere. Does not know what
//! the numbers are for.

/// What a stream is drawn for; a part of the counter, so that streams never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Init = 0,
    Shuffle = 1,
}

/// Ten rounds of Philox on a 128-bit counter under a 64-bit key.
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        let (a_high, b_high) = ((a >> 32) as u32, (b >> 32) as u32);
        counter = [
            b_high ^ counter[1] ^ key[0],
            b as u32,
            a_high ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

/// The numbers of one tensor at one step for one purpose.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: [u32; 2],
    tensor: u32,
    step: u32,
    purpose: Purpose,
}

impl Stream {
    /// `tensor` is its place in source order; `step` counts from 0.
    pub fn new(seed: u64, tensor: u32, step: u32, purpose: Purpose) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            tensor,
            step,
            purpose,
        }
    }

    /// 32 random bits.
    pub fn bits(&self, index: u32) -> u32 {
        let counter = [index / 4, self.tensor, self.step, self.purpose as u32];
        philox4x32_10(counter, self.key)[(index % 4) as usize]
    }

    /// A number in [0, 1), a multiple of 2⁻²⁴.
    pub fn uniform(&self, index: u32) -> f32 {
        (self.bits(index) >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// A permutation of 0 to n − 1 for an epoch: Fisher–Yates from the end, j = ⌊u · (i + 1) / 2³²⌋.
pub fn permutation(seed: u64, epoch: u32, n: u32) -> Vec<u32> {
    let stream = Stream::new(seed, 0, epoch, Purpose::Shuffle);
    let mut order: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        let j = (u64::from(stream.bits(i)) * (u64::from(i) + 1)) >> 32;
        order.swap(i as usize, j as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_random123() {
        let zero = philox4x32_10([0; 4], [0; 2]);
        assert_eq!(zero, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32_10([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox4x32_10(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        );
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn uniform_numbers_lie_below_one_and_differ_between_streams() {
        let [a, b] = [0, 1].map(|tensor| Stream::new(7, tensor, 0, Purpose::Init));
        let mean = (0..4096).map(|i| f64::from(a.uniform(i))).sum::<f64>() / 4096.0;
        assert!((0..4096).all(|i| (0.0..1.0).contains(&a.uniform(i))));
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert_ne!(a.bits(0), b.bits(0));
    }

    #[test]
    fn a_permutation_holds_every_number_once_and_changes_with_the_epoch() {
        let mut p = permutation(1, 0, 1000);
        assert_ne!(p, permutation(1, 1, 1000));
        assert_eq!(p, permutation(1, 0, 1000));
        p.sort_unstable();
        assert!(p.iter().copied().eq(0..1000));
        assert!(permutation(1, 0, 0).is_empty());
    }
}
