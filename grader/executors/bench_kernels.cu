// What timing needs on the device besides the contenders.

// How long an empty launch takes.
extern "C" __global__ void bench_empty() {}

// Counts the elements of `got` that differ from `want` by `tolerance` or more; NaN always differs. Where `want` is
// NaN lies padding. `worst` is the largest difference, as the bits of a double: those of positive doubles are
// ordered as the doubles are, and NaN lies above infinity, so a NaN stays.
extern "C" __global__ void bench_compare(const float* got, const double* want, long long elements, double tolerance,
                                         unsigned long long* worst, unsigned long long* wrong) {
    unsigned long long my_worst = 0, my_wrong = 0;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += step) {
        if (want[i] != want[i]) continue;
        const double difference = fabs((double)got[i] - want[i]);
        if (!(difference < tolerance)) ++my_wrong;
        const unsigned long long bits = __double_as_longlong(difference) & 0x7fffffffffffffffull;
        my_worst = bits > my_worst ? bits : my_worst;
    }
    if (my_worst) atomicMax(worst, my_worst);
    if (my_wrong) atomicAdd(wrong, my_wrong);
}

// Four-byte inputs of a sweep: all bit patterns from `base` on.
extern "C" __global__ void sweep_patterns(unsigned int* x, long long elements, unsigned long long base) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += step)
        x[i] = (unsigned int)(base + i);
}

// One-byte inputs: the 256 codes, over and over.
extern "C" __global__ void sweep_bytes(unsigned char* x, long long elements, unsigned long long base) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += step)
        x[i] = (unsigned char)(base + i);
}

// Random bits beside each pattern, from the pattern alone, so that the host can find them again (grader/sweeping.py).
extern "C" __global__ void sweep_random(unsigned int* x, long long elements, unsigned long long base) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += step) {
        unsigned int h = (unsigned int)(base + i);
        h = (h ^ (h >> 16)) * 0x7feb352du;
        h = (h ^ (h >> 15)) * 0x846ca68bu;
        x[i] = h ^ (h >> 16);
    }
}
