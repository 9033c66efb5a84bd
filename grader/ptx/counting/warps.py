"""From the records of single lanes to what their warps did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from grader.ptx.counting.trace import PLACE_BITS, Trace

WARP = 32


class Accesses(NamedTuple):
    """What warps did together, one row each: at which place, with which lanes, at which address of each."""

    places: np.ndarray  # (n,)
    addresses: np.ndarray  # (n, 32), int64
    active: np.ndarray  # (n, 32), bool


def of_block(trace: Trace) -> Iterator[Accesses]:
    """Of each warp that was watched."""
    for records, counts in trace.left():
        keys, addresses = records[:, :, 0], records[:, :, 1]
        if (counts == counts[0]).all() and (keys == keys[0]).all():
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
    found, row = np.unique(key, return_inverse=True)
    if len(np.unique(row * WARP + lane)) < len(key):
        found, row = np.unique(key + (_repeats(lane, key) << PLACE_BITS), return_inverse=True)
    rows = np.zeros((len(found), WARP), np.int64)
    active = np.zeros((len(found), WARP), bool)
    rows[row, lane], active[row, lane] = address, True
    return Accesses(_place_of(found), rows, active)


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
