// The only header of the grader's that a submission needs.
//
// A submission is device code: kernels, and for each kernel a launch function that says how to launch it.
// The grader allocates the arrays, runs the launch function, launches the kernel and measures the time.
#ifndef GRADER_CUH
#define GRADER_CUH

#include <math.h>  // INFINITY, NAN, M_PI, which nvcc gives to every file

// What a launch function fills in. It runs once per problem, on one thread, before the kernel.
struct Launch {                         // arrives zeroed, but for the last two members
    dim3 grid;                          // to be set; no component may stay 0
    dim3 block;                         // to be set; no component may stay 0
    unsigned int shared_bytes;          // dynamic shared memory
    int variant;                        // 0: the kernel itself; n: the kernel whose name ends in _n
    unsigned long long workspace_bytes; // at most 64 MiB
    int sm_count;                       // given: the device's multiprocessors (on the CPU: 132)
    int max_shared_bytes;               // given: dynamic shared memory a block may ask for (on the CPU: 232448)
};

// The grader reads these bytes from outside.
static_assert(sizeof(Launch) == 48, "Launch has a fixed layout");

#endif
