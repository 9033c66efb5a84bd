"""What a Result records about the machine."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grader

# What determines the numbers in a Result: the compiler, the engine and the library that generated the inputs.
PACKAGES = {
    "cupy": "cupy-cuda13x",
    "nvrtc": "nvidia-cuda-nvrtc",
    "llvmlite": "llvmlite",
    "numpy": "numpy",
}

# Of a GPU: the oldest that NVRTC compiles for, and the CUDA version of its driver; an older one cannot load NVRTC's
# output.
LEAST_CAPABILITY = (7, 5)
LEAST_CUDA = 13000
DRIVER = "install NVIDIA's driver 580 or newer (or, on data-centre GPUs such as the T4, its package cuda-compat-13-0)"

NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")


def describe() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": cores(),
        "python": platform.python_version(),
        "packages": {"grader": grader.__version__} | {name: package(p) for name, p in PACKAGES.items()},
        "gpu": None,
    }


def package(name: str) -> str | None:
    """The installed version; None if it is not installed.

    Read from the name of its folder; importlib.metadata gives the same answer but takes 80 ms.
    """
    stem = name.replace("-", "_")
    found = (p for entry in sys.path for p in Path(entry).glob(f"{stem}-*.dist-info"))
    return next((p.name.removesuffix(".dist-info").removeprefix(f"{stem}-") for p in found), None)


def cores() -> int:
    """The cores this process may use; in a container, often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def gpus() -> int:
    """The number of NVIDIA GPUs with a driver, counted without loading CUDA. CUDA_VISIBLE_DEVICES may hide some."""
    known = len(list(NVIDIA_DRIVER.iterdir())) if NVIDIA_DRIVER.is_dir() else 0
    count = known or len([p for p in Path("/dev").glob("nvidia*") if p.name.removeprefix("nvidia").isdecimal()])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    named = [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return min(count, len(named))


def driver_version() -> str | None:
    file = Path("/sys/module/nvidia/version")
    return file.read_text().strip() if file.is_file() else None
