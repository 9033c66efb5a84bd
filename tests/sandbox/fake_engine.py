"""A child that does as it is told: the text that it is asked to compile says how it misbehaves."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from grader.compile.compiled import Compiled
from grader.compile.recipe import SOURCE_NAME
from grader.model.execution import Compilation
from grader.model.result import Finding, Related
from grader.sandbox.messages import Built, Ran, Run
from grader.sandbox.serve import SetupError, serve


class FakeEngine:
    warm = ("no.such.module",)

    def load_rest(self) -> None:
        """There is none."""

    def compile(self, text: str) -> Built:
        word, _, rest = text.partition(" ")
        built = getattr(self, word.strip())(rest)
        if isinstance(built, Built):
            return built
        finding = Finding("compile-warning", SOURCE_NAME, 1, f"{rest} in {SOURCE_NAME}")
        return Built(Compiled(Compilation(True, findings=(finding,), log=rest), ptx=text))

    def load(self, ptx: str, cubin: bytes) -> None:
        self.loaded = ptx

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran:
        """Doubles what it finds; `printed` tells what the outputs held before."""
        before = {s.name: arrays[s.name].tobytes()[:4].hex() for s in request.slots if s.access == "out"}
        for slot in request.slots:
            if slot.access == "inout":
                arrays[slot.name] *= 2
            elif slot.access == "out":
                arrays[slot.name][...] = arrays[request.slots[0].name].sum()
        if request.invocations and request.invocations[0].kernel == "shrink":
            os.ftruncate(int(sys.argv[2]), 0)
        said = f"{before} {request.workers} {request.seconds:g}"
        return Ran(printed=said, unset=frozenset(range(-5, 10_000)))

    def echo(self, rest: str) -> None:
        """Nothing but the answer."""

    def sleep(self, rest: str) -> None:
        time.sleep(100)

    def fork(self, rest: str) -> None:
        """Leaves a grandchild that would outlive it; says in the arena which."""
        pid = os.fork()
        if pid:
            os.pwrite(int(sys.argv[2]), struct.pack("<I", pid), 0)
        time.sleep(100)

    def segfault(self, rest: str) -> None:
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        ctypes.string_at(0)

    def leave(self, rest: str) -> None:
        os._exit(7)

    def close(self, rest: str) -> None:
        os.close(int(sys.argv[1]))
        time.sleep(100)

    def fail(self, rest: str) -> None:
        raise ZeroDivisionError(rest)

    def lack(self, rest: str) -> None:
        raise SetupError(rest)

    def hoard(self, rest: str) -> None:
        hoard = bytearray(400 << 20)
        for i in range(0, len(hoard), 4096):
            hoard[i] = 1
        time.sleep(100)

    def chatter(self, rest: str) -> None:
        """More on stdout and stderr than any pipe holds."""
        for _ in range(40):
            for descriptor in (1, 2):
                try:
                    os.write(descriptor, b"x" * (1 << 20))
                except OSError:
                    return

    def prattle(self, rest: str) -> Built:
        """An answer of the right form that nobody could read."""
        finding = Finding("kind\x1b", SOURCE_NAME, -(10**18), "m" * 20_000, notes=("n",) * 60)
        related = Related("call\x1b", 1 << 60, "f" * 20_000)
        finding = msgspec.structs.replace(finding, detail="d\x1b" * 20_000, array="a\u202e", related=(related,) * 60)
        many = (Finding("kind", SOURCE_NAME, 1, "m"),) * 600
        return Built(Compiled(Compilation(True, findings=(finding, *many), log="l" * 300_000)))

    def announce(self, rest: str) -> None:
        os.write(int(sys.argv[1]), struct.pack("<I", 0xFFFFFFF0))
        time.sleep(100)

    def babble(self, rest: str) -> None:
        os.write(int(sys.argv[1]), struct.pack("<I", 5) + b"\xc1\xff\x00ab")

    def confuse(self, rest: str) -> None:
        """A message of the right form at the wrong time."""
        payload = b"\x81\xa4type\xa6Loaded"
        os.write(int(sys.argv[1]), struct.pack("<I", len(payload)) + payload)

    def describe(self, rest: str) -> None:
        kinds = resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU
        try:
            folder = str(Path.cwd())
        except FileNotFoundError:
            folder = "removed"
        description = {
            "environment": dict(os.environ),
            "limits": [resource.getrlimit(kind)[0] for kind in kinds],
            "folder": folder,
            "session": os.getsid(0) == os.getpid(),
            "stdin": os.read(0, 10),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        }
        raise SetupError(repr(description))


if __name__ == "__main__":
    serve(FakeEngine())
