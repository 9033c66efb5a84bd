// The only header from the grader that a submission needs.
//
// A submission is device code: kernels and, for each kernel, a launch function that decides how it is launched.
// The grader allocates the arrays, runs the launch function, launches the kernel and measures the time.
#ifndef GRADER_CUH
#define GRADER_CUH

#include <math.h>  // INFINITY, NAN, M_PI, which nvcc provides by default

// Filled in by a launch function, which runs once per case, on a single thread, before the kernel.
struct Launch {                         // zeroed, except for the last two fields
    dim3 grid;                          // you must set it; no component may be 0
    dim3 block;                         // you must set it; no component may be 0
    unsigned int shared_bytes;          // dynamic shared memory
    int variant;                        // 0: the kernel itself; n: the kernel whose name ends in _n
    unsigned long long workspace_bytes; // at most 64 MiB
    int sm_count;                       // set by the grader: number of multiprocessors (on the CPU: 132)
    int max_shared_bytes;               // set by the grader: most shared memory a block can have (on the CPU: 232448)
};

// The grader reads these bytes from outside.
static_assert(sizeof(Launch) == 48, "Launch has a fixed layout");

#endif
