"""What a child does to itself before it sees anything of a submission.

The first line: it dies with its parent, and keeps to limits. The second, for native code that got the better of
compiler or engine, is the kernel's: Landlock leaves it the files that it needs to work, to be read and not
written, and a filter of system calls takes the network, other programs and other processes away. What a kernel
does not offer is left out, and said.
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

FILE_BYTES = 16 << 20  # the largest file it can write: bounds what it says on stderr, too
OPEN_FILES = 256
CPU_SECONDS = 24 * 3600  # last resort, where the parent that keeps the deadlines was itself stopped

# Set to "off" by whoever runs the grader, for a machine on which the kernel's part keeps something from working; and
# to "required" by a verb that grades what strangers handed in: then a child that is not confined answers nothing.
SWITCH = "GRADER_CONFINE"
OFF, REQUIRED = "off", "required"

SWITCHED_OFF = f"{SWITCH} is off: a submission could read your files and use the network; unset it"
_NO_LANDLOCK = "a submission could read your files: this kernel has no Landlock (Linux 5.13 or newer, switched on)"
_UNREADABLE = "a submission could read your files: with Landlock, the grader's own packages could not be read either"
_NO_FILTER = "a submission could use the network: this kernel lets no process filter its calls (seccomp)"

_AF_UNIX, _AF_NETLINK = 1, 16
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Access(msgspec.Struct, frozen=True):
    """What a child may still reach: paths, patterns of device files, address families of sockets, system calls."""

    read: tuple[str, ...]
    devices: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    families: tuple[int, ...] = ()
    calls: tuple[str, ...] = ()


# Both devices: the libraries of the system, and what says how many cores there are.
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

# Generous: what the driver opens differs between its versions, containers and WSL.
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
    families=(_AF_UNIX, _AF_NETLINK),  # the driver listens on one of the first, to hand out its descriptors
    calls=("memfd_create",),  # the driver keeps files without a name
)

# Of a Python installation or a CUDA toolkit. Its root may be as wide as /usr.
_OF_PREFIX = ("bin", "include", "lib", "lib64", "nvvm", "targets", "pyvenv.cfg")
_OWN_PACKAGES = ("grader", "reference_kernels")

_LOADED_FROM = re.compile(rb"(/[\x20-\x7e]+)/[\x21-\x2e\x30-\x7e]+\0")
_LOADER_CACHE = Path("/etc/ld.so.cache")


def confine(parent: int, access: Access = CPU) -> tuple[str, ...]:
    """For good, before any thread is started: a thread that is there already may go unrestricted.

    Gives what could not be taken away, and why.
    """
    _die_with(parent)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    # Memory is watched from outside: a limit on address space would keep CUDA from starting.
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
    """Tried out in a fork: what is restricted once stays so, even where nothing can be imported any more.

    Packages that are links to elsewhere would be out of reach, or a network's file system that forgets its files.
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
    """A file of each thing that the child will need: if these can be read, all can."""
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
        return (f"a submission could use the network: the filter of system calls failed: {error}",)
    # No program can be started, so none is to be found: ctypes.util.find_library would prepare for one.
    os.environ["PATH"] = ""
    return ()


def missing() -> tuple[str, ...]:
    """What this kernel cannot take away from a child, in words; empty where nothing is missing."""
    if os.environ.get(SWITCH) == OFF:
        return (SWITCHED_OFF,)
    lacking = () if landlock.abi() else (_NO_LANDLOCK,)
    return lacking if seccomp.available() else (*lacking, _NO_FILTER)


@contextmanager
def required(*, trust: bool) -> Iterator[None]:
    """Every child that is started meanwhile is confined, or answers nothing; with `trust`, as the machine has it.

    Raises GraderError where this machine cannot.
    """
    lacking = missing()
    if trust or not lacking:
        with _switched(None if trust else REQUIRED):
            yield
        return
    raise GraderError(
        f"submissions are not kept from this machine: {'; '.join(lacking)}.\n"
        "Grade on a machine that can (grade doctor says what it has), or say --trust, if you trust every submission."
    )


@contextmanager
def _switched(value: str | None) -> Iterator[None]:
    """Children get it from the environment, those of GPUs and of a second start too."""
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
    """How a child is confined where nothing is missing."""
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
    """Folders that pip filled, and ours. A checkout as a whole stays closed: submissions may lie in it.

    Ours are imported here, so that nothing is looked for in their folder's folder later.
    """
    for name in _OWN_PACKAGES:
        yield from map(Path, importlib.import_module(name).__path__)
    for entry in map(Path, sys.path):
        with suppress(OSError):
            if entry.is_absolute() and (entry.is_file() or _holds(entry, ".dist-info")):
                yield entry


def _library_folders() -> Iterator[Path]:
    """Where the loader will look: LD_LIBRARY_PATH, and every folder in its cache, libcuda's among them."""
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
    """Without those that lie in another of them, or in the system's."""
    kept: list[Path] = []
    for folder in sorted(folders):
        if not any(folder.is_relative_to(other) for other in (*map(Path, _SYSTEM), *kept)):
            kept.append(folder)
    return kept


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
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
