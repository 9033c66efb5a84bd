"""A GPU and a timing to test with."""

from __future__ import annotations

from grader.model.execution import Gpu
from grader.sandbox.messages import Occupancy, Verified
from grader.timing.session import Timing
from grader.timing.statistics import around

H200 = Gpu(
    name="NVIDIA H200",
    compute_capability=(9, 0),
    pci_bus_id="0000:00:06.0",
    sm_count=132,
    max_shared_bytes=232448,
    l2_bytes=60 << 20,
    memory_bytes=140 << 30,
    memory_bytes_per_second=4.8e12,
    clock_hz=1.98e9,
    driver_cuda=13000,
    runtime_cuda=13000,
)


def timing(ratio: float = 1.5, **changes: object) -> Timing:
    fields = {
        "interval": around(ratio, ratio, ratio),
        "route": "strided",
        "time_us": 10.0,
        "baseline_us": 10.0 * ratio,
        "shown": {"single_matrix": 8.0},
        "routes": {"strided": 10.0 * ratio, "grouped": 33.0},
        "rounds": 64,
        "dropped": 0,
        "slowdowns": (),
        "sm_mhz": (1980, 1980),
        "memory_mhz": 3201,
        "looks": 1,
        "busy_seconds": 0.2,
        "seconds": 0.3,
        "verified": Verified(1e-5, 0, 1000, {"strided": 0, "grouped": 0}),
        "empty_us": 0.7,
        "occupancy": (Occupancy("double_kernel", 8, 0.5, 128),),
        "version": "13.1.0",
    }
    return Timing(**(fields | changes))  # type: ignore[arg-type]
