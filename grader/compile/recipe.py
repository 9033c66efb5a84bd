"""The inputs of a compilation besides the source: architecture, options, our headers."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from grader.compile import toolkit

ARCH = "sm_90a"  # gives the same PTX as compute_90a, so the CPU needs only one compilation

PTX_ARCH = "compute_90a"  # PTX alone

# The submission's name inside the compiler: a fixed name, mapped back in findings. NVRTC
# looks for includes next to it, so it is in a folder that does not exist, never in the working folder.
SOURCE_NAME = "/nonexistent/submission.cu"

OPTIONS = (
    "-std=c++17",
    "-lineinfo",  # needed to name lines in findings
    "-device-int128",  # nvcc enables __int128 by default
    "-split-compile=0",  # all cores: a third faster if a file has several kernels
    "--ptxas-options=-v",  # prints registers, shared memory and spills in the log
)

_HERE = Path(__file__).parent


def gpu_arch(compute_capability: tuple[int, int]) -> str:
    """Machine code for that device, with architecture-specific features ("a": wgmma, tcgen05) if it has any."""
    major, minor = compute_capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


def options(arch: str = ARCH) -> tuple[str, ...]:
    folders = toolkit.include_folders()
    return (f"-arch={arch}", *OPTIONS, *(f"-I{folder}" for folder in folders))


@cache
def headers() -> dict[str, str]:
    """grader.cuh and the stand-ins for host headers, by include name."""
    return {p.name: p.read_text(encoding="utf-8") for p in sorted((_HERE / "include").iterdir())}


def cache_key(text: str, arch: str = ARCH) -> str:
    """A hash of everything the result depends on: compiler, options, headers, this package's code, the source."""
    digest = hashlib.sha256(_fixed_parts(arch))
    digest.update(text.encode())
    return digest.hexdigest()


@cache
def _fixed_parts(arch: str) -> bytes:
    parts = [toolkit.identity(), *options(arch)]
    parts += [f"{name}\n{content}" for name, content in headers().items()]
    parts += [p.read_text(encoding="utf-8") for p in sorted(_HERE.glob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).digest()
