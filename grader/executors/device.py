"""Kernels and memory on a GPU, through CuPy's bindings of the driver and runtime. Only in the child process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader.executors import extended_launch
from grader.model.execution import Gpu, Invocation, Mapped

CudaError = (driver.CUDADriverError, runtime.CUDARuntimeError)

ZONE_BYTES = 1 << 16  # before and after each array; a multiple of every alignment that an access can require
ZONE_BYTE = 0xA5

# CUfunction_attribute
_MAX_DYNAMIC_SHARED = 8
_SHARED_CARVEOUT = 9
_MAX_CARVEOUT = 100
_DEFAULT_SHARED = 48 << 10

# cudaDeviceAttr
_CLOCK_KHZ = 13
_SM_COUNT = 16
_MEMORY_CLOCK_KHZ = 36
_BUS_BITS = 37
_L2_BYTES = 38
_THREADS_PER_SM = 39
_MAJOR, _MINOR = 75, 76
_MAX_SHARED_OPTIN = 97
_DOUBLE_DATA_RATE = 2

# The probe writes a pattern and reads it back.
_PROBE_BYTES = 1 << 20


def start() -> None:
    """Make the device's primary context current. The environment selects the device."""
    runtime.setDevice(0)
    runtime.free(0)


def describe() -> Gpu:
    """The device, after checking that it responds. Raises CUDARuntimeError if it does not."""
    _probe()

    def attribute(which: int) -> int:
        return int(runtime.deviceGetAttribute(which, 0))

    name = runtime.getDeviceProperties(0)["name"]
    bandwidth = _DOUBLE_DATA_RATE * attribute(_MEMORY_CLOCK_KHZ) * 1000 * attribute(_BUS_BITS) / 8
    return Gpu(
        name=name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        compute_capability=(attribute(_MAJOR), attribute(_MINOR)),
        pci_bus_id=str(runtime.deviceGetPCIBusId(0)),
        sm_count=attribute(_SM_COUNT),
        max_shared_bytes=attribute(_MAX_SHARED_OPTIN),
        l2_bytes=attribute(_L2_BYTES),
        memory_bytes=int(runtime.memGetInfo()[1]),
        memory_bytes_per_second=bandwidth,
        clock_hz=attribute(_CLOCK_KHZ) * 1000.0,
        driver_cuda=int(runtime.driverGetVersion()),
        runtime_cuda=int(runtime.runtimeGetVersion()),
    )


def threads_per_multiprocessor() -> int:
    return int(runtime.deviceGetAttribute(_THREADS_PER_SM, 0))


def _probe() -> None:
    pointer = runtime.malloc(_PROBE_BYTES)
    try:
        runtime.memset(pointer, 0x3C, _PROBE_BYTES)
        seen = np.empty(_PROBE_BYTES, np.uint8)
        download(seen, pointer)
        if not (seen == 0x3C).all():
            raise RuntimeError("the GPU returned different bytes than were written")
    finally:
        runtime.free(pointer)


def upload(pointer: int, array: np.ndarray) -> None:
    if array.nbytes:
        runtime.memcpy(pointer, array.ctypes.data, array.nbytes, runtime.memcpyHostToDevice)


def download(array: np.ndarray, pointer: int) -> None:
    """Waits for earlier kernels and raises their errors."""
    if array.nbytes:
        runtime.memcpy(array.ctypes.data, pointer, array.nbytes, runtime.memcpyDeviceToHost)


class Kernels:
    """The kernels of a cubin, or of PTX that ends in a zero byte, by name."""

    def __init__(self, cubin: bytes) -> None:
        self.module = driver.moduleLoadData(cubin)
        self._functions: dict[str, int] = {}

    def launch(self, invocation: Invocation, pointers: Callable[[str], int], stream: int) -> None:
        """`pointers` maps an array's name to its device address."""
        values = [_argument(argument, pointers) for argument in invocation.arguments]
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        config = invocation.config
        function = self.function(invocation.kernel)
        if config.shared_bytes > _DEFAULT_SHARED:
            driver.funcSetAttribute(function, _SHARED_CARVEOUT, _MAX_CARVEOUT)
        driver.funcSetAttribute(function, _MAX_DYNAMIC_SHARED, config.shared_bytes)
        if any(config.cluster):
            extended_launch.launch(function, config, stream, ctypes.addressof(addresses))
            return
        driver.launchKernel(
            function, *config.grid, *config.block, config.shared_bytes, stream, ctypes.addressof(addresses), 0
        )

    def function(self, name: str) -> int:
        if name not in self._functions:
            self._functions[name] = driver.moduleGetFunction(self.module, name)
        return self._functions[name]

    def resident_blocks(self, invocation: Invocation) -> int:
        """The number of this launch's blocks that fit on a multiprocessor at a time."""
        x, y, z = invocation.config.block
        function = self.function(invocation.kernel)
        driver.funcSetAttribute(function, _MAX_DYNAMIC_SHARED, invocation.config.shared_bytes)
        return int(
            driver.occupancyMaxActiveBlocksPerMultiprocessor(function, x * y * z, invocation.config.shared_bytes)
        )

    def globals(self, names: Sequence[tuple[str, int]]) -> dict[str, bytes]:
        """The contents of module variables (name, bytes); variables without an address are left out."""
        found = {}
        for name, size in names:
            try:
                pointer = driver.moduleGetGlobal(self.module, name)
            except driver.CUDADriverError:  # optimised away
                continue
            content = np.empty(size, np.uint8)
            download(content, pointer)
            found[name] = content.tobytes()
        return found


def _argument(
    argument: str | tuple[int, int] | Mapped, pointers: Callable[[str], int]
) -> ctypes.c_uint64 | ctypes.c_int32 | ctypes.c_int64 | ctypes.Array[ctypes.c_uint64]:
    if isinstance(argument, str):
        return ctypes.c_uint64(pointers(argument))
    if isinstance(argument, Mapped):
        return extended_launch.encode(argument.map, pointers(argument.array))
    value, width = argument
    return ctypes.c_int64(value) if width == 8 else ctypes.c_int32(value)


class Stray(msgspec.Struct, frozen=True):
    """A write into a red zone: `first` bytes before the start or after the end of the array."""

    before: bool
    first: int
    count: int


class Guarded:
    """An array on the device between two red zones. Must be closed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._base = int(runtime.malloc(size + 2 * ZONE_BYTES))
        self.pointer = self._base + ZONE_BYTES

    def fill(self, byte: int) -> None:
        """Fills the array with `byte` and the zones with the pattern that must still be there later."""
        runtime.memset(self._base, ZONE_BYTE, self._size + 2 * ZONE_BYTES)
        runtime.memset(self.pointer, byte, self._size)

    def strays(self) -> list[Stray]:
        """Writes outside the array."""
        before, after = self._zone(self._base), self._zone(self.pointer + self._size)
        found = []
        if before.size:
            found.append(Stray(True, int(ZONE_BYTES - before[-1]), int(before.size)))
        if after.size:
            found.append(Stray(False, int(after[0]), int(after.size)))
        return found

    def close(self) -> None:
        runtime.free(self._base)

    @staticmethod
    def _zone(pointer: int) -> np.ndarray:
        zone = np.empty(ZONE_BYTES, np.uint8)
        download(zone, pointer)
        return np.flatnonzero(zone != ZONE_BYTE)
