"""FP32 grouped GEMM through cuBLAS, by every route (sequence of calls) that gives the same result.

Which route is fastest depends on the shapes, so a fair baseline is the fastest of them:

    grouped      cublasSgemmGroupedBatched: one call, each group with its own M
    sequential   cublasSgemm for each group, on one stream
    streams      the same on forked and joined streams, each with its own handle and workspace
    strided      cublasSgemmStridedBatched, where all M are equal

In addition there is `single_matrix`: one cublasSgemm with the same FLOPs, a bound that a grouped GEMM need not reach;
and on request `padded`: cublasSgemmStridedBatched with every group padded to the longest one, which is what grouped
GEMM replaces. Its rows are copied in advance, so its time is that of the multiplication alone.

Math mode: CUBLAS_DEFAULT_MATH, which is FP32 throughout. cuBLAS uses TF32 only in CUBLAS_TF32_TENSOR_OP_MATH, and
emulates FP32 only in modes named so. PEDANTIC would guarantee nothing more and only exclude algorithms.

cuBLAS is column-major. A row-major matrix read by columns is its transpose, and C^T = B^T A^T, so each call gets
B first, then A, with N and M exchanged and the rows' lengths as leading dimensions; nothing is transposed in memory.
"""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_float, c_int, c_longlong, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

SINGLE_MATRIX = "single_matrix"
PADDED = "padded"

OP_N = 0  # CUBLAS_OP_N
DEFAULT_MATH = 0  # CUBLAS_DEFAULT_MATH
WORKSPACE_BYTES = 32 << 20  # recommended by the cuBLAS manual for Hopper; more than recommended for others
MAX_STREAMS = 8  # number of hardware queues CUDA uses by default; more streams would only wait for each other
FLOAT_BYTES = 4


class CublasError(Exception):
    """A failed cuBLAS call, with its name and status; or cuBLAS was not found."""


@dataclass(frozen=True)
class GroupedSizes:
    """C[g] = A[g] @ B[g], FP32, row-major: A (M[g], K), B (K, N), C (M[g], N); groups are contiguous."""

    M_sizes: tuple[int, ...]
    K: int
    N: int

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """(index, first row, rows) of each non-empty group."""
        first = 0
        for group, rows in enumerate(self.M_sizes):
            if rows:
                yield group, first, rows
            first += rows

    @property
    def flops(self) -> int:
        return 2 * sum(self.M_sizes) * self.K * self.N


@dataclass(frozen=True)
class Operands:
    """Device addresses of A_concat, B_concat and C_concat."""

    A: int
    B: int
    C: int

    def group(self, problem: GroupedSizes, group: int, first_row: int) -> Operands:
        return Operands(
            self.A + first_row * problem.K * FLOAT_BYTES,
            self.B + group * problem.K * problem.N * FLOAT_BYTES,
            self.C + first_row * problem.N * FLOAT_BYTES,
        )


class Stream(Protocol):
    """The part of cupy.cuda.Stream that is used."""

    ptr: int

    def record(self, event: Any = None) -> Any: ...

    def wait_event(self, event: Any) -> None: ...


# Enqueues a whole problem's launches for one set of operands on a stream. May be captured into a graph.
Enqueue = Callable[[Stream, int], None]


class Routes:
    """Every route for one problem over several sets of operands; `enqueue[name](stream, set)`.

    Preparing allocates and copies; enqueuing does neither. Captured graphs must not outlive it: `close` frees memory.
    """

    def __init__(self, problem: GroupedSizes, sets: Sequence[Operands], *, padded: bool = False) -> None:
        self._problem = problem
        self._sets = tuple(sets)
        self._library = load()
        self._allocations: list[int] = []
        self._handles = [_Handle(self._library, self._allocate(WORKSPACE_BYTES))]
        self._pointers = self._upload_pointers()
        self._forked: list[tuple[Any, _Handle]] = []
        self.unavailable: dict[str, str] = {}
        self.enqueue: dict[str, Enqueue] = {"sequential": self._sequential, "streams": self._streams}
        if hasattr(self._library, "cublasSgemmGroupedBatched"):
            self.enqueue["grouped"] = self._grouped
        else:
            self.unavailable["grouped"] = "this cuBLAS has no cublasSgemmGroupedBatched (it came with 12.4)"
        if len(set(problem.M_sizes)) == 1:
            self.enqueue["strided"] = self._strided
        self.enqueue[SINGLE_MATRIX] = self._single_matrix
        if padded:
            self._padded = self._pad()
            self.enqueue[PADDED] = self._padded_strided
        self._fork()

    def close(self) -> None:
        """Free handles, workspaces and pointer arrays. Captured graphs must not run afterwards."""
        from cupy_backends.cuda.api import runtime

        for handle in self._handles:
            handle.destroy()
        for pointer in self._allocations:
            runtime.free(pointer)
        self._handles, self._allocations = [], []

    @property
    def version(self) -> str:
        return version(self._library)

    def _grouped(self, stream: Stream, index: int) -> None:
        """One cuBLAS group of one matrix per group of ours. Pointers are on the device, all else on the host."""
        rows = [rows for _, _, rows in self._problem.groups()]
        count, K, N = len(rows), self._problem.K, self._problem.N
        A, B, C = self._pointers[index]
        with self._handles[0].on(stream) as handle:
            _check(
                "cublasSgemmGroupedBatched",
                self._library.cublasSgemmGroupedBatched(
                    handle,
                    _ints([OP_N] * count),
                    _ints([OP_N] * count),
                    _ints([N] * count),
                    _ints(rows),
                    _ints([K] * count),
                    _floats([1.0] * count),
                    c_void_p(B),
                    _ints([N] * count),
                    c_void_p(A),
                    _ints([K] * count),
                    _floats([0.0] * count),
                    c_void_p(C),
                    _ints([N] * count),
                    c_int(count),
                    _ints([1] * count),
                ),
            )

    def _sequential(self, stream: Stream, index: int) -> None:
        with self._handles[0].on(stream) as handle:
            for group, first, rows in self._problem.groups():
                self._sgemm(handle, rows, self._sets[index].group(self._problem, group, first))

    def _streams(self, stream: Stream, index: int) -> None:
        """Fork from `stream`, assign groups to the other streams in turn, and join again."""
        import cupy

        begin = stream.record(cupy.cuda.Event(disable_timing=True))
        for other, _ in self._forked:
            other.wait_event(begin)
        for turn, (group, first, rows) in enumerate(self._problem.groups()):
            other, own = self._forked[turn % len(self._forked)]
            with own.on(other) as handle:
                self._sgemm(handle, rows, self._sets[index].group(self._problem, group, first))
        for other, _ in self._forked:
            stream.wait_event(other.record(cupy.cuda.Event(disable_timing=True)))

    def _strided(self, stream: Stream, index: int) -> None:
        self._batched(stream, self._problem.M_sizes[0], self._sets[index])

    def _padded_strided(self, stream: Stream, index: int) -> None:
        A, C = self._padded
        self._batched(stream, max(self._problem.M_sizes), Operands(A, self._sets[index].B, C))

    def _pad(self) -> tuple[int, int]:
        """Device addresses of A, its groups padded with zeros, and of room for C.

        Together they exceed any cache if padding costs much, so one copy serves all sets.
        """
        from cupy_backends.cuda.api import runtime

        rows, groups, K, N = max(self._problem.M_sizes), len(self._problem.M_sizes), self._problem.K, self._problem.N
        A = self._allocate(groups * rows * K * FLOAT_BYTES)
        C = self._allocate(groups * rows * N * FLOAT_BYTES)
        runtime.memset(A, 0, groups * rows * K * FLOAT_BYTES)
        for group, first, count in self._problem.groups():
            row_bytes = K * FLOAT_BYTES
            target, source = A + group * rows * row_bytes, self._sets[0].A + first * row_bytes
            runtime.memcpy(target, source, count * row_bytes, runtime.memcpyDeviceToDevice)
        return A, C

    def _batched(self, stream: Stream, rows: int, operands: Operands) -> None:
        """Every group with the same number of rows."""
        K, N = self._problem.K, self._problem.N
        with self._handles[0].on(stream) as handle:
            _check(
                "cublasSgemmStridedBatched",
                self._library.cublasSgemmStridedBatched(
                    handle,
                    *(c_int(OP_N), c_int(OP_N), c_int(N), c_int(rows), c_int(K)),
                    byref(c_float(1.0)),
                    *(c_void_p(operands.B), c_int(N), c_longlong(K * N)),
                    *(c_void_p(operands.A), c_int(K), c_longlong(rows * K)),
                    byref(c_float(0.0)),
                    *(c_void_p(operands.C), c_int(N), c_longlong(rows * N)),
                    c_int(len(self._problem.M_sizes)),
                ),
            )

    def _single_matrix(self, stream: Stream, index: int) -> None:
        """All rows times the first group's B: the same FLOPs, a different result."""
        with self._handles[0].on(stream) as handle:
            self._sgemm(handle, sum(self._problem.M_sizes), self._sets[index])

    def _sgemm(self, handle: c_void_p, rows: int, operands: Operands) -> None:
        K, N = self._problem.K, self._problem.N
        _check(
            "cublasSgemm",
            self._library.cublasSgemm_v2(
                handle,
                *(c_int(OP_N), c_int(OP_N), c_int(N), c_int(rows), c_int(K)),
                byref(c_float(1.0)),
                *(c_void_p(operands.B), c_int(N)),
                *(c_void_p(operands.A), c_int(K)),
                byref(c_float(0.0)),
                *(c_void_p(operands.C), c_int(N)),
            ),
        )

    def _fork(self) -> None:
        import cupy

        groups = sum(1 for _ in self._problem.groups())
        for _ in range(min(MAX_STREAMS, groups)):
            handle = _Handle(self._library, self._allocate(WORKSPACE_BYTES))
            self._handles.append(handle)
            self._forked.append((cupy.cuda.Stream(non_blocking=True), handle))

    def _upload_pointers(self) -> list[tuple[int, int, int]]:
        """For each set, the device addresses of three arrays of pointers to the groups' A, B and C."""
        groups = [(group, first) for group, first, _ in self._problem.groups()]
        table = np.array(
            [
                [[operands.A for operands in members], [o.B for o in members], [o.C for o in members]]
                for members in ([s.group(self._problem, *group) for group in groups] for s in self._sets)
            ],
            np.uint64,
        )
        from cupy_backends.cuda.api import runtime

        base = self._allocate(table.nbytes)
        runtime.memcpy(base, table.ctypes.data, table.nbytes, runtime.memcpyHostToDevice)
        row = len(groups) * 8
        starts = (base + index * 3 * row for index in range(len(self._sets)))
        return [(start, start + row, start + 2 * row) for start in starts]

    def _allocate(self, size: int) -> int:
        from cupy_backends.cuda.api import runtime

        pointer = int(runtime.malloc(size))
        self._allocations.append(pointer)
        return pointer


class _Handle:
    """A cuBLAS handle with its own workspace, which must not move while a captured graph uses it."""

    def __init__(self, library: ctypes.CDLL, workspace: int) -> None:
        self._library = library
        self._workspace = workspace
        self._handle = c_void_p()
        _check("cublasCreate", library.cublasCreate_v2(byref(self._handle)))
        _check("cublasSetMathMode", library.cublasSetMathMode(self._handle, c_int(DEFAULT_MATH)))

    @contextmanager
    def on(self, stream: Stream) -> Iterator[c_void_p]:
        """Setting a stream resets the workspace, so set the workspace afterwards each time."""
        _check("cublasSetStream", self._library.cublasSetStream_v2(self._handle, c_void_p(stream.ptr)))
        _check(
            "cublasSetWorkspace",
            self._library.cublasSetWorkspace_v2(self._handle, c_void_p(self._workspace), c_size_t(WORKSPACE_BYTES)),
        )
        yield self._handle

    def destroy(self) -> None:
        self._library.cublasDestroy_v2(self._handle)


def load() -> ctypes.CDLL:
    """libcublas, from NVIDIA's wheels or the system. Raises CublasError, which says what to install."""
    try:
        from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

        try:
            path = load_nvidia_dynamic_lib("cublas").abs_path
        except (DynamicLibNotFoundError, OSError):  # it may start a process to search, which a child must not do
            path = None
        return ctypes.CDLL(path or "libcublas.so.13")
    except (ImportError, OSError, RuntimeError) as error:
        raise CublasError(
            f"cuBLAS not found: {error}; install with: python -m pip install 'cupy-cuda13x[ctk]'"
        ) from None


def version(library: ctypes.CDLL) -> str:
    """ "13.1.0"."""
    parts = []
    for which in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of libraryPropertyType
        value = c_int()
        _check("cublasGetProperty", library.cublasGetProperty(c_int(which), byref(value)))
        parts.append(str(value.value))
    return ".".join(parts)


def _check(call: str, status: int) -> None:
    if status:
        raise CublasError(f"{call} failed with status {status}")


def _ints(values: Sequence[int]) -> ctypes.Array[c_int]:
    return (c_int * len(values))(*values)


def _floats(values: Sequence[float]) -> ctypes.Array[c_float]:
    return (c_float * len(values))(*values)
