// Stand-in: NVRTC compiles device code alone and has no host headers.
#pragma once
#include <cuda/std/cstddef>

#ifndef NULL
#define NULL 0
#endif
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
