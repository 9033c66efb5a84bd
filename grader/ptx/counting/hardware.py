"""What an access of a warp costs the hardware: sectors of global memory, wavefronts of shared memory.

Each rule is here twice: for many accesses at once, and, in `slow`, as it is defined.
"""

from __future__ import annotations

import numpy as np

SECTOR = 32  # bytes that global memory moves at once
BANKS = 32  # of shared memory
WORD = 4  # bytes that a bank delivers in a wavefront
WARP = 32


def sectors(addresses: np.ndarray, active: np.ndarray, width: int) -> np.ndarray:
    """How many sectors each access touches. `addresses`, `active`: (n, 32)."""
    first = np.where(active, addresses // SECTOR, -1)
    touched = [first]
    if width > SECTOR:
        touched += [np.where(active, first + k, -1) for k in range(1, width // SECTOR)]
    return _distinct(np.concatenate(touched, axis=1))


def interleaved(offsets: np.ndarray) -> np.ndarray:
    """Where the lanes' local memory lies: a word of each lane side by side."""
    words, within = np.divmod(offsets, WORD)
    return np.asarray((words * WARP + np.arange(WARP)) * WORD + within)


def least_sectors(active: np.ndarray, width: int) -> np.ndarray:
    """Of an access whose lanes lie side by side."""
    bytes_: np.ndarray = active.sum(axis=1) * width
    return -(-bytes_ // SECTOR)


def wavefronts(addresses: np.ndarray, active: np.ndarray, width: int) -> np.ndarray:
    """How often shared memory must be asked: in each wavefront a bank delivers one word, to all lanes that want it.

    A warp that accesses 8 or 16 bytes a lane is served in halves or quarters.
    """
    words = max(width // WORD, 1)
    asked = np.where(active[:, :, None], (addresses // WORD)[:, :, None] + np.arange(words), -1)
    parts = asked.reshape(len(addresses) * words, WARP)  # a half's words, or a quarter's, in each row
    return np.asarray(_most_in_a_bank(parts).reshape(-1, words).sum(axis=1))


def least_wavefronts(active: np.ndarray, width: int) -> np.ndarray:
    """Without bank conflicts."""
    parts = max(width // WORD, 1)
    return np.asarray(active.reshape(len(active), parts, -1).any(axis=2).sum(axis=1))


def _distinct(values: np.ndarray) -> np.ndarray:
    """How many values each row has; -1 is none."""
    ordered = np.sort(values, axis=1)
    return np.asarray((np.diff(ordered, axis=1, prepend=-1) != 0).sum(axis=1))


def _most_in_a_bank(words: np.ndarray) -> np.ndarray:
    """Of the words in each row, how many different ones lie in the same bank at most; -1 is none."""
    ordered = np.sort(words, axis=1)
    row, column = np.nonzero((np.diff(ordered, axis=1, prepend=-1) != 0) & (ordered >= 0))
    bank = row * BANKS + ordered[row, column] % BANKS
    return np.asarray(np.bincount(bank, minlength=len(words) * BANKS).reshape(-1, BANKS).max(axis=1))


def slow_sectors(addresses: list[int], width: int) -> int:
    """The definition: of the active lanes."""
    return len({(address + byte) // SECTOR for address in addresses for byte in range(width)})


def slow_wavefronts(lanes: dict[int, int], width: int) -> int:
    """The definition: `lanes` are the addresses of the active ones."""
    words, total = max(width // WORD, 1), 0
    for first in range(0, WARP, WARP // words):
        banks: dict[int, set[int]] = {}
        for lane in range(first, first + WARP // words):
            for k in range(words if lane in lanes else 0):
                word = lanes[lane] // WORD + k
                banks.setdefault(word % BANKS, set()).add(word)
        total += max(map(len, banks.values()), default=0)
    return total
