"""FP8 matrix products with block scales through cuBLASLt's own API: E4M3 in, BF16 out.

C (M, N) = A (M, K) scaled 1x128 along K @ B (N, K)^T scaled 128x128, all row-major. cuBLASLt is column-major, and
takes FP8 only as "TN": its A is our B, a K x N matrix that is transposed, and its B is our A, a K x M matrix.

Needs compute capability 9.0, CUDA 12.9, and multiples of 16 as K and N; `ALIGNMENT` says what M must be here. Its
scales lie differently from ours: see `Operands`.
"""

# ruff: noqa: N803 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass

from grader.reference_kernels.cublas import CublasError

ALIGNMENT = 16  # M is padded to a multiple of this
SCALE_ALIGNMENT = 4  # and a row of B's scales to a multiple of this
WORKSPACE_BYTES = 32 << 20  # recommended by the cuBLAS manual for Hopper

COMPUTE_32F = 68  # cublasComputeType_t
R_32F, R_16BF, R_8F_E4M3 = 0, 14, 28  # cudaDataType_t
OP_N, OP_T = 0, 1

# cublasLtMatmulDescAttributes_t
TRANSA, TRANSB, A_SCALE_POINTER, B_SCALE_POINTER, A_SCALE_MODE, B_SCALE_MODE = 3, 4, 17, 18, 31, 32
VEC128, BLK128X128 = 4, 5  # cublasLtMatmulMatrixScale_t
MAX_WORKSPACE = 1  # cublasLtMatmulPreferenceAttributes_t


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algo", c_uint64 * 8),
        ("workspace_bytes", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


@dataclass(frozen=True)
class Operands:
    """Device addresses, each a multiple of 16.

    A_scales: (ceil(K/128), M), M contiguous. B_scales: (ceil(N/128), ceil(K/128)), rows padded to SCALE_ALIGNMENT.
    C: (M, N) of BF16.
    """

    A: int
    A_scales: int
    B: int
    B_scales: int
    C: int


class Handle:
    """cuBLASLt, ready to be called. Must be closed."""

    def __init__(self) -> None:
        self.library = load()
        self.pointer = c_void_p()
        self.call("cublasLtCreate", byref(self.pointer))

    def call(self, name: str, *arguments: object) -> None:
        """Raises CublasError with the name and the status of a call that failed."""
        status = getattr(self.library, name)(*arguments)
        if status:
            raise CublasError(f"{name} failed with status {status}")

    @property
    def version(self) -> str:
        """ "13.1.0"."""
        parts = []
        for which in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of libraryPropertyType
            value = c_int()
            self.call("cublasLtGetProperty", c_int(which), byref(value))
            parts.append(str(value.value))
        return ".".join(parts)

    def close(self) -> None:
        self.call("cublasLtDestroy", self.pointer)


class Product:
    """A product of given sizes. `enqueue` may be captured into a graph; it allocates nothing. Must be closed.

    Raises CublasError if cuBLASLt has no algorithm for it.
    """

    def __init__(self, handle: Handle, M: int, N: int, K: int, example: Operands) -> None:
        self._handle = handle
        self._description = c_void_p()
        handle.call("cublasLtMatmulDescCreate", byref(self._description), c_int(COMPUTE_32F), c_int(R_32F))
        for attribute, value in (
            (TRANSA, OP_T),
            (TRANSB, OP_N),
            (A_SCALE_MODE, BLK128X128),
            (B_SCALE_MODE, VEC128),
        ):
            self._set(attribute, c_int(value))
        self._point(example)
        self._left, self._right = self._layout(R_8F_E4M3, K, N), self._layout(R_8F_E4M3, K, M)
        self._result = self._layout(R_16BF, N, M)
        self._algorithm = self._best()

    def enqueue(self, operands: Operands, workspace: int, stream: int) -> None:
        """`workspace`: the address of WORKSPACE_BYTES that no other product uses at the same time."""
        self._point(operands)
        self._handle.call(
            "cublasLtMatmul",
            self._handle.pointer,
            self._description,
            byref(c_float(1.0)),
            *(c_void_p(operands.B), self._left),
            *(c_void_p(operands.A), self._right),
            byref(c_float(0.0)),
            *(c_void_p(operands.C), self._result),
            *(c_void_p(operands.C), self._result),
            byref(self._algorithm),
            *(c_void_p(workspace), c_size_t(WORKSPACE_BYTES)),
            c_void_p(stream),
        )

    def close(self) -> None:
        for layout in (self._left, self._right, self._result):
            self._handle.call("cublasLtMatrixLayoutDestroy", layout)
        self._handle.call("cublasLtMatmulDescDestroy", self._description)

    def _point(self, operands: Operands) -> None:
        self._set(A_SCALE_POINTER, c_void_p(operands.B_scales))
        self._set(B_SCALE_POINTER, c_void_p(operands.A_scales))

    def _best(self) -> ctypes.Array[c_uint64]:
        """The algorithm that cuBLASLt's heuristic ranks first."""
        call, preference, size = self._handle.call, c_void_p(), c_size_t(WORKSPACE_BYTES)
        found, count = _Heuristic(), c_int()
        call("cublasLtMatmulPreferenceCreate", byref(preference))
        try:
            call("cublasLtMatmulPreferenceSetAttribute", preference, c_int(MAX_WORKSPACE), byref(size), c_size_t(8))
            call(
                "cublasLtMatmulAlgoGetHeuristic",
                self._handle.pointer,
                self._description,
                *(self._left, self._right, self._result, self._result),
                preference,
                *(c_int(1), byref(found), byref(count)),
            )
        finally:
            call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value:
            raise CublasError("cublasLtMatmulAlgoGetHeuristic found no algorithm")
        algorithm: ctypes.Array[c_uint64] = found.algo
        return algorithm

    def _set(self, attribute: int, value: c_int | c_void_p) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._handle.call("cublasLtMatmulDescSetAttribute", self._description, c_int(attribute), byref(value), size)

    def _layout(self, kind: int, rows: int, columns: int) -> c_void_p:
        """Column-major, without gaps."""
        made, sizes = c_void_p(), (c_uint64(rows), c_uint64(columns), c_int64(rows))
        self._handle.call("cublasLtMatrixLayoutCreate", byref(made), c_int(kind), *sizes)
        return made


def load() -> ctypes.CDLL:
    """libcublasLt, from NVIDIA's wheels or the system. Raises CublasError, which says what to install."""
    try:
        from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

        try:
            path = load_nvidia_dynamic_lib("cublasLt").abs_path
        except (DynamicLibNotFoundError, OSError):  # it may start a process to search, which a child must not do
            path = None
        return ctypes.CDLL(path or "libcublasLt.so.13")
    except (ImportError, OSError, RuntimeError) as error:
        raise CublasError(
            f"cuBLASLt not found: {error}; install with: python -m pip install 'cupy-cuda13x[ctk]'"
        ) from None
