"""Lowers one kernel to LLVM IR that runs it warp by warp."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from grader.ptx.analysis.shapes import Frame
from grader.ptx.lowering.lower import Lowered, described
from grader.ptx.lowering.memory import RESERVED
from grader.ptx.lowering.warps.body import WarpBody
from grader.ptx.lowering.warps.builder import WarpBuilder
from grader.ptx.lowering.warps.lanes import LANES, NotTaken
from grader.ptx.runtime.lanes import declarations_of_lanes
from grader.ptx.syntax import Function, Module
from grader.ptx.unsupported import UNFORESEEN, Unsupported

LINE = 64  # bytes


def lower_warps(
    module: Module,
    function: Function,
    read_only: frozenset[int],
    block: tuple[int, int, int],
    *,
    even_if_slow: bool = False,
) -> Lowered | None:
    """For blocks of this shape. None: such kernels are left to the scalar engine."""
    if prod(function.cluster) > 1:
        return None
    try:
        kernel = WarpBuilder(module, function, read_only, block)
        if kernel.looks.between_blocks.meet or kernel.frame.local_bytes or RESERVED in kernel.layout.arrays:
            return None
        WarpBody(kernel).lower()
        if not (kernel.is_fast or even_if_slow):
            return None
    except (NotTaken, Unsupported, *UNFORESEEN):
        return None
    whole = -(-kernel.frame_bytes // LINE) * LINE
    frame = Frame(0, 0, 0, 0, 0, whole // LANES)
    lowered = described(kernel, function, frame)
    return replace(lowered, ir=lowered.ir + declarations_of_lanes())
