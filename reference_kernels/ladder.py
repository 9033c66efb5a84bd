"""Kernels from naive to fast, step by step: each checked, then timed next to the others and to a device copy.

    python reference_kernels/ladder.py fast_quantization [--only TEXT] [--check] [--output FILE.json or FILE.md]

The steps of FILE.cu are data in FILE.py beside it (LADDERS). What was predicted for a step is shown beside what came.
Times are medians over rounds in which all take turns, as captured graphs, on inputs that exceed twice the L2 cache.
Without a GPU the steps are listed.
"""

# ruff: noqa: T201 - a command line

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grader.reference_kernels import device  # noqa: E402
from grader.reference_kernels.steps import Ladder, Launch, Step  # noqa: E402

FOLDER, PACKAGE = Path(__file__).parent, "grader.reference_kernels"
ROUNDS, WARM_UP = 40, 3
L2_MULTIPLE = 2.05
ALIGNED = 256
SUFFIXES = (".json", ".md")
HEADER = "| step | predicted | came | of the copy's speed | why |"
DRAWN_ROWS = 256  # of the inputs at full size, which repeat them
COPY = "a device copy of as many bytes"


@dataclass(frozen=True)
class Time:
    """Microseconds of one run. The interval holds the true median with 95%; so does that of the copy's share."""

    title: str
    microseconds: float
    low: float
    high: float
    of_copy: float  # the speed, as a share of the copy's
    of_copy_low: float
    of_copy_high: float
    predicted: float | None
    because: str


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("file", help="a file of kernels that has ladders: fast_quantization")
    parser.add_argument("--only", default="", metavar="TEXT", help="ladders whose title contains it")
    parser.add_argument("--check", action="store_true", help="only whether each step is right")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"{' or '.join(SUFFIXES)}")
    options = parser.parse_args(arguments)
    if options.output and options.output.suffix not in SUFFIXES:
        parser.error(f"--output {options.output}: the name must end in {' or '.join(SUFFIXES)}")
    source = FOLDER / f"{Path(options.file).stem}.cu"
    if not source.is_file() or not source.with_suffix(".py").is_file():
        parser.error(f"{options.file}: there is no {source.name} with its steps beside it, in {source.stem}.py")
    every: Sequence[Ladder] = getattr(importlib.import_module(f"{PACKAGE}.{source.stem}"), "LADDERS", ())
    if not every:
        parser.error(f"{options.file}: {source.stem}.py has no ladders")
    ladders = [ladder for ladder in every if options.only in ladder.title]
    if not ladders:
        parser.error(f"--only {options.only}: known are {'; '.join(ladder.title for ladder in every)}")
    if not _gpu():
        return _listed(ladders)
    module = device.load(source)
    failed = False
    found = {}
    for ladder in ladders:
        print(f"{ladder.title}, {' × '.join(map(str, ladder.shape))}", flush=True)
        trouble = check(ladder, module)
        print(f"  {trouble or 'every step gives what the definition does'}", flush=True)
        failed |= bool(trouble)
        if options.check:
            continue
        found[ladder.title] = timed(ladder, module, options.rounds)
        _show(found[ladder.title], ladder.bytes_moved(ladder.shape))
    if options.output:
        options.output.write_text(_written(options, ladders, found), encoding="utf-8")
    return int(failed)


def _gpu() -> str:
    """Its name; "" if there is none."""
    import cupy

    try:
        return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
    except cupy.cuda.runtime.CUDARuntimeError:
        return ""


def _listed(ladders: Sequence[Ladder]) -> int:
    for ladder in ladders:
        print(f"{ladder.title}, {' × '.join(map(str, ladder.shape))}")
        for number, step in enumerate(ladder.steps, 1):
            predicted = "" if step.microseconds is None else f"{step.microseconds:g} µs predicted, since "
            print(f"  {number}. {step.title}: {predicted}{step.because}")
    print("Not measured: this needs an NVIDIA GPU.")
    return 0


# ---- is it right?


def check(ladder: Ladder, module: Any) -> str:
    """What is wrong with the first step that is, at small shapes by the definition; "" if nothing is."""
    for shape in ladder.small:
        for number, step in enumerate(ladder.steps, 1):
            arrays = ladder.arrays(shape, np.random.default_rng(number))
            on_device = _uploaded(arrays)
            run(step.launches(shape), module, on_device)
            wrong = ladder.wrong({name: array.get() for name, array in on_device.items()})
            if wrong:
                return f"step {number} is wrong at {shape}: {wrong} elements"
    return ""


def _uploaded(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import cupy

    return {name: cupy.asarray(array) for name, array in arrays.items()}


def run(launches: Sequence[Launch], module: Any, arrays: Mapping[str, Any]) -> None:
    """On the current stream."""
    for launch in launches:
        arguments = tuple(arrays[a] if isinstance(a, str) else a for a in launch.arguments)
        kernel = module.get_function(launch.kernel)
        device.launch(kernel, launch.grid, launch.block, arguments, launch.shared_bytes)


# ---- how fast is it?


def timed(ladder: Ladder, module: Any, rounds: int) -> list[Time]:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    size = ladder.bytes_moved(ladder.shape)
    l2_bytes = cupy.cuda.runtime.getDeviceProperties(0)["l2CacheSize"]
    sets = [_full_size(ladder, seed) for seed in range(max(2, -(-int(L2_MULTIPLE * l2_bytes) // size)))]
    half = size // 2 // ALIGNED * ALIGNED  # bytes left over would make the copy slow
    pairs = [(_noise(half), _noise(half)) for _ in sets]
    cupy.cuda.Device().synchronize()

    def copy(index: int) -> None:
        source, target = pairs[index]
        target.data.copy_from_device_async(source.data, half, stream)

    contenders: list[tuple[Step | None, Callable[[int], None]]] = [(None, copy)]
    for step in (*ladder.steps, *ladder.beside):
        contenders.append((step, _runner(ladder, step, module, sets, stream)))
    with stream:
        graphs = [_captured(stream, runner, len(sets)) for _, runner in contenders]
        micros = _in_turn(graphs, stream, rounds, len(sets))
    if ladder.same_bits and (trouble := _differing(ladder, module, sets[0])):
        print(f"  {trouble}")
    return [_time(step, own, micros[0]) for (step, _), own in zip(contenders, micros, strict=True)]


def _runner(ladder: Ladder, step: Step, module: Any, sets: Sequence[Any], stream: Any) -> Callable[[int], None]:
    launches = step.launches(ladder.shape)

    def runner(index: int) -> None:
        for name in ladder.zeroed:
            sets[index][name].data.memset_async(0, sets[index][name].nbytes, stream)
        run(launches, module, sets[index])

    return runner


def _full_size(ladder: Ladder, seed: int) -> dict[str, Any]:
    """Inputs that repeat some rows: drawing all of them would take longer than everything else."""
    import cupy

    *deep, rows, cols = ladder.shape
    drawn = ladder.inputs((*deep, min(rows, DRAWN_ROWS), cols), np.random.default_rng(seed))
    times = -(-rows // min(rows, DRAWN_ROWS))
    full = {name: cupy.tile(cupy.asarray(x), (*(1,) * (x.ndim - 2), times, 1)) for name, x in drawn.items()}
    return full | _uploaded(ladder.outputs(ladder.shape))


def _noise(size: int) -> Any:
    """Zeros would be copied faster."""
    import cupy

    drawn = cupy.asarray(np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8))
    return cupy.tile(drawn, -(-size // drawn.size))[:size]


def _captured(stream: Any, runner: Callable[[int], None], sets: int) -> Any:
    for index in range(sets):
        runner(index)
    stream.synchronize()
    stream.begin_capture()
    for index in range(sets):
        runner(index)
    return stream.end_capture()


def _in_turn(graphs: Sequence[Any], stream: Any, rounds: int, sets: int) -> list[list[float]]:
    """Microseconds of each contender in each round; who begins changes from round to round."""
    import cupy

    found: list[list[float]] = [[] for _ in graphs]
    for number in range(-WARM_UP, rounds):
        for place in range(len(graphs)):
            index = (place + number) % len(graphs)
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record(stream)
            graphs[index].launch(stream)
            end.record(stream)
            end.synchronize()
            if number >= 0:
                found[index].append(cupy.cuda.get_elapsed_time(begin, end) * 1000 / sets)
    return found


def _differing(ladder: Ladder, module: Any, arrays: Mapping[str, Any]) -> str:
    """At full size, where NumPy would take too long: whether every step gives the first one's bits."""
    expected: dict[str, Any] = {}
    names = [name for name in ladder.outputs(ladder.small[0]) if name not in ladder.zeroed]
    for number, step in enumerate(ladder.steps, 1):
        for name in names:
            arrays[name].fill(0)
        run(step.launches(ladder.shape), module, arrays)
        if not expected:
            expected = {name: arrays[name].copy() for name in names}
        for name in names:
            if int((arrays[name].view(np.uint8) != expected[name].view(np.uint8)).sum()):
                return f"step {number} differs from step 1 at full size, in {name}"
    return ""


def _time(step: Step | None, micros: Sequence[float], copy: Sequence[float]) -> Time:
    title, predicted, because = (step.title, step.microseconds, step.because) if step else (COPY, None, "")
    shares = [theirs / own for own, theirs in zip(micros, copy, strict=True)]
    return Time(title, *_median(micros), *_median(shares), predicted, because)


def _median(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the order statistics around it that hold the true one with 95%."""
    ordered = sorted(values)
    half = 0.98 * len(ordered) ** 0.5
    low, high = int(len(ordered) / 2 - half), int(len(ordered) / 2 + half)
    return statistics.median(ordered), ordered[max(low, 0)], ordered[min(high, len(ordered) - 1)]


def _show(times: Sequence[Time], size: int) -> None:
    print(f"  {'':64} {'µs':>8}  {'95% of the median':>18}  {'of the copy':>11}  {'GB/s':>6}  {'predicted':>9}")
    for time in times:
        cells = (
            f"{time.title[:64]:64}",
            f"{time.microseconds:8.2f} ",
            f"{f'{time.low:.2f} to {time.high:.2f}':>18} ",
            f"{time.of_copy:11.3f} ",
            f"{size / time.microseconds / 1000:6.0f} ",
            f"{'' if time.predicted is None else format(time.predicted, 'g'):>9}",
        )
        print(" ", *cells)
    print(flush=True)


def _written(options: argparse.Namespace, ladders: Sequence[Ladder], found: Mapping[str, Sequence[Time]]) -> str:
    if options.output.suffix == ".json":
        content = {"gpu": _gpu(), "ladders": {title: [asdict(time) for time in own] for title, own in found.items()}}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    only = f" --only '{options.only}'" if options.only else ""
    lines = [
        f"# {Path(options.file).stem}: from naive to fast on an {_gpu()}",
        "",
        f"`python reference_kernels/ladder.py {Path(options.file).stem}{only}` made this. Times are medians over",
        f"{options.rounds} rounds in microseconds, with the interval that holds the true median with 95%. In the",
        "same rounds, a copy moves as many bytes; the share of its speed is the median over rounds.",
    ]
    for ladder in ladders:
        shape = " × ".join(map(str, ladder.shape))
        lines += ["", f"## {ladder.title}, {shape}", "", HEADER, "|---|---|---|---|---|"]
        lines += map(_row, found.get(ladder.title, ()))
    return "\n".join(lines) + "\n"


def _row(time: Time) -> str:
    predicted = "" if time.predicted is None else f"{time.predicted:g}"
    came = f"{time.microseconds:.2f} ({time.low:.2f} to {time.high:.2f})"
    share = f"{time.of_copy:.3f} ({time.of_copy_low:.3f} to {time.of_copy_high:.3f})"
    return f"| {time.title} | {predicted} | {came} | {share} | {time.because} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
