"""What keeps more blocks from sharing a multiprocessor: registers, shared memory, threads or their number."""

from __future__ import annotations

from typing import NamedTuple

from grader.model.measurements import LaunchedKernel


class Multiprocessor(NamedTuple):
    """Limits of one multiprocessor (CUDA C++ programming guide, technical specifications by compute capability)."""

    threads: int
    blocks: int
    shared_bytes: int
    registers: int = 65536


MULTIPROCESSORS = {
    "8.0": Multiprocessor(2048, 32, 164 << 10),
    "8.6": Multiprocessor(1536, 16, 100 << 10),
    "8.9": Multiprocessor(1536, 24, 100 << 10),
    "9.0": Multiprocessor(2048, 32, 228 << 10),
    "10.0": Multiprocessor(2048, 32, 228 << 10),
    "12.0": Multiprocessor(1536, 24, 100 << 10),
}

H200 = "9.0"  # what the CPU stands for
MULTIPROCESSORS_OF_H200 = 132

WARP = 32
REGISTER_UNIT = 256  # a warp's registers are handed out in such pieces
RESERVED_SHARED_BYTES = 1024  # the system's, in each block


def computed(launch: LaunchedKernel, compute_capability: str = H200) -> tuple[float | None, str]:
    """(share of the threads that a multiprocessor can hold, what keeps out more), from a launch's size alone.

    `launch`: block_threads, registers and shared_bytes (static and dynamic). (None, "") where the figures do not say.
    """
    has = MULTIPROCESSORS[compute_capability]
    threads, registers, shared = launch.block_threads, launch.registers, launch.shared_bytes
    if threads is None or registers is None or shared is None or min(threads - 1, registers, shared) < 0:
        return None, ""
    most = _most(has, -(-threads // WARP), registers, shared)
    blocks = min(most.values())
    limited = " and ".join(name for name, count in most.items() if count == blocks)
    return blocks * -(-threads // WARP) * WARP / has.threads, limited


def waves(
    launch: LaunchedKernel, share: float | None, multiprocessors: int = MULTIPROCESSORS_OF_H200
) -> float | None:
    """How often all multiprocessors are filled with blocks, one after the other; None where the figures do not say.

    `share`: of the threads that a multiprocessor can hold.
    """
    if not share or not launch.block_threads or launch.grid_blocks is None:
        return None
    warps = -(-launch.block_threads // WARP)
    return launch.grid_blocks / (round(share * MULTIPROCESSORS[H200].threads / (warps * WARP)) * multiprocessors)


def _most(has: Multiprocessor, warps: int, registers: int, shared_bytes: int) -> dict[str, int]:
    """How many blocks each of the limits lets in."""
    unit = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    return {
        "registers": has.registers // (unit * warps) if unit else has.blocks,
        "shared memory": has.shared_bytes // (shared_bytes + RESERVED_SHARED_BYTES),
        "threads": has.threads // (warps * WARP),
        "blocks": has.blocks,
    }


def limit(launch: LaunchedKernel, compute_capability: str) -> str:
    """ "registers", "threads", "shared memory", "blocks", or two of them; "" where the figures do not say.

    `launch`: blocks_per_sm, occupancy, registers and shared_bytes (static) of a kernel.
    """
    has = MULTIPROCESSORS.get(compute_capability)
    blocks, occupancy, registers, shared = (
        launch.blocks_per_sm,
        launch.occupancy,
        launch.registers,
        launch.shared_bytes,
    )
    if has is None or not blocks or occupancy is None or registers is None or shared is None:
        return ""
    if min(blocks - 1, registers, shared) < 0:
        return ""
    warps = round(occupancy * has.threads / blocks / WARP)
    if warps < 1:
        return ""
    most = _most(has, warps, registers, shared)
    if min(most.values()) > blocks:
        return "shared memory"  # what a launch asks for beyond what is declared
    return " and ".join(name for name, count in most.items() if count == blocks)
