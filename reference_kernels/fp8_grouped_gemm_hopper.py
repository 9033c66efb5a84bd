"""FP8 grouped GEMM with block scales at Hopper's speed: the kernels of exercise 05's solution_hopper.cu.

    A (sum M, K) E4M3, A_scales (sum M, ceil(K/128)); B (G, N, K) E4M3, B_scales (G, ceil(N/128), ceil(K/128));
    C (sum M, N) BF16; M_sizes (G), on the device. K and N are multiples of ALIGNMENT.

The host needs to know only how many rows there are, not how many each group has.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path

from grader.reference_kernels import hopper
from grader.reference_kernels.fp8_cublaslt import Arrays

HERE = Path(__file__).parent.resolve()
EXERCISE = "05_fp8_grouped_gemm/solution_hopper.cu"
FOLDERS = (HERE.parent / "exercises", HERE.parent / "_exercises")  # in a checkout, in an installed package

HEADER = '#include "grader.cuh"\n'
TENSOR_MAP = "struct alignas(64) CUtensorMap { unsigned long long opaque[16]; };\n"
LAUNCH_PART = "// ---- how the kernels are launched"  # what follows is for the grader

CAPABILITY = (9, 0)  # compute capability of the GPUs that can run them
ALIGNMENT = 16  # of K and N
STEP = 128  # elements along K that share a scale
BAND = 64  # rows of a warpgroup
WARPGROUP = 128
STAGED_BYTES = 4 * 16 * 72 * 2  # of shared memory, for a warpgroup's part of C
BARRIER_BYTES = 16  # of a stage
SHARED_BYTES = 232_448  # that the blocks of a multiprocessor can have, compute capability 9.0


@dataclass(frozen=True)
class Tile:
    """A kernel, and the tile that each of its blocks multiplies, as struct Tile of the source has it."""

    kernel: str
    consumers: int
    cols: int
    stages: int

    @property
    def rows(self) -> int:
        return self.consumers * BAND

    @property
    def threads(self) -> int:
        return (self.consumers + 1) * WARPGROUP

    @property
    def shared_bytes(self) -> int:
        stage = (self.rows + self.cols) * STEP + BARRIER_BYTES
        return self.stages * stage + self.consumers * STAGED_BYTES


SMALL = Tile("fp8_grouped_gemm_kernel", 1, 64, 4)
MEDIUM = Tile("fp8_grouped_gemm_kernel_1", 2, 128, 4)
LARGE = Tile("fp8_grouped_gemm_kernel_2", 2, 256, 4)


def file() -> Path:
    return next(folder / EXERCISE for folder in FOLDERS if (folder / EXERCISE).is_file())


def source() -> str:
    """The kernels, without what the grader needs."""
    kernels, mark, _ = file().read_text(encoding="utf-8").partition(LAUNCH_PART)
    assert mark
    assert HEADER in kernels
    return kernels.replace(HEADER, TENSOR_MAP)


def tile_of(rows: int, N: int, groups: int, sm_count: int) -> Tile:
    """The largest tile of which there are enough to fill the GPU, if groups are equally large."""
    each = -(-rows // groups)
    for tile, least in ((LARGE, 2 * sm_count), (MEDIUM, sm_count // 2)):
        if groups * -(-each // tile.rows) * -(-N // tile.cols) >= least:
            return tile
    return SMALL


class GroupedGemm:
    """The kernels, compiled for the current device. Raises RuntimeError where that is no Hopper GPU."""

    def __init__(self, sm_count: int) -> None:
        self._sm_count = sm_count
        self._module = hopper.Module(source(), file())

    def enqueue(
        self, arrays: Arrays, M_sizes: int, sizes: Sequence[int], stream: int, tile: Tile | None = None
    ) -> None:
        """`arrays` and M_sizes: device addresses; `sizes`: rows, K, N, groups. May be captured into a graph."""
        rows, K, N, groups = sizes
        tile = tile or tile_of(rows, N, groups, self._sm_count)
        hopper.launch(
            self._module.kernel(tile.kernel, tile.shared_bytes),
            self._sm_count * max(1, SHARED_BYTES // tile.shared_bytes),
            tile.threads,
            tile.shared_bytes,
            stream,
            *map(c_void_p, (arrays.A, arrays.A_scales, arrays.B, arrays.B_scales, arrays.C, None, M_sizes)),
            *map(c_int, (K, N, groups)),
            hopper.byte_boxes(arrays.A, (K, rows, 1), (STEP, tile.rows, 1)),
            hopper.byte_boxes(arrays.B, (K, N, groups), (STEP, tile.cols, 1)),
        )
