"""The CPU engine's matrix products against a GPU's tensor cores, bit for bit, for every shape and type.

    python benchmarks/compare_tensor_cores.py > benchmarks/results/tensor_cores.md

mma, wmma and wgmma with every N: a million random and a hundred thousand adversarial products each, that is, elements
of D, of which every bit counts. Needs an NVIDIA GPU of compute capability 9.0. `--only TEXT` chooses instructions,
`--save DIR` keeps matrices in which something differs, `--vectors N` takes fewer.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tensor_core_inputs as inputs
from benchmarks.tensor_core_products import Instruction, every
from grader import machine, ptx

RANDOM, ADVERSARIAL = 1_000_000, 100_000  # elements of D, at least
KEPT_BLOCKS = 4  # of one kind, if `--save` is given
Run = Callable[[Instruction, inputs.Matrices], np.ndarray]  # codes of A, B and C to those of D


@dataclass(frozen=True)
class Difference:
    """Of one kind of input."""

    kind: str
    adversarial: bool
    elements: int
    differ: int


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if not machine.gpus():
        print("needs an NVIDIA GPU", file=sys.stderr)
        return 4
    chosen = [i for i in range(len(every())) if options.only in every()[i].opcode]
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    jobs = [(i, options.vectors, options.save) for i in chosen]
    with ProcessPoolExecutor(cores, mp_context=context, initializer=ptx.prepare) as pool:
        results = list(pool.map(_compare, jobs))
    print(table(results))
    return int(any(d.differ for _, found in results for d in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="only instructions with this in their name")
    parser.add_argument("--vectors", type=int, default=RANDOM, help="random products of each; a tenth adversarial")
    parser.add_argument("--save", type=Path, help="a folder for matrices in which something differs")
    return parser


def _compare(job: tuple[int, int, Path | None]) -> tuple[str, list[Difference]]:
    number, vectors, save = job
    instruction = every()[number]
    return instruction.opcode, list(compare(instruction, vectors, on_gpu, save))


def compare(instruction: Instruction, vectors: int, other: Run, save: Path | None = None) -> Iterator[Difference]:
    """The engine against `other`, which both multiply all matrices in one launch."""
    chosen = list(_chosen(instruction, vectors))
    a, b, c = (np.concatenate([matrices[i] for _, _, matrices in chosen]) for i in range(3))
    ours, theirs = (run(instruction, (a, b, c)) for run in (on_cpu, other))
    first = 0
    for kind, adversarial, matrices in chosen:
        part = slice(first, first + len(matrices[0]))
        first = part.stop
        differ = ours[part] != theirs[part]
        yield Difference(kind, adversarial, differ.size, int(differ.sum()))
        if save and differ.any():
            _save(save / f"{instruction.opcode}-{kind}.npz", matrices, ours[part], theirs[part])


def _chosen(instruction: Instruction, vectors: int) -> Iterator[tuple[str, bool, inputs.Matrices]]:
    """Matrices of each kind, and whether they are adversarial."""
    rng, shape = np.random.default_rng(len(instruction.opcode)), instruction.shape
    for adversarial, kinds in zip((False, True), inputs.kinds(shape), strict=True):
        wanted = vectors * ADVERSARIAL // RANDOM if adversarial else vectors
        blocks = -(-wanted // (len(kinds) * shape.m * shape.n))
        for kind in kinds:
            with np.errstate(all="ignore"):
                yield kind.__name__, adversarial, kind(rng, shape, blocks)


def on_cpu(instruction: Instruction, matrices: inputs.Matrices) -> np.ndarray:
    program, blocks = ptx.Program(ptx.parse(instruction.text)), len(matrices[2])
    d = np.zeros((blocks, instruction.output_bytes()), np.uint8)
    given = [ptx.Buffer(name, x) for name, x in zip("abc", _packed(instruction, matrices), strict=True)]
    how = {"grid": (blocks, 1, 1), "block": (instruction.threads, 1, 1)}
    execution = program.run("k", **how, arguments=[*given, ptx.Buffer("d", d, writable=True)], workers=1)  # type: ignore[arg-type]
    assert not execution.findings, execution.findings[0].message
    return instruction.unpack(d)


def on_gpu(instruction: Instruction, matrices: inputs.Matrices) -> np.ndarray:
    import cupy

    module, blocks = cupy.cuda.function.Module(), len(matrices[2])
    module.load(instruction.text.encode())
    given = [cupy.asarray(x) for x in _packed(instruction, matrices)]
    d = cupy.zeros((blocks, instruction.output_bytes()), cupy.uint8)
    module.get_function("k")((blocks,), (instruction.threads,), (*given, d))
    return instruction.unpack(np.asarray(cupy.asnumpy(d)))


def _packed(instruction: Instruction, matrices: inputs.Matrices) -> list[np.ndarray]:
    return [np.ascontiguousarray(x) for x in instruction.pack(*matrices)]


def _save(file: Path, matrices: inputs.Matrices, ours: np.ndarray, theirs: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.flatnonzero((ours != theirs).any(axis=(1, 2)))[:KEPT_BLOCKS]
    parts = dict(zip("abc", (x[blocks] for x in matrices), strict=True))
    np.savez_compressed(file, **parts, ours=ours[blocks], theirs=theirs[blocks])


# The table ------------------------------------------------------------------------------------------------------


def table(results: list[tuple[str, list[Difference]]]) -> str:
    """One row for all N of a product of wgmma."""
    lines = ["| instruction | random | differ | adversarial | differ | of which |", "|---|---|---|---|---|---|"]
    for name, group in groupby(results, key=lambda result: _without_n(result[0])):
        found = list(group)
        shown = f"`{name}`" + (f", {len(found)} N" if len(found) > 1 else "")
        lines.append(f"| {shown} | {_cells([d for _, differences in found for d in differences])} |")
    return "\n".join(lines)


def _without_n(opcode: str) -> str:
    return re.sub(r"m64n\d+k", "m64nNk", opcode) if opcode.startswith("wgmma") else opcode


def _cells(found: list[Difference]) -> str:
    cells = []
    for adversarial in (False, True):
        some = [d for d in found if d.adversarial is adversarial]
        differ = sum(d.differ for d in some)
        cells += [f"{sum(d.elements for d in some):,}", f"**{differ}**" if not differ else f"{differ:,}"]
    kinds = {d.kind: sum(e.differ for e in found if e.kind == d.kind) for d in found}
    return " | ".join([*cells, ", ".join(f"{kind} {count:,}" for kind, count in kinds.items() if count)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
