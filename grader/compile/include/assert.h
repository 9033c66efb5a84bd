// Stand-in: NVRTC compiles device code alone and has no host headers.
// assert is built in, and it is on: NDEBUG is not defined.
#pragma once
