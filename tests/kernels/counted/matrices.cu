// ldmatrix and stmatrix.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

#define X1(o) { unsigned a; asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(a) : "r"(s + (o))); out += a; }
#define X2(o) { unsigned a, b; asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(s + (o))); out += a ^ b; }
#define X4(o) { unsigned a, b, c, d; asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(s + (o))); out += a ^ b ^ c ^ d; }
#define X4T(o) { unsigned a, b, c, d; asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(s + (o))); out += a ^ b ^ c ^ d; }
#define ST4(o) asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %1, %1, %1};" ::"r"(s + (o)), "r"(out) : "memory");

extern "C" __global__ void counted(const unsigned* x, unsigned* y) {
  __shared__ __align__(128) unsigned words[2048];
  const unsigned s = (unsigned)__cvta_generic_to_shared(words);
  const int t = threadIdx.x;
  unsigned out = 0;
  for (int i = t; i < 2048; i += 32) words[i] = x[i];  // sectors: 256, at best 256; wavefronts: 64, at best 64
  __syncthreads();
  X1(16 * t)  // wavefronts: 1, at best 1
  X1(0 * t)  // wavefronts: 1, at best 1
  X1(32 * t)  // wavefronts: 2, at best 1
  X1(64 * t)  // wavefronts: 4, at best 1
  X1(80 * t)  // wavefronts: 1, at best 1
  X1(128 * t)  // wavefronts: 8, at best 1
  X1(144 * t)  // wavefronts: 1, at best 1
  X1(t / 8 * 128 + t % 8 * 16)  // wavefronts: 1, at best 1
  X1(t % 8 * 16)  // wavefronts: 1, at best 1
  X2(16 * t)  // wavefronts: 2, at best 2
  X2(0 * t)  // wavefronts: 2, at best 2
  X2(32 * t)  // wavefronts: 4, at best 2
  X2(64 * t)  // wavefronts: 8, at best 2
  X2(80 * t)  // wavefronts: 2, at best 2
  X2(128 * t)  // wavefronts: 16, at best 2
  X2(144 * t)  // wavefronts: 2, at best 2
  X2(t / 8 * 128 + t % 8 * 16)  // wavefronts: 2, at best 2
  X2(t % 8 * 16)  // wavefronts: 2, at best 2
  X4(16 * t)  // wavefronts: 4, at best 4
  X4(0 * t)  // wavefronts: 4, at best 4
  X4(32 * t)  // wavefronts: 8, at best 4
  X4(64 * t)  // wavefronts: 16, at best 4
  X4(80 * t)  // wavefronts: 4, at best 4
  X4(128 * t)  // wavefronts: 32, at best 4
  X4(144 * t)  // wavefronts: 4, at best 4
  X4(t / 8 * 128 + t % 8 * 16)  // wavefronts: 4, at best 4
  X4(t % 8 * 16)  // wavefronts: 4, at best 4
  X4T(16 * t)  // wavefronts: 4, at best 4
  X4T(0 * t)  // wavefronts: 4, at best 4
  X4T(32 * t)  // wavefronts: 8, at best 4
  X4T(64 * t)  // wavefronts: 16, at best 4
  X4T(80 * t)  // wavefronts: 4, at best 4
  X4T(128 * t)  // wavefronts: 32, at best 4
  X4T(144 * t)  // wavefronts: 4, at best 4
  X4T(t / 8 * 128 + t % 8 * 16)  // wavefronts: 4, at best 4
  X4T(t % 8 * 16)  // wavefronts: 4, at best 4
  __syncthreads();
  ST4(16 * t)  // wavefronts: 4, at best 4
  ST4(32 * t)  // wavefronts: 8, at best 4
  ST4(64 * t)  // wavefronts: 16, at best 4
  ST4(80 * t)  // wavefronts: 4, at best 4
  ST4(128 * t)  // wavefronts: 32, at best 4
  ST4(144 * t)  // wavefronts: 4, at best 4
  __syncthreads();
  y[t] = out + words[t];  // sectors: 4, at best 4; wavefronts: 1, at best 1
}
