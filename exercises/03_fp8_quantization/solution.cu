// Quantization to FP8 at four granularities: the reference solution.
//
// All kernels do the same three things: find the amax of the elements that share a scale, compute the scale
// from it, and write each element, divided by the scale, as a byte. There is little arithmetic, so memory
// bandwidth sets the speed. Three ideas follow from that.
//
//   Read wide.   A thread loads a float4 (16 bytes) and stores four codes at once; neighbouring threads read
//                neighbouring addresses. It issues several loads before it uses the first: memory latency is
//                about a thousand clock cycles, so many loads must be in flight.
//   Read once.   Where they fit, the values loaded for the amax stay in registers until they are quantized.
//   Reduce late. Each thread takes the maximum of its own elements first, then the warp, then the block.
//
// Ragged blocks: a thread past the edge loads the last valid float4 again. This does not change any amax, and
// no load is inside an `if`, which would delay it. Only the store is guarded. cols is a multiple of 16, so a
// float4 is either entirely inside its matrix or entirely outside.
#include <cuda_fp8.h>

#include "grader.cuh"

constexpr float AMAX_FLOOR = 1e-6f;  // so that the scale of a block of zeros is not 0
constexpr float E4M3_LARGEST = 448.0f;
constexpr int BLOCK = 128;  // elements along each blocked axis that share a scale
constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__host__ __device__ constexpr int ceil_div(long long a, int b) { return (int)((a + b - 1) / b); }

__device__ float scale_of(float amax) { return fmaxf(amax, AMAX_FLOOR) / E4M3_LARGEST; }

__device__ float amax_of(float4 v) {
    return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

// Returns the largest of the warp's 32 values to every lane. Non-negative floats compare like their bits, so
// the integer maximum of a warp works for them; from compute capability 8.0 on, it is a single instruction.
__device__ float warp_max(float value) {
#if __CUDA_ARCH__ >= 800
    return __uint_as_float(__reduce_max_sync(ALL_LANES, __float_as_uint(value)));
#else
    for (int step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
#endif
}

// Returns the largest value of the block to every thread. One barrier is enough: after it, every warp reduces
// the warps' maxima itself instead of waiting for one warp to do it. A kernel may call this only once.
__device__ float block_max(float value) {
    __shared__ float of_warp[WARP];
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
    value = warp_max(value);
    if (lane == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    return warp_max(lane < warps ? of_warp[lane] : 0.0f);
}

// Four codes in memory order. `inverse` is 1 / scale: one division for all elements of a block, and one
// multiplication per element. The product may differ from the quotient in its last bit, which the grader
// allows. One conversion instruction handles two values.
__device__ unsigned encode4(float4 v, float4 inverse) {
    const float2 front = make_float2(v.x * inverse.x, v.y * inverse.y);
    const float2 back = make_float2(v.z * inverse.z, v.w * inverse.w);
    const unsigned low = __nv_cvt_float2_to_fp8x2(front, __NV_SATFINITE, __NV_E4M3);
    const unsigned high = __nv_cvt_float2_to_fp8x2(back, __NV_SATFINITE, __NV_E4M3);
    return low | high << 16;
}

__device__ unsigned encode4(float4 v, float inverse) {
    return encode4(v, make_float4(inverse, inverse, inverse, inverse));
}

__device__ float4 load4(const float* x, size_t at) { return *(const float4*)(x + at); }
__device__ void store4(unsigned char* q, size_t at, unsigned codes) { *(unsigned*)(q + at) = codes; }

// ---- per tensor: one scale -------------------------------------------------------------------------------
// No block may quantize before all blocks have contributed to the amax, and blocks cannot wait for each
// other. So there are two kernels: the first stores the amax in the workspace, the second reads it there.

constexpr int TENSOR_THREADS = 256;
constexpr int TENSOR_LOADS = 8;                                 // float4s per thread
constexpr int TENSOR_TILE = TENSOR_THREADS * TENSOR_LOADS * 4;  // elements per block of threads

// The index of one of this thread's float4s: neighbouring threads take neighbouring float4s.
__device__ size_t tensor_at(int tile, int load) {
    return (size_t)tile * TENSOR_TILE + (load * TENSOR_THREADS + threadIdx.x) * 4;
}

// Stores the amax of all of x in the first four bytes of the workspace, which start as 0. There is no
// atomicMax for floats, but again non-negative floats compare like their bits. One atomicMax per block of
// threads.
extern "C" __global__ void __launch_bounds__(TENSOR_THREADS)
    per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows, int cols,
                           void* workspace) {
    const size_t last = (size_t)rows * cols - 4;
    float4 v[TENSOR_LOADS];
#pragma unroll
    for (int i = 0; i < TENSOR_LOADS; ++i) v[i] = load4(x, min(tensor_at(blockIdx.x, i), last));
    float amax = 0.0f;
#pragma unroll
    for (int i = 0; i < TENSOR_LOADS; ++i) amax = fmaxf(amax, amax_of(v[i]));
    amax = block_max(amax);
    if (threadIdx.x == 0) atomicMax((unsigned*)workspace, __float_as_uint(amax));
}

// Every thread computes the scale; one stores it. Tiles are processed from the end of x to the start, because
// what the previous kernel read last is still in the L2 cache.
extern "C" __global__ void __launch_bounds__(TENSOR_THREADS)
    per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale, int rows, int cols,
                               void* workspace) {
    const size_t last = (size_t)rows * cols - 4;
    const int tile = gridDim.x - 1 - blockIdx.x;
    float4 v[TENSOR_LOADS];
#pragma unroll
    for (int i = 0; i < TENSOR_LOADS; ++i) v[i] = load4(x, min(tensor_at(tile, i), last));
    const float own = scale_of(__uint_as_float(*(const unsigned*)workspace));
    if (blockIdx.x == 0 && threadIdx.x == 0) scale[0] = own;
    const float inverse = 1.0f / own;
#pragma unroll
    for (int i = 0; i < TENSOR_LOADS; ++i) {
        const size_t at = tensor_at(tile, i);
        if (at <= last) store4(q, at, encode4(v[i], inverse));
    }
}

extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)rows * cols, TENSOR_TILE));
    launch->block = dim3(TENSOR_THREADS);
    launch->workspace_bytes = sizeof(unsigned);
}

extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)rows * cols, TENSOR_TILE));
    launch->block = dim3(TENSOR_THREADS);
    launch->workspace_bytes = sizeof(unsigned);  // the same workspace, as the previous kernel left it
}

// ---- per channel: a scale for each column of each group --------------------------------------------------

constexpr int STRIP = 32;  // columns per block of threads: in each row, 128 bytes of x and one sector of q
constexpr int STRIP_LANES = STRIP / 4;  // threads side by side, one float4 each
constexpr int STRIP_THREADS = 1024;
constexpr int STRIP_ROWS = STRIP_THREADS / STRIP_LANES;  // rows that are loaded at once
constexpr int STRIP_LOADS = 4;                           // float4s that a thread asks for together

__device__ float4 max4(float4 a, float4 b) {
    return make_float4(fmaxf(a.x, fabsf(b.x)), fmaxf(a.y, fabsf(b.y)), fmaxf(a.z, fabsf(b.z)),
                       fmaxf(a.w, fabsf(b.w)));
}

// A block of threads takes a strip of 32 columns from top to bottom. (With a single column, memory would
// deliver 32 bytes per row for the 4 that are needed, and write a whole sector of q for each byte.)
// blockIdx.x: which strip; the last may be half as wide. blockIdx.y: which group.
//
// A strip is as tall as x, too tall for registers. It is read a second time soon after the first, so most of
// it comes from the L2 cache. On an H200, keeping part of it in shared memory was no faster, and 16 columns
// instead of 32 took 1.7 times as long.
extern "C" __global__ void __launch_bounds__(STRIP_THREADS)
    per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups, int rows, int cols) {
    __shared__ unsigned amax[STRIP];  // as bits, for atomicMax

    const int lane = threadIdx.x % STRIP_LANES, first_row = threadIdx.x / STRIP_LANES;
    const int col = blockIdx.x * STRIP + lane * 4;
    const bool inside = col < cols;
    const size_t start = (size_t)blockIdx.y * rows * cols + min(col, cols - 4);  // in row 0

    if (threadIdx.x < STRIP) amax[threadIdx.x] = 0;
    __syncthreads();

    float4 most = make_float4(0, 0, 0, 0);
    for (int row = first_row; row < rows; row += STRIP_ROWS * STRIP_LOADS) {
        float4 v[STRIP_LOADS];
#pragma unroll
        for (int i = 0; i < STRIP_LOADS; ++i) {
            v[i] = load4(x, start + (size_t)min(row + i * STRIP_ROWS, rows - 1) * cols);
        }
#pragma unroll
        for (int i = 0; i < STRIP_LOADS; ++i) most = max4(most, v[i]);
    }

    // Lanes 8 and 16 apart hold the same columns. After these exchanges, lanes 0 to 7 hold the warp's maxima.
#pragma unroll
    for (int apart = STRIP_LANES; apart < WARP; apart *= 2) {
        most = max4(most, make_float4(__shfl_xor_sync(ALL_LANES, most.x, apart),
                                      __shfl_xor_sync(ALL_LANES, most.y, apart),
                                      __shfl_xor_sync(ALL_LANES, most.z, apart),
                                      __shfl_xor_sync(ALL_LANES, most.w, apart)));
    }
    if (threadIdx.x % WARP < STRIP_LANES) {
        atomicMax(&amax[lane * 4 + 0], __float_as_uint(most.x));
        atomicMax(&amax[lane * 4 + 1], __float_as_uint(most.y));
        atomicMax(&amax[lane * 4 + 2], __float_as_uint(most.z));
        atomicMax(&amax[lane * 4 + 3], __float_as_uint(most.w));
    }
    __syncthreads();

    const float4 own = make_float4(
        scale_of(__uint_as_float(amax[lane * 4 + 0])), scale_of(__uint_as_float(amax[lane * 4 + 1])),
        scale_of(__uint_as_float(amax[lane * 4 + 2])), scale_of(__uint_as_float(amax[lane * 4 + 3])));
    if (first_row == 0 && inside) *(float4*)(scale + (size_t)blockIdx.y * cols + col) = own;
    const float4 inverse = make_float4(1.0f / own.x, 1.0f / own.y, 1.0f / own.z, 1.0f / own.w);
    for (int row = first_row; row < rows; row += STRIP_ROWS * STRIP_LOADS) {
        float4 v[STRIP_LOADS];
#pragma unroll
        for (int i = 0; i < STRIP_LOADS; ++i) {
            v[i] = load4(x, start + (size_t)min(row + i * STRIP_ROWS, rows - 1) * cols);
        }
#pragma unroll
        for (int i = 0; i < STRIP_LOADS; ++i) {
            const int to = row + i * STRIP_ROWS;
            if (inside && to < rows) store4(q, start + (size_t)to * cols, encode4(v[i], inverse));
        }
    }
}

extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3(ceil_div(cols, STRIP), groups);
    launch->block = dim3(STRIP_THREADS);
}

// ---- fine-grained: 1x128 along a row ---------------------------------------------------------------------

constexpr int FINE_THREADS = 256;
constexpr int FINE_BLOCKS = 4;  // blocks per warp

// 32 lanes with one float4 each hold exactly the 128 elements of a block, so a warp needs no shared memory
// and no barrier. Each warp takes four blocks, so that four loads are in flight at once.
extern "C" __global__ void __launch_bounds__(FINE_THREADS)
    fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows, int cols) {
    const int lane = threadIdx.x % WARP;
    const int first = (blockIdx.x * (FINE_THREADS / WARP) + threadIdx.x / WARP) * FINE_BLOCKS;
    const int blocks_per_row = ceil_div(cols, BLOCK), blocks = rows * blocks_per_row;

    float4 v[FINE_BLOCKS];
    size_t at[FINE_BLOCKS];
    bool inside[FINE_BLOCKS];
#pragma unroll
    for (int i = 0; i < FINE_BLOCKS; ++i) {
        const int block = min(first + i, blocks - 1);
        const int col = block % blocks_per_row * BLOCK + lane * 4;
        at[i] = (size_t)(block / blocks_per_row) * cols + min(col, cols - 4);
        inside[i] = first + i < blocks && col < cols;
        v[i] = load4(x, at[i]);
    }
#pragma unroll
    for (int i = 0; i < FINE_BLOCKS; ++i) {
        // All lanes get here, even those without an element: warp_max waits for all of them.
        const float own = scale_of(warp_max(amax_of(v[i])));
        if (inside[i]) store4(q, at[i], encode4(v[i], 1.0f / own));
        if (lane == 0 && first + i < blocks) scale[first + i] = own;
    }
}

extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3(ceil_div((long long)rows * ceil_div(cols, BLOCK), FINE_THREADS / WARP * FINE_BLOCKS));
    launch->block = dim3(FINE_THREADS);
}

// ---- block-wise: 128x128 ---------------------------------------------------------------------------------

constexpr int WISE_THREADS = 512;
constexpr int WISE_STEP = WISE_THREADS / WARP;  // rows at a time: each warp takes one row of the block
constexpr int WISE_LOADS = BLOCK / WISE_STEP;   // float4s per thread

// A block of threads takes one block of x: 512 threads hold its 16384 elements in registers, 32 each.
// blockIdx.x and blockIdx.y: which block along the columns and along the rows. blockIdx.z: which group.
extern "C" __global__ void __launch_bounds__(WISE_THREADS)
    block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups, int rows, int cols) {
    const int col = blockIdx.x * BLOCK + threadIdx.x % WARP * 4;
    const int first_row = blockIdx.y * BLOCK + threadIdx.x / WARP;
    const size_t group = (size_t)blockIdx.z * rows * cols;

    float4 v[WISE_LOADS];
#pragma unroll
    for (int i = 0; i < WISE_LOADS; ++i) {
        const int row = min(first_row + i * WISE_STEP, rows - 1);
        v[i] = load4(x, group + (size_t)row * cols + min(col, cols - 4));
    }
    float amax = 0.0f;
#pragma unroll
    for (int i = 0; i < WISE_LOADS; ++i) amax = fmaxf(amax, amax_of(v[i]));

    const float own = scale_of(block_max(amax));
    if (threadIdx.x == 0) scale[((size_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = own;
    const float inverse = 1.0f / own;
#pragma unroll
    for (int i = 0; i < WISE_LOADS; ++i) {
        const int row = first_row + i * WISE_STEP;
        if (row < rows && col < cols) store4(q, group + (size_t)row * cols + col, encode4(v[i], inverse));
    }
}

extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3(ceil_div(cols, BLOCK), ceil_div(rows, BLOCK), groups);
    launch->block = dim3(WISE_THREADS);
}
