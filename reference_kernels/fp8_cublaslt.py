"""FP8 grouped GEMM with block scales through cuBLASLt, which has no grouped call for it: a product for each group.

    sequence   one after the other, on one stream
    streams    on forked and joined streams, each with a workspace of its own

In addition there is `single_matrix`: one product with the same FLOPs, a bound that a grouped GEMM need not reach.

Everything that cuBLASLt wants in another form is made beforehand: rows are padded to a multiple of 16, and scales are
rearranged. So the results are padded, too; `unpad` copies them to where they belong.
"""

# ruff: noqa: N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.reference_kernels.cublas import MAX_STREAMS, SINGLE_MATRIX, Enqueue, GroupedSizes, Stream
from grader.reference_kernels.cublaslt import ALIGNMENT, SCALE_ALIGNMENT, WORKSPACE_BYTES, Handle, Operands, Product

BLOCK = 128  # elements that share a scale
FLOAT_BYTES, BF16_BYTES = 4, 2


@dataclass(frozen=True)
class Arrays:
    """Device addresses of one set of inputs, and of C_concat, as in grader.reference_kernels.fp8_grouped_gemm."""

    A: int
    A_scales: int
    B: int
    B_scales: int
    C: int


@dataclass(frozen=True)
class _Group:
    """`rows` from `first` on; `padded` of them from `padded_first` on."""

    number: int
    first: int
    rows: int
    padded_first: int
    padded: int


class Routes:
    """Every route for one problem over several sets; `enqueue[name](stream, set)`. Must be closed.

    Captured graphs must not run afterwards.
    """

    def __init__(self, sizes: GroupedSizes, sets: Sequence[Arrays]) -> None:
        import cupy

        self._sizes, self._sets = sizes, tuple(sets)
        self._blocks = _round_up(sizes.K, BLOCK) // BLOCK
        self._scale_row = _round_up(self._blocks, SCALE_ALIGNMENT)
        self._groups = tuple(_padded(sizes))
        self._rows = sum(group.padded for group in self._groups)  # of all groups
        self._allocations: list[int] = []
        self._products: dict[int, Product] = {}  # by padded rows
        self._handle = Handle()
        self.version = self._handle.version
        self._padded = [self._prepare(arrays) for arrays in self._sets]
        for rows in {group.padded for group in self._groups} | {self._rows}:
            self._products[rows] = Product(self._handle, rows, sizes.N, sizes.K, self._padded[0])
        self._streams = [
            (cupy.cuda.Stream(non_blocking=True), self._allocate(WORKSPACE_BYTES))
            for _ in range(min(MAX_STREAMS, len(self._groups)))
        ]
        self.enqueue: dict[str, Enqueue] = {
            "sequence": self._in_sequence,
            "streams": self._on_streams,
            SINGLE_MATRIX: self._single_matrix,
        }

    def close(self) -> None:
        from cupy_backends.cuda.api import runtime

        for product in self._products.values():
            product.close()
        self._handle.close()
        for pointer in self._allocations:
            runtime.free(pointer)
        self._products, self._allocations = {}, []

    def unpad(self, stream: Stream) -> None:
        """Copies the results of every set to its C."""
        from cupy_backends.cuda.api import runtime

        row = self._sizes.N * BF16_BYTES
        for arrays, padded in zip(self._sets, self._padded, strict=True):
            for group in self._groups:
                source, target = padded.C + group.padded_first * row, arrays.C + group.first * row
                runtime.memcpyAsync(target, source, group.rows * row, runtime.memcpyDeviceToDevice, stream.ptr)

    def poison(self, stream: Stream) -> None:
        """Fills the results with NaN, so that what a route leaves out is seen."""
        from cupy_backends.cuda.api import runtime

        for padded in self._padded:
            runtime.memsetAsync(padded.C, 0xFF, self._rows * self._sizes.N * BF16_BYTES, stream.ptr)

    def _in_sequence(self, stream: Stream, index: int) -> None:
        for group in self._groups:
            self._multiply(group, index, stream, self._streams[0][1])

    def _on_streams(self, stream: Stream, index: int) -> None:
        """Fork from `stream`, assign groups to the other streams in turn, and join again."""
        import cupy

        begin = stream.record(cupy.cuda.Event(disable_timing=True))
        for other, _ in self._streams:
            other.wait_event(begin)
        for turn, group in enumerate(self._groups):
            self._multiply(group, index, *self._streams[turn % len(self._streams)])
        for other, _ in self._streams:
            stream.wait_event(other.record(cupy.cuda.Event(disable_timing=True)))

    def _single_matrix(self, stream: Stream, index: int) -> None:
        """All rows times the first group's B: the same FLOPs, a different result, and scales in any order."""
        self._products[self._rows].enqueue(self._padded[index], self._streams[0][1], stream.ptr)

    def _multiply(self, group: _Group, index: int, stream: Stream, workspace: int) -> None:
        self._products[group.padded].enqueue(self._operands(group, index), workspace, stream.ptr)

    def _operands(self, group: _Group, index: int) -> Operands:
        K, N, all_groups = self._sizes.K, self._sizes.N, self._padded[index]
        scales_of_b = _round_up(N, BLOCK) // BLOCK * self._scale_row
        return Operands(
            A=all_groups.A + group.padded_first * K,
            A_scales=all_groups.A_scales + group.padded_first * self._blocks * FLOAT_BYTES,
            B=all_groups.B + group.number * N * K,
            B_scales=all_groups.B_scales + group.number * scales_of_b * FLOAT_BYTES,
            C=all_groups.C + group.padded_first * N * BF16_BYTES,
        )

    def _prepare(self, arrays: Arrays) -> Operands:
        """One set with padded rows and rearranged scales. B stays where it is."""
        sizes, groups = self._sizes, len(self._sizes.M_sizes)
        rows, column_blocks = sum(sizes.M_sizes), _round_up(sizes.N, BLOCK) // BLOCK
        A = _download(arrays.A, (rows, sizes.K), np.uint8)
        A_scales = _download(arrays.A_scales, (rows, self._blocks), np.float32)
        B_scales = _download(arrays.B_scales, (groups, column_blocks, self._blocks), np.float32)
        padded_A = np.zeros((self._rows, sizes.K), np.uint8)
        padded_A_scales = []
        for group in self._groups:
            of_group = slice(group.first, group.first + group.rows)
            padded_A[group.padded_first : group.padded_first + group.rows] = A[of_group]
            padded_A_scales.append(np.pad(A_scales[of_group].T, ((0, 0), (0, group.padded - group.rows))).ravel())
        return Operands(
            A=self._upload(padded_A),
            A_scales=self._upload(np.concatenate(padded_A_scales)),
            B=arrays.B,
            B_scales=self._upload(np.pad(B_scales, ((0, 0), (0, 0), (0, self._scale_row - self._blocks)))),
            C=self._allocate(self._rows * sizes.N * BF16_BYTES),
        )

    def _upload(self, array: np.ndarray) -> int:
        from cupy_backends.cuda.api import runtime

        pointer = self._allocate(array.nbytes)
        runtime.memcpy(pointer, np.ascontiguousarray(array).ctypes.data, array.nbytes, runtime.memcpyHostToDevice)
        return pointer

    def _allocate(self, size: int) -> int:
        from cupy_backends.cuda.api import runtime

        pointer = int(runtime.malloc(size))
        self._allocations.append(pointer)
        return pointer


def _padded(sizes: GroupedSizes) -> Sequence[_Group]:
    """The groups that have rows."""
    groups, padded_first = [], 0
    for number, first, rows in sizes.groups():
        padded = _round_up(rows, ALIGNMENT)
        groups.append(_Group(number, first, rows, padded_first, padded))
        padded_first += padded
    return groups


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _download(pointer: int, shape: Sequence[int], dtype: Any) -> np.ndarray:
    from cupy_backends.cuda.api import runtime

    array = np.empty(shape, dtype)
    runtime.memcpy(array.ctypes.data, pointer, array.nbytes, runtime.memcpyDeviceToHost)
    return array
