"""Which mistake gives just these BF16 results. Says nothing rather than something that does not fit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from reference_kernels.fp8_grouped_gemm import from_bf16, to_bf16
from reference_kernels.fp8_grouped_gemm_mistakes.problem import UNWRITTEN, Indices, Known

EMPTY = 0xFFFF  # an output arrives with every bit set, which is a NaN that arithmetic does not make

# Of the wrong elements, and of those that the mistake would get wrong: so many are what it gives, within an ulp ...
EXPLAINED, LIKELY = 0.99, 0.95
EQUAL = 0.8  # ... and so many to the bit: what a sum loses on a tensor core seldom changes its rounding
NUMBERS = 0.5  # of the wrong elements so many have to be predicted by a number, and not by ANYTHING

SAMPLE_ROWS = 16

Bits = NDArray[np.uint16]
Flags = NDArray[np.bool_]


class Results:
    """Wrong results beside the right ones, both as BF16's bits."""

    def __init__(self, bits: Bits, exact: np.ndarray, wrong: Flags) -> None:
        self.bits, self.right, self.wrong = bits, to_bf16(exact), wrong
        self.bad_rows = np.flatnonzero(wrong.any(axis=1))

    def find(self, mistakes: Iterable[Known]) -> Known | None:
        with np.errstate(all="ignore"):
            return next((one for one in mistakes if self._matches(one)), None)

    def _matches(self, mistake: Known) -> bool:
        """One wrong row, then some, then all: most mistakes are ruled out for the price of a row."""
        every = np.arange(len(self.bits))
        for rows in (self.bad_rows[:1], np.union1d(_spread(self.bad_rows), _spread(every))):
            if not self._fits(mistake, rows, LIKELY):
                return False
        return self._fits(mistake, every, EXPLAINED)

    def _fits(self, mistake: Known, rows: Indices, share: float) -> bool:
        values = np.asarray(mistake.rows(rows))
        got, wrong = self.bits[rows], self.wrong[rows]
        if values.shape != got.shape:
            return False
        given = to_bf16(values)
        empty = values == UNWRITTEN
        equal = np.where(empty, (got == EMPTY) | _same_infinity(got, values), got == given)
        near = equal | (np.abs(_order(got) - _order(given)) <= 1)
        anything = np.isnan(values)
        predicted = (np.abs(_order(given) - _order(self.right[rows])) > 1) & ~anything
        count = int(wrong.sum())
        surely = wrong & ~anything
        return bool(
            (wrong & (near | anything)).sum() >= share * count
            and (predicted & near).sum() >= share * predicted.sum()
            and (surely & equal).sum() >= EQUAL * surely.sum()
            and surely.sum() >= NUMBERS * count
        )


def _same_infinity(got: Bits, values: np.ndarray) -> Flags:
    return np.asarray(from_bf16(got) == values)


def _order(bits: Bits) -> NDArray[np.int32]:
    magnitude = (bits & 0x7FFF).astype(np.int32)
    return np.where(bits & 0x8000, -magnitude, magnitude)


def _spread(rows: Indices) -> Indices:
    return rows if len(rows) <= SAMPLE_ROWS else rows[np.linspace(0, len(rows) - 1, SAMPLE_ROWS).astype(np.intp)]
