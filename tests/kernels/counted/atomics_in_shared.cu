// Atomic operations in shared memory.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

extern "C" __global__ void counted(const int* x, int* y) {
  __shared__ __align__(128) int s[2048];
  const int t = threadIdx.x, v = x[t];  // sectors: 4, at best 4
  int out = 0;
  for (int i = t; i < 2048; i += 32) s[i] = 0;  // wavefronts: 64, at best 64
  __syncthreads();
  atomicAdd(&s[t], v);  // wavefronts: 1, at best 1
  atomicAdd(&s[0 * t], v);  // wavefronts: 1, at best 1
  atomicAdd(&s[t / 2], v);  // wavefronts: 2, at best 1
  atomicAdd(&s[t % 2], v);  // wavefronts: 16, at best 1
  atomicAdd(&s[32 * t], v);  // wavefronts: 32, at best 1
  atomicAdd(&s[t % 4 * 32], v);  // wavefronts: 32, at best 1
  atomicAdd(&s[2 * t], v);  // wavefronts: 2, at best 1
  atomicAdd(&s[t / 8], v);  // wavefronts: 8, at best 1
  atomicAdd(&s[t % 8], v);  // wavefronts: 4, at best 1
  atomicAdd(&s[33 * t], v);  // wavefronts: 1, at best 1
  atomicAdd(&s[t / 16 * 32], v);  // wavefronts: 32, at best 1
  atomicAdd(&s[t * t * 37 % 1000], v);  // wavefronts: 6, at best 1
  out += atomicAdd(&s[t], v);  // wavefronts: 1, at best 1
  out += atomicAdd(&s[0 * t], v);  // wavefronts: 1, at best 1
  out += atomicAdd(&s[t / 2], v);  // wavefronts: 2, at best 1
  out += atomicAdd(&s[t % 2], v);  // wavefronts: 16, at best 1
  out += atomicAdd(&s[32 * t], v);  // wavefronts: 32, at best 1
  out += atomicAdd(&s[t % 4 * 32], v);  // wavefronts: 32, at best 1
  out += atomicAdd(&s[2 * t], v);  // wavefronts: 2, at best 1
  out += atomicAdd(&s[t / 8], v);  // wavefronts: 8, at best 1
  out += atomicAdd(&s[t % 8], v);  // wavefronts: 4, at best 1
  out += atomicAdd(&s[33 * t], v);  // wavefronts: 1, at best 1
  out += atomicAdd(&s[t / 16 * 32], v);  // wavefronts: 32, at best 1
  out += atomicAdd(&s[t * t * 37 % 1000], v);  // wavefronts: 6, at best 1
  out += atomicExch(&s[t], v);  // wavefronts: 1, at best 1
  out += atomicExch(&s[0 * t], v);  // wavefronts: 32, at best 1
  out += atomicExch(&s[t / 2], v);  // wavefronts: 2, at best 1
  out += atomicExch(&s[t % 2], v);  // wavefronts: 16, at best 1
  out += atomicExch(&s[32 * t], v);  // wavefronts: 32, at best 1
  out += atomicExch(&s[t % 4 * 32], v);  // wavefronts: 32, at best 1
  out += atomicExch(&s[2 * t], v);  // wavefronts: 2, at best 1
  out += atomicExch(&s[t / 8], v);  // wavefronts: 8, at best 1
  out += atomicExch(&s[t % 8], v);  // wavefronts: 4, at best 1
  out += atomicExch(&s[33 * t], v);  // wavefronts: 1, at best 1
  out += atomicExch(&s[t / 16 * 32], v);  // wavefronts: 32, at best 1
  out += atomicExch(&s[t * t * 37 % 1000], v);  // wavefronts: 6, at best 1
  atomicMax(&s[t], v);  // wavefronts: 1, at best 1
  atomicMax(&s[0 * t], v);  // wavefronts: 1, at best 1
  atomicMax(&s[t / 2], v);  // wavefronts: 2, at best 1
  atomicMax(&s[t % 2], v);  // wavefronts: 16, at best 1
  atomicMax(&s[32 * t], v);  // wavefronts: 32, at best 1
  atomicMax(&s[t % 4 * 32], v);  // wavefronts: 32, at best 1
  atomicMax(&s[2 * t], v);  // wavefronts: 2, at best 1
  atomicMax(&s[t / 8], v);  // wavefronts: 8, at best 1
  atomicMax(&s[t % 8], v);  // wavefronts: 4, at best 1
  atomicMax(&s[33 * t], v);  // wavefronts: 1, at best 1
  atomicMax(&s[t / 16 * 32], v);  // wavefronts: 32, at best 1
  atomicMax(&s[t * t * 37 % 1000], v);  // wavefronts: 6, at best 1
  out += atomicCAS(&s[t], 0, v);  // wavefronts: 2, at best 1
  out += atomicCAS(&s[0 * t], 0, v);  // wavefronts: 64, at best 1
  out += atomicCAS(&s[t / 2], 0, v);  // wavefronts: 4, at best 1
  out += atomicCAS(&s[t % 2], 0, v);  // wavefronts: 32, at best 1
  out += atomicCAS(&s[32 * t], 0, v);  // wavefronts: 64, at best 1
  out += atomicCAS(&s[t % 4 * 32], 0, v);  // wavefronts: 64, at best 1
  out += atomicCAS(&s[2 * t], 0, v);  // wavefronts: 4, at best 1
  out += atomicCAS(&s[t / 8], 0, v);  // wavefronts: 16, at best 1
  out += atomicCAS(&s[t % 8], 0, v);  // wavefronts: 8, at best 1
  out += atomicCAS(&s[33 * t], 0, v);  // wavefronts: 2, at best 1
  out += atomicCAS(&s[t / 16 * 32], 0, v);  // wavefronts: 64, at best 1
  out += atomicCAS(&s[t * t * 37 % 1000], 0, v);  // wavefronts: 12, at best 1
  atomicAdd(&s[t], 1);  // wavefronts: 1, at best 1
  atomicAdd(&s[0 * t], 1);  // wavefronts: 1, at best 1
  atomicAdd(&s[t / 2], 1);  // wavefronts: 1, at best 1
  atomicAdd(&s[t % 2], 1);  // wavefronts: 1, at best 1
  atomicAdd((unsigned long long*)s + (t) % 1000, (unsigned long long)v);  // wavefronts: 2, at best 2
  atomicAdd((unsigned long long*)s + (0 * t) % 1000, (unsigned long long)v);  // wavefronts: 2, at best 2
  atomicAdd((unsigned long long*)s + (t / 2) % 1000, (unsigned long long)v);  // wavefronts: 2, at best 2
  atomicAdd((unsigned long long*)s + (t % 2) % 1000, (unsigned long long)v);  // wavefronts: 2, at best 2
  atomicAdd((float*)s + t, (float)v);  // wavefronts: 3, at best 1
  atomicAdd((float*)s + 0 * t, (float)v);  // wavefronts: 96, at best 1
  atomicAdd((float*)s + t / 2, (float)v);  // wavefronts: 6, at best 1
  atomicAdd((float*)s + t % 2, (float)v);  // wavefronts: 48, at best 1
  __syncthreads();
  y[t] = s[t] + out;  // sectors: 4, at best 4; wavefronts: 1, at best 1
}
