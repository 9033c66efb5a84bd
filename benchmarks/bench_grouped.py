"""Grouped GEMM against padding and against a loop, for the matrix products of a Mixture-of-Experts layer.

    python benchmarks/bench_grouped.py --experts 8,16,32 --hidden 2048 --output results.csv

Tokens are routed to experts uniformly and by Zipf's law (the r-th most popular expert gets a share of 1 / r), and
multiplied by square matrices, hidden x hidden. What padding wastes and how far the experts differ follow from the
routing, on any machine; times need an NVIDIA GPU and torch. Each timed result is compared with the loop's first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import measured, on_gpu  # noqa: E402
from benchmarks.measured import Row  # noqa: E402
from grader.reference_kernels.grouped_gemm import group_offsets  # noqa: E402
from grader.reference_kernels.grouped_gemm_cases import zipf  # noqa: E402

BLOCK = 128
TILE = 64  # rows and columns of a tile of our kernel
SMS = 132  # multiprocessors of an H100 and an H200
ROUTINGS = {"uniform": 0.0, "zipf": 1.0}  # exponents of Zipf's law
MAX_TOKENS, MAX_EXPERTS = 1 << 20, 1024
LARGEST_ERROR = 0.06  # relative, of an FP8 product with block scales; 0.037 is usual

WASTE, EFFICIENCY = "computation that padding to the longest group wastes", "useful rows of all that are multiplied"
IMBALANCE = "rows of the largest group, as a multiple of the average"
BALANCE = f"tiles of the busiest block, as a multiple of the average, with {SMS} blocks"
TIME, SPEEDUP = "time", "speed, as a multiple of padded's"

PADDED = "BF16, padded batch (torch.bmm)"
BF16_LOOP, BF16_GROUPED = "BF16, one product for each group", "BF16, grouped (torch._grouped_mm)"
FP8_LOOP, FP8_GROUPED = "FP8, one product for each group, our kernel", "FP8, grouped, our kernel"
FP8_DEEPGEMM = "FP8, grouped, DeepGEMM"
BY_COUNTER, BY_GROUP = "next tile from a counter", "as many blocks for each group"
METHODS = (PADDED, BF16_LOOP, BF16_GROUPED, FP8_LOOP, FP8_GROUPED)

CHAPTER = {
    WASTE: {PADDED: "20 to 40"},
    EFFICIENCY: {PADDED: "60 to 80", FP8_GROUPED: "85 to 95"},
    SPEEDUP: {BF16_GROUPED: "1.2 to 1.6", FP8_GROUPED: "1.4 to 1.6, in BF16"},
}

WORDS = {
    WASTE: "The chapter names no routing, and what padding wastes depends on it alone: little if tokens are spread "
    "evenly, most of the work if some experts are popular.",
    EFFICIENCY: f"Grouped: of the rows in tiles of {TILE}, the last of each group being ragged. "
    "The chapter's efficiencies are of time, which only a GPU can tell.",
    IMBALANCE: "This is also what grouped GEMM gains over padding if both reach the same share of the GPU's peak.",
    BALANCE: "Counted, not measured: every tile as long as the others. Exercise 04 explains the counter.",
}
WRONG = "not measured: wrong result"


@dataclass(frozen=True)
class Problem:
    case: str
    sizes: tuple[int, ...]  # rows of each group
    hidden: int

    @property
    def rows(self) -> int:
        return sum(self.sizes)

    @property
    def padded_rows(self) -> int:
        return len(self.sizes) * max(self.sizes)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--experts", type=measured.numbers, default=(8, 16, 32), help="how many: 8,16,32")
    parser.add_argument("--hidden", type=int, default=2048, help="K and N, a multiple of 128")
    parser.add_argument("--tokens", type=int, default=8192, help="rows of all groups together")
    parser.add_argument("--seed", type=int, default=0)
    measured.output(parser)
    options = parser.parse_args(arguments)
    if options.hidden < BLOCK or options.hidden % BLOCK:
        parser.error(f"--hidden {options.hidden}: it must be a multiple of {BLOCK}, the length of a block of scales")
    if not 1 <= options.tokens <= MAX_TOKENS:
        parser.error(f"--tokens {options.tokens}: it must be from 1 to {MAX_TOKENS}")
    if max(options.experts) > MAX_EXPERTS:
        parser.error(f"--experts {max(options.experts)}: at most {MAX_EXPERTS}")
    measured.check_output(parser, options.output)

    problems = list(routed(options.experts, options.tokens, options.hidden, options.seed))
    rows = [row for problem in problems for row in counted(problem)]
    missing = on_gpu.missing()
    rows += unmeasured(problems, missing) if missing else timed(problems, options.seed)
    experts = ",".join(map(str, options.experts))
    command = f"bench_grouped.py --experts {experts} --hidden {options.hidden} --tokens {options.tokens}"
    about = {"command": f"{command} --seed {options.seed}", "M_sizes": {p.case: p.sizes for p in problems}}
    measured.finish(rows, options.output, about | ({"gpu": None} if missing else on_gpu.describe()), WORDS)
    return int(any(row.note.startswith(WRONG) for row in rows))


def routed(experts: Sequence[int], tokens: int, hidden: int, seed: int) -> Iterator[Problem]:
    for count in experts:
        for name, exponent in ROUTINGS.items():
            rng = np.random.default_rng([seed, count])
            yield Problem(f"{count}, {name}", tuple(zipf(rng, count, tokens, exponent)), hidden)


# ---- what follows from the sizes alone, on any machine


def counted(problem: Problem) -> Iterator[Row]:
    useful = problem.rows / problem.padded_rows
    tiled = problem.rows / sum(-(-m // TILE) * TILE for m in problem.sizes)
    yield row(WASTE, problem, PADDED, 100 * (1 - useful), "%")
    yield row(EFFICIENCY, problem, PADDED, 100 * useful, "%")
    yield row(EFFICIENCY, problem, FP8_GROUPED, 100 * tiled, "%")
    yield row(IMBALANCE, problem, "", max(problem.sizes) / (problem.rows / len(problem.sizes)), "x")
    yield from balance(problem)


def balance(problem: Problem) -> Iterator[Row]:
    tiles = [-(-m // TILE) * (problem.hidden // TILE) for m in problem.sizes]
    average = sum(tiles) / SMS
    yield row(BALANCE, problem, BY_COUNTER, -(-sum(tiles) // SMS) / average, "x")
    blocks = max(1, SMS // len(tiles))  # of each group
    yield row(BALANCE, problem, BY_GROUP, -(-max(tiles) // blocks) / average, "x")


def row(quantity: str, problem: Problem, method: str, value: float | None, unit: str, note: str = "") -> Row:
    return Row(
        quantity, problem.case, method, value, unit, chapter=CHAPTER.get(quantity, {}).get(method, ""), note=note
    )


# ---- times, on a GPU


@dataclass(frozen=True)
class Set:
    """One set of inputs, all on the GPU. A is stacked by group, B (G, N, K)."""

    A: Any
    B: Any
    A_padded: Any  # (G, longest, K)
    A_fp8: tuple[Any, Any]
    B_fp8: tuple[Any, Any]
    sizes: Any  # (G,)
    ends: Any  # (G,): the row behind each group
    slices: tuple[slice, ...]


def inputs(problem: Problem, seed: int, device: str = "cuda") -> Set:
    import torch

    from grader.reference_kernels.torch_layers import ops

    generator = torch.Generator(device).manual_seed(seed)
    hidden, groups = problem.hidden, len(problem.sizes)
    draw = partial(torch.randn, generator=generator, device=device)
    a, b = (draw(shape).to(torch.bfloat16) for shape in ((problem.rows, hidden), (groups, hidden, hidden)))
    offsets = group_offsets(problem.sizes).tolist()
    slices = tuple(slice(first, end) for first, end in pairwise(offsets))
    padded = a.new_zeros((groups, max(problem.sizes), hidden))
    for group, rows in enumerate(slices):
        padded[group, : rows.stop - rows.start] = a[rows]
    return Set(
        a,
        b,
        padded,
        ops.quantize_rows(a),
        ops.quantize_blocks(b.float()),
        torch.tensor(problem.sizes, dtype=torch.int32, device=device),
        torch.tensor(offsets[1:], dtype=torch.int32, device=device),
        slices,
    )


def padded(s: Set) -> Any:
    import torch

    return torch.bmm(s.A_padded, s.B.mT)


def loop(s: Set) -> list[Any]:
    return [s.A[rows] @ b.T for rows, b in zip(s.slices, s.B, strict=True) if rows.stop > rows.start]


def grouped(s: Set) -> Any:
    import torch

    return torch._grouped_mm(s.A, s.B.mT, offs=s.ends)


def fp8_loop(s: Set) -> list[Any]:
    from grader.reference_kernels.torch_layers import ops

    (a, a_scales), (b, b_scales) = s.A_fp8, s.B_fp8
    return [
        ops.grouped_product(
            a[rows],
            a_scales[rows],
            b[group : group + 1],
            b_scales[group : group + 1],
            s.sizes[group : group + 1],
            None,
            ops.KERNELS,
        )
        for group, rows in enumerate(s.slices)
        if rows.stop > rows.start
    ]


def fp8_grouped(backend: str, s: Set) -> Any:
    from grader.reference_kernels.torch_layers import ops

    return ops.grouped_product(*s.A_fp8, *s.B_fp8, s.sizes, None, backend)


@cache
def contenders() -> dict[str, Callable[[Set], Any]]:
    from grader.reference_kernels.torch_layers import deepgemm, ops

    every = (padded, loop, grouped, fp8_loop, partial(fp8_grouped, ops.KERNELS))
    found: dict[str, Callable[[Set], Any]] = dict(zip(METHODS, every, strict=True))
    if deepgemm.installed():
        found[FP8_DEEPGEMM] = partial(fp8_grouped, ops.DEEPGEMM)
    return found


def unmeasured(problems: Sequence[Problem], missing: str) -> list[Row]:
    note = f"not measured: {missing}"
    return [row(quantity, p, m, None, "", note) for quantity in (TIME, SPEEDUP) for p in problems for m in METHODS]


def timed(problems: Sequence[Problem], seed: int) -> list[Row]:
    found = [found for problem in measured.progress(problems, "times") for found in timed_problem(problem, seed)]
    return sorted(found, key=lambda one: one.quantity != TIME)


def timed_problem(problem: Problem, seed: int) -> Iterator[Row]:
    bytes_each = (problem.rows + len(problem.sizes) * problem.hidden) * problem.hidden  # in FP8
    sets = [inputs(problem, seed + i) for i in range(on_gpu.sets(bytes_each))]
    times: dict[str, on_gpu.Microseconds] = {}
    for method, run in contenders().items():
        try:
            if trouble := disagreement(run, sets[0]):
                yield row(TIME, problem, method, None, "", f"{WRONG}: {trouble}")
                continue
            times[method] = us = on_gpu.microseconds(run, sets)
            yield Row(TIME, problem.case, method, us.median, "µs", us.low, us.high)
        except (RuntimeError, ValueError, AttributeError) as error:  # this torch refuses it, or does not have it
            yield row(TIME, problem, method, None, "", f"not measured: {str(error).splitlines()[0]}")
    for method, us in times.items():
        if PADDED in times and method != PADDED:
            yield row(SPEEDUP, problem, method, times[PADDED].median / us.median, "x")


def disagreement(run: Callable[[Set], Any], s: Set) -> str:
    """What is wrong with a result, by the BF16 products of the loop; "" if nothing is."""
    import torch

    expected = torch.cat(loop(s)).float()
    result = run(s)
    if isinstance(result, list):
        result = torch.cat(result)
    elif result.dim() == 3:
        result = torch.cat([rows[: of.stop - of.start] for rows, of in zip(result, s.slices, strict=True)])
    error = float((result.float() - expected).norm() / expected.norm())
    return "" if error < LARGEST_ERROR else f"it differs from BF16's by {error:.3g} of its size"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
