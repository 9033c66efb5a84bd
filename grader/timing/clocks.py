"""NVML: clocks and the reasons why a GPU runs slower than it could. Read-only; never sets anything."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from ctypes import byref, c_int, c_uint, c_ulonglong, c_void_p
from typing import Self

import msgspec

LIBRARY = "libnvidia-ml.so.1"

# nvmlClocksEventReasons that invalidate a round: the GPU throttles to protect itself. Power capping is not one
# of them: it is normal for a busy GPU, and affects the baseline as much as the submission.
SLOWDOWNS = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
POWER_CAP = 0x04

_SM, _MEMORY = 1, 2  # nvmlClockType_t
_TEXT = 96  # NVML's longest name or version, with the terminator


class Reading(msgspec.Struct, frozen=True):
    sm_mhz: int
    memory_mhz: int
    reasons: int  # bits of nvmlClocksEventReasons

    @property
    def slowdowns(self) -> tuple[str, ...]:
        return tuple(name for bit, name in SLOWDOWNS.items() if self.reasons & bit)


class Clocks:
    """One GPU by its PCI bus id. `read` returns None if NVML is missing or does not respond."""

    def __init__(self, pci_bus_id: str) -> None:
        self._library: ctypes.CDLL | None = None
        self._device = c_void_p()
        try:
            library = ctypes.CDLL(LIBRARY)
            if library.nvmlInit_v2() == 0:
                self._library = library
                found = library.nvmlDeviceGetHandleByPciBusId_v2(pci_bus_id.encode(), byref(self._device))
                if found:
                    self.close()
        except (OSError, AttributeError):
            self._library = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Reading | None:
        if self._library is None:
            return None
        sm, memory, reasons = c_uint(), c_uint(), c_ulonglong()
        # Called ...ThrottleReasons before driver 535; the old name still works.
        failed = (
            self._library.nvmlDeviceGetClockInfo(self._device, c_uint(_SM), byref(sm))
            or self._library.nvmlDeviceGetClockInfo(self._device, c_uint(_MEMORY), byref(memory))
            or self._library.nvmlDeviceGetCurrentClocksThrottleReasons(self._device, byref(reasons))
        )
        return None if failed else Reading(sm.value, memory.value, reasons.value)

    def close(self) -> None:
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library = None


def driver_version() -> str | None:
    """ "580.159.04"; None if NVML is missing."""
    with contextlib.suppress(OSError, AttributeError), _nvml() as library:
        text = ctypes.create_string_buffer(_TEXT)
        if library.nvmlSystemGetDriverVersion(text, c_uint(_TEXT)) == 0:
            return text.value.decode(errors="replace")
    return None


class Installed(msgspec.Struct, frozen=True):
    """A GPU in the machine. `capability`: its compute capability."""

    name: str = "unknown GPU"
    capability: tuple[int, int] | None = None


def installed() -> list[Installed]:
    """Every GPU in the machine, in NVML's order; empty if NVML is missing."""
    found = []
    with contextlib.suppress(OSError, AttributeError), _nvml() as library:
        count, device, text = c_uint(), c_void_p(), ctypes.create_string_buffer(_TEXT)
        major, minor = c_int(), c_int()
        library.nvmlDeviceGetCount_v2(byref(count))
        for index in range(count.value):
            failed = (
                library.nvmlDeviceGetHandleByIndex_v2(c_uint(index), byref(device))
                or library.nvmlDeviceGetName(device, text, c_uint(_TEXT))
                or library.nvmlDeviceGetCudaComputeCapability(device, byref(major), byref(minor))
            )
            name = text.value.decode(errors="replace")
            found.append(Installed() if failed else Installed(name, (major.value, minor.value)))
    return found


def driver_cuda() -> int | None:
    """The newest CUDA version that the driver runs, as 13000, without starting it; None if it is missing.

    It is that of libcuda, which a forward-compatibility package may replace.
    """
    version = c_int()
    with contextlib.suppress(OSError, AttributeError):
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(byref(version)) == 0:
            return version.value
    return None


@contextlib.contextmanager
def _nvml() -> Iterator[ctypes.CDLL]:
    """Raises OSError if it is missing or fails to start."""
    library = ctypes.CDLL(LIBRARY)
    if library.nvmlInit_v2():
        raise OSError("NVML does not start")
    try:
        yield library
    finally:
        library.nvmlShutdown()
