"""What common mistakes make of a grouped GEMM: each in a sentence, and the C that it gives.

Sums in FP32: exact enough to tell one mistake from another, and twice as fast. UNWRITTEN stands for an element
that the mistake never stores, ANYTHING for one that depends on memory outside the arrays.
"""

# ruff: noqa: N803, N806 - matrices and their sizes are capital letters, as in the papers

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_kernels.grouped_gemm import group_offsets

Matrix = NDArray[np.float32]
Indices = NDArray[np.intp]
Rows = Callable[[Indices], np.ndarray]  # numbers of rows of C -> these rows

UNWRITTEN = np.inf
ANYTHING = np.nan

TILES = (8, 16, 32, 64, 128)  # as kernels are written with them
STEPS = (8, 16, 32, 64)  # along K
GROUP_COUNTS = (1, 2, 3, 4, 8, 16, 32)
LENGTHS = (16, 32, 64, 128, 256, 512)  # a K that somebody wrote into a kernel
SLOW_WORK = 1 << 18  # K * N up to which one rounding for each multiplication is emulated

LAYOUT, OFFSETS, SUM = "rows-and-columns", "group-offsets", "the-sum-over-k"
WRITTEN, PRECISION, SIZES = "elements-never-written", "reduced-precision", "sizes-written-into-the-kernel"


class Known(NamedTuple):
    """One mistake: `sentence` for a student, `topic` the section of problem.md that explains it."""

    name: str
    sentence: str
    topic: str
    rows: Rows


class Problem:
    """One grouped GEMM with its right result, and where each row of C belongs."""

    def __init__(self, A: Matrix, B: Matrix, M_sizes: NDArray[np.integer], C: np.ndarray) -> None:
        self.A, self.B, self.C = A, B, C
        self.sizes = np.asarray(M_sizes, np.intp)
        self.offsets = group_offsets(M_sizes).astype(np.intp)
        self.groups, self.K, self.N = B.shape
        self.group = np.repeat(np.arange(self.groups), self.sizes)  # of each row of C
        self.local = np.arange(len(A)) - self.offsets[self.group]  # and its number within the group

    def product(
        self, A_rows: np.ndarray, groups: Indices, B: Callable[[int], np.ndarray] | None = None
    ) -> np.ndarray:
        """(R, N): row i of A_rows times the B of groups[i]. A group that does not exist gives ANYTHING."""
        result = np.full((len(A_rows), self.N), ANYTHING, np.float32)
        for group in np.unique(groups):
            if 0 <= group < self.groups:
                mine = groups == group
                right = self.B[group] if B is None else B(int(group))
                result[mine] = A_rows[mine] @ right
        return result

    def rows_of_A(self, numbers: Indices) -> np.ndarray:
        """Those rows; ANYTHING where there is none."""
        return take(self.A, numbers)


def take(array: np.ndarray, indices: Indices) -> np.ndarray:
    """array[indices] along the first axis, ANYTHING where an index lies outside."""
    inside = (indices >= 0) & (indices < len(array))
    result = array[np.where(inside, indices, 0)]
    result[~inside] = ANYTHING
    return result


def every_mistake(problem: Problem) -> Iterator[Known]:
    """From the most common to the rarest; where two give the same C, the first is told."""
    yield from _wrong_weights(problem)
    yield from _wrong_rows(problem)
    yield from _transposed(problem)
    yield from _part_of_the_sum(problem)
    yield from _wrong_steps(problem)
    yield from _never_written(problem)
    yield from _same_tile(problem)
    yield from _not_reset(problem)
    yield from _precision(problem)
    yield from _slow_precision(problem)


# The group's own matrix and rows


def _wrong_weights(p: Problem) -> Iterator[Known]:
    def with_B(number: Callable[[Indices], Indices]) -> Rows:
        return lambda rows: p.product(p.A[rows], number(p.group[rows]))

    other = {
        "b-of-group-0": ("every group is multiplied by B of group 0", lambda g: g * 0),
        "b-of-the-next-group": ("group g is multiplied by B of group g + 1", lambda g: g + 1),
        "b-of-the-group-before": ("group g is multiplied by B of group g - 1", lambda g: g - 1),
        "b-of-the-last-group": ("every group is multiplied by B of the last group", lambda g: g * 0 + p.groups - 1),
        "b-from-the-end": ("group 0 is multiplied by B of the last group, and so on", lambda g: p.groups - 1 - g),
    }
    for name, (sentence, number) in other.items():
        yield Known(name, sentence, OFFSETS, with_B(number))
    present = np.cumsum(p.sizes > 0) - 1  # a group's number among those that have rows
    yield Known("b-counted-without-empty-groups", "empty groups are not counted when B is chosen, so B belongs to "
                "another group", OFFSETS, with_B(lambda g: present[g]))  # fmt: skip
    first = p.local == 0
    yield Known("first-row-to-the-group-before", "the first row of each group is multiplied by B of the group before",
                OFFSETS, lambda rows: p.product(p.A[rows], p.group[rows] - (first[rows] & (rows > 0))))  # fmt: skip


def _wrong_rows(p: Problem) -> Iterator[Known]:
    def starting_at(first: Callable[[Indices], Indices]) -> Rows:
        return lambda rows: p.product(p.rows_of_A(p.local[rows] + first(p.group[rows])), p.group[rows])

    starts = np.append(p.offsets, p.offsets[-1])
    mean = len(p.A) // p.groups
    other: dict[str, tuple[str, Callable[[Indices], Indices]]] = {
        "a-offset-ignored": (
            "every group reads its rows of A from row 0: group_offsets is not added",
            lambda g: g * 0,
        ),
        "a-offset-twice": ("group_offsets is added to the row of A twice", lambda g: 2 * p.offsets[g]),
        "a-of-the-next-group": ("group g reads the rows of A of group g + 1", lambda g: starts[g + 1]),
        "a-of-the-group-before": ("group g reads the rows of A of group g - 1", lambda g: p.offsets[g - (g > 0)]),
        "a-equal-groups": (
            "the first row of group g is taken as g * M[g], which is right only for groups of one size",
            lambda g: g * p.sizes[g],
        ),
        "a-groups-like-the-first": (
            "the first row of group g is taken as g * M[0], which is right only for groups of one size",
            lambda g: g * p.sizes[0],
        ),
        "a-mean-groups": (
            "the first row of group g is taken as g times the mean size, as if all groups were of one size",
            lambda g: g * mean,
        ),
        "a-one-row-late": ("every row of C is computed from the next row of A", lambda g: p.offsets[g] + 1),
        "a-one-row-early": ("every row of C is computed from the row of A before", lambda g: p.offsets[g] - 1),
    }
    for name, (sentence, first) in other.items():
        yield Known(name, sentence, OFFSETS, starting_at(first))
    elements = p.A.reshape(-1)
    for name, first_element, sentence in (
        ("a-offset-in-elements", p.offsets[p.group] + p.local * p.K,
         "group_offsets[g] is added as if it counted elements of A; it counts rows, of K elements each"),
        ("b-offset-in-elements", None, ""),
    ):  # fmt: skip
        if first_element is not None:
            yield Known(name, sentence, OFFSETS, partial(_strided_A, p, elements, first_element, 1))


# Rows and columns confused


def _strided_A(p: Problem, elements: np.ndarray, first: Indices, stride: int, rows: Indices) -> np.ndarray:
    at = first[rows][:, None] + stride * np.arange(p.K)
    return p.product(take(elements, at.reshape(-1)).reshape(at.shape), p.group[rows])


def _strided_B(p: Problem, rows: Indices) -> np.ndarray:
    """B with rows of K elements."""
    elements = p.B.reshape(-1)

    def of(group: int) -> np.ndarray:
        at = group * p.K * p.N + p.K * np.arange(p.K)[:, None] + np.arange(p.N)
        return take(elements, at.reshape(-1)).reshape(at.shape)

    return p.product(p.A[rows], p.group[rows], of)


def _transposed(p: Problem) -> Iterator[Known]:
    elements, start = p.A.reshape(-1), p.offsets[p.group] * p.K

    def transposed_A(rows: Indices) -> np.ndarray:
        at = start[rows][:, None] + np.arange(p.K) * p.sizes[p.group[rows]][:, None] + p.local[rows][:, None]
        return p.product(elements[at], p.group[rows])

    def transposed_B(rows: Indices) -> np.ndarray:
        return p.product(p.A[rows], p.group[rows], lambda g: p.B[g].reshape(p.N, p.K).T)

    yield Known("a-transposed", "A is read as if it were stored (K, M)", LAYOUT, transposed_A)
    yield Known("b-transposed", "B is read as if it were stored (N, K)", LAYOUT, transposed_B)
    yield Known("c-transposed", "C is stored as if it were (N, M)", LAYOUT, partial(_transposed_C, p))
    if p.K != p.N:
        yield Known("a-stride", "the rows of A are taken to be N elements long; they have K", LAYOUT,
                    partial(_strided_A, p, elements, start + p.local * p.N, 1))  # fmt: skip
        yield Known("b-stride", "the rows of B are taken to be K elements long; they have N", LAYOUT,
                    partial(_strided_B, p))  # fmt: skip
    for tile in (8, 16, 32):
        for which, rows in (("A", _tiles_of_A), ("B", _tiles_of_B), ("C", _tiles_of_C)):
            sentence = f"each {tile}x{tile} tile of {which} is stored transposed: its two indices are swapped once"
            yield Known(f"{which.lower()}-tile-transposed-{tile}", sentence, LAYOUT, partial(rows, p, tile))


def _transposed_C(p: Problem, rows: Indices) -> np.ndarray:
    """C[g] laid out as (N, M) over the same elements."""
    at = p.local[rows][:, None] * p.N + np.arange(p.N)
    sizes = p.sizes[p.group[rows]][:, None]
    return np.asarray(p.C[p.offsets[p.group[rows]][:, None] + at % sizes, at // sizes])


def _tiles_of_A(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    """Element (i, k) of a tile comes from (k, i); rows below the group's last are 0."""
    k, i = np.arange(p.K), p.local[rows][:, None]
    from_row = i // tile * tile + k % tile
    from_k = k // tile * tile + i % tile
    inside = (from_row < p.sizes[p.group[rows]][:, None]) & (from_k < p.K)
    values = p.A[np.where(inside, p.offsets[p.group[rows]][:, None] + from_row, 0), np.where(inside, from_k, 0)]
    return p.product(np.where(inside, values, np.float32(0)), p.group[rows])


def _tiles_of_B(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    k, n = np.arange(p.K)[:, None], np.arange(p.N)
    from_k, from_n = k // tile * tile + n % tile, n // tile * tile + k % tile
    inside = (from_k < p.K) & (from_n < p.N)
    at = (np.where(inside, from_k, 0), np.where(inside, from_n, 0))
    return p.product(p.A[rows], p.group[rows], lambda g: np.where(inside, p.B[g][at], np.float32(0)))


def _tiles_of_C(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    """Where a tile is not full, what is stored depends on where the bounds are checked: ANYTHING."""
    n, i = np.arange(p.N), p.local[rows][:, None]
    from_row, from_n = i // tile * tile + n % tile, n // tile * tile + i % tile
    full = ((i // tile + 1) * tile <= p.sizes[p.group[rows]][:, None]) & ((n // tile + 1) * tile <= p.N)
    values = p.C[np.where(full, p.offsets[p.group[rows]][:, None] + from_row, 0), np.where(full, from_n, 0)]
    return np.where(full, values, ANYTHING)


# The sum over K


def _over(p: Problem, chosen: Indices, rows: Indices) -> np.ndarray:
    """The sum over the chosen k alone; one that is named twice counts twice."""
    return p.product(p.A[rows][:, chosen], p.group[rows], lambda g: p.B[g][chosen])


def _part_of_the_sum(p: Problem) -> Iterator[Known]:
    k = np.arange(p.K)
    told: set[bytes] = set()

    def known(name: str, sentence: str, topic: str, chosen: Indices) -> Iterator[Known]:
        if len(chosen) > 0 and chosen.tobytes() not in told and len(chosen) < p.K:
            told.add(chosen.tobytes())
            yield Known(name, sentence, topic, partial(_over, p, chosen))

    for tile, sizes in _alike(STEPS + (128,), lambda tile: p.K // tile * tile):
        yield from known(f"k-tail-{tile}", f"the last {p.K % tile} of K = {p.K} are left out: K is no multiple of "
                         f"the tile ({sizes}), and its partial step is missing", "zero-fill",
                         k[: p.K // tile * tile])  # fmt: skip
    for length in LENGTHS:
        yield from known(f"k-is-{length}", f"the sum ends at k = {length}, and K is {p.K}", SIZES, k[:length])
    for tile in STEPS:
        yield from known(f"k-last-step-{tile}", f"the last step along K (k from {p.K - tile}) is missing", SUM,
                         k[:-tile])  # fmt: skip
        yield from known(f"k-first-step-{tile}", f"the first step along K (k below {tile}) is missing", SUM, k[tile:])
        yield from known(f"k-only-last-step-{tile}", f"only the last step along K (k from {p.K - tile}) is in the "
                         "sum: it starts again at every step", SUM, k[-tile:])  # fmt: skip
        yield from known(f"k-only-first-step-{tile}", f"only the first step along K (k below {tile}) is in the sum",
                         SUM, k[:tile])  # fmt: skip
        yield from known(f"k-every-other-step-{tile}", f"every second step along K ({tile} long) is missing", SUM,
                         k[k // tile % 2 == 0])  # fmt: skip
    yield from known("k-only-last", "only the last product is in the sum: = in place of +=", SUM, k[-1:])
    yield from known("k-only-first", "only the first product is in the sum", SUM, k[:1])
    yield from known("k-last", "the last product (k = K - 1) is missing from each sum", SUM, k[:-1])
    yield from known("k-first", "the first product (k = 0) is missing from each sum", SUM, k[1:])
    for tile in STEPS:
        for at, which in ((tile - 1, "last"), (0, "first")):
            yield from known(f"k-{which}-of-each-step-{tile}", f"the {which} product of each step along K ({tile} "
                             "long) is missing", SUM, k[k % tile != at])  # fmt: skip
    for parts in (2, 4, 8, 32):
        length = p.K // parts
        for part in range(parts) if parts < 32 else ():
            yield from known(f"k-part-{part}-of-{parts}", f"only part {part + 1} of {parts} of K is in the sum: the "
                             "parts are not added up", SUM, k[part * length : (part + 1) * length])  # fmt: skip
    for lanes in (32, 16, 8, 4, 2):
        yield from known(f"k-of-one-lane-{lanes}", f"only every {lanes}th product is in the sum, as of one lane of "
                         f"{lanes}: the lanes' sums are not added up", SUM, k[::lanes])  # fmt: skip


def _wrong_steps(p: Problem) -> Iterator[Known]:
    """Each step along K reads some tile again, or what an earlier step left."""
    k = np.arange(p.K)
    for tile in STEPS:
        if tile < p.K:
            first = k % tile
            stuck = {
                "a": ("A", first, k),
                "b": ("B", k, first),
                "ab": ("A and B", first, first),
            }
            for name, (what, k_of_A, k_of_B) in stuck.items():
                sentence = f"every step along K ({tile} long) reads the first tile of {what} again"
                yield Known(f"{name}-stuck-{tile}", sentence, SUM, partial(_paired, p, k_of_A, k_of_B))
        rest = p.K % tile
        if rest and tile < p.K:
            stale = np.append(k, k[p.K - rest - (tile - rest) : p.K - rest])
            sentence = (
                f"the last step along K is only {rest} of {tile} long, and what the step before left in the rest "
                "of the tiles is added again: no zero-fill"
            )
            yield Known(f"k-stale-{tile}", sentence, "zero-fill", partial(_over, p, stale))
        if rest:
            clamped = np.append(k, np.full(tile - rest, p.K - 1))
            sentence = (
                f"the last product counts {tile - rest + 1} times: k beyond K is held at K - 1, not zero-filled"
            )
            yield Known(f"k-clamped-{tile}", sentence, "zero-fill", partial(_over, p, clamped))


def _paired(p: Problem, k_of_A: Indices, k_of_B: Indices, rows: Indices) -> np.ndarray:
    return p.product(p.A[rows][:, k_of_A], p.group[rows], lambda g: p.B[g][k_of_B])


# Elements that nobody computes


def _never_written(p: Problem) -> Iterator[Known]:
    """Each as never stored, and as 0."""
    size = p.sizes[p.group]

    def left_out(name: str, sentence: str, topic: str, missing: Callable[[Indices], np.ndarray]) -> Iterator[Known]:
        for value, ending, what in ((UNWRITTEN, "", "never written"), (0.0, "-0", "0")):

            def rows(numbers: Indices, value: float = value) -> np.ndarray:
                return np.where(missing(numbers), value, p.C[numbers])

            yield Known(name + ending, sentence.format(what), topic, rows)

    for tile, sizes in _alike(TILES, lambda tile: (p.sizes // tile * tile).tobytes()):
        whole = size // tile * tile
        yield from left_out(f"rows-tail-{tile}", "the last partial tile of each group is {}: M is divided by the "
                            f"tile's {sizes} rows and rounded down", WRITTEN,
                            lambda rows, whole=whole: (p.local >= whole)[rows, None])  # fmt: skip
    columns = np.arange(p.N)
    for tile, sizes in _alike(TILES, lambda tile: p.N // tile):
        if p.N % tile:
            yield from left_out(f"columns-tail-{tile}", f"the last {p.N % tile} columns are {{}}: N is divided by "
                                f"the tile's {sizes} columns and rounded down", WRITTEN,
                                lambda rows, end=p.N // tile * tile: columns >= end)  # fmt: skip
    for count in GROUP_COUNTS:
        if count < p.groups:
            which = "groups after group 0 are" if count == 1 else f"groups from group {count} on are"
            yield from left_out(f"{count}-groups", f"the {which} {{}}: only {count} of {p.groups} are computed",
                                SIZES, lambda rows, count=count: (p.group >= count)[rows, None])  # fmt: skip
    yield from left_out("last-group", "the last group is {}", WRITTEN,
                        lambda rows: (p.group == p.groups - 1)[rows, None])  # fmt: skip
    yield from left_out("first-group", "group 0 is {}", WRITTEN, lambda rows: (p.group == 0)[rows, None])
    yield from left_out("last-row", "the last row of each group is {}", WRITTEN,
                        lambda rows: (p.local == size - 1)[rows, None])  # fmt: skip
    heights = {
        "the first group": int(p.sizes[0]),
        "the mean group": -(-len(p.A) // p.groups),
        "the last group": int(p.sizes[-1]),
        "the smallest group": int(p.sizes.min()),
    }
    for tile, _ in _alike((1, *TILES), lambda tile: tuple(-(-height // tile) * tile for height in heights.values())):
        for what, height in heights.items():
            end = -(-height // tile) * tile
            if end < p.sizes.max():
                yield from left_out(f"as-tall-as-{what.split()[1]}-{tile}", f"rows from {end} on are {{}}: the grid is "
                                    f"only as tall as {what}", WRITTEN,
                                    lambda rows, end=end: (p.local >= end)[rows, None])  # fmt: skip
    for tile in TILES:
        yield from left_out(f"one-row-tile-{tile}", f"rows from {tile} on are {{}}: only the first tile of rows of "
                            "each group is computed", WRITTEN,
                            lambda rows, tile=tile: (p.local >= tile)[rows, None])  # fmt: skip
        yield from left_out(f"one-column-tile-{tile}", f"columns from {tile} on are {{}}: only the first tile of "
                            "columns is computed", WRITTEN, lambda rows, tile=tile: columns >= tile)  # fmt: skip


def _same_tile(p: Problem) -> Iterator[Known]:
    for tile in TILES:
        if tile < p.sizes.max():
            yield Known(f"row-tile-ignored-{tile}", f"every {tile} rows of C are computed from the group's first "
                        f"{tile} rows of A again", SUM,
                        lambda rows, tile=tile: p.C[p.offsets[p.group[rows]] + p.local[rows] % tile])  # fmt: skip
        if tile < p.N:
            yield Known(f"column-tile-ignored-{tile}", f"every {tile} columns of C are computed from the first {tile} "
                        "columns of B again", SUM,
                        lambda rows, tile=tile: p.C[rows][:, np.arange(p.N) % tile])  # fmt: skip


def _not_reset(p: Problem) -> Iterator[Known]:
    """What a block leaves in its accumulator goes into its next tile."""

    def over_groups(rows: Indices) -> np.ndarray:
        total = p.C[rows].copy()
        for group, (first, end) in enumerate(pairwise(p.offsets.tolist())):
            also = (p.group[rows] > group) & (p.local[rows] < end - first)
            total[also] += p.C[first + p.local[rows][also]]
        return total

    sentence = "each group's result is added to that of the groups before: the sum is not reset to 0 between groups"
    yield Known("not-reset-between-groups", sentence, SUM, over_groups)
    for tile in TILES:
        if tile < p.sizes.max():
            yield Known(f"not-reset-between-rows-{tile}", f"each tile of {tile} rows contains the sums of the tiles "
                        "above it: the sum is not reset to 0 between tiles", SUM,
                        partial(_over_row_tiles, p, tile))  # fmt: skip
        if tile < p.N:
            yield Known(f"not-reset-between-columns-{tile}", f"each tile of {tile} columns contains the sums of the "
                        "tiles left of it: the sum is not reset to 0 between tiles", SUM,
                        partial(_over_column_tiles, p, tile))  # fmt: skip


def _over_row_tiles(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    total = np.zeros((len(rows), p.N))
    for i, row in enumerate(rows):
        first = int(row) - int(p.local[row]) + int(p.local[row]) % tile
        total[i] = p.C[first : int(row) + 1 : tile].sum(axis=0)
    return total


def _over_column_tiles(p: Problem, tile: int, rows: Indices) -> np.ndarray:
    total = p.C[rows].copy()
    for column in range(tile, p.N):
        total[:, column] += total[:, column - tile]
    return total


# Less than FP32


def _precision(p: Problem) -> Iterator[Known]:
    formats = {
        "tf32": ("TF32 (10 mantissa bits)", partial(round_mantissa, bits=10)),
        "tf32-cut": ("TF32 (10 mantissa bits, the rest cut off)", partial(round_mantissa, bits=10, cut=True)),
        "bf16": ("BF16 (7 mantissa bits)", partial(round_mantissa, bits=7)),
        "bf16-cut": ("BF16 (7 mantissa bits, the rest cut off)", partial(round_mantissa, bits=7, cut=True)),
        "fp16": ("FP16 (10 mantissa bits)", _to_half),
    }
    for name, (words, narrow) in formats.items():

        def inputs(rows: Indices, narrow: Callable[[np.ndarray], np.ndarray] = narrow) -> np.ndarray:
            return p.product(narrow(p.A[rows]), p.group[rows], lambda g: narrow(p.B[g]))

        def one_input(rows: Indices, narrow: Callable[[np.ndarray], np.ndarray] = narrow) -> np.ndarray:
            return p.product(narrow(p.A[rows]), p.group[rows])

        def other_input(rows: Indices, narrow: Callable[[np.ndarray], np.ndarray] = narrow) -> np.ndarray:
            return p.product(p.A[rows], p.group[rows], lambda g: narrow(p.B[g]))

        yield Known(name, f"the inputs were rounded to {words}", PRECISION, inputs)
        yield Known(f"{name}-a", f"A was rounded to {words}", PRECISION, one_input)
        yield Known(f"{name}-b", f"B was rounded to {words}", PRECISION, other_input)
    for name, (words, narrow) in formats.items():

        def result(rows: Indices, narrow: Callable[[np.ndarray], np.ndarray] = narrow) -> np.ndarray:
            return narrow(p.C[rows].astype(np.float32))

        yield Known(f"{name}-result", f"the sums were rounded to {words} at the end", PRECISION, result)


def _slow_precision(p: Problem) -> Iterator[Known]:
    """A sum that is itself kept in 16 bits, product by product in the order of k."""
    if p.K * p.N > SLOW_WORK:
        return
    narrow: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
        "fp16": ("FP16", _to_half),
        "bf16": ("BF16", partial(round_mantissa, bits=7)),
    }
    for name, (words, to) in narrow.items():
        yield Known(f"{name}-sum", f"the sum is kept in {words}: each of its K additions rounds", PRECISION,
                    partial(_narrow_sum, p, to, False))  # fmt: skip
        yield Known(f"{name}-sum-and-inputs", f"inputs and sum are kept in {words}: each of the K additions rounds",
                    PRECISION, partial(_narrow_sum, p, to, True))  # fmt: skip


def _narrow_sum(p: Problem, to: Callable[[np.ndarray], np.ndarray], inputs: bool, rows: Indices) -> np.ndarray:
    total = np.zeros((len(rows), p.N), np.float32)
    for group in np.unique(p.group[rows]):
        mine = p.group[rows] == group
        A, B = p.A[rows][mine], p.B[group]
        if inputs:
            A, B = to(A), to(B)
        part = np.zeros((len(A), p.N), np.float32)
        for k in range(p.K):
            part = to(part + A[:, k, None] * B[k])
        total[mine] = part
    return total


def _to_half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def round_mantissa(values: np.ndarray, *, bits: int, cut: bool = False) -> np.ndarray:
    """FP32 with the mantissa rounded to nearest even, or cut, to `bits` bits: TF32 has 10, BF16 7."""
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    dropped = 23 - bits
    if not cut:
        half = np.uint32((1 << (dropped - 1)) - 1)
        raw = raw + half + ((raw >> np.uint32(dropped)) & np.uint32(1))
    return (raw & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)).view(np.float32)


def _alike(tiles: Iterable[int], effect: Callable[[int], object]) -> list[tuple[int, str]]:
    """The smallest tile of each effect, and all tiles that have it in words: (32, "32 or 64")."""
    by_effect: dict[object, list[int]] = {}
    for tile in tiles:
        by_effect.setdefault(effect(tile), []).append(tile)
    return [(same[0], " or ".join(map(str, same))) for same in by_effect.values()]
