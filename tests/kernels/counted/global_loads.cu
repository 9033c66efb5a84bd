// Loads from global memory.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

#define LD1(o) { unsigned a; asm volatile("ld.global.u8 %0, [%1];" : "=r"(a) : "l"(x + (o))); out += a; }
#define LD2(o) { unsigned short a; asm volatile("ld.global.u16 %0, [%1];" : "=h"(a) : "l"(x + (o))); out += a; }
#define LD4(o) { unsigned a; asm volatile("ld.global.u32 %0, [%1];" : "=r"(a) : "l"(x + (o))); out += a; }
#define LD8(o) { unsigned a, b; asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "l"(x + (o))); out += a ^ b; }
#define LD16(o) { unsigned a, b, c, d; asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "l"(x + (o))); out += a ^ b ^ c ^ d; }

#define SYNC __syncthreads();  // so that the assembler makes no wider load of two lines

extern "C" __global__ void counted(const char* x, unsigned* y) {
  const int t = threadIdx.x;
  unsigned out = 0;
  LD4(4 * t) SYNC  // sectors: 4, at best 4
  LD4(4 * t + 4) SYNC  // sectors: 5, at best 4
  LD4(4 * t + 16) SYNC  // sectors: 5, at best 4
  LD4(0 * t) SYNC  // sectors: 1, at best 1
  LD4(8 * t) SYNC  // sectors: 8, at best 4
  LD4(12 * t) SYNC  // sectors: 12, at best 4
  LD4(16 * t) SYNC  // sectors: 16, at best 4
  LD4(32 * t) SYNC  // sectors: 32, at best 4
  LD4(64 * t) SYNC  // sectors: 32, at best 4
  LD4(128 * t) SYNC  // sectors: 32, at best 4
  LD4(1024 * t) SYNC  // sectors: 32, at best 4
  LD4(4 * (31 - t)) SYNC  // sectors: 4, at best 4
  LD4(t / 2 * 4) SYNC  // sectors: 2, at best 2
  LD4(t % 2 * 4) SYNC  // sectors: 1, at best 1
  LD4(t / 8 * 128 + t % 8 * 4) SYNC  // sectors: 4, at best 4
  LD4(t / 8 * 128 + t % 8 * 4 + 16) SYNC  // sectors: 8, at best 4
  LD4((t * t * 37 + t * 11) % 1000 * 4) SYNC  // sectors: 29, at best 4
  LD4((t * 7919 + 13) % 8000 * 4) SYNC  // sectors: 32, at best 4
  LD1(t) SYNC  // sectors: 1, at best 1
  LD1(t + 3) SYNC  // sectors: 2, at best 1
  LD1(4 * t) SYNC  // sectors: 4, at best 1
  LD1(32 * t) SYNC  // sectors: 32, at best 1
  LD2(2 * t) SYNC  // sectors: 2, at best 2
  LD2(2 * t + 2) SYNC  // sectors: 3, at best 2
  LD8(8 * t) SYNC  // sectors: 8, at best 8
  LD8(8 * t + 8) SYNC  // sectors: 9, at best 8
  LD8(16 * t) SYNC  // sectors: 16, at best 8
  LD8(0 * t) SYNC  // sectors: 1, at best 1
  LD8(t / 2 * 8) SYNC  // sectors: 4, at best 4
  LD8(t % 16 * 8) SYNC  // sectors: 4, at best 4
  LD8(128 * t) SYNC  // sectors: 32, at best 8
  LD16(16 * t) SYNC  // sectors: 16, at best 16
  LD16(16 * t + 16) SYNC  // sectors: 17, at best 16
  LD16(32 * t) SYNC  // sectors: 32, at best 16
  LD16(0 * t) SYNC  // sectors: 1, at best 1
  LD16(t / 4 * 16) SYNC  // sectors: 4, at best 4
  LD16(t % 4 * 16) SYNC  // sectors: 2, at best 2
  LD16(t % 8 * 16) SYNC  // sectors: 4, at best 4
  LD16(128 * t) SYNC  // sectors: 32, at best 16
  LD16(512 * t) SYNC  // sectors: 32, at best 16
  LD16(t / 8 * 1024 + t % 8 * 16) SYNC  // sectors: 16, at best 16
  if (t < 8) LD4(4 * t + 8) SYNC  // sectors: 2, at best 1
  if (t < 8) LD8(8 * t + 24) SYNC  // sectors: 3, at best 2
  if (t < 8) LD16(16 * t + 48) SYNC  // sectors: 5, at best 4
  if (t % 2 == 0) LD4(4 * t + 8) SYNC  // sectors: 5, at best 2
  if (t % 2 == 0) LD8(8 * t + 24) SYNC  // sectors: 9, at best 4
  if (t % 2 == 0) LD16(16 * t + 48) SYNC  // sectors: 16, at best 8
  if (t % 4 == 0) LD4(4 * t + 8) SYNC  // sectors: 4, at best 1
  if (t % 4 == 0) LD8(8 * t + 24) SYNC  // sectors: 8, at best 2
  if (t % 4 == 0) LD16(16 * t + 48) SYNC  // sectors: 8, at best 4
  if (t == 5) LD4(4 * t + 8) SYNC  // sectors: 1, at best 1
  if (t == 5) LD8(8 * t + 24) SYNC  // sectors: 1, at best 1
  if (t == 5) LD16(16 * t + 48) SYNC  // sectors: 1, at best 1
  if (t < 20) LD4(4 * t + 8) SYNC  // sectors: 3, at best 3
  if (t < 20) LD8(8 * t + 24) SYNC  // sectors: 6, at best 5
  if (t < 20) LD16(16 * t + 48) SYNC  // sectors: 11, at best 10
  y[t] = out;  // sectors: 4, at best 4
}
