"""A system-call filter: no network, no other programs, no other processes, and no way around Landlock.

No other processes means both that the child cannot start any and that it cannot control existing ones.

Why a filter and not a network namespace? Containers and several distributions forbid unprivileged namespaces,
but every process that gives up new privileges may install a filter, also in containers. Landlock alone handles
only TCP, from its fourth version on, but neither UDP nor other socket families.

Refused calls fail with EPERM. All others stay allowed: Python, LLVM and CUDA need many, and more each year.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Collection, Iterator
from functools import cache

# By name: the numbers on x86-64 and aarch64; None if there is no such call.
_REFUSED: dict[str, tuple[int, int | None]] = {
    # Programs and processes. A process with its own session would survive killing the child's group.
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # Memory that is not counted: it belongs to no process, and some of it outlives them all.
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    # Ways around this filter and, for root, around Landlock.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    # Configuration of the kernel itself.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # A file's length, mode, owner, times and attributes: Landlock protects the length from version 3 on, the rest
    # never.
    "truncate": (76, 45),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}  # fmt: skip

# Their first argument selects a process; allowed only for the process itself. abort() also sends a signal.
_OWN_ONLY: dict[str, tuple[int, int]] = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
# The same, where 0 means the caller. The parent's limits, cores and priorities are inherited by its next child.
_OWN_OR_ZERO: dict[str, tuple[int, int]] = {
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
}
_SOCKET = (41, 198)

# Forbidden arguments: to outlive the parent (PR_SET_PDEATHSIG), and to have the kernel send the parent a
# signal (F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP).
_NEVER_WITH: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {
    (157, 167): (0, (1,)),  # prctl
    (72, 25): (1, (8, 10, 15)),  # fcntl
    (16, 29): (1, (0x8901, 0x8902)),  # ioctl
}

# A thread is a clone with CLONE_THREAD. The filter cannot read clone3's structure; if clone3 is refused, clone is
# used.
_CLONE, _CLONE_THREAD = (56, 220), 0x10000
_CLONE3 = 435

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_X32 = 0x40000000  # x86-64's second set of call numbers starts here

# Classic BPF on struct seccomp_data: number at 0, architecture at 4, eight-byte arguments (lower half) from 16.
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_CALL = {"x86_64": 317, "aarch64": 277}
_ACTION_AVAILABLE, _SET_FILTER = 2, 1
_ALL_THREADS = 1 << 0
_NO_SLOWDOWN = 1 << 2  # older kernels slow down filtered processes because of Spectre; the child has no secrets

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def available() -> bool:
    if platform.machine() not in _CALL or platform.system() != "Linux":
        return False
    action = ctypes.c_uint32(_REFUSE & 0xFFFF0000)
    try:
        _seccomp(_ACTION_AVAILABLE, 0, ctypes.byref(action))
    except OSError:
        return False
    return True


def install(families: Collection[int] = (), calls: Collection[str] = ()) -> None:
    """Irreversibly filter every thread of this process; these address families and these calls stay allowed.

    Requires no_new_privs. Raises OSError; then nothing is filtered.
    """
    instructions = list(program(platform.machine(), os.getpid(), families, calls))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    try:
        _seccomp(_SET_FILTER, _ALL_THREADS | _NO_SLOWDOWN, header)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before Linux 4.17: no such flag
            raise
        _seccomp(_SET_FILTER, _ALL_THREADS, header)


def program(machine: str, own: int, families: Collection[int], calls: Collection[str] = ()) -> Iterator[Instruction]:
    """The filter for process `own`. Calls with a foreign architecture's numbers are refused."""
    column = _COLUMN[machine]
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, _AUDIT_ARCH[machine]
    yield _RETURN, 0, 0, _REFUSE
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":
        yield _AT_LEAST, 0, 1, _X32
        yield _RETURN, 0, 0, _REFUSE
    for name, numbers in _REFUSED.items():
        number = numbers[column]
        if number is not None and name not in calls:
            yield _EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _REFUSE
    for of_own in _OWN_ONLY.values():
        yield from _only_with(of_own[column], (own,))
    for of_own in _OWN_OR_ZERO.values():
        yield from _only_with(of_own[column], (0, own))
    yield from _only_with(_SOCKET[column], families)
    for call, (argument, values) in _NEVER_WITH.items():
        yield from _never_with(call[column], argument, values)
    yield from _only_threads(_CLONE[column])
    yield _RETURN, 0, 0, _ALLOW


def _only_with(number: int, firsts: Collection[int]) -> Iterator[Instruction]:
    """Refuse the call unless its first argument is one of these."""
    yield _EQUAL, 0, 2 * len(firsts) + 2, number
    yield _LOAD, 0, 0, _ARGUMENTS
    for first in firsts:
        yield _EQUAL, 0, 1, first
        yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _REFUSE


def _never_with(number: int, argument: int, values: Collection[int]) -> Iterator[Instruction]:
    """Refuse the call if this argument, counted from 0, is one of these."""
    yield _EQUAL, 0, 2 * len(values) + 2, number
    yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument
    for value in values:
        yield _EQUAL, 0, 1, value
        yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW


def _only_threads(clone: int) -> Iterator[Instruction]:
    yield _EQUAL, 0, 1, _CLONE3
    yield _RETURN, 0, 0, _UNKNOWN
    yield _EQUAL, 0, 4, clone
    yield _LOAD, 0, 0, _ARGUMENTS
    yield _HAS, 1, 0, _CLONE_THREAD
    yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW


def _seccomp(operation: int, flags: int, argument: object) -> None:
    call = ctypes.c_long(_CALL[platform.machine()])
    result = int(_libc().syscall(call, ctypes.c_long(operation), ctypes.c_long(flags), argument))
    if result != 0:  # with _ALL_THREADS, a positive value is the thread that could not be filtered
        raise OSError(
            ctypes.get_errno(), os.strerror(ctypes.get_errno()) if result < 0 else "a thread could not be filtered"
        )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
