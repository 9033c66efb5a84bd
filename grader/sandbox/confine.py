"""Restrictions that a child applies to itself before it sees any part of a submission.

First: it dies with its parent and keeps to limits. Second, against native code that has compromised the
compiler or the engine, by the operating system: Landlock leaves it read-only access to the files it needs,
and a system-call filter blocks the network, other programs and other processes. What the operating system does
not support is skipped and reported.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import msgspec

from grader.compile import toolkit
from grader.errors import GraderError
from grader.sandbox import landlock, seccomp

FILE_BYTES = 16 << 20  # the largest file it can write; also limits its stderr
OPEN_FILES = 256
CPU_SECONDS = 24 * 3600  # last resort if the parent, which enforces the deadlines, was itself stopped

# Users can set it to "off" on machines where these restrictions keep something from working. Verbs that grade other
# people's submissions set it to "required": then a child that is not confined refuses to work.
SWITCH = "GRADER_CONFINE"
OFF, REQUIRED = "off", "required"

SWITCHED_OFF = f"{SWITCH} is off, so a submission could read your files and use the network; unset it"
_NO_LANDLOCK = (
    "a submission could read your files: this system has no Landlock (needs Linux 5.13 or newer, with it enabled)"
)
_UNREADABLE = "a submission could read your files: with Landlock, the grader's own packages would be unreadable too"
_NO_FILTER = "a submission could use the network: this system does not support system-call filters (seccomp)"

_AF_UNIX, _AF_NETLINK = 1, 16
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Access(msgspec.Struct, frozen=True):
    """What a child may still use: paths, patterns of device files, address families of sockets, system calls."""

    read: tuple[str, ...]
    devices: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    families: tuple[int, ...] = ()
    calls: tuple[str, ...] = ()


# For CPU and GPU: the system's libraries, and files that give the number of cores.
_SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    "/nix/store",
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/proc/sys/kernel"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
_NOTHING = ("/dev/null",)

CPU = Access(_SYSTEM, devices=_NOTHING)

# Generous, since the files that the driver opens differ between versions, containers and WSL.
GPU = Access(
    (
        *_SYSTEM,
        *("/sys", "/proc/driver", "/proc/devices", "/proc/modules", "/proc/filesystems", "/proc/version"),
        *(
            "/usr/local/nvidia",
            "/opt/nvidia",
            "/run/nvidia",
            "/run/opengl-driver",
            "/etc/nvidia",
            "/usr/share/nvidia",
        ),
    ),
    devices=(
        *(*_NOTHING, "/dev/nvidia*", "/dev/nvidia-caps*/*", "/dev/dri/*"),
        *("/dev/dxg", "/dev/nvhost*", "/dev/nvmap"),  # WSL; Jetson
    ),
    write=("/proc/self/task",),  # the driver names its threads
    scratch=("/dev/shm",),  # noqa: S108 - memory that its own processes share
    families=(_AF_UNIX, _AF_NETLINK),  # the driver listens on one of the first to pass descriptors
    calls=("memfd_create",),  # the driver keeps unnamed files
)

# Of a Python installation or a CUDA toolkit, whose root may be as broad as /usr.
_OF_PREFIX = ("bin", "include", "lib", "lib64", "nvvm", "targets", "pyvenv.cfg")
_OWN_PACKAGES = ("grader", "grader.reference_kernels")  # the latter may be a link out of the former

_LOADED_FROM = re.compile(rb"(/[\x20-\x7e]+)/[\x21-\x2e\x30-\x7e]+\0")
_LOADER_CACHE = Path("/etc/ld.so.cache")


def confine(parent: int, access: Access = CPU) -> tuple[str, ...]:
    """Irreversible. Call it before starting threads: existing threads may stay unrestricted.

    Returns what could not be blocked, and why.
    """
    die_with(parent)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    # Memory is monitored from outside: a limit on the address space would keep CUDA from starting.
    lacking = missing()
    if lacking == (SWITCHED_OFF,):
        return lacking
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if _NO_LANDLOCK not in lacking:
        lacking += _restrict_files(_rights(access))
    if _NO_FILTER not in lacking:
        lacking += _filter_calls(access)
    return lacking


def _restrict_files(rights: dict[Path, int]) -> tuple[str, ...]:
    try:
        if not _readable_under(rights):
            return (_UNREADABLE,)
        landlock.restrict(rights)
    except OSError as error:
        return (f"a submission could read your files: Landlock failed: {error}",)
    return ()


def _readable_under(rights: dict[Path, int]) -> bool:
    """Tested in a fork, because restrictions are irreversible, even if nothing can be imported afterwards.

    Packages that are links to other places would be unreachable, and so would some network file systems.
    """
    witnesses = list(_witnesses())
    fork = os.fork()
    if fork:
        return os.waitpid(fork, 0)[1] == 0
    try:
        landlock.restrict(rights)
        for witness in witnesses:
            os.close(os.open(witness, os.O_RDONLY))
        os._exit(0)
    finally:
        os._exit(1)


def _witnesses() -> Iterator[str]:
    """One file of everything the child will need: if these are readable, all are."""
    yield from (__file__, os.__file__)
    for name in ("numpy", "cupy", "llvmlite"):
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec and spec.origin:
                yield spec.origin
    with suppress(toolkit.ToolkitMissing):
        yield from (str(folder / "include") for folder in toolkit.parts().values())


def _filter_calls(access: Access) -> tuple[str, ...]:
    try:
        seccomp.install(access.families, access.calls)
    except OSError as error:
        return (f"a submission could use the network: the system-call filter failed: {error}",)
    # No program can be started, so do not look for one: ctypes.util.find_library would try to.
    os.environ["PATH"] = ""
    return ()


def missing() -> tuple[str, ...]:
    """What this system cannot block for a child, in words; empty if nothing is missing."""
    if os.environ.get(SWITCH) == OFF:
        return (SWITCHED_OFF,)
    lacking = () if landlock.abi() else (_NO_LANDLOCK,)
    return lacking if seccomp.available() else (*lacking, _NO_FILTER)


@contextmanager
def required(*, trust: bool) -> Iterator[None]:
    """Every child started inside is confined or refuses to work; with `trust`, whatever the machine offers will do.

    Raises GraderError if this machine cannot confine a child.
    """
    lacking = missing()
    if trust or not lacking:
        with _switched(None if trust else REQUIRED):
            yield
        return
    raise GraderError(
        f"this machine cannot confine submissions: {'; '.join(lacking)}.\n"
        "Grade on another machine (grade doctor shows what it offers), or pass --trust if you trust every "
        "submission."
    )


@contextmanager
def _switched(value: str | None) -> Iterator[None]:
    """Children inherit it, including those for a GPU and those started again."""
    before = os.environ.get(SWITCH)
    if value is not None:
        os.environ[SWITCH] = value
    try:
        yield
    finally:
        if value is not None and before is None:
            del os.environ[SWITCH]
        elif value is not None and before is not None:
            os.environ[SWITCH] = before


def strength() -> str:
    """How a child is confined if nothing is missing."""
    return f"Landlock ABI {landlock.abi()}, no network"


def _rights(access: Access) -> dict[Path, int]:
    rights = dict.fromkeys(_readable(access), landlock.READ)
    for pattern in access.devices:
        rights |= dict.fromkeys(Path("/").glob(pattern[1:]), landlock.DEVICE)
    for name in access.write:
        rights[Path(name)] = landlock.READ | landlock.WRITE
    for name in access.scratch:
        rights[Path(name)] = landlock.SCRATCH
    return rights


def _readable(access: Access) -> Iterator[Path]:
    yield from map(Path, access.read)
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, str(toolkit.SYSTEM)}
    prefixes |= {os.environ[name] for name in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(name)}
    for prefix in sorted(prefixes):
        yield from (Path(prefix, name) for name in _OF_PREFIX)
    yield from _packages()
    yield from _library_folders()
    if sys.pycache_prefix:
        yield Path(sys.pycache_prefix)


def _packages() -> Iterator[Path]:
    """Folders of installed packages, and ours. A checkout as a whole stays closed, since it may contain submissions.

    Ours are imported here, so that nothing is searched for in their parent folder later.
    """
    for name in _OWN_PACKAGES:
        yield Path(importlib.import_module(name).__path__[0])
    for entry in map(Path, sys.path):
        with suppress(OSError):
            if entry.is_absolute() and (entry.is_file() or _holds(entry, ".dist-info")):
                yield entry


def _library_folders() -> Iterator[Path]:
    """The loader's search path: LD_LIBRARY_PATH and every folder in its cache, including libcuda's."""
    for name in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        with suppress(OSError):
            if name.startswith("/") and _holds(Path(name), ".so"):
                yield Path(name)
    with suppress(OSError):
        cached = set(_LOADED_FROM.findall(_LOADER_CACHE.read_bytes()))
        yield from _outermost(Path(os.fsdecode(folder)) for folder in cached)


def _holds(folder: Path, part: str) -> bool:
    with os.scandir(folder) as entries:
        return any(part in entry.name for entry in entries)


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """Without folders inside another of them, or inside the system's."""
    kept: list[Path] = []
    for folder in sorted(folders):
        if not any(folder.is_relative_to(other) for other in (*map(Path, _SYSTEM), *kept)):
            kept.append(folder)
    return kept


def die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the call
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if hasattr(_libc(), "prctl"):
        _libc().prctl(option, value, 0, 0, 0)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (most, most))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
