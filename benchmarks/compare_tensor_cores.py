"""The CPU engine's matrix products against a GPU's tensor cores, bit for bit, for every shape and type.

    python benchmarks/compare_tensor_cores.py > benchmarks/results/tensor_cores.md

mma, wmma and wgmma with every N: a million random and a hundred thousand adversarial products each, that is, elements
of D, of which every bit counts. Needs an NVIDIA GPU of compute capability 9.0. `--only REGEX` chooses instructions,
`--save DIR` keeps matrices in which something differs, `--vectors N` takes fewer, `--seconds N` stops after that.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import tensor_core_inputs as inputs
from benchmarks.tensor_core_products import Instruction, every
from grader import machine, ptx

RANDOM, ADVERSARIAL = 1_000_000, 100_000  # elements of D, at least
KEPT_BLOCKS, KEPT_COLUMNS = 4, 32  # of one kind, and of narrow products alone, if `--save` is given
Run = Callable[[Instruction, inputs.Matrices], np.ndarray]  # codes of A, B and C to those of D


@dataclass(frozen=True)
class Difference:
    """Of one kind of input."""

    kind: str
    adversarial: bool
    elements: int
    differ: int


@dataclass(frozen=True)
class Result:
    """Of one instruction. `error`: why it could not be compared."""

    opcode: str
    differences: list[Difference]
    error: str = ""


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if not machine.gpus():
        print("needs an NVIDIA GPU", file=sys.stderr)
        return 4
    chosen = [i for i, instruction in enumerate(every()) if re.search(options.only, instruction.opcode)]
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    jobs = [(i, options.vectors, options.save) for i in chosen]
    with ProcessPoolExecutor(cores, mp_context=context, initializer=ptx.prepare) as pool:
        futures = [pool.submit(_compare, job) for job in jobs]
        wait(futures, timeout=options.seconds)
        begun = [
            future for future in reversed(futures) if not future.cancel()
        ]  # from the end: others go on meanwhile
        results = [future.result() for future in reversed(begun)]
    print(table(results))
    print(f"\n{len(results)} of {len(jobs)} instructions compared.")
    return int(any(r.error or any(d.differ for d in r.differences) for r in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="only instructions whose name matches")
    parser.add_argument("--vectors", type=int, default=RANDOM, help="random products of each; a tenth adversarial")
    parser.add_argument("--seconds", type=float, help="then start no more")
    parser.add_argument("--save", type=Path, help="a folder for matrices in which something differs")
    return parser


def _compare(job: tuple[int, int, Path | None]) -> Result:
    number, vectors, save = job
    instruction = every()[number]
    try:
        return Result(instruction.opcode, list(compare(instruction, vectors, on_gpu, save)))
    except Exception as error:
        return Result(instruction.opcode, [], f"{type(error).__name__}: {error}".replace("\n", " ")[:120])


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
        if save and differ.any() and instruction.shape.n <= KEPT_COLUMNS:
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


def table(results: list[Result]) -> str:
    """One row for all N of a product of wgmma."""
    lines = ["| instruction | random | differ | adversarial | differ | of which |", "|---|---|---|---|---|---|"]
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_without_n(result.opcode), []).append(result)
    for name, found in groups.items():
        shown = f"`{name}`" + (f", {len(found)} N" if len(found) > 1 else "")
        errors = dict.fromkeys(result.error for result in found if result.error)
        cells = _cells([d for result in found for d in result.differences])
        lines.append(f"| {shown} | {'; '.join([cells, *errors])} |")
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
