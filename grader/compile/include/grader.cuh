// The only header from the grader that a submission needs.
//
// A submission is device code: kernels and, for each kernel, a launch function that decides how it is launched.
// The grader allocates the arrays, runs the launch function, launches the kernel and measures the time.
#ifndef GRADER_CUH
#define GRADER_CUH

#include <cuda.h>  // CUtensorMap, and the values that a TensorMap is described with
#include <math.h>  // INFINITY, NAN, M_PI, which nvcc provides by default

// What cuTensorMapEncodeTiled takes, for a kernel that copies tiles with cp.async.bulk.tensor.
struct TensorMap {
    int array;                          // which parameter of the kernel, counted from 0
    int type;                           // CU_TENSOR_MAP_DATA_TYPE_*
    int rank;                           // 1 to 5
    unsigned long long offset;          // bytes from that array's start, a multiple of 16
    unsigned long long dim[5];          // elements, innermost first
    unsigned long long stride[4];       // bytes, of dim[1] and outwards, multiples of 16
    unsigned int box[5];                // elements of one copy
    unsigned int element_stride[5];     // 0 stands for 1
    int interleave, swizzle, l2_promotion, fill;
};

// Filled in by a launch function, which runs once per case, on a single thread, before the kernel.
struct Launch {                         // zeroed, except for sm_count and max_shared_bytes
    dim3 grid;                          // you must set it; no component may be 0
    dim3 block;                         // you must set it; no component may be 0
    unsigned int shared_bytes;          // dynamic shared memory
    int variant;                        // 0: the kernel itself; n: the kernel whose name ends in _n
    unsigned long long workspace_bytes; // at most 64 MiB
    int sm_count;                       // set by the grader: number of multiprocessors (on the CPU: 132)
    int max_shared_bytes;               // set by the grader: most shared memory a block can have (on the CPU: 232448)
    dim3 cluster;                       // 0: none; else blocks of a cluster, at most 8, divides the grid
    int tensor_maps;                    // how many of the following; each is one more, last parameter of the kernel,
    TensorMap tensor_map[8];            // const __grid_constant__ CUtensorMap
};

// The grader reads these bytes from outside.
static_assert(sizeof(TensorMap) == 152 && sizeof(Launch) == 1280, "Launch has a fixed layout");

#endif
