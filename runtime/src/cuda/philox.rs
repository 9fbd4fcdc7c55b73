//! The random numbers of [`crate::rng`] in CUDA C: the same bits for the same counter, on any device.
//!
//! Knows no kernel that draws. Initial values and permutations are made on the host.

/// `random_number` of a counter's four words and a key's two, a multiple of 2⁻²⁴ in [0, 1): of what
/// [`crate::rng::philox4x32_10`] gives, the first word. Needs the types of [`super::PRELUDE`].
pub const PHILOX: &str = "\
// Philox4x32-10: the number in [0, 1) of a counter a, b, c, d under a key.
__device__ __forceinline__ float random_number(u32 a, u32 b, u32 c, u32 d, u32 low, u32 high) {
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u32 first = 0xd2511f53 * a;
        const u32 third = 0xcd9e8d57 * c;
        const u32 above = __umulhi(0xd2511f53, a);
        a = __umulhi(0xcd9e8d57, c) ^ b ^ low;
        b = third;
        c = above ^ d ^ high;
        d = first;
        low += 0x9e3779b9;
        high += 0xbb67ae85;
    }
    return (float)(a >> 8) * 5.9604645e-8f;
}
";
