"""The zygote's side: loads what every child needs, then forks one for each request."""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
import time
from contextlib import suppress
from typing import NoReturn

from grader.sandbox import bytecode
from grader.sandbox.channel import frame
from grader.sandbox.confine import CPU, Access, die_with
from grader.sandbox.serve import Engine, attend
from grader.sandbox.zygote import PID

ADOPTED_SECONDS = 10.0  # a child becomes the parent's within a millisecond


def serve_forks(engine: Engine, access: Access = CPU) -> NoReturn:
    """The zygote's main loop. `sys.argv` is as for a child."""
    descriptor, arena, parent = map(int, sys.argv[1:4])
    channel = socket.socket(fileno=descriptor)
    os.close(arena)  # each child has its own
    die_with(parent)
    bytecode.write()
    _load(engine)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, 1, 3)
        if not request or not _is_alone():
            os._exit(0)
        channel.sendall(frame(PID.pack(_fork(engine, access, parent, channel, descriptors))))
        for descriptor in descriptors:
            os.close(descriptor)


def _load(engine: Engine) -> None:
    """In this thread alone: a fork takes no other one along."""
    for module in engine.warm:
        with suppress(Exception):  # said when it is needed
            importlib.import_module(module)
    with suppress(Exception):
        engine.load_rest()
    gc.collect()
    gc.freeze()  # collections in the children would copy the pages of what is here


def _is_alone() -> bool:
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - names alone


def _fork(engine: Engine, access: Access, parent: int, channel: socket.socket, descriptors: list[int]) -> int:
    """The number of the child, which is the parent's own when this returns; 0 if there is none."""
    told, tells = os.pipe()
    try:
        between = os.fork()
    except OSError:
        os.close(told)
        os.close(tells)
        return 0
    if not between:
        try:
            if not os.fork():
                channel.close()
                os.close(told)
                _be_child(engine, access, parent, descriptors, tells)
        finally:
            os._exit(0)
    os.close(tells)
    number = os.read(told, PID.size)
    os.close(told)
    os.waitpid(between, 0)
    return int(PID.unpack(number)[0]) if len(number) == PID.size else 0


def _be_child(engine: Engine, access: Access, parent: int, descriptors: list[int], tells: int) -> NoReturn:
    """Never returns: what is above on the stack is the zygote's."""
    os.setsid()
    channel, arena, output = descriptors
    sys.argv[1:] = map(str, (channel, arena, parent))
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.write(tells, PID.pack(os.getpid()))
    os.close(tells)
    deadline = time.monotonic() + ADOPTED_SECONDS
    while os.getppid() != parent and time.monotonic() < deadline:
        time.sleep(0.0005)
    attend(engine, {}, access, socket.socket(fileno=channel), arena, parent)
