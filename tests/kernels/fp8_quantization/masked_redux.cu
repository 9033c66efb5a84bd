// __reduce_max_sync, __nv_fp8_e4m3; per tensor: one block that writes the scale.
#include <cuda_fp8.h>
#include "grader.cuh"
__device__ float scale_of(float amax) { return fmaxf(amax, 1e-6f) / 448.0f; }
__device__ unsigned char enc(float x, float s) {
    const __nv_fp8_e4m3 v(x * (1.0f / s));
    return v.__x;
}

__device__ float block_max(float v) {
    __shared__ unsigned part[32];
    const unsigned w = __reduce_max_sync(0xffffffffu, __float_as_uint(v));
    part[threadIdx.x / 32] = w;  // all lanes, the same
    __syncthreads();
    unsigned r = 0;
    for (int k = 0; k < blockDim.x / 32; ++k) r = max(r, part[k]);
    __syncthreads();
    return __uint_as_float(r);
}

// one block, the amax straight to scale; the second kernel makes a scale of it in every block, and nobody
// writes
extern "C" __global__ void per_tensor_amax_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                                  int cols) {
    __shared__ float part[512];
    float m = 0;
    const int fours = rows * cols / 4;
    for (int i = threadIdx.x; i < fours; i += 512) {
        const float4 v = ((const float4*)x)[i];
        m = fmaxf(m, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    part[threadIdx.x] = m;
    __syncthreads();
    for (int s = 256; s > 0; s >>= 1) {
        if (threadIdx.x < s) part[threadIdx.x] = fmaxf(part[threadIdx.x], part[threadIdx.x + s]);
        __syncthreads();
    }
    if (threadIdx.x == 0) scale[0] = scale_of(part[0]);
}
extern "C" __global__ void per_tensor_quantize_kernel(const float* x, unsigned char* q, float* scale,
                                                      int rows, int cols) {
    const float s = scale[0];
    for (int row = blockIdx.x; row < rows; row += gridDim.x)
        for (int c = threadIdx.x; c < cols; c += blockDim.x)
            q[(size_t)row * cols + c] = enc(x[(size_t)row * cols + c], s);
}
extern "C" __global__ void launch_per_tensor_amax(int rows, int cols, Launch* launch) {
    launch->grid = 1;
    launch->block = 512;
}
extern "C" __global__ void launch_per_tensor_quantize(int rows, int cols, Launch* launch) {
    launch->grid = min(rows, 100);
    launch->block = dim3(64);
}

extern "C" __global__ void per_channel_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                              int rows, int cols) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= cols) return;
    const float* p = x + (size_t)blockIdx.y * rows * cols + c;
    unsigned char* o = q + (size_t)blockIdx.y * rows * cols + c;
    float m = 0;
    for (int r = 0; r < rows; ++r) m = fmaxf(m, fabsf(p[(size_t)r * cols]));
    const float s = scale_of(m);
    scale[blockIdx.y * cols + c] = s;
    for (int r = 0; r < rows; ++r) o[(size_t)r * cols] = enc(p[(size_t)r * cols], s);
}
extern "C" __global__ void launch_per_channel(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + 127) / 128, groups);
    launch->block = dim3(128);
}

// a block for a row, a warp for each piece; the mask names the lanes that have something
extern "C" __global__ void fine_grained_kernel(const float* x, unsigned char* q, float* scale, int rows,
                                               int cols) {
    const int lane = threadIdx.x % 32, per = (cols + 127) / 128;
    for (int b = threadIdx.x / 32; b < per; b += blockDim.x / 32) {
        const int c = b * 128 + lane * 4;
        const unsigned mask = __ballot_sync(0xffffffff, c < cols);
        if (c < cols) {
            const float4 v = *(const float4*)(x + (size_t)blockIdx.x * cols + c);
            unsigned m = max(max(__float_as_uint(fabsf(v.x)), __float_as_uint(fabsf(v.y))),
                             max(__float_as_uint(fabsf(v.z)), __float_as_uint(fabsf(v.w))));
            m = __reduce_max_sync(mask, m);
            const float s = scale_of(__uint_as_float(m));
            if (lane == 0) scale[(size_t)blockIdx.x * per + b] = s;
            *(unsigned*)(q + (size_t)blockIdx.x * cols + c) =
                enc(v.x, s) | enc(v.y, s) << 8 | enc(v.z, s) << 16 | (unsigned)enc(v.w, s) << 24;
        }
        __syncwarp();
    }
}
extern "C" __global__ void launch_fine_grained(int rows, int cols, Launch* launch) {
    launch->grid = dim3(rows);
    launch->block = dim3(256);
}

// 64 KiB of dynamic shared memory keep the block
extern "C" __global__ void block_wise_kernel(const float* x, unsigned char* q, float* scale, int groups,
                                             int rows, int cols) {
    extern __shared__ __align__(16) unsigned char raw[];
    float4* kept = reinterpret_cast<float4*>(raw);
    const int r0 = blockIdx.y * 128, c0 = blockIdx.x * 128, h = min(128, rows - r0),
              w4 = min(128, cols - c0) / 4;
    const size_t at = ((size_t)blockIdx.z * rows + r0) * cols + c0;
    float m = 0;
    for (int i = threadIdx.x; i < h * w4; i += blockDim.x) {
        const float4 v = *(const float4*)(x + at + (size_t)(i / w4) * cols + i % w4 * 4);
        kept[i] = v;
        m = fmaxf(fmaxf(m, fmaxf(fabsf(v.x), fabsf(v.y))), fmaxf(fabsf(v.z), fabsf(v.w)));
    }
    const float s = scale_of(block_max(m));
    if (threadIdx.x == 0) scale[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = s;
    for (int i = threadIdx.x; i < h * w4; i += blockDim.x) {
        const float4 v = kept[i];
        *(uchar4*)(q + at + (size_t)(i / w4) * cols + i % w4 * 4) =
            make_uchar4(enc(v.x, s), enc(v.y, s), enc(v.z, s), enc(v.w, s));
    }
}
extern "C" __global__ void launch_block_wise(int groups, int rows, int cols, Launch* launch) {
    launch->grid = dim3((cols + 127) / 128, (rows + 127) / 128, groups);
    launch->block = dim3(128);
    launch->shared_bytes = 65536;
}
