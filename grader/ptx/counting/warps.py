"""From the records of single lanes to what their warps did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from grader.ptx.counting.trace import MOST_RECORDS, PLACE_BITS, Trace

WARP = 32


class Accesses(NamedTuple):
    """What warps did together, one row each: at which place, with which lanes, at which address of each."""

    places: np.ndarray  # (n,)
    addresses: np.ndarray  # (n, 32), int64
    active: np.ndarray  # (n, 32), bool


def of_block(trace: Trace, threads: int) -> Iterator[Accesses]:
    """Warp by warp. In a cluster, `threads` are those of all its blocks, which are whole warps."""
    for first in range(0, threads, WARP):
        lanes = range(first, min(first + WARP, threads))
        counts = np.minimum(trace.used[lanes.start : lanes.stop], MOST_RECORDS)
        if not counts.any():
            continue
        longest = int(counts.max())
        keys = trace.records[lanes.start : lanes.stop, :longest, 0]
        addresses = trace.records[lanes.start : lanes.stop, :longest, 1]
        if (counts == longest).all() and (keys == keys[0]).all():
            yield _together(keys[0], addresses)
        else:
            yield _apart(keys, addresses, counts)


def _together(keys: np.ndarray, addresses: np.ndarray) -> Accesses:
    """All lanes went the same way."""
    rows = np.zeros((len(keys), WARP), np.int64)
    active = np.zeros((len(keys), WARP), bool)
    rows[:, : len(addresses)] = addresses.T
    active[:, : len(addresses)] = True
    return Accesses(_place_of(keys), rows, active)


def _apart(keys: np.ndarray, addresses: np.ndarray, counts: np.ndarray) -> Accesses:
    """Lanes went different ways: those come together whose keys are the same."""
    filled = np.arange(keys.shape[1]) < counts[:, None]
    lane, _ = np.nonzero(filled)
    key, address = keys[filled], addresses[filled]
    met = np.stack([key, _repeats(lane, key)], axis=1)
    found, row = np.unique(met, axis=0, return_inverse=True)
    row = row.reshape(-1)
    rows = np.zeros((len(found), WARP), np.int64)
    active = np.zeros((len(found), WARP), bool)
    rows[row, lane], active[row, lane] = address, True
    return Accesses(_place_of(found[:, 0]), rows, active)


def _repeats(lane: np.ndarray, key: np.ndarray) -> np.ndarray:
    """How often the lane had this key before: only in cycles that are no natural loops."""
    order = np.lexsort((np.arange(len(key)), key, lane))
    same = np.zeros(len(key), bool)
    same[1:] = (lane[order][1:] == lane[order][:-1]) & (key[order][1:] == key[order][:-1])
    start = np.maximum.accumulate(np.where(same, 0, np.arange(len(key))))
    repeats = np.empty(len(key), np.int64)
    repeats[order] = np.arange(len(key)) - start
    return repeats


def _place_of(keys: np.ndarray) -> np.ndarray:
    return keys & ((1 << PLACE_BITS) - 1)
