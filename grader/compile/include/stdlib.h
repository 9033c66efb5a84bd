// Stand-in: NVRTC compiles device code alone and has no host headers.
// malloc, free and abs are built in.
#pragma once
#include <stddef.h>
