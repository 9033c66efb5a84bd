"""One launch: memory and shadow memory of a kernel, the OS threads that run it, the faults that they record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from grader.ptx.analysis.around import WORD
from grader.ptx.jit import NativeKernel, make_semaphores, print_to
from grader.ptx.lowering.memory import function_addresses, variable_windows
from grader.ptx.machine import (
    ARGUMENTS_WINDOW,
    CREW,
    FAULT,
    FENCE,
    FIRST_WINDOW,
    FLIGHT,
    HEAP_BYTES,
    HEAP_WINDOW,
    HISTORY,
    INITIALISED,
    KNOWN_ROWS,
    LAUNCH,
    LOCK_BYTES,
    LOCKS,
    LOOK,
    MAIL_BYTES,
    MAX_CLUSTER,
    MAX_FENCES,
    MAX_FLIGHTS,
    MAX_HEADS,
    MAX_LOOKS,
    MAX_RELEASES,
    MAX_ROWS,
    MAX_STACK,
    MAX_TILES,
    MBARRIER_BYTES,
    NAMED_BARRIERS,
    PARAM_WINDOW,
    READABLE,
    RELEASE,
    ROW_BYTES,
    SEMAPHORE_AT,
    SHADOW_ARRAYS,
    SINK_BYTES,
    STAGE_BYTES,
    STAMP_STEP,
    TILE,
    TIME_IS_UP,
    TURN_BYTES,
    VARIABLE_WINDOW,
    WARPS,
    WINDOW,
    WINDOW_BITS,
    WINDOWS,
    WORKER,
    WRITABLE,
    Kind,
    kernel_address,
)
from grader.ptx.printing import Printer
from grader.ptx.runtime.shadow import SLOTS
from grader.ptx.structs import Struct, as_bytes, pointer_to
from grader.ptx.syntax import NOWHERE, Module, Variable
from grader.ptx.tensor_maps import TENSOR_MAP_BYTES, TensorMap, encode
from grader.ptx.unsupported import Unsupported

ARRAY_ALIGN = 512  # bytes: cudaMalloc's
PLACES = 1 << 23  # where an array may start: within 4 GiB
TICK_SECONDS = 0.05  # how often the time limit is checked
MAX_VARIABLE_BYTES = 256 << 20  # tables of __device__ and __constant__
FAULT_LIMIT = 100_000  # per worker; a kernel that is wrong everywhere need not finish
Dim3 = tuple[int, int, int]
Placed = dict[str, tuple[int, np.ndarray[Any, Any], Variable]]

FAULT_TYPE = np.dtype(
    {
        "names": list(FAULT.type),
        "formats": [{"i64": "<i8", "i32": "<u4"}[t] for t in FAULT.type.values()],
        "offsets": list(FAULT.offset.values()),
        "itemsize": FAULT.size,
    }
)


@dataclass(frozen=True)
class Buffer:
    """An array that is passed to a kernel by pointer and used in place. `data` must be C-contiguous.

    A store is a finding unless it is `writable`, and so is a read before the first write unless it is `initialised`.
    `filled` has one byte for each byte, non-zero if an earlier launch wrote it, and is kept up to date.
    """

    name: str
    data: np.ndarray[Any, Any]
    writable: bool = False
    initialised: bool = True
    filled: np.ndarray[Any, Any] | None = None

    @property
    def flags(self) -> int:
        return READABLE | (WRITABLE if self.writable else 0) | (INITIALISED if self.initialised else 0)


Argument = Buffer | int | TensorMap


@dataclass(frozen=True)
class Limits:
    """instructions: per thread between two barriers. barriers: per block; stale: of these, with nothing new in global
    memory. seconds: processor time per core in use."""

    instructions: int = 4_000_000_000
    barriers: int = 2_000_000
    seconds: float = 60.0
    stale: int = 1_000_000


@dataclass(frozen=True)
class Fault:
    """All faults of one kind at one instruction: the first one by block and thread, and how many there are."""

    site: int
    kind: Kind
    count: int
    block: int
    thread: int
    address: int
    other: int
    other_site: int
    tile: int


def place_variables(module: Module) -> Placed:
    """Module variables in memory, by name, with the addresses in their initialisers resolved. Raises Unsupported."""
    windows, functions = variable_windows(module), function_addresses(module)
    most, size = HEAP_WINDOW - VARIABLE_WINDOW, sum(module.variables[name].size for name in windows)
    if len(windows) > most:
        raise Unsupported(
            f"the CPU engine supports no more than {most} __device__ and __constant__ variables", NOWHERE
        )
    if size > MAX_VARIABLE_BYTES:
        most, kinds = MAX_VARIABLE_BYTES >> 20, "__device__ and __constant__ variables"
        raise Unsupported(
            f"the CPU engine supports no more than {most} MiB of {kinds}; here are {size} bytes", NOWHERE
        )
    placed = {}
    for name, window in windows.items():
        variable = module.variables[name]
        data = np.zeros(variable.size + WORD, np.uint8)
        if variable.data:
            data[: len(variable.data)] = np.frombuffer(variable.data, np.uint8)
        for offset, symbol, addend in variable.relocations:
            target = functions.get(symbol) or (kernel_address(windows[symbol]) if symbol in windows else None)
            if target is not None:
                data[offset : offset + 8] = as_bytes(target + addend, 8)
        placed[name] = (window, data, variable)
    return placed


class Launch:
    def __init__(
        self,
        compiled: NativeKernel,
        variables: Placed,
        grid: Dim3,
        block: Dim3,
        shared_bytes: int,
        arguments: Sequence[Argument],
        limits: Limits,
        seed: int,
        *,
        serial: bool,
    ) -> None:
        """`serial`: one block runs at a time, whatever the number of workers."""
        self.compiled, self.lowered, self.limits, self.serial = compiled, compiled.lowered, limits, serial
        self.seed = seed
        cluster, self.in_cluster = self.lowered.cluster, prod(self.lowered.cluster)
        self.threads = prod(block) * self.in_cluster
        self.blocks = prod(grid) // self.in_cluster  # clusters, if they have several
        self.record = Struct(LAUNCH)
        self.printer = Printer(variables, partial(self.record.set, mute=1))
        self.keep: list[np.ndarray[Any, Any]] = []
        self.fault_tables: list[np.ndarray[Any, Any]] = []
        self.filled: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []  # of a buffer, with its cells
        self.padded: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []  # a buffer, and a longer copy
        self.windows = self._kept(np.zeros(WINDOWS * WINDOW.size, np.uint8))
        for window, data, variable in variables.values():
            self._open_window(window, data, variable.size, READABLE | INITIALISED)
        self.record.set(
            blocks=self.blocks,
            threads=self.threads,
            block_threads=prod(block),
            named_barriers=NAMED_BARRIERS * self.in_cluster,
            clusters_x=grid[0] // cluster[0],
            clusters_y=grid[1] // cluster[1],
            dynamic_shared=shared_bytes,
            arguments=pointer_to(self._bind(arguments)),
            windows=pointer_to(self.windows),
            budget=limits.instructions,
            barriers=limits.barriers,
            stale=limits.stale,
            thread_index=pointer_to(self._kept(np.tile(_thread_indices(block), (self.in_cluster, 1)))),
            fault_limit=FAULT_LIMIT,
            locks=pointer_to(self._kept(np.zeros(LOCKS * LOCK_BYTES, np.uint8))),
            serial=int(serial),
            crew=1,
            chance=seed,
            salt=(seed * 0x9E37_79B9_7F4A_7C15) >> 7,
        )
        if serial and self.lowered.between_blocks.meet:
            self.record.set(signals=1)
            self.record.set(**{name: pointer_to(self._kept(array)) for name, array in self._order().items()})
        for axis, g, c, b in zip("xyz", grid, cluster, block, strict=True):
            self.record.set(**{f"grid_{axis}": g, f"cluster_{axis}": c, f"block_{axis}": b})

    def _order(self) -> dict[str, np.ndarray[Any, Any]]:
        """Room for what blocks signal to each other. Pages of it that are never touched cost nothing."""
        return {
            "histories": np.zeros(self.blocks * HISTORY.size, np.uint8),
            "heads": np.zeros(MAX_HEADS + STAMP_STEP, np.uint32),
            "fences": np.zeros((MAX_FENCES + 1) * FENCE.size, np.uint8),
            "releases": np.zeros((MAX_RELEASES + 1) * RELEASE.size, np.uint8),
            "looks": np.zeros((MAX_LOOKS + 1) * LOOK.size, np.uint8),
            "rows": np.zeros((MAX_ROWS + 1) * ROW_BYTES, np.uint8),
            "stack": np.zeros(MAX_STACK, np.uint32),
        }

    def _kept(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Keep an array alive: generated code has only its address."""
        self.keep.append(array)
        return array

    def _open_window(
        self,
        window: int,
        data: np.ndarray[Any, Any],
        size: int,
        flags: int,
        filled: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self._kept(data)
        entry = Struct(WINDOW, self.windows, window * WINDOW.size)
        entry.set(host=pointer_to(data), base=kernel_address(window) + self._moved(window), size=size, flags=flags)
        if flags & WRITABLE:
            cells = -(-size // self.lowered.global_granule) + 1
            entry.set(**{"signal" if self.serial else "touched": pointer_to(self._kept(np.zeros(cells, np.uint32)))})
            for name in SLOTS:
                stamps = self._kept(np.zeros(cells, np.uint64))
                if name == "write" and filled is not None and filled.size:
                    _stamp(filled, stamps, self.lowered.global_granule)
                    self.filled.append((filled, stamps))
                entry.set(**{name: pointer_to(stamps)})
                entry.set(**{f"{name}_site": pointer_to(self._kept(np.zeros(cells, np.uint32)))})

    def _moved(self, window: int) -> int:
        """By how much the array of a parameter lies further up than its window's middle: no kernel can rely on it."""
        if not PARAM_WINDOW <= window < VARIABLE_WINDOW:
            return 0
        chance = (self.seed + 1) * 0x9E37_79B9_7F4A_7C15 + window * 0xBF58_476D_1CE4_E5B9
        return (chance >> 20) % PLACES * ARRAY_ALIGN

    def _address_of(self, parameter: int) -> int:
        """Where the array of a parameter starts, as the kernel sees it."""
        return kernel_address(PARAM_WINDOW + parameter) + self._moved(PARAM_WINDOW + parameter)

    def _named(self, address: int) -> int:
        """As explain.py knows it."""
        window = (address >> WINDOW_BITS) - FIRST_WINDOW
        if not 0 <= window < WINDOWS:
            return address
        return address - (FIRST_WINDOW << WINDOW_BITS) - self._moved(window)

    def _bind(self, arguments: Sequence[Argument]) -> np.ndarray[Any, Any]:
        """The parameter block: arrays by address, everything else by value. Raises ValueError."""
        low = self.lowered
        block = self._kept(np.zeros(max(low.parameter_bytes, 8), np.uint8))
        ends = [*low.parameter_offsets, low.parameter_bytes][1:]
        for i, (argument, start, end) in enumerate(zip(arguments, low.parameter_offsets, ends, strict=True)):
            if isinstance(argument, Buffer):
                if not argument.data.flags.c_contiguous:
                    raise ValueError(f"{argument.name} is not contiguous")
                data = self._with_whole_words(argument)
                self._open_window(PARAM_WINDOW + i, data, argument.data.nbytes, argument.flags, argument.filled)
                block[start : start + 8] = as_bytes(self._address_of(i), 8)
            elif isinstance(argument, TensorMap):
                if end - start < TENSOR_MAP_BYTES or not isinstance(arguments[argument.array], Buffer):
                    raise ValueError(f"parameter {i} is no tensor map, or its array none")
                block[start : start + TENSOR_MAP_BYTES] = encode(argument, self._address_of(argument.array))
            else:
                size = min(end - start, 8)
                block[start : start + size] = as_bytes(argument, size)
        self._open_window(ARGUMENTS_WINDOW, block, low.parameter_bytes, READABLE | INITIALISED)
        if low.allocates:
            self._open_window(HEAP_WINDOW, np.zeros(HEAP_BYTES, np.uint8), HEAP_BYTES, READABLE | WRITABLE)
        return block

    def _with_whole_words(self, buffer: Buffer) -> np.ndarray[Any, Any]:
        """The array, with room for the rest of its last word if the kernel may touch that."""
        if not self.lowered.overhangs or buffer.data.nbytes % WORD == 0:
            return buffer.data
        copy = np.concatenate([buffer.data.reshape(-1).view(np.uint8), np.zeros(WORD, np.uint8)])
        if buffer.writable:
            self.padded.append((buffer.data, copy))
        return copy

    def _worker(self, number: int) -> Struct:
        low, threads = self.lowered, self.threads
        faults = np.zeros(len(low.sites) * len(Kind), FAULT_TYPE)
        self.fault_tables.append(faults)
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "shared": np.zeros(low.shared.arena, np.uint8),
            "cells": np.zeros(SHADOW_ARRAYS * low.shared.cells, np.uint32),
            "origins": np.zeros(low.shared.cells, np.uint64),
            "frames": np.zeros(-(-threads // 32) * 32 * low.frame.stride, np.uint8),  # of whole warps
            "status": np.zeros(threads, np.uint32),
            "faults": faults,
            "sink": np.zeros(SINK_BYTES, np.uint8),
            "mail": np.zeros(-(-threads // 32) * 32 * MAIL_BYTES, np.uint8),
            "arrived": np.zeros(3 * MAX_CLUSTER * NAMED_BARRIERS, np.uint32),
            "known": np.zeros((KNOWN_ROWS, WARPS), np.uint32),
            # Pages that are never touched cost nothing.
            "mbarriers": np.zeros(low.shared.arena // 8 * MBARRIER_BYTES, np.uint8),
            "flights": np.zeros((MAX_FLIGHTS + 1) * FLIGHT.size, np.uint8),
            "stage": np.zeros(STAGE_BYTES if low.asynchronous else 1, np.uint8),
            "tiles": np.zeros(MAX_TILES * TILE.size, np.uint8),
        }
        worker = Struct(WORKER)
        worker.set(launch=self.record.address, program=self.compiled.program.address, number=number)
        worker.set(**{name: pointer_to(self._kept(array)) for name, array in arrays.items()})
        return worker

    def run(self, workers: int) -> None:
        """Run until the end or until the time is up; then threads stop at their next loop iteration or barrier."""
        work = self.compiled.work
        if self.serial:
            workers = CREW if self.lowered.between_blocks.draw else 1
        records = [self._worker(number) for number in range(max(1, min(workers, self.blocks)))]
        self.record.set(turn=pointer_to(self._kept(np.zeros(TURN_BYTES * len(records), np.uint8))))
        if self.serial and len(records) > 1:
            self.record.set(crew=len(records))
            make_semaphores(self.record.get("turn") + SEMAPHORE_AT, len(records), TURN_BYTES)

        def body(worker: Struct) -> None:
            print_to(self.printer)
            work(worker.address)

        threads = [threading.Thread(target=body, args=(record,), daemon=True) for record in records]
        for thread in threads:
            thread.start()
        try:
            _join(threads, self.limits.seconds)
        finally:
            self.out_of_time = any(thread.is_alive() for thread in threads)
            if self.out_of_time:
                self.record.set(stop=TIME_IS_UP)
            for thread in threads:
                thread.join()
            for data, copy in self.padded:
                data.reshape(-1).view(np.uint8)[:] = copy[:-WORD]
            for filled, stamps in self.filled:
                filled[:] = (stamps != 0).repeat(self.lowered.global_granule)[: len(filled)]

    def one_by_one(self, order: Iterable[int]) -> Iterator[int]:
        """Run these blocks, each at the next step. Those that wait for one that has not run end at the budget."""
        worker = self._worker(0)
        self.record.set(turn=pointer_to(self._kept(np.zeros(TURN_BYTES, np.uint8))))
        for block in order:
            self.record.set(next_block=block, blocks=block + 1)
            self.compiled.work(worker.address)
            if self.record.get("stop"):
                return
            yield block

    @property
    def in_doubt(self) -> bool:
        """Blocks that ran side by side met where only ordered ones may, or not all came to their end: what they did
        and what was found depends on who was first."""
        return not self.serial and bool(self.record.get("crossed") or self.record.get("stop"))

    @property
    def worn_out(self) -> bool:
        """Shadow memory ran out of distinct times in some block, so races may have been missed."""
        return bool(self.record.get("worn_out"))

    @property
    def blocks_left(self) -> int:
        """How many never started, because the time was up or enough was found."""
        return max(self.blocks - self.record.get("next_block"), 0)

    def faults(self) -> list[Fault]:
        tables = np.stack([t.reshape(-1, len(Kind)) for t in self.fault_tables])
        found = []
        for site, kind in zip(*np.nonzero(tables["count"].sum(axis=0)), strict=True):
            records = [t for t in tables[:, site, kind] if t["count"]]
            first = min(records, key=lambda r: (int(r["block"]), int(r["thread"])))
            values = {
                name: int(first[name]) for name in ("block", "thread", "address", "other", "other_site", "tile")
            }
            values["address"] = self._named(values["address"])
            found.append(Fault(int(site), Kind(int(kind)), sum(int(r["count"]) for r in records), **values))
        return found


def _stamp(filled: np.ndarray[Any, Any], stamps: np.ndarray[Any, Any], granule: int) -> None:
    """1 in each cell all of whose bytes were written before this launch."""
    if not filled.any():  # most often; then pages of `stamps` that the kernel never touches cost nothing
        return
    written = np.ones(-(-len(filled) // granule), bool)
    for offset in range(granule):
        bytes_there = filled[offset::granule]
        written[: len(bytes_there)] &= bytes_there != 0
    stamps[: len(written)] = written


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Returns when all are done, or when the running ones have used this much processor time each.

    By wall-clock time, a correct kernel on a busy machine would look endless.
    """
    used, before = 0.0, time.process_time()
    while used < seconds and (running := [thread for thread in threads if thread.is_alive()]):
        running[0].join(TICK_SECONDS)
        now = time.process_time()
        used, before = used + (now - before) / len(running), now


def _thread_indices(block: Dim3) -> np.ndarray[Any, Any]:
    """(x, y, z, 0) of each thread."""
    order = np.arange(block[0] * block[1] * block[2])
    index = np.zeros((len(order), 4), np.uint32)
    index[:, 0], index[:, 1] = order % block[0], order // block[0] % block[1]
    index[:, 2] = order // (block[0] * block[1])
    return index
