"""Elements that were never written. Every bit of an output is set before the kernel, and 0xff is also an FP8 NaN.

So a single byte proves nothing. Whole regions do, and elements are left out in regions: the end, a range, the same
part of each tile, some rows and columns.
"""

from __future__ import annotations

import numpy as np

from grader.reference_kernels.arrays import Array
from grader.reference_kernels.mistakes.mistake import Cause

NAME, HINT = "never-written", "elements-never-written"

# For a whole output. A byte may be a NaN that the kernel wrote.
NO_ELEMENT = Cause(NAME, "no element was ever written", HINT)
NO_BYTE = Cause(NAME, "every byte is still 0xff, as before the kernel: never written, or set to NaN everywhere", HINT)

# Elements that a thread, a warp or a block takes at once: guesses, tried from the smallest.
WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
FEW = 8  # elements somewhere in the middle that may hold the same by chance


def untouched(values: Array) -> Array:
    """Where every bit is set: for floats, a NaN that arithmetic never produces."""
    bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
    return np.asarray(bits == np.iinfo(bits.dtype).max)


def region(missing: Array, maybe: Array) -> str | None:
    """Which elements of a vector were never written, in words; None if `missing` is not a region.

    `missing`: wrong, and every bit still set. `maybe`: right, and every bit set: a NaN, written or not.
    """
    at, n = np.flatnonzero(missing), missing.size
    if at.size == 0:
        return None
    neither = ~(missing | maybe)
    before = np.flatnonzero(neither[: at[0]])
    earliest, first, last = int(before[-1]) + 1 if before.size else 0, int(at[0]), int(at[-1])
    if not neither[first:].any():
        return NO_ELEMENT.sentence if earliest == 0 else _end(earliest, first, n)
    if at.size < FEW:
        return None
    if not neither[first : last + 1].any():
        return f"elements {first} to {last} were never written"
    return _of_each(at, neither)


def _end(earliest: int, first: int, n: int) -> str:
    """ "the last 3 elements were never written: 4 does not divide n, and the remainder is left out" """
    widths = [width for width in WIDTHS if earliest <= n - n % width <= first and n % width]
    count = n % widths[0] if widths else n - first
    elements = f"the last {count} elements were" if count > 1 else "the last element was"
    left = f": {widths[0]} does not divide n, and the remainder is left out" if widths else ""
    return f"{elements} never written{left}"


def _of_each(at: Array, neither: Array) -> str | None:
    for width in WIDTHS:
        phases = np.unique(at % width)
        low, high = int(phases[0]), int(phases[-1])
        if phases.size == high - low + 1 < width and neither.size >= 2 * width:
            of_each = np.arange(neither.size) % width
            if not (neither & (of_each >= low) & (of_each <= high)).any():
                if low == high:
                    return f"element {low} of every {width} was never written"
                return f"elements {low} to {high} of every {width} were never written"
    return None


def is_block(missing: Array) -> bool:
    """Whether these are some rows and columns of an array, all of them, or all but these; at least a few elements."""
    return int(missing.sum()) >= FEW and (_is_product(missing) or _is_product(~missing))


def _is_product(mask: Array) -> bool:
    """Whether a choice along each axis, each for itself, gives the mask."""
    if mask.all():
        return True
    axes = set(range(mask.ndim))
    chosen = [mask.any(axis=tuple(axes - {axis})) for axis in axes]
    return mask.ndim > 1 and int(mask.sum()) == int(np.prod([axis.sum() for axis in chosen]))
