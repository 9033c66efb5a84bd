// Stores, atomic operations and copies in global memory.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

#include <cuda_pipeline.h>

#define ST1(o) asm volatile("st.global.u8 [%0], %1;" ::"l"(y + (o)), "r"(v) : "memory");
#define ST2(o) asm volatile("st.global.u16 [%0], %1;" ::"l"(y + (o)), "h"((unsigned short)v) : "memory");
#define ST4(o) asm volatile("st.global.u32 [%0], %1;" ::"l"(y + (o)), "r"(v) : "memory");
#define ST8(o) asm volatile("st.global.v2.u32 [%0], {%1, %1};" ::"l"(y + (o)), "r"(v) : "memory");
#define ST16(o) asm volatile("st.global.v4.u32 [%0], {%1, %1, %1, %1};" ::"l"(y + (o)), "r"(v) : "memory");

extern "C" __global__ void counted(const unsigned* x, char* y) {
  __shared__ __align__(128) char s[2048];
  const int t = threadIdx.x;
  const unsigned v = x[t];  // sectors: 4, at best 4
  const int n = (int)v;
  const float f = (float)v;
  int out = 0;
  ST4(4 * t)  // sectors: 4, at best 4
  ST4(4 * t + 4)  // sectors: 5, at best 4
  ST4(0 * t)  // sectors: 1, at best 1
  ST4(8 * t)  // sectors: 8, at best 4
  ST4(32 * t)  // sectors: 32, at best 4
  ST4(128 * t)  // sectors: 32, at best 4
  ST4(t / 2 * 4)  // sectors: 2, at best 2
  ST4(4 * (31 - t))  // sectors: 4, at best 4
  ST1(t)  // sectors: 1, at best 1
  ST1(4 * t)  // sectors: 4, at best 1
  ST1(128 * t)  // sectors: 32, at best 1
  ST2(2 * t)  // sectors: 2, at best 2
  ST2(2 * t + 2)  // sectors: 3, at best 2
  ST8(8 * t)  // sectors: 8, at best 8
  ST8(8 * t + 8)  // sectors: 9, at best 8
  ST8(16 * t)  // sectors: 16, at best 8
  ST8(128 * t)  // sectors: 32, at best 8
  ST8(0 * t)  // sectors: 1, at best 1
  ST16(16 * t)  // sectors: 16, at best 16
  ST16(16 * t + 16)  // sectors: 17, at best 16
  ST16(32 * t)  // sectors: 32, at best 16
  ST16(128 * t)  // sectors: 32, at best 16
  ST16(0 * t)  // sectors: 1, at best 1
  atomicAdd((int*)y + t, n);  // sectors: 4, at best 4
  out += atomicAdd((int*)y + t, n);  // sectors: 4, at best 4
  atomicAdd((float*)(y) + t, f);  // sectors: 4, at best 4
  atomicAdd((int*)y + 0 * t, n);  // sectors: 1, at best 1
  out += atomicAdd((int*)y + 0 * t, n);  // sectors: 1, at best 1
  atomicAdd((float*)(y) + 0 * t, f);  // sectors: 1, at best 1
  atomicAdd((int*)y + t / 2, n);  // sectors: 2, at best 2
  out += atomicAdd((int*)y + t / 2, n);  // sectors: 2, at best 2
  atomicAdd((float*)(y) + t / 2, f);  // sectors: 2, at best 2
  atomicAdd((int*)y + t % 2, n);  // sectors: 1, at best 1
  out += atomicAdd((int*)y + t % 2, n);  // sectors: 1, at best 1
  atomicAdd((float*)(y) + t % 2, f);  // sectors: 1, at best 1
  atomicAdd((int*)y + 32 * t, n);  // sectors: 32, at best 4
  out += atomicAdd((int*)y + 32 * t, n);  // sectors: 32, at best 4
  atomicAdd((float*)(y) + 32 * t, f);  // sectors: 32, at best 4
  atomicAdd((int*)y + 8 * t, n);  // sectors: 32, at best 4
  out += atomicAdd((int*)y + 8 * t, n);  // sectors: 32, at best 4
  atomicAdd((float*)(y) + 8 * t, f);  // sectors: 32, at best 4
  atomicAdd((int*)y + 2 * t, n);  // sectors: 8, at best 4
  out += atomicAdd((int*)y + 2 * t, n);  // sectors: 8, at best 4
  atomicAdd((float*)(y) + 2 * t, f);  // sectors: 8, at best 4
  out += atomicCAS((int*)y + t, 0, n);  // sectors: 4, at best 4
  out += atomicExch((int*)y + 32 * t, n);  // sectors: 32, at best 4
  atomicAdd((unsigned long long*)y + t, (unsigned long long)n);  // sectors: 8, at best 8
  __pipeline_memcpy_async(s + 4 * t, (const char*)x + 4 * t, 4);  // sectors: 4, at best 4; wavefronts: 1, at best 1
  __pipeline_memcpy_async(s + 4 * t, (const char*)x + 4 * t + 4, 4);  // sectors: 5, at best 4; wavefronts: 1, at best 1
  __pipeline_memcpy_async(s + 4 * t, (const char*)x + 8 * t, 4);  // sectors: 8, at best 4; wavefronts: 2, at best 1
  __pipeline_memcpy_async(s + 4 * t, (const char*)x + 128 * t, 4);  // sectors: 32, at best 4; wavefronts: 32, at best 1
  __pipeline_memcpy_async(s + 8 * t, (const char*)x + 8 * t, 8);  // sectors: 8, at best 8; wavefronts: 2, at best 2
  __pipeline_memcpy_async(s + 8 * t, (const char*)x + 8 * t + 8, 8);  // sectors: 9, at best 8; wavefronts: 2, at best 2
  __pipeline_memcpy_async(s + 8 * t, (const char*)x + 16 * t, 8);  // sectors: 16, at best 8; wavefronts: 4, at best 2
  __pipeline_memcpy_async(s + 8 * t, (const char*)x + 128 * t, 8);  // sectors: 32, at best 8; wavefronts: 32, at best 2
  __pipeline_memcpy_async(s + 16 * t, (const char*)x + 16 * t, 16);  // sectors: 16, at best 16; wavefronts: 4, at best 4
  __pipeline_memcpy_async(s + 16 * t, (const char*)x + 16 * t + 16, 16);  // sectors: 32, at best 16; wavefronts: 32, at best 4
  __pipeline_memcpy_async(s + 16 * t, (const char*)x + 32 * t, 16);  // sectors: 32, at best 16; wavefronts: 32, at best 4
  __pipeline_memcpy_async(s + 16 * t, (const char*)x + 128 * t, 16);  // sectors: 32, at best 16; wavefronts: 32, at best 4
  __pipeline_memcpy_async(s + 32 * t, (const char*)x + 16 * t, 16);  // sectors: 32, at best 16; wavefronts: 32, at best 4
  __pipeline_memcpy_async(s + 64 * t, (const char*)x + 4 * t, 4);  // sectors: 4, at best 4; wavefronts: 16, at best 1
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  ((int*)y)[t] = out + s[t];  // sectors: 4, at best 4; wavefronts: 1, at best 1
}
