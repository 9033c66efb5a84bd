"""When each block of a kernel began and ended on a GPU, and how much it wrote.

The kernel's own PTX, with a clock at its entry and at its exit, and a count at each store to the output. That takes
time, so it is another run than the timed ones: it shows how the work is distributed, not how long it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from cupy_backends.cuda.api import driver, runtime

from grader.executors import device
from grader.executors.device import Kernels
from grader.model.execution import Invocation
from grader.model.measurements import Balance

MAX_BLOCKS = 1 << 20
WARM_UP_RUNS = 2
BINS = 60

# One row for each block.
ROW = np.dtype([("began", "<u8"), ("ended", "<u8"), ("written", "<u8")])

# Where the rows are, and the output: its address and its bytes.
_PARAMETERS = np.dtype([("rows", "<u8"), ("output", "<u8"), ("bytes", "<u8")])

_HEAD = re.compile(r"^\s*\.address_size\s+64\s*$", re.M)
_GLOBAL = "\n.visible .global .align 8 .b64 grader_blocks[3];\n"
_LEAVE = re.compile(r"\b(?:ret|exit)\s*;")
_STORE = re.compile(
    r"(?:@(?P<no>!?)(?P<if>[%\w$]+)\s+)?"
    r"\bst(?:\.(?:weak|volatile|relaxed|release|cta|cluster|gpu|sys))*(?:\.global)?(?:\.(?:cs|cg|wb|wt))?"
    r"(?:\.v(?P<count>[248]))?\.[bsuf](?P<bits>8|16|32|64|128)\s+"
    r"\[\s*(?P<base>%[\w$]+)\s*(?:\+\s*(?P<offset>-?\d+)\s*)?\]"
)

_ENTER = """
    .reg .b64 %grader_row, %grader_output, %grader_bytes, %grader_written, %grader_at;
    .reg .b32 %grader_x, %grader_y, %grader_n;
    .reg .pred %grader_is;
    mov.u32 %grader_x, %ctaid.z; mov.u32 %grader_n, %nctaid.y; mov.u32 %grader_y, %ctaid.y;
    mad.lo.u32 %grader_x, %grader_x, %grader_n, %grader_y;
    mov.u32 %grader_n, %nctaid.x; mov.u32 %grader_y, %ctaid.x;
    mad.lo.u32 %grader_x, %grader_x, %grader_n, %grader_y;
    ld.global.u64 %grader_row, [grader_blocks];
    ld.global.u64 %grader_output, [grader_blocks+8];
    ld.global.u64 %grader_bytes, [grader_blocks+16];
    mad.wide.u32 %grader_row, %grader_x, 24, %grader_row;
    mov.u64 %grader_written, 0;
    mov.u32 %grader_x, %tid.x; mov.u32 %grader_y, %tid.y; or.b32 %grader_x, %grader_x, %grader_y;
    mov.u32 %grader_y, %tid.z; or.b32 %grader_x, %grader_x, %grader_y;
    setp.eq.u32 %grader_is, %grader_x, 0;
    mov.u64 %grader_at, %globaltimer;
    @%grader_is st.global.u64 [%grader_row], %grader_at;
"""

_EXIT = """
$grader_leaves:
    mov.u64 %grader_at, %globaltimer;
    red.global.max.u64 [%grader_row+8], %grader_at;
    red.global.add.u64 [%grader_row+16], %grader_written;
    ret;
"""


def run(
    ptx: str,
    invocation: Invocation,
    pointers: Callable[[str], int],
    before: Callable[[], None],
    output: tuple[int, int, int],
) -> Balance | None:
    """Runs the kernel and reads its blocks' rows; None if its PTX is not of the usual form.

    `before` zeroes the workspace. `output`: address, bytes, and bytes of an element of what the kernel computes.
    Raises CUDADriverError if the driver does not take the PTX.
    """
    grid = invocation.config.grid
    blocks = grid[0] * grid[1] * grid[2]
    text = with_clocks(ptx, invocation.kernel)
    if text is None or not 0 < blocks <= MAX_BLOCKS:
        return None
    kernels = Kernels(text.encode() + b"\0")
    pointer = int(runtime.malloc(blocks * ROW.itemsize))
    try:
        address, size, itemsize = output
        parameters = np.array([(pointer, address, size)], _PARAMETERS)
        device.upload(driver.moduleGetGlobal(kernels.module, "grader_blocks"), parameters.view(np.uint8))
        for _ in range(WARM_UP_RUNS + 1):
            runtime.memset(pointer, 0, blocks * ROW.itemsize)
            before()
            runtime.deviceSynchronize()
            kernels.launch(invocation, pointers, 0)
            runtime.deviceSynchronize()
        rows = np.empty(blocks, ROW)
        device.download(rows.view(np.uint8), pointer)
    finally:
        runtime.free(pointer)
    return balance(rows, size, itemsize)


def with_clocks(ptx: str, kernel: str) -> str | None:
    """The module with clocks in `kernel`; None if it cannot be read well enough to add them."""
    head = _HEAD.search(ptx)
    entry = re.search(rf"\.entry\s+{re.escape(kernel)}\s*\(", ptx)
    if head is None or entry is None or "grader_" in ptx:
        return None
    start = ptx.find("{", _closing(ptx, entry.end() - 1, "()"))
    end = _closing(ptx, start, "{}")
    if start < 0 or end < 0:
        return None
    body = _STORE.sub(_counted, _LEAVE.sub("bra $grader_leaves;", ptx[start + 1 : end]))
    head_end = head.end()
    return ptx[:head_end] + _GLOBAL + ptx[head_end : start + 1] + _ENTER + body + _EXIT + ptx[end:]


def balance(rows: np.ndarray, size: int, itemsize: int) -> Balance | None:
    """From each block's row; `size`: bytes of the output. None if no time passed: the clock ticks coarsely.

    Unless the blocks together wrote every element once, what each of them wrote says nothing about its work.
    """
    began, ended = rows["began"].astype(np.int64), rows["ended"].astype(np.int64)
    first, last = int(began.min()), int(ended.max())
    if first <= 0 or last <= first:
        return None
    moments = np.concatenate([began, ended])
    steps = np.concatenate([np.ones_like(began), -np.ones_like(ended)])
    order = np.lexsort((steps, moments))  # at the same moment, a block that ends makes room for one that begins
    at_once = int(np.cumsum(steps[order]).max())
    edges = np.linspace(first, last, BINS + 1)
    busy = [float((np.minimum(ended, b) - np.maximum(began, a)).clip(0).sum() / (b - a)) for a, b in pairwise(edges)]
    left = np.sort(ended)[::-1]
    half = int(left[min(len(left) - 1, at_once // 2)])  # from here on, fewer than half of the most are busy
    written = rows["written"] // itemsize
    whole = int(rows["written"].sum()) == size
    return Balance(
        span_us=(last - first) / 1000,
        blocks=len(rows),
        most_busy=at_once,
        busy=tuple(busy),
        busy_share=float((ended - began).sum() / (at_once * (last - first))),
        tail_us=(last - half) / 1000,
        elements=(int(written.min()), float(written.mean()), int(written.max())) if whole else None,
    )


def _counted(store: re.Match[str]) -> str:
    """The store, after adding its bytes to the thread's count if it goes to the output."""
    size = int(store["bits"]) // 8 * int(store["count"] or 1)
    guard = f"not.pred %grader_if, {store['if']};" if store["no"] else f"mov.pred %grader_if, {store['if']};"
    both = f" {guard} and.pred %grader_is, %grader_is, %grader_if;" if store["if"] else ""
    return (
        "{ .reg .pred %grader_if;"
        f" add.s64 %grader_at, {store['base']}, {store['offset'] or 0};"
        " sub.s64 %grader_at, %grader_at, %grader_output;"
        f" setp.lt.u64 %grader_is, %grader_at, %grader_bytes;{both}"
        f" @%grader_is add.s64 %grader_written, %grader_written, {size}; }}\n    {store[0]}"
    )


def _closing(text: str, opening: int, pair: str) -> int:
    """The index of the bracket that closes the one at `opening`; -1 if none does."""
    depth = 0
    for at in range(max(opening, 0), len(text)):
        if text[at] == pair[0]:
            depth += 1
        elif text[at] == pair[1]:
            depth -= 1
            if depth == 0:
                return at
    return -1
