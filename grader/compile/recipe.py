"""What goes into a compilation besides the source: architecture, options, our headers."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from grader.compile import toolkit

ARCH = "sm_90a"  # its PTX is what compute_90a would give, so the CPU needs one compilation, not two

PTX_ARCH = "compute_90a"  # PTX alone

# The submission's name within the compiler: one that no file name can break, mapped back in findings. NVRTC
# looks for includes beside it, so it lies in a folder that does not exist, and never in the working folder.
SOURCE_NAME = "/nonexistent/submission.cu"

OPTIONS = (
    "-std=c++17",
    "-lineinfo",  # findings name lines
    "-device-int128",  # nvcc has __int128 without asking
    "-split-compile=0",  # all cores: a third less time where a file has several kernels
    "--ptxas-options=-v",  # registers, shared memory and spills in the log
)

_HERE = Path(__file__).parent


def gpu_arch(compute_capability: tuple[int, int]) -> str:
    """Machine code for that device; with what only it has ("a") where there is such a thing: wgmma, tcgen05."""
    major, minor = compute_capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


def options(arch: str = ARCH) -> tuple[str, ...]:
    folders = toolkit.include_folders()
    return (f"-arch={arch}", *OPTIONS, *(f"-I{folder}" for folder in folders))


@cache
def headers() -> dict[str, str]:
    """grader.cuh and the stand-ins for host headers, by the name they are included by."""
    return {p.name: p.read_text(encoding="utf-8") for p in sorted((_HERE / "include").iterdir())}


def cache_key(text: str, arch: str = ARCH) -> str:
    """Everything that the result depends on: compiler, options, headers, this package's code, the source."""
    digest = hashlib.sha256(_fixed_parts(arch))
    digest.update(text.encode())
    return digest.hexdigest()


@cache
def _fixed_parts(arch: str) -> bytes:
    parts = [toolkit.identity(), *options(arch)]
    parts += [f"{name}\n{content}" for name, content in headers().items()]
    parts += [p.read_text(encoding="utf-8") for p in sorted(_HERE.glob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).digest()
