"""The child's side of the channel: answers requests until the parent closes it."""

from __future__ import annotations

import importlib
import os
import select
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import msgspec

from grader.errors import at_fault
from grader.sandbox import bytecode
from grader.sandbox.channel import LENGTH, frame, payload_length
from grader.sandbox.confine import CPU, REQUIRED, SWITCH, Access, confine
from grader.sandbox.messages import ArenaSlot, Built, Compile, Failed, Load, Loaded, Ran, Ready, Reply, Request, Run

if TYPE_CHECKING:
    import numpy as np

MAX_DETAILS = 4000  # characters of a traceback


class Engine(Protocol):
    """Runs submissions on a device. Raises SetupError if the machine lacks something."""

    @property
    def warm(self) -> tuple[str, ...]:
        """Modules that a request will need, most likely first; loaded while idle."""
        ...

    def load_rest(self) -> None:
        """What can be loaded next to the first request, in a thread. What fails is said when it is needed."""
        ...

    def compile(self, text: str) -> Built: ...

    def load(self, ptx: str, cubin: bytes) -> None: ...

    def run(self, request: Run, arrays: dict[str, np.ndarray]) -> Ran: ...


# Answers a request; the arrays are those of its slots, if it has any.
Handler = Callable[[Any, "dict[str, np.ndarray]"], Reply]


class SetupError(Exception):
    """Something the child needs is not installed; the message says what to do."""


def serve(engine: Engine, further: Mapping[type, Handler] | None = None, access: Access = CPU) -> NoReturn:
    """The child's main loop. `sys.argv` contains the two descriptors and the parent's process id.

    `further` answers requests that not every device supports; `access` is what the device may use.
    """
    channel, memory, parent = map(int, sys.argv[1:4])
    bytecode.write()
    attend(engine, further or {}, access, socket.socket(fileno=channel), memory, parent, load=True)


def attend(
    engine: Engine,
    further: Mapping[type, Handler],
    access: Access,
    channel: socket.socket,
    memory: int,
    parent: int,
    *,
    load: bool = False,
) -> NoReturn:
    """Confines this process and answers requests. Without `load`, the engine has loaded everything."""
    lacking = confine(parent, access)
    server = _Server(engine, further, channel, memory)
    server.send(Ready(lacking))
    if lacking and os.environ.get(SWITCH) == REQUIRED:
        server.send(Failed(f"nothing was compiled or run: {'; '.join(lacking)}"))
        os._exit(0)
    if load:
        server.warm_up()
        threading.Thread(target=server.load_rest, daemon=True).start()
    while True:
        server.answer()


def _attached(memory: int, slots: Iterable[ArenaSlot], size: int) -> dict[str, np.ndarray]:
    """NumPy is loaded while NVRTC works."""
    from grader.sandbox import arena

    return arena.attach(memory, slots, size)


class _Server:
    def __init__(self, engine: Engine, further: Mapping[type, Handler], channel: socket.socket, memory: int) -> None:
        self._engine, self._channel, self._memory = engine, channel, memory
        self._further = further
        self._decoder = msgspec.msgpack.Decoder(Request)

    def warm_up(self) -> None:
        for module in self._engine.warm:
            if select.select([self._channel], [], [], 0)[0]:
                return
            try:
                importlib.import_module(module)
            except Exception:  # said when it is needed
                return

    def load_rest(self) -> None:
        with suppress(Exception):
            self._engine.load_rest()

    def answer(self) -> None:
        request = self._decoder.decode(self._exactly(payload_length(self._exactly(LENGTH.size))))
        try:
            reply = self._reply(request)
        except SetupError as error:
            reply = Failed(str(error))
        except Exception as error:
            reply = Failed(f"internal error at {at_fault(error)}", traceback.format_exc()[-MAX_DETAILS:])
        self.send(reply)

    def send(self, reply: Reply) -> None:
        self._channel.sendall(frame(msgspec.msgpack.encode(reply)))

    def _reply(self, request: Request) -> Reply:
        if isinstance(request, Compile):
            return self._engine.compile(request.text)
        if isinstance(request, Load):
            self._engine.load(request.ptx, request.cubin)
            return Loaded()
        slots, size = getattr(request, "slots", ()), getattr(request, "arena_bytes", 0)
        arrays = _attached(self._memory, slots, size) if slots else {}
        if isinstance(request, Run):
            return self._engine.run(request, arrays)
        return self._further[type(request)](request, arrays)

    def _exactly(self, size: int) -> bytes:
        data = self._channel.recv(size, socket.MSG_WAITALL) if size else b""
        if len(data) < size:
            os._exit(0)  # the parent is done
        return data
