"""What the scalar engine's access checks cost: each kernel run with them and without, in turn, on one core.

    python benchmarks/bench_checks.py [KERNEL.cu ...]

Prints the CPU seconds of the best of five runs on the case `variable`, and their ratio. The last column is a run as
`grade run` makes it, checked, and warp by warp where that pays.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grader import ptx  # noqa: E402
from grader.compile.compiler import compile_text  # noqa: E402
from grader.compile.recipe import PTX_ARCH  # noqa: E402
from grader.exercise import catalog  # noqa: E402
from grader.exercise.oracle import Oracle  # noqa: E402
from grader.launching.plan import decode_launch, request_launch  # noqa: E402
from grader.model.exercise import Array, Case, Kernel  # noqa: E402
from grader.ptx.ir import Value  # noqa: E402
from grader.ptx.lowering import accesses, kernel, lower  # noqa: E402
from grader.ptx.lowering.addresses import address_of  # noqa: E402
from grader.ptx.lowering.tables import TABLES  # noqa: E402
from grader.ptx.machine import FIRST_WINDOW, LAUNCH, SHARED_WINDOW, WINDOW, WINDOW_BITS, kernel_address  # noqa: E402
from grader.ptx.syntax import Instruction, Operand, items_of  # noqa: E402
from grader.ptx.types import is_signed  # noqa: E402

KERNELS = ("tile16", "register_tile", "double_buffer_dynamic", "tree_reduction")
CASE = "variable"
RUNS = 5


def unchecked(u: kernel.KernelBuilder, space: str, operand: Operand) -> Value:
    """Host address of an access, taken on trust."""
    f, address = u.f, address_of(u, operand)
    if space == "shared":
        return u.shared_host.at(address)
    if space == "local":
        return f["frame"].at(address + u.frame.local_start)
    window = (address >> WINDOW_BITS) - FIRST_WINDOW
    record = LAUNCH.get(u.launch, "windows").at(window * WINDOW.size)
    place = WINDOW.get(record, "host").at(address - WINDOW.get(record, "base"))
    if space == "generic":
        shared = u.shared_host.at(address - kernel_address(SHARED_WINDOW))
        return f.select(window.eq(SHARED_WINDOW), shared, place)
    return place


def load(u: kernel.KernelBuilder, ins: Instruction) -> None:
    op = ins.op
    if op.space == "param":
        accesses.load(u, ins)
        return
    pointer, size = unchecked(u, op.space, ins.operands[1]), op.element_bytes
    for k, item in enumerate(items_of(ins.operands[0])):
        u.assign(item, pointer.at(k * size).load(f"i{8 * size}", 1), signed=is_signed(op.type))


def store(u: kernel.KernelBuilder, ins: Instruction) -> None:
    op, (target, source) = ins.op, ins.operands
    if op.space == "param":
        accesses.store(u, ins)
        return
    pointer, size = unchecked(u, op.space, target), op.element_bytes
    for k, item in enumerate(items_of(source)):
        pointer.at(k * size).store(u.value(item, f"b{8 * size}"), 1)


def trusting(*arguments: object) -> lower.Lowered:
    effects = {**TABLES.effects, "ld": load, "st": store}
    return lower.lower(*arguments, tables=replace(TABLES, effects=effects))  # type: ignore[arg-type]


def arguments_of(case: Case, parameters: object) -> list[ptx.Buffer | int]:
    given: list[ptx.Buffer | int] = []
    for parameter in parameters:  # type: ignore[attr-defined]
        value = case.arguments[parameter.name]
        if isinstance(value, Array):
            out = value.access != "in"
            given.append(ptx.Buffer(value.name, value.data.copy() if out else value.data, out, not out))
        else:
            given.append(value)
    return given


def seconds(program: ptx.Program, shape: Kernel, case: Case) -> float:
    invocations, arrays = request_launch(shape, case)
    given = ptx.Buffer("launch", arrays[-1].data.copy(), writable=True)
    parameters = [*arguments_of(case, shape.launch_parameters), given]
    program.run(invocations[0].kernel, grid=(1, 1, 1), block=(1, 1, 1), arguments=parameters)
    config = decode_launch(given.data)
    how = {"grid": config.grid, "block": config.block, "shared_bytes": config.shared_bytes}
    name, arguments = shape.variant_name(config.variant), arguments_of(case, shape.parameters)
    program.run(name, arguments=arguments, workers=1, **how)  # compiles
    before = time.process_time()
    program.run(name, arguments=arguments_of(case, shape.parameters), workers=1, **how)
    return time.process_time() - before


def main(files: list[Path]) -> None:
    exercise = catalog.find("1", ROOT / "exercises")
    shape = exercise.kernels[0]
    case = next(c for c in Oracle(exercise).cases(1) if c.name == CASE)
    print(f"{'kernel':24} {'checked, s':>11} {'unchecked, s':>13} {'ratio':>6} {'graded, s':>10}")
    for file in files:
        module = ptx.parse(compile_text(file.read_text(), PTX_ARCH).ptx)
        programs = (
            ptx.Program(module, warps=ptx.Warps.NEVER),
            ptx.Program(module, trusting),
            ptx.Program(module),
        )
        best = [min(s) for s in zip(*([seconds(p, shape, case) for p in programs] for _ in range(RUNS)), strict=True)]
        print(f"{file.stem:24} {best[0]:11.3f} {best[1]:13.3f} {best[0] / best[1]:6.2f} {best[2]:10.3f}")


if __name__ == "__main__":
    named = [Path(a) for a in sys.argv[1:]]
    main(named or [ROOT / "tests/kernels/correct" / f"{name}.cu" for name in KERNELS])
