// Stores to shared memory.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

#define ST1(o) asm volatile("st.shared.u8 [%0], %1;" ::"r"(s + (o)), "r"(v) : "memory");
#define ST2(o) asm volatile("st.shared.u16 [%0], %1;" ::"r"(s + (o)), "h"((unsigned short)v) : "memory");
#define ST4(o) asm volatile("st.shared.u32 [%0], %1;" ::"r"(s + (o)), "r"(v) : "memory");
#define ST8(o) asm volatile("st.shared.v2.u32 [%0], {%1, %1};" ::"r"(s + (o)), "r"(v) : "memory");
#define ST16(o) asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"(s + (o)), "r"(v) : "memory");

extern "C" __global__ void counted(const unsigned* x, unsigned* y) {
  __shared__ __align__(128) unsigned words[2048];
  const unsigned s = (unsigned)__cvta_generic_to_shared(words);
  const int t = threadIdx.x;
  const unsigned v = x[t];  // sectors: 4, at best 4
  ST4(4 * t)  // wavefronts: 1, at best 1
  ST4(8 * t)  // wavefronts: 2, at best 1
  ST4(16 * t)  // wavefronts: 4, at best 1
  ST4(128 * t)  // wavefronts: 32, at best 1
  ST4(132 * t)  // wavefronts: 1, at best 1
  ST4(4 * (31 - t))  // wavefronts: 1, at best 1
  ST4(0 * t)  // wavefronts: 1, at best 1
  ST4(t / 2 * 4)  // wavefronts: 1, at best 1
  ST4(t / 16 * 128)  // wavefronts: 2, at best 1
  ST1(t)  // wavefronts: 1, at best 1
  ST1(4 * t)  // wavefronts: 1, at best 1
  ST1(128 * t)  // wavefronts: 32, at best 1
  ST2(2 * t)  // wavefronts: 1, at best 1
  ST1(t / 4 * 128 + t % 4)  // wavefronts: 8, at best 1
  ST8(8 * t)  // wavefronts: 2, at best 2
  ST8(16 * t)  // wavefronts: 4, at best 2
  ST8(24 * t)  // wavefronts: 2, at best 2
  ST8(128 * t)  // wavefronts: 32, at best 2
  ST8(136 * t)  // wavefronts: 2, at best 2
  ST8(0 * t)  // wavefronts: 2, at best 2
  ST8(t / 2 * 8)  // wavefronts: 2, at best 2
  ST8(t % 16 * 8)  // wavefronts: 2, at best 2
  ST16(16 * t)  // wavefronts: 4, at best 4
  ST16(32 * t)  // wavefronts: 8, at best 4
  ST16(48 * t)  // wavefronts: 4, at best 4
  ST16(64 * t)  // wavefronts: 16, at best 4
  ST16(80 * t)  // wavefronts: 4, at best 4
  ST16(128 * t)  // wavefronts: 32, at best 4
  ST16(144 * t)  // wavefronts: 4, at best 4
  ST16(0 * t)  // wavefronts: 4, at best 4
  ST16(t / 4 * 16)  // wavefronts: 4, at best 4
  ST16(t % 4 * 16)  // wavefronts: 4, at best 4
  ST16(t % 8 * 16)  // wavefronts: 4, at best 4
  if (t < 8) ST4(4 * t)  // wavefronts: 1, at best 1
  if (t < 8) ST8(8 * t)  // wavefronts: 1, at best 1
  if (t < 8) ST16(16 * t)  // wavefronts: 1, at best 1
  if (t % 2 == 0) ST4(4 * t)  // wavefronts: 1, at best 1
  if (t % 2 == 0) ST8(8 * t)  // wavefronts: 2, at best 1
  if (t % 2 == 0) ST16(16 * t)  // wavefronts: 4, at best 2
  if (t % 4 == 0) ST4(4 * t)  // wavefronts: 1, at best 1
  if (t % 4 == 0) ST8(8 * t)  // wavefronts: 2, at best 1
  if (t % 4 == 0) ST16(16 * t)  // wavefronts: 4, at best 1
  __syncthreads();
  y[t] = words[t];  // sectors: 4, at best 4; wavefronts: 1, at best 1
}
