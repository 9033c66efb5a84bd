"""One run of a submission under NVIDIA's tools; compute-sanitizer and ncu start this program.

    compute-sanitizer [...] python -m grader.executors.replay NAME=FOLDER ...

Each FOLDER contains what `write` put there. The arrays are allocated separately, without red zones, so that the
tools see where they end. Outputs are not initialised, so that initcheck sees uninitialised reads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from grader.model.execution import Invocation
from grader.model.exercise import Array
from grader.sandbox import arena
from grader.sandbox.messages import ArenaSlot

SOURCE, REQUEST, ARENA = "source.cu", "request.msgpack", "arena"
CASE = "CASE "  # starts the line that announces the next run


class Request(msgspec.Struct, frozen=True):
    invocations: tuple[Invocation, ...]
    slots: tuple[ArenaSlot, ...]
    arena_bytes: int


def write(folder: Path, text: str, invocations: tuple[Invocation, ...], arrays: tuple[Array, ...]) -> None:
    slots, size = arena.place(arrays)
    (folder / SOURCE).write_text(text, encoding="utf-8")
    (folder / REQUEST).write_bytes(msgspec.msgpack.encode(Request(invocations, slots, size)))
    with (folder / ARENA).open("w+b", buffering=0) as file:
        arena.store(file, arrays, slots, size)
        file.truncate(max(size, arena.ALIGNMENT))


def replay(folder: Path) -> None:
    """Compile, upload, launch, wait. A CUDA error ends it; by then the tool has reported more."""
    from cupy_backends.cuda.api import runtime

    from grader.compile import compiler, recipe
    from grader.executors import device

    request = msgspec.msgpack.decode((folder / REQUEST).read_bytes(), type=Request)
    device.start()
    arch = recipe.gpu_arch(device.describe().compute_capability)
    kernels = device.Kernels(compiler.compile_text((folder / SOURCE).read_text(encoding="utf-8"), arch).cubin)
    descriptor = os.open(folder / ARENA, os.O_RDWR)
    arrays = arena.attach(descriptor, request.slots, request.arena_bytes)
    pointers = {}
    for slot in request.slots:
        pointers[slot.name] = int(runtime.malloc(max(1, arrays[slot.name].nbytes)))
        if slot.access != "out":
            device.upload(pointers[slot.name], arrays[slot.name])
    for invocation in request.invocations:
        kernels.launch(invocation, pointers.__getitem__, 0)
        runtime.deviceSynchronize()


if __name__ == "__main__":
    for run in sys.argv[1:]:
        name, _, path = run.partition("=")
        sys.stdout.write(f"{CASE}{name}\n")
        sys.stdout.flush()
        replay(Path(path))
