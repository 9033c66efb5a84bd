// Stand-in: NVRTC compiles device code alone and has no host headers.
// printf is built in; there are no files to read or write.
#pragma once
