//! The random numbers of [`crate::rng`] in CUDA C: the same bits for the same counter, on any device.
//!
//! What draws on the device (a layer that drops values, say) puts this text before its kernels. Initial values and
//! permutations are made on the host.

/// `philox_bits` and `philox_uniform` of a seed, a tensor, a step, a purpose and an index, as `rng::Stream` has them.
/// Needs the types of [`super::PRELUDE`].
pub const PHILOX: &str = r#"
// Philox4x32-10 (Salmon et al., 2011): random bits of an index.
__device__ __forceinline__ u32 philox_bits(u64 seed, u32 tensor, u32 step, u32 purpose, u32 index) {
    u32 x = index / 4, y = tensor, z = step, w = purpose;
    u32 low = (u32)seed, high = (u32)(seed >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u32 x_high = __umulhi(x, 0xD2511F53u), z_high = __umulhi(z, 0xCD9E8D57u);
        const u32 x_low = x * 0xD2511F53u, z_low = z * 0xCD9E8D57u;
        x = z_high ^ y ^ low;
        y = z_low;
        z = x_high ^ w ^ high;
        w = x_low;
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
    const u32 part = index % 4;
    return part == 0 ? x : part == 1 ? y : part == 2 ? z : w;
}

// A number in [0, 1), a multiple of 2^-24.
__device__ __forceinline__ float philox_uniform(u64 seed, u32 tensor, u32 step, u32 purpose, u32 index) {
    return (float)(philox_bits(seed, tensor, step, purpose, index) >> 8) * (1.0f / 16777216.0f);
}
"#;
