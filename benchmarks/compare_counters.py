"""What `grade run` counts without a GPU, against what ncu counts on one: line by line.

    python benchmarks/compare_counters.py [--case small] [KERNEL.cu ...]

Needs an NVIDIA GPU and ncu, with the right to read counters (on many machines only root has it). Without KERNEL it
takes tests/kernels/correct, graded as exercise 01, and the access patterns of tests/kernels/counted. Prints a table:
on how many lines of each kernel sectors and wavefronts are within 1% of ncu's, and the other lines.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grader import ptx  # noqa: E402
from grader.compile import compiler, recipe  # noqa: E402
from grader.exercise import catalog  # noqa: E402
from grader.exercise.oracle import Oracle  # noqa: E402
from grader.launching.plan import decode_launch, request_launch  # noqa: E402
from grader.model.execution import Invocation, LaunchConfig  # noqa: E402
from grader.model.exercise import Array  # noqa: E402
from grader.ptx.counting import EVERYTHING, Counter  # noqa: E402

NCU = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
SECTIONS = ("SourceCounters", "MemoryWorkloadAnalysis_Tables")
COLUMNS = {"global": "L2 Theoretical Sectors Global", "shared": "L1 Wavefronts Shared"}
NEAR = 0.01
PATTERN_ELEMENTS = 1 << 16
MOST_RECORDS = 1 << 17  # of a thread
CHILD = "--child"

Lines = dict[tuple[int, str], int]  # by line and memory: sectors or wavefronts


class Prepared(NamedTuple):
    """A launch. `arrays` are its arrays by name, and `arguments` name them."""

    file: Path
    invocation: Invocation
    arrays: dict[str, Array]


def prepare(file: Path, case_name: str) -> Prepared:
    text = file.read_text()
    if "void counted(" in text:
        return _pattern(file, text)
    exercise = catalog.find("1", ROOT / "exercises")
    shape, case = exercise.kernels[0], next(c for c in Oracle(exercise).cases(1) if c.name == case_name)
    module = ptx.parse(compiler.compile_text(text, recipe.PTX_ARCH).ptx)
    asked, given = request_launch(shape, case)
    launch = given[-1].data.copy()
    parameters = [*_buffers(shape.launch_parameters, case.arguments), ptx.Buffer("launch", launch, writable=True)]
    ptx.Program(module).run(asked[0].kernel, grid=(1, 1, 1), block=(1, 1, 1), arguments=parameters)
    config = decode_launch(launch)
    kernel = shape.variant_name(config.variant)
    names = [parameter.name for parameter in shape.parameters]
    values = {name: case.arguments[name] for name in names}
    if len(module.kernels[kernel].parameters) > len(names):
        values["workspace"] = Array("workspace", np.zeros(config.workspace_bytes, np.uint8), "inout")
    arguments = tuple(n if isinstance(v, Array) else (int(v), 4) for n, v in values.items())
    arrays = {name: value for name, value in values.items() if isinstance(value, Array)}
    return Prepared(file, Invocation(kernel, config, arguments), arrays)


def _pattern(file: Path, text: str) -> Prepared:
    kind = np.float32 if "float* x" in text else np.uint32
    x = (np.arange(PATTERN_ELEMENTS) % 97).astype(kind)
    arrays = {"x": Array("x", x), "y": Array("y", np.zeros(PATTERN_ELEMENTS, kind), "inout")}
    return Prepared(file, Invocation("counted", LaunchConfig(block=(32, 1, 1)), ("x", "y")), arrays)


def _buffers(parameters: Sequence[object], arguments: dict[str, object]) -> Iterator[ptx.Argument]:
    for parameter in parameters:
        value = arguments[parameter.name]  # type: ignore[attr-defined]
        yield ptx.Buffer(value.name, value.data) if isinstance(value, Array) else value  # type: ignore[misc]


def counted(prepared: Prepared) -> Lines:
    """All blocks, on the CPU."""
    module = ptx.parse(compiler.compile_text(prepared.file.read_text(), recipe.PTX_ARCH).ptx)
    config = prepared.invocation.config
    arguments: list[ptx.Argument] = []
    for argument in prepared.invocation.arguments:
        if isinstance(argument, str):
            array = prepared.arrays[argument]
            writable = array.access != "in"
            data = array.data.copy() if writable else array.data
            arguments.append(ptx.Buffer(argument, data, writable, initialised=array.access != "out"))
        else:
            arguments.append(argument[0])  # type: ignore[arg-type]
    found = Counter(module, MOST_RECORDS).count(
        prepared.invocation.kernel,
        grid=config.grid,
        block=config.block,
        shared_bytes=config.shared_bytes,
        cluster=config.cluster if any(config.cluster) else None,
        arguments=arguments,
        sample=EVERYTHING,
    )
    lines: Lines = defaultdict(int)
    for one in found.counts:
        if one.memory in COLUMNS and one.moved:
            lines[one.location.line, one.memory] += one.moved
    return lines


def launch(prepared: Prepared) -> None:
    """On the GPU; ncu watches."""
    from cupy_backends.cuda.api import runtime

    from grader.executors import device

    device.start()
    recipe.SOURCE_NAME = str(prepared.file)  # ncu reads it, to say which line an instruction comes from
    arch = recipe.gpu_arch(device.describe().compute_capability)
    kernels = device.Kernels(compiler.compile_text(prepared.file.read_text(), arch).cubin)
    pointers = {}
    for name, array in prepared.arrays.items():
        pointers[name] = int(runtime.malloc(max(1, array.data.nbytes)))
        if array.access == "in":
            device.upload(pointers[name], array.data)
        else:
            runtime.memset(pointers[name], 0, array.data.nbytes)
    kernels.launch(prepared.invocation, pointers.__getitem__, 0)
    runtime.deviceSynchronize()


def profiled(file: Path, case: str) -> Lines:
    """What ncu says of one kernel. Raises CalledProcessError if ncu cannot run."""
    sections = [part for name in SECTIONS for part in ("--section", name)]
    views = ["--page", "source", "--csv", "--print-source", "cuda,sass", "--import-source", "yes"]
    command = [NCU, "--clock-control", "none", *sections, *views, sys.executable, __file__, CHILD, case, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return of_lines(ran.stdout.splitlines(), file)


def of_lines(output: Sequence[str], file: Path) -> Lines:
    """From ncu's source page. An instruction is listed with each line that it was inlined into: the first counts."""
    lines: Lines = defaultdict(int)
    seen: set[str] = set()
    head: list[str] = []
    here, line = False, 0
    for row in csv.reader(text for text in output if text.startswith('"')):
        if row[0] == "File Path":
            here = Path(row[1]).name == file.name
        elif row[0] == "Line No":
            head = row
        elif here and head and len(row) >= len(head):
            line = int(row[0]) if row[0].isdigit() else line
            values = dict(zip(head, row, strict=False))
            if values["Address"].startswith("0x") and values["Address"] not in seen:
                seen.add(values["Address"])
                for memory, column in COLUMNS.items():
                    lines[line, memory] += int(float(values.get(column) or 0))
    return lines


def report(file: Path, ours: Lines, ncus: Lines) -> tuple[int, int, list[str]]:
    """(lines, of them near, the others in words)."""
    keys = sorted(key for key in {*ours, *ncus} if ours.get(key) or ncus.get(key))
    text = file.read_text().splitlines()
    far = []
    for line, memory in keys:
        mine, theirs = ours.get((line, memory), 0), ncus.get((line, memory), 0)
        if abs(mine - theirs) > NEAR * max(mine, theirs):
            code = text[line - 1].split("//")[0].strip() if 0 < line <= len(text) else ""
            far.append(f"{file.stem}, line {line}, {memory}: {mine} here, {theirs} by ncu | {code[:60]}")
    return len(keys), len(keys) - len(far), far


@click.command()
@click.option("--case", default="small", show_default=True, help="The case of exercise 01.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(case: str, files: tuple[Path, ...]) -> None:
    folders = (ROOT / "tests/kernels/correct", ROOT / "tests/kernels/counted")
    chosen = [file.resolve() for file in files] or [file for f in folders for file in sorted(f.glob("*.cu"))]
    print("| kernel | lines | within 1% |\n|---|---|---|", flush=True)
    total, near, others = 0, 0, []
    for file in chosen:
        try:
            count, good, far = report(file, counted(prepare(file, case)), profiled(file, case))
        except subprocess.CalledProcessError as error:
            sys.exit(f"{NCU}: {error.stderr.strip() or error.stdout[-500:]}")
        total, near, others = total + count, near + good, others + far
        print(f"| {file.stem} | {count} | {good} |", flush=True)
    print(f"\n{near} of {total} lines within 1%.\n")
    print("\n".join(others))


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        launch(prepare(Path(sys.argv[3]), sys.argv[2]))
    else:
        main()
