// Lanes that go different ways.
//
// One warp, t = threadIdx.x. Behind each line stands what all its executions cost, and how few would do at best.

extern "C" __global__ void counted(const float* x, float* y) {
  __shared__ float s[1024];
  const int t = threadIdx.x;
  float out = 0, array[16];
  for (int i = t; i < 1024; i += 32) s[i] = x[i];  // sectors: 128, at best 128; wavefronts: 32, at best 32
  __syncthreads();
#pragma unroll 1
  for (int i = 0; i < t % 4; ++i)
    out += x[32 * i + t];  // sectors: 12, at best 6
#pragma unroll 1
  for (int i = 0; i < t; ++i)
    out += s[32 * i + t];  // wavefronts: 31, at best 31
#pragma unroll 1
  for (int i = 0; i < 8; ++i)
    if ((t + i) % 4 == 0)
      out += x[32 * i + t];  // sectors: 32, at best 8
#pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    if (out > 1e30f) break;
#pragma unroll 1
    for (int j = 0; j < (t + i) % 3; ++j)
      out += x[128 * j + 2 * t];  // sectors: 128, at best 40
  }
#pragma unroll 1
  for (int i = 0; i < 16; ++i) {
    const float value = x[i * 32 + t];  // sectors: 64, at best 64
    array[i] = value;  // sectors: 64, at best 64
  }
#pragma unroll 1
  for (int i = 0; i < 16; ++i)
    out += array[(i * 5 + t) % 16];  // sectors: 512, at best 64
  int n = (int)x[t];  // sectors: 4, at best 4
#pragma unroll 1
  while (n > 0) {
    out += x[n];  // sectors: 131, at best 27
    n = n * 2 + 3;
    if (n > 900) break;
  }
  y[t] = out;  // sectors: 4, at best 4
}
