// Stand-in: NVRTC compiles device code alone and has no host headers.
// memcpy and memset are built in.
#pragma once
#include <stddef.h>
