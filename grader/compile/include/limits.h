// Stand-in: NVRTC compiles device code alone and has no host headers.
#pragma once
#include <cuda/std/climits>
