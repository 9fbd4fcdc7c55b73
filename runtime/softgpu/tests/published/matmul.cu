// Inner loops are unrolled here as ptxas unrolls them, so that PTX has what runs.
// c = a b, all of `size` rows and columns, `depth` terms of each sum. Blocks take tiles row by row.

// A thread an element; the lanes of a warp lie in one column of c, so they read a's rows apart.
extern "C" __global__ void rows_apart(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    unsigned across = (size + 31) / 32;
    unsigned row = blockIdx.x % across * 32 + threadIdx.x % 32, column = blockIdx.x / across * 32 + threadIdx.x / 32;
    if (row >= size || column >= size) return;
    float sum = 0;
    for (int k = 0; k < (int)depth; ++k) sum += a[row * size + k] * b[k * size + column];
    c[row * size + column] = sum + 0.5f * c[row * size + column];
}

// The same, with the lanes of a warp in one row of c.
extern "C" __global__ void rows_together(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    unsigned across = (size + 31) / 32;
    unsigned row = blockIdx.x % across * 32 + threadIdx.x / 32, column = blockIdx.x / across * 32 + threadIdx.x % 32;
    if (row >= size || column >= size) return;
    float sum = 0;
    for (int k = 0; k < (int)depth; ++k) sum += a[row * size + k] * b[k * size + column];
    c[row * size + column] = sum + 0.5f * c[row * size + column];
}

// 32 x 32 tiles of both factors in shared memory; a thread an element.
extern "C" __global__ void shared_tiles(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    __shared__ float left[32 * 32], right[32 * 32];
    unsigned across = (size + 31) / 32, x = threadIdx.x % 32, y = threadIdx.x / 32;
    a += blockIdx.x % across * 32 * size;
    b += blockIdx.x / across * 32;
    c += blockIdx.x % across * 32 * size + blockIdx.x / across * 32;
    float sum = 0;
    for (int begin = 0; begin < (int)depth; begin += 32) {
        left[y * 32 + x] = a[y * size + x];
        right[y * 32 + x] = b[y * size + x];
        __syncthreads();
        a += 32;
        b += 32 * size;
#pragma unroll
        for (int k = 0; k < 32; ++k) sum += left[y * 32 + k] * right[k * 32 + x];
        __syncthreads();
    }
    c[y * size + x] = sum + 0.5f * c[y * size + x];
}

// 64 x 64 results a block, eight below one another a thread.
extern "C" __global__ void column_of_results(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    __shared__ float left[64 * 8], right[8 * 64];
    unsigned across = (size + 63) / 64, x = threadIdx.x % 64, y = threadIdx.x / 64;
    unsigned inner = threadIdx.x % 8, outer = threadIdx.x / 8;
    a += blockIdx.x / across * 64 * size;
    b += blockIdx.x % across * 64;
    c += blockIdx.x / across * 64 * size + blockIdx.x % across * 64;
    float sums[8] = {};
    for (unsigned begin = 0; begin < depth; begin += 8) {
        left[outer * 8 + inner] = a[outer * size + inner];
        right[y * 64 + x] = b[y * size + x];
        __syncthreads();
        a += 8;
        b += 8 * size;
#pragma unroll
        for (unsigned k = 0; k < 8; ++k) {
            float factor = right[k * 64 + x];
            for (unsigned i = 0; i < 8; ++i) sums[i] += left[(y * 8 + i) * 8 + k] * factor;
        }
        __syncthreads();
    }
    for (unsigned i = 0; i < 8; ++i) c[(y * 8 + i) * size + x] = sums[i] + 0.5f * c[(y * 8 + i) * size + x];
}

// 128 x 128 results a block, 8 x 8 a thread.
extern "C" __global__ void __launch_bounds__(256, 1)
square_of_results(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    __shared__ float left[128 * 8], right[8 * 128];
    unsigned across = (size + 127) / 128, x = threadIdx.x % 16, y = threadIdx.x / 16;
    a += blockIdx.x / across * 128 * size;
    b += blockIdx.x % across * 128;
    c += blockIdx.x / across * 128 * size + blockIdx.x % across * 128;
    float sums[8][8] = {}, rows[8], columns[8];
    for (unsigned begin = 0; begin < depth; begin += 8) {
        for (unsigned r = 0; r < 128; r += 32) {
            unsigned row = threadIdx.x / 8 + r, k = threadIdx.x % 8;
            left[row * 8 + k] = a[row * size + k];
        }
        for (unsigned r = 0; r < 8; r += 2) {
            unsigned k = threadIdx.x / 128 + r, column = threadIdx.x % 128;
            right[k * 128 + column] = b[k * size + column];
        }
        __syncthreads();
        a += 8;
        b += 8 * size;
#pragma unroll
        for (unsigned k = 0; k < 8; ++k) {
            for (unsigned i = 0; i < 8; ++i) rows[i] = left[(y * 8 + i) * 8 + k];
            for (unsigned j = 0; j < 8; ++j) columns[j] = right[k * 128 + x * 8 + j];
            for (unsigned i = 0; i < 8; ++i)
                for (unsigned j = 0; j < 8; ++j) sums[i][j] += rows[i] * columns[j];
        }
        __syncthreads();
    }
    for (unsigned i = 0; i < 8; ++i)
        for (unsigned j = 0; j < 8; ++j) {
            float* at = &c[(y * 8 + i) * size + x * 8 + j];
            *at = sums[i][j] + 0.5f * *at;
        }
}

// The same with a's tile turned round, and four words at a time from and to global memory.
extern "C" __global__ void rows_of_four(const float* a, const float* b, float* c, unsigned size, unsigned depth) {
    __shared__ float left[8 * 128], right[8 * 128];
    unsigned across = (size + 127) / 128, x = threadIdx.x % 16, y = threadIdx.x / 16;
    unsigned row = threadIdx.x / 2, part = threadIdx.x % 2 * 4, below = threadIdx.x / 32, beside = threadIdx.x % 32 * 4;
    a += blockIdx.x / across * 128 * size;
    b += blockIdx.x % across * 128;
    c += blockIdx.x / across * 128 * size + blockIdx.x % across * 128;
    float sums[8][8] = {}, rows[8], columns[8];
    for (unsigned begin = 0; begin < depth; begin += 8) {
        float4 four = *(const float4*)&a[row * size + part];
        left[(part + 0) * 128 + row] = four.x;
        left[(part + 1) * 128 + row] = four.y;
        left[(part + 2) * 128 + row] = four.z;
        left[(part + 3) * 128 + row] = four.w;
        *(float4*)&right[below * 128 + beside] = *(const float4*)&b[below * size + beside];
        __syncthreads();
        a += 8;
        b += 8 * size;
#pragma unroll
        for (unsigned k = 0; k < 8; ++k) {
            for (unsigned i = 0; i < 8; ++i) rows[i] = left[k * 128 + y * 8 + i];
            for (unsigned j = 0; j < 8; ++j) columns[j] = right[k * 128 + x * 8 + j];
            for (unsigned i = 0; i < 8; ++i)
                for (unsigned j = 0; j < 8; ++j) sums[i][j] += rows[i] * columns[j];
        }
        __syncthreads();
    }
    for (unsigned i = 0; i < 8; ++i)
        for (unsigned j = 0; j < 8; j += 4) {
            float4* at = (float4*)&c[(y * 8 + i) * size + x * 8 + j];
            float4 old = *at;
            *at = make_float4(sums[i][j] + 0.5f * old.x, sums[i][j + 1] + 0.5f * old.y, sums[i][j + 2] + 0.5f * old.z,
                              sums[i][j + 3] + 0.5f * old.w);
        }
}
