// Stand-in: NVRTC compiles device code alone and has no host headers.
#pragma once
#include <cuda/std/cstddef> // size_t, ptrdiff_t, offsetof

#ifndef NULL
#define NULL 0
#endif
