//! Functions that printed kernels call, and names that CUDA C has already. Does not know kernels.

use lenetc_runtime::cuda::PHILOX;

use crate::nest::Unary;

/// Functions that kernels call.
pub fn functions() -> String {
    [VALUES, PHILOX, MEMORY].join("\n")
}

const VALUES: &str = "\
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
";

const MEMORY: &str = "\
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
    let extremes = ["max", "min", "greater", "smaller"];
    Unary::ALL.iter().any(|f| f.name() == name) || extremes.contains(&name)
}
