"""What the kernel keeps from a child that its submission has taken over; and that grading goes on all the same."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from grader.compile import toolkit
from grader.compile.cache import Cache
from grader.errors import GraderError
from grader.executors import open_cpu
from grader.executors.cuda_child import CudaChild
from grader.exercise import catalog, submission
from grader.grading import pipeline
from grader.model.result import Verdict
from grader.sandbox import ChildDied, ChildFailed, bytecode, confine, landlock, seccomp
from grader.sandbox.child import Child
from grader.sandbox.process import Process
from tests.timing.samples import H200

ROOT = Path(__file__).parents[2]
ENGINE = "tests.sandbox.hostile_engine"
REFUSED = ("PermissionError",)  # EPERM or EACCES

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
needs_filter = pytest.mark.skipif(not seccomp.available(), reason="this kernel lets no process filter its calls")

Attempt = Callable[[str], str]


def child_with(**variables: str) -> Child:
    return Child(Process(ENGINE, variables=variables), "cpu", cache=Cache(None))


def attempt_in(child: Child) -> Attempt:
    return lambda code: child.compile(f"pass\n{code}".encode(), "starter.cu").log


@pytest.fixture(scope="module")
def attempt() -> Iterator[Attempt]:
    """How far a piece of Python gets in a confined child."""
    with child_with() as child:
        yield attempt_in(child)


@pytest.fixture(scope="module")
def attempt_on_gpu() -> Iterator[Attempt]:
    with child_with(GPU_ACCESS="1") as child:
        yield attempt_in(child)


@pytest.fixture
def home_file() -> Iterator[Path]:
    if not os.access(Path.home(), os.W_OK):
        pytest.skip("nothing can be written in the home folder")
    with tempfile.NamedTemporaryFile(dir=Path.home(), prefix=".grader-test-") as file:
        yield Path(file.name)


@needs_landlock
def test_no_file_of_the_machine_can_be_read(attempt: Attempt, attempt_on_gpu: Attempt) -> None:
    for read in (attempt, attempt_on_gpu):
        assert read("open('/etc/passwd').read()").startswith(REFUSED)
        assert read("open('/proc/self/root/etc/passwd').read()").startswith(REFUSED)
        assert read("import os; open(f'/proc/{os.getppid()}/environ').read()").startswith(REFUSED)


@needs_landlock
def test_neither_the_home_folder_nor_a_submissions_can_be_read(
    attempt: Attempt, attempt_on_gpu: Attempt, home_file: Path, tmp_path: Path
) -> None:
    submitted = tmp_path / "starter.cu"
    submitted.write_text("// another student's")
    in_checkout = next((ROOT / "exercises").glob("01*/solution.cu"))
    for read in (attempt, attempt_on_gpu):
        for file in (home_file, submitted, in_checkout):
            assert read(f"open({str(file)!r}).read()").startswith(REFUSED)
            assert read(f"import os; os.listdir({str(file.parent)!r})").startswith(REFUSED)


@needs_landlock
@pytest.mark.parametrize(
    "code",
    [
        "open(folder + '/new', 'w')",
        "open(folder + '/there', 'a')",
        "os.truncate(folder + '/there', 0)",
        "os.unlink(folder + '/there')",
        "os.mkdir(folder + '/inner')",
        "os.symlink('/etc', folder + '/link')",
        "os.rename(folder + '/there', folder + '/gone')",
        "os.chmod(folder + '/there', 0o777)",
        "os.utime(folder + '/there')",
    ],
)
def test_nothing_can_be_written(attempt: Attempt, tmp_path: Path, code: str) -> None:
    there = tmp_path / "there"
    there.write_text("as it was")
    before = there.stat()
    assert attempt(f"import os; folder = {str(tmp_path)!r}; {code}").startswith(REFUSED)
    assert list(tmp_path.iterdir()) == [there]
    assert there.read_text() == "as it was"
    assert (there.stat().st_mode, there.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@needs_landlock
def test_not_even_our_own_code_can_be_written(attempt: Attempt, attempt_on_gpu: Attempt) -> None:
    for write in (attempt, attempt_on_gpu):
        assert write(f"open({confine.__file__!r}, 'a')").startswith(REFUSED)
        assert write("import tempfile; tempfile.TemporaryFile()").startswith("FileNotFoundError")


@needs_filter
def test_there_is_no_network(attempt: Attempt, attempt_on_gpu: Attempt) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connecting = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)"
        sending = "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)"
        for reach in (attempt, attempt_on_gpu):
            assert reach(connecting).startswith(REFUSED)
            assert reach(sending).startswith(REFUSED)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


@needs_filter
def test_services_of_the_machine_cannot_be_spoken_to(attempt: Attempt, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "service"))
        listener.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(tmp_path / 'service')!r})"
        assert attempt(code).startswith(REFUSED)


@needs_filter
@pytest.mark.parametrize(
    "code",
    [
        "os.kill(os.getppid(), 0)",
        "os.kill(-1, 0)",
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)",
        "os.setpgid(0, 0)",
        "os.pidfd_open(os.getppid())",
        "os.sched_setaffinity(os.getppid(), {0})",
        "os.sched_setscheduler(os.getppid(), os.SCHED_BATCH, os.sched_param(0))",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)",
        "fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())",  # whom the kernel signals when there is something to read
        "fcntl.ioctl(0, 0x8901, os.getppid().to_bytes(4, 'little'))",  # the same
        "libc('prctl', 1, 0, 0, 0, 0)",  # PR_SET_PDEATHSIG: to outlive its parent
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "libc('shmget', 0, 4096, 0o1600)",
        "libc('ptrace', 16, os.getppid(), 0, 0)",
        "libc('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)",
        "libc('syscall', 425, 1, 0)",  # io_uring_setup: a second way to open sockets
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "os.execve(os.memfd_create('program'), ['program'], {})",
    ],
)
def test_other_processes_and_programs_are_out_of_reach(attempt: Attempt, attempt_on_gpu: Attempt, code: str) -> None:
    prelude = (
        "import ctypes, fcntl, os, resource, subprocess\n"
        "def libc(name, *arguments):\n"
        "    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:\n"
        "        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))\n"
    )
    assert attempt(prelude + code).startswith(REFUSED)
    assert attempt_on_gpu(prelude + code).startswith(REFUSED)


def test_what_a_child_needs_of_itself_stays(attempt: Attempt) -> None:
    own = f"import os, resource; open({confine.__file__!r}).read(); os.kill(os.getpid(), 0); os.write(2, b'x')"
    assert attempt(own) == "done"
    assert (
        attempt("import resource; resource.getrlimit(resource.RLIMIT_NOFILE); open('/proc/cpuinfo').read()") == "done"
    )
    assert attempt("import threading; t = threading.Thread(target=print); t.start(); t.join()") == "done"
    assert attempt("import ctypes.util; ctypes.util.find_library('dl')") == "done"


def test_an_abort_is_still_told() -> None:
    with child_with() as child, pytest.raises(ChildDied, match="SIGABRT"):
        attempt_in(child)("import os; os.abort()")


@needs_filter
def test_a_gpus_driver_keeps_what_it_may_need(attempt_on_gpu: Attempt) -> None:
    assert attempt_on_gpu("import socket; socket.socket(socket.AF_UNIX)") == "done"
    assert attempt_on_gpu("open('/proc/self/task/%d/comm' % __import__('os').getpid(), 'w').write('x')") == "done"


@needs_filter
def test_no_memory_that_nobody_counts(attempt: Attempt, attempt_on_gpu: Attempt) -> None:
    assert attempt("import os; os.memfd_create('hoard')").startswith(REFUSED)
    assert attempt_on_gpu("import os; os.memfd_create('driver')") == "done"


@needs_landlock
def test_no_thread_was_there_before() -> None:
    """Landlock binds the thread that asks for it, and those that this one starts: one of these loads what is needed
    later, and ends."""
    alone = "import os, time\nwhile len(os.listdir('/proc/self/task')) > 1:\n    time.sleep(0.001)"
    with child_with() as child:
        assert attempt_in(child)(alone) == "done"


def test_it_says_that_nothing_is_lacking() -> None:
    with child_with() as child:
        attempt_in(child)("pass")
        assert child.unconfined == confine.missing()


@needs_filter
def test_without_landlock_the_rest_holds_and_is_said() -> None:
    with child_with(WITHOUT_LANDLOCK="1") as child:
        attempt = attempt_in(child)
        assert attempt("open('/etc/passwd').read()") == "done"
        assert attempt("import socket; socket.socket()").startswith(REFUSED)
        assert ["Landlock" in reason for reason in child.unconfined] == [True]


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(confine.SWITCH, "off")
    with child_with() as child:
        assert attempt_in(child)("import socket; socket.socket(); open('/etc/passwd').read()") == "done"
        assert child.unconfined == (confine.SWITCHED_OFF,) == confine.missing()


@needs_landlock
def test_a_driver_that_does_not_start_confined_starts_and_that_is_said(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"
    wanted.touch()
    with CudaChild(Process(ENGINE, variables={"DRIVER_FILE": str(wanted)})) as child:
        assert child.describe() == H200
        (reason,) = child.unconfined
        assert reason.startswith("CUDA does not start in a confined process")
        assert str(wanted) in reason


def test_a_driver_that_starts_in_no_way_is_said_once(tmp_path: Path) -> None:
    process = Process(ENGINE, variables={"DRIVER_FILE": str(tmp_path / "missing")})
    with CudaChild(process) as child, pytest.raises(ChildFailed, match="missing"):
        child.describe()


@needs_landlock
@needs_filter
def test_an_exercise_is_graded_in_a_confined_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def opening() -> Child:
        opened.append(open_cpu())
        return opened[-1]

    monkeypatch.setenv("GRADER_CACHE_DIR", str(tmp_path))  # else there is nothing to compile
    exercise = catalog.find("1", ROOT / "exercises")
    source = submission.read(exercise.starter.with_name("solution.cu"))
    result = pipeline.grade(exercise, source, seed=1, open_executor=opening, only="small")
    assert result.verdict in (Verdict.PASSED, Verdict.INCOMPLETE)
    assert [child.unconfined for child in opened] == [()] * len(opened)


def test_an_error_within_the_headers_of_cuda_is_still_explained() -> None:
    text = (
        b"#include <cub/block/block_reduce.cuh>\n#include <mma.h>\n__global__ void k() { cub::BlockReduce<int> r; }\n"
    )
    with open_cpu() as child:
        compilation = child.compile(text, "starter.cu")
    assert not compilation.ok
    assert compilation.findings[0].file == "starter.cu"
    assert compilation.findings[0].line == 3


def compiled_with(packages: Path, cache: Path) -> str:
    """What a checkout says that finds `packages` on PYTHONPATH alone: did it compile, what is lacking."""
    code = (
        "from grader.executors import open_cpu\n"
        "with open_cpu() as child:\n"
        "    compilation = child.compile(b'extern \"C\" __global__ void k(int* x) { *x = 1; }', 'a.cu')\n"
        "    print(compilation.ok, child.unconfined)\n"
    )
    variables = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)]),
        "LD_LIBRARY_PATH": str(toolkit.root() / "lib"),
        "GRADER_CACHE_DIR": str(cache),
    }
    python = Path(sys.executable).resolve()
    done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=False, cwd="/")
    return done.stdout or done.stderr


def test_packages_may_come_from_pythonpath_alone(tmp_path: Path) -> None:
    packages = Path(np.__file__).parents[1]
    assert compiled_with(packages, tmp_path) == f"True {confine.missing()}\n"


@needs_landlock
@needs_filter
@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="the packages lie where they may be read anyway")
def test_where_the_packages_would_be_out_of_reach_files_stay_readable_and_that_is_said(tmp_path: Path) -> None:
    """Some installers make links to packages that lie elsewhere."""
    links = tmp_path / "site"
    links.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        (links / entry.name).symlink_to(entry)
    said = compiled_with(links, tmp_path / "cache")
    assert said.startswith("True (")
    assert "own packages would be unreadable" in said


def test_bytecode_is_written_before_writing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "grader" / "ptx" / "engine.py"
    source.parent.mkdir(parents=True)
    source.write_text("x = 1\n")
    monkeypatch.setattr(bytecode, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    bytecode.write()
    assert bytecode.machine_code().is_relative_to(tmp_path)
    assert bytecode.machine_code().stat().st_size > 10_000
    (cached,) = source.parent.glob("__pycache__/engine.*.pyc")
    written = cached.stat().st_mtime_ns
    bytecode.write()
    assert cached.stat().st_mtime_ns == written
    os.utime(source, (cached.stat().st_mtime + 10,) * 2)
    bytecode.write()
    assert cached.stat().st_mtime_ns != written


def test_what_an_installer_left_uncompiled_is_compiled_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fresh_package"
    package.mkdir()
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        bytecode, "INSTALLED", {"no_such_package": "no.such.module", "fresh_package": "fresh_package.inner"}
    )
    monkeypatch.setattr(bytecode, "OWN", ())
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    bytecode.write()
    assert len(list(package.glob("__pycache__/*.pyc"))) == 2


def test_a_child_that_must_be_confined_and_cannot_be_answers_nothing() -> None:
    variables = {"WITHOUT_LANDLOCK": "1", confine.SWITCH: confine.REQUIRED}
    with child_with(**variables) as child, pytest.raises(ChildFailed, match="nothing was compiled or run"):
        child.compile(b"open('/etc/passwd')", "starter.cu")


@needs_landlock
@needs_filter
def test_a_driver_that_wants_more_gets_no_more_where_confinement_is_required(tmp_path: Path) -> None:
    """A GPU that starts only without it is not used: nothing is graded there unconfined."""
    wanted = tmp_path / "file-of-the-driver"
    wanted.touch()
    with (
        confine.required(trust=False),
        CudaChild(Process(ENGINE, variables={"DRIVER_FILE": str(wanted)})) as child,
        pytest.raises(ChildFailed, match="Permission denied"),
    ):
        child.describe()
    assert confine.SWITCH not in os.environ


@pytest.mark.parametrize("trust", [True, False])
def test_what_is_required_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch, trust: bool) -> None:
    monkeypatch.setattr(confine, "missing", lambda: ("a submission could read your files: no Landlock",))
    if trust:
        with confine.required(trust=True):
            assert confine.SWITCH not in os.environ
    else:
        with (
            pytest.raises(GraderError, match=r"could read your files: no Landlock.\n.*--trust"),
            confine.required(trust=False),
        ):
            pass
