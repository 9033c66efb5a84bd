"""Unknown names, and those that were probably meant."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

# The names of CUDA and C++ that students use, besides those their own file defines.
WELL_KNOWN = """
    __syncthreads __syncwarp __syncthreads_or __syncthreads_and __syncthreads_count __threadfence
    __threadfence_block __threadfence_system __shared__ __device__ __global__ __host__ __constant__ __restrict__
    __forceinline__ __launch_bounds__ __align__ __shfl_sync __shfl_up_sync __shfl_down_sync __shfl_xor_sync
    __ballot_sync __any_sync __all_sync __activemask __reduce_max_sync __reduce_add_sync __float_as_uint
    __float_as_int __uint_as_float __int_as_float __float2half __half2float __fadd_rn __fmul_rn __fmaf_rn __popc
    __clz __ffs __ldg __trap threadIdx blockIdx blockDim gridDim warpSize atomicAdd atomicMax atomicMin atomicCAS
    atomicExch atomicSub atomicOr atomicAnd fmaxf fminf fabsf sqrtf rsqrtf rintf roundf floorf ceilf truncf ldexpf
    frexpf powf expf exp2f logf log2f fmaf isnan isinf signbit copysignf nextafterf max min abs printf assert dim3
    float2 float4 uchar4 uint4 int4 make_float2 make_float4 make_uchar4 make_uint4 make_int4 Launch grid block
    shared_bytes workspace_bytes variant sm_count max_shared_bytes size_t float double int unsigned char short long
    bool const constexpr static extern void return for while if else switch break continue template struct class
    typename sizeof reinterpret_cast static_cast INFINITY NAN FLT_MAX uint8_t uint32_t uint64_t int32_t int64_t
""".split()

CLOSE = 0.75  # of difflib's ratio: one letter in four may differ
_LEAST, _LONGEST = 3, 60  # characters of a name that is guessed at
_DIFFER = 3  # characters that the one which is meant may be longer or shorter
_WORD = re.compile(r"[A-Za-z_]\w*")
_MOST = 20_000  # words of the student's own that are looked through


def meant(name: str, text: str) -> str:
    """The name that was probably meant; "" if none is close."""
    if not _LEAST <= len(name) <= _LONGEST:
        return ""
    words = _words(text)
    own = words if words[name] < 2 else ()  # a name that occurs twice is not a slip
    known = [*WELL_KNOWN, *(word for word in own if word != name and abs(len(word) - len(name)) <= _DIFFER)]
    plain = _plain(name)
    if same := next((one for one in known if _plain(one) == plain), ""):
        return same
    found = difflib.get_close_matches(name, known, 1, CLOSE)
    return found[0] if found else ""


def header(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 1, CLOSE)
    return found[0] if found else ""


@lru_cache(maxsize=1)
def _words(text: str) -> Counter[str]:
    return Counter(match.group() for match, _ in zip(_WORD.finditer(text), range(_MOST), strict=False))


def _plain(name: str) -> str:
    return name.strip("_").lower()
