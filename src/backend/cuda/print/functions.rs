//! Functions that printed kernels call, and names that CUDA C has already. Does not know kernels.

/// Functions that kernels call.
pub const FUNCTIONS: &str = "\
__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

__device__ __forceinline__ float inverse_sqrt(float x) {
    return 1.0f / sqrtf(x);
}

// NaN where one is, of equals the second.
__device__ __forceinline__ float greater(float a, float b) {
    return a > b || a != a ? a : b;
}
__device__ __forceinline__ float smaller(float a, float b) {
    return a < b || a != a ? a : b;
}

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

// The quotient rounded down.
__device__ __forceinline__ int floor_div(int a, int b) {
    return a / b - (a % b < 0);
}

// Two or four neighbouring elements, aligned to as many.
__device__ __forceinline__ void load2(float* to, const float* from) {
    const float2 row = *(const float2*)from;
    to[0] = row.x;
    to[1] = row.y;
}
__device__ __forceinline__ void load4(float* to, const float* from) {
    const float4 row = *(const float4*)from;
    to[0] = row.x;
    to[1] = row.y;
    to[2] = row.z;
    to[3] = row.w;
}
__device__ __forceinline__ void store2(float* to, const float* from) {
    *(float2*)to = make_float2(from[0], from[1]);
}
__device__ __forceinline__ void store4(float* to, const float* from) {
    *(float4*)to = make_float4(from[0], from[1], from[2], from[3]);
}
";

/// Whether CUDA C has a function of this name already.
pub fn is_taken(name: &str) -> bool {
    [
        "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "sqrt", "rsqrt", "abs", "max",
        "min", "greater", "smaller",
    ]
    .contains(&name)
}
