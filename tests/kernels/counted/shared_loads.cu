// Loads from shared memory.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

#define LD1(o) { unsigned a; asm volatile("ld.shared.u8 %0, [%1];" : "=r"(a) : "r"(s + (o))); out += a; }
#define LD2(o) { unsigned short a; asm volatile("ld.shared.u16 %0, [%1];" : "=h"(a) : "r"(s + (o))); out += a; }
#define LD4(o) { unsigned a; asm volatile("ld.shared.u32 %0, [%1];" : "=r"(a) : "r"(s + (o))); out += a; }
#define LD8(o) { unsigned a, b; asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(s + (o))); out += a ^ b; }
#define LD16(o) { unsigned a, b, c, d; asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(s + (o))); out += a ^ b ^ c ^ d; }

#define SYNC __syncthreads();  // so that the assembler makes no wider load of two lines

extern "C" __global__ void counted(const unsigned* x, unsigned* y) {
  __shared__ __align__(128) unsigned words[2048];
  const unsigned s = (unsigned)__cvta_generic_to_shared(words);
  const int t = threadIdx.x;
  unsigned out = 0;
  for (int i = t; i < 2048; i += 32) words[i] = x[i];  // sectors: 256, at best 256; wavefronts: 64, at best 64
  __syncthreads();
  LD4(4 * t) SYNC  // wavefronts: 1, at best 1
  LD4(0 * t) SYNC  // wavefronts: 1, at best 1
  LD4(8 * t) SYNC  // wavefronts: 2, at best 1
  LD4(12 * t) SYNC  // wavefronts: 1, at best 1
  LD4(16 * t) SYNC  // wavefronts: 4, at best 1
  LD4(32 * t) SYNC  // wavefronts: 8, at best 1
  LD4(64 * t) SYNC  // wavefronts: 16, at best 1
  LD4(68 * t) SYNC  // wavefronts: 1, at best 1
  LD4(128 * t) SYNC  // wavefronts: 32, at best 1
  LD4(132 * t) SYNC  // wavefronts: 1, at best 1
  LD4(4 * (31 - t)) SYNC  // wavefronts: 1, at best 1
  LD4(4 * (t * 7 % 32)) SYNC  // wavefronts: 1, at best 1
  LD4(t / 16 * 128) SYNC  // wavefronts: 2, at best 1
  LD4(t % 2 * 128) SYNC  // wavefronts: 2, at best 1
  LD4(t / 2 * 4) SYNC  // wavefronts: 1, at best 1
  LD4(t / 8 * 128 + t % 8 * 4) SYNC  // wavefronts: 4, at best 1
  LD4((t * t * 37 + t * 11) % 1000 * 4) SYNC  // wavefronts: 5, at best 1
  LD1(t) SYNC  // wavefronts: 1, at best 1
  LD1(4 * t) SYNC  // wavefronts: 1, at best 1
  LD1(128 * t) SYNC  // wavefronts: 32, at best 1
  LD1(32 * t) SYNC  // wavefronts: 8, at best 1
  LD2(2 * t) SYNC  // wavefronts: 1, at best 1
  LD2(64 * t) SYNC  // wavefronts: 16, at best 1
  LD2(128 * t + 2) SYNC  // wavefronts: 32, at best 1
  LD8(8 * t) SYNC  // wavefronts: 2, at best 2
  LD8(0 * t + 8) SYNC  // wavefronts: 1, at best 1
  LD8(t / 2 * 8) SYNC  // wavefronts: 1, at best 1
  LD8(t % 2 * 8) SYNC  // wavefronts: 1, at best 1
  LD8(t % 16 * 8) SYNC  // wavefronts: 2, at best 2
  LD8(t / 16 * 8) SYNC  // wavefronts: 1, at best 1
  LD8(16 * t) SYNC  // wavefronts: 4, at best 2
  LD8(24 * t) SYNC  // wavefronts: 2, at best 2
  LD8(32 * t) SYNC  // wavefronts: 8, at best 2
  LD8(128 * t) SYNC  // wavefronts: 32, at best 2
  LD8(136 * t) SYNC  // wavefronts: 2, at best 2
  LD8(t / 16 * 128) SYNC  // wavefronts: 2, at best 2
  LD8(t % 2 * 128) SYNC  // wavefronts: 4, at best 2
  LD8(t % 4 * 128) SYNC  // wavefronts: 8, at best 2
  LD8((t * t * 37 + t * 11) % 500 * 8) SYNC  // wavefronts: 7, at best 2
  LD8(8 * t + 8) SYNC  // wavefronts: 2, at best 2
  LD16(16 * t) SYNC  // wavefronts: 4, at best 4
  LD16(0 * t + 16) SYNC  // wavefronts: 2, at best 2
  LD16(t / 2 * 16) SYNC  // wavefronts: 2, at best 2
  LD16(t / 4 * 16) SYNC  // wavefronts: 2, at best 2
  LD16(t / 8 * 16) SYNC  // wavefronts: 2, at best 2
  LD16(t / 16 * 16) SYNC  // wavefronts: 2, at best 2
  LD16(t % 2 * 16) SYNC  // wavefronts: 2, at best 2
  LD16(t % 4 * 16) SYNC  // wavefronts: 4, at best 4
  LD16(t % 8 * 16) SYNC  // wavefronts: 4, at best 4
  LD16(t % 16 * 16) SYNC  // wavefronts: 4, at best 4
  LD16(32 * t) SYNC  // wavefronts: 8, at best 4
  LD16(48 * t) SYNC  // wavefronts: 4, at best 4
  LD16(64 * t) SYNC  // wavefronts: 16, at best 4
  LD16(80 * t) SYNC  // wavefronts: 4, at best 4
  LD16(128 * t) SYNC  // wavefronts: 32, at best 4
  LD16(144 * t) SYNC  // wavefronts: 4, at best 4
  LD16(t / 16 * 128) SYNC  // wavefronts: 2, at best 2
  LD16(t % 2 * 128) SYNC  // wavefronts: 8, at best 4
  LD16(t / 4 * 128) SYNC  // wavefronts: 8, at best 4
  LD16(t % 8 * 128) SYNC  // wavefronts: 32, at best 4
  LD16(t / 8 * 128 + t % 2 * 16) SYNC  // wavefronts: 4, at best 4
  LD16((t * t * 37 + t * 11) % 250 * 16) SYNC  // wavefronts: 12, at best 4
  if (t < 8) LD4(4 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t < 8) LD8(8 * t + 16) SYNC  // wavefronts: 1, at best 1
  if (t < 8) LD16(16 * t + 32) SYNC  // wavefronts: 1, at best 1
  if (t < 8) LD16(0 * t + 48) SYNC  // wavefronts: 1, at best 1
  if (t < 8) LD4(128 * t + 4) SYNC  // wavefronts: 8, at best 1
  if (t % 2 == 0) LD4(4 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t % 2 == 0) LD8(8 * t + 16) SYNC  // wavefronts: 2, at best 1
  if (t % 2 == 0) LD16(16 * t + 32) SYNC  // wavefronts: 4, at best 2
  if (t % 2 == 0) LD16(0 * t + 48) SYNC  // wavefronts: 1, at best 1
  if (t % 2 == 0) LD4(128 * t + 4) SYNC  // wavefronts: 16, at best 1
  if (t % 4 == 0) LD4(4 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t % 4 == 0) LD8(8 * t + 16) SYNC  // wavefronts: 2, at best 1
  if (t % 4 == 0) LD16(16 * t + 32) SYNC  // wavefronts: 4, at best 1
  if (t % 4 == 0) LD16(0 * t + 48) SYNC  // wavefronts: 1, at best 1
  if (t % 4 == 0) LD4(128 * t + 4) SYNC  // wavefronts: 8, at best 1
  if (t == 5) LD4(4 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t == 5) LD8(8 * t + 16) SYNC  // wavefronts: 1, at best 1
  if (t == 5) LD16(16 * t + 32) SYNC  // wavefronts: 1, at best 1
  if (t == 5) LD16(0 * t + 48) SYNC  // wavefronts: 1, at best 1
  if (t == 5) LD4(128 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t < 20) LD4(4 * t + 4) SYNC  // wavefronts: 1, at best 1
  if (t < 20) LD8(8 * t + 16) SYNC  // wavefronts: 2, at best 2
  if (t < 20) LD16(16 * t + 32) SYNC  // wavefronts: 3, at best 3
  if (t < 20) LD16(0 * t + 48) SYNC  // wavefronts: 2, at best 2
  if (t < 20) LD4(128 * t + 4) SYNC  // wavefronts: 20, at best 1
  y[t] = out;  // sectors: 4, at best 4
}
