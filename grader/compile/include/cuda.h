// Stand-in: NVRTC compiles device code alone, and the driver's functions are host code.
#pragma once
