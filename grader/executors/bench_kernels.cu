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
