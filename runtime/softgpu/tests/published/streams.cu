// Kernels that read each word once.

// The sum of a block's 512 threads, halving: through shared memory, at the end within one warp.
__device__ void halve(int* sums, int* total) {
    int t = threadIdx.x;
#pragma unroll
    for (int half = 256; half > 32; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        __syncthreads();
    }
    volatile int* own = sums;
#pragma unroll
    for (int half = 32; half > 0; half /= 2) {
        if (t < half) own[t] += own[t + half];
        __syncwarp();
    }
    if (t == 0) atomicAdd(total, own[0]);
}

extern "C" __global__ void sum_words(const int* a, const int*, int* total, unsigned count) {
    __shared__ int sums[512];
    unsigned at = blockIdx.x * 512 + threadIdx.x;
    sums[threadIdx.x] = at < count ? a[at] : 0;
    __syncthreads();
    halve(sums, total);
}

// Twelve neighbouring words a thread.
extern "C" __global__ void sum_batches(const int* a, const int*, int* total, unsigned count) {
    __shared__ int sums[512];
    unsigned at = (blockIdx.x * 512 + threadIdx.x) * 12;
    int sum = 0;
#pragma unroll
    for (int k = 0; k < 12; ++k)
        if (at + k < count) sum += a[at + k];
    sums[threadIdx.x] = sum;
    __syncthreads();
    halve(sums, total);
}

extern "C" __global__ void add_fours(const float4* a, const float4* b, float4* c, unsigned count) {
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * at >= count) return;
    float4 x = a[at], y = b[at];
    c[at] = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
}

extern "C" __global__ void scale(float* out, const float* in, unsigned count) {
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count) out[at] = 1.23f * in[at];
}
