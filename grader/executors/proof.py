"""The proof that every output of every timed round is correct.

With FP64 references and a tolerance, outputs are kept until the references are uploaded, after the last
round. With judges, if correctness depends on what the submission itself chose (a byte is judged under its own
scale), kernels from reference_kernels check inputs and outputs after each round, outside the measured time.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader import reference_kernels
from grader.baselines.baseline import DeviceArray
from grader.compile import nvrtc, recipe
from grader.executors import device
from grader.executors.device import Kernels
from grader.executors.regions import DeviceRegion, Memory
from grader.model.execution import Invocation
from grader.sandbox.messages import JUDGES_VERDICT, DeviceVerdict, Judges

COMPARE_BLOCK = 256
COMPARE_GRID = 1024

VERDICT = struct.Struct("<QQ")  # wrong elements, least index of one
NONE_WRONG = VERDICT.pack(0, 2**64 - 1)


class ByReference:
    """Keeps the outputs of each round that counts."""

    def __init__(self, outputs: Mapping[str, DeviceRegion], own: Kernels, memory: Memory) -> None:
        self._outputs, self._own, self._memory = outputs, own, memory
        self._kept: list[int] = []
        self._size = sum(region.bytes for region in outputs.values())

    def make_room(self, rounds: int) -> list[int]:
        """Allocates space for each round's outputs before timing starts."""
        base = self._memory.allocate(rounds * self._size)
        places = [base + turn * self._size for turn in range(rounds)]
        self._kept += places
        return places

    def keep(self, place: int, stream: int) -> None:
        for region in self._outputs.values():
            runtime.memcpyAsync(place, region.base, region.bytes, runtime.memcpyDeviceToDevice, stream)
            place += region.bytes

    def elements(self) -> int:
        return len(self._kept) * sum(region.elements * region.sets for region in self._outputs.values())

    def references(self, references: Mapping[str, np.ndarray]) -> dict[str, int]:
        """`references`: output `name` of set `i` is `name/i`, FP64. On the device, by output."""
        return {name: self._reference(name, region, references) for name, region in self._outputs.items()}

    def compare_kept(self, wanted: Mapping[str, int], tolerance: float, stream: int) -> tuple[float, int]:
        """(largest difference, elements that differ too much) over all rounds."""
        worst, wrong = 0.0, 0
        for place in self._kept:
            offset = 0
            for name, region in self._outputs.items():
                found = self.compare(place + offset, wanted[name], region, tolerance, region.sets, stream)
                worst, wrong = _larger(worst, found[0]), wrong + found[1]
                offset += region.bytes
        return worst, wrong

    def _reference(self, name: str, region: DeviceRegion, references: Mapping[str, np.ndarray]) -> int:
        """With the strides of the outputs; NaN in the padding."""
        if region.dtype != np.float32:
            raise TypeError(f"{name} is {region.dtype}; only float32 outputs can be compared with references")
        values = np.full((region.sets, region.stride // region.dtype.itemsize), np.nan)
        for index in range(region.sets):
            values[index, : region.elements] = references[f"{name}/{index}"].reshape(-1)
        pointer = self._memory.allocate(values.nbytes)
        device.upload(pointer, values)
        return pointer

    def compare(
        self, got: int, want: int, region: DeviceArray, tolerance: float, sets: int, stream: int
    ) -> tuple[float, int]:
        """Over the first `sets`."""
        results = self._memory.allocate(16)
        runtime.memsetAsync(results, 0, 16, stream)
        values = (
            *(ctypes.c_uint64(got), ctypes.c_uint64(want)),
            ctypes.c_int64(sets * region.stride // region.dtype.itemsize),
            ctypes.c_double(tolerance),
            *(ctypes.c_uint64(results), ctypes.c_uint64(results + 8)),
        )
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        function = self._own.function("bench_compare")
        grid, block = (COMPARE_GRID, 1, 1), (COMPARE_BLOCK, 1, 1)
        driver.launchKernel(function, *grid, *block, 0, stream, ctypes.addressof(addresses), 0)
        worst, wrong = struct.unpack("<dQ", _bytes(results, 16, stream))
        return worst, wrong


class ByJudges:
    """A judge for each kernel that has one; it adds up what it finds over the rounds."""

    def __init__(self, judges: Judges, memory: Memory, compute_capability: tuple[int, int]) -> None:
        self._kernels = Kernels(build_judges(judges.source, compute_capability))
        self._calls = judges.calls
        self._verdicts = {call.kernel: memory.allocate(VERDICT.size) for call in judges.calls}
        self.looks = 0
        for pointer in self._verdicts.values():
            device.upload(pointer, np.frombuffer(NONE_WRONG, np.uint8))

    def look(self, pointers: Callable[[str], int], stream: int) -> None:
        """Judges one set of inputs and the submission's outputs for it."""
        self.looks += 1
        for call in self._calls:
            self.look_at(call, pointers, stream)

    def look_at(self, call: Invocation, pointers: Callable[[str], int], stream: int) -> None:
        verdict = self._verdicts[call.kernel]
        self._kernels.launch(call, lambda name: verdict if name == JUDGES_VERDICT else pointers(name), stream)

    def verdicts(self, stream: int) -> dict[str, DeviceVerdict]:
        """So far, by judge."""
        read = {name: VERDICT.unpack(_bytes(at, VERDICT.size, stream)) for name, at in self._verdicts.items()}
        return {name: DeviceVerdict(wrong, first if wrong else 0) for name, (wrong, first) in read.items()}


@cache
def build_judges(source: str, compute_capability: tuple[int, int]) -> bytes:
    """A file of reference_kernels as a cubin. Needs no GPU."""
    file = Path(reference_kernels.__file__).parent / source
    built = nvrtc.build(file.read_text(encoding="utf-8"), recipe.gpu_arch(compute_capability))
    if not built.ok:
        raise RuntimeError(f"{file.name} does not compile: {built.log}")
    return built.cubin


def _bytes(pointer: int, size: int, stream: int) -> bytes:
    runtime.streamSynchronize(stream)
    content = np.empty(size, np.uint8)
    device.download(content, pointer)
    return content.tobytes()


def _larger(a: float, b: float) -> float:
    """A NaN stays."""
    return b if b != b or b > a else a
