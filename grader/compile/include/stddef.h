// Stand-in: NVRTC compiles device code alone and has no host headers.
#pragma once
#include <cuda/std/cstddef>

#ifndef NULL
#define NULL 0
#endif
#undef offsetof  // libcu++ has one that is no constant expression
#define offsetof(type, member) __builtin_offsetof(type, member)
