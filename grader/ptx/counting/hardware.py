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


def least_sectors(moved: np.ndarray, active: np.ndarray, width: int) -> np.ndarray:
    """Of an access whose lanes lie side by side; fewer where it moves fewer, as lanes share what they access."""
    return np.asarray(np.minimum(-(-active.sum(axis=1) * width // SECTOR), moved))


def wavefronts(addresses: np.ndarray, active: np.ndarray, width: int, *, load: bool = False) -> np.ndarray:
    """How often shared memory must be asked: in each wavefront a bank delivers one word, to all lanes that want it.

    A warp that accesses 8 or 16 bytes a lane is served in halves or quarters. Of a load, those are served together
    whose lanes want the same, two by two, if no bank is in the way (measured on an H200).
    """
    words = max(width // WORD, 1)
    asked = np.where(active[:, :, None], (addresses // WORD)[:, :, None] + np.arange(words), -1)
    apart = _most_in_a_bank(asked.reshape(len(addresses) * words, WARP)).reshape(-1, words)
    if not load or words == 1:
        return np.asarray(apart.sum(axis=1))
    halves = _most_in_a_bank(asked.reshape(len(addresses) * 2, -1)).reshape(-1, 2)
    alike = [_neighbours_agree(addresses, active, step) for step in (1, 2)]
    either, both = alike[0] | alike[1], alike[0] & alike[1]
    whole = _most_in_a_bank(asked.reshape(len(addresses), -1))
    if words == 2:
        return np.where(either & (whole == 1), 1, apart.sum(axis=1))
    quarters = apart.reshape(-1, 2, 2).sum(axis=2)
    found = np.where(either[:, None] & (halves == 1), 1, quarters).sum(axis=1)
    return np.where(both & (active.sum(axis=1) <= WARP // 2) & (whole == 1), 1, found)


def updates(addresses: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Wavefronts of an atomic operation on words of shared memory (measured on an H200).

    A bank serves its lanes one by one, even where they want the same word.
    """
    lanes, at = np.nonzero(active)
    bank = lanes * BANKS + addresses[lanes, at] // WORD % BANKS
    return np.asarray(np.bincount(bank, minlength=len(active) * BANKS).reshape(-1, BANKS).max(axis=1))


def least_wavefronts(moved: np.ndarray, active: np.ndarray, width: int) -> np.ndarray:
    """Without bank conflicts; fewer where there are fewer, as lanes share what they access."""
    return np.asarray(np.minimum(-(-active.sum(axis=1) * max(width, WORD) // (BANKS * WORD)), moved))


def copied(
    targets: np.ndarray, sources: np.ndarray, active: np.ndarray, reads: np.ndarray, width: int, *, through: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sectors and wavefronts of cp.async, through the L1 cache or around it (measured on an H200).

    Around it, a sector is moved for each sector that it goes to. `reads`: the lanes that do not only fill with zeros.
    """
    fronts = wavefronts(targets, active, width)
    if through:
        return sectors(sources, reads, width), np.maximum(fronts, wavefronts(sources, active, width))
    pieces = sources // SECTOR << 20 | targets // SECTOR
    lines = sources // (BANKS * WORD) << 20 | targets // (BANKS * WORD)
    quarters = np.where(active, lines, -1).reshape(len(lines) * (width // WORD), -1)
    apart = _distinct(quarters).reshape(len(lines), -1).sum(axis=1)
    all_pieces = _distinct(np.where(active, pieces, -1))
    whole = all_pieces * SECTOR == active.sum(axis=1) * width
    return _distinct(np.where(reads, pieces, -1)), np.maximum(np.where(whole, apart, all_pieces), fronts)


def _neighbours_agree(addresses: np.ndarray, active: np.ndarray, step: int) -> np.ndarray:
    """Does each lane want what the lane wants whose number differs in this bit, if that is active?"""
    other = np.arange(WARP) ^ step
    same = (addresses == addresses[:, other]) | ~active | ~active[:, other]
    return np.asarray(same.all(axis=1))


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


def slow_updates(lanes: dict[int, int]) -> int:
    """The definition: `lanes` are the addresses of the active ones."""
    banks = [address // WORD % BANKS for address in lanes.values()]
    return max((banks.count(bank) for bank in banks), default=0)


def slow_wavefronts(lanes: dict[int, int], width: int, *, load: bool = False) -> int:
    """The definition: `lanes` are the addresses of the active ones."""
    parts = max(width // WORD, 1)
    size = WARP // parts
    served = [[lane for lane in lanes if lane // size == part] for part in range(parts)]
    if load and parts > 1 and any(_slow_agree(lanes, step) for step in (1, 2)):
        served = [
            half for two in zip(served[::2], served[1::2], strict=True) for half in _slow_joined(lanes, two, width)
        ]
        fits = len(lanes) * width <= 2 * BANKS * WORD and all(_slow_agree(lanes, step) for step in (1, 2))
        if parts == 4 and fits and _slow_conflicts(lanes, list(lanes), width) == 1:
            served = [list(lanes)]
    return sum(_slow_conflicts(lanes, part, width) for part in served)


def _slow_joined(lanes: dict[int, int], two: tuple[list[int], list[int]], width: int) -> list[list[int]]:
    together = two[0] + two[1]
    return [together] if _slow_conflicts(lanes, together, width) <= 1 else [*two]


def _slow_agree(lanes: dict[int, int], step: int) -> bool:
    return all(lanes.get(lane ^ step, at) == at for lane, at in lanes.items())


def _slow_conflicts(lanes: dict[int, int], some: list[int], width: int) -> int:
    """How many different words lie in one bank at most."""
    banks: dict[int, set[int]] = {}
    for lane in some:
        for k in range(max(width // WORD, 1)):
            word = lanes[lane] // WORD + k
            banks.setdefault(word % BANKS, set()).add(word)
    return max(map(len, banks.values()), default=0)
