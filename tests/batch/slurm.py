"""A Slurm of one node on this machine, from Debian's slurm-wlm and munge, for the length of a test.

Everything of it lies in one folder. Whatever it starts, down to the jobs, has the folder's slurm.conf in its
environment: so it is found, and ended, however far it has gone from its parent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PARTS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
START_SECONDS = 30
END_SECONDS = 10

CONF = """
ClusterName=grading
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1024 State=UNKNOWN
PartitionName=grade Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    lacking = [name for name in PARTS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"no {lacking[0]}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons want to be root"


@contextlib.contextmanager
def running(folder: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """The environment in which its commands find it."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    ports = _free_ports(2)
    conf.write_text(
        CONF.format(host=socket.gethostname(), folder=folder, cpus=cpus, controller=ports[0], daemon=ports[1])
    )
    environment = os.environ | {"SLURM_CONF": str(conf), "PATH": _path()}
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
        ["slurmctld", "-D", "-i", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", socket.gethostname()],
    ]
    daemons = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as output:
                daemons.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            if command[0] == "munged":
                _until(lambda: (folder / "munge.socket").exists(), "munged did not start")
        _until(lambda: "idle" in _ask(["sinfo", "-h", "-o", "%t"], environment), "the node did not become idle")
        yield environment
    finally:
        _end(environment, daemons)


def jobs(environment: dict[str, str]) -> list[str]:
    return _ask(["squeue", "-h", "-o", "%i"], environment).split()


def processes(environment: dict[str, str]) -> set[int]:
    """Of this Slurm: its daemons, and all that its jobs started."""
    marked = f"SLURM_CONF={environment['SLURM_CONF']}\0".encode()
    found = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or is another's
            if marked in file.read_bytes() + b"\0":
                found.add(int(file.parent.name))
    return found


def _end(environment: dict[str, str], daemons: list[subprocess.Popen[bytes]]) -> None:
    """At once, and whatever was started meanwhile. Raises RuntimeError where something is left."""
    deadline = time.monotonic() + END_SECONDS
    while left := processes(environment):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"these processes do not end: {sorted(left)}")
        time.sleep(0.02)
    for daemon in daemons:
        daemon.wait()


def _ask(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30).stdout


def _until(true: object, otherwise: str) -> None:
    assert callable(true)
    deadline = time.monotonic() + START_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _path() -> str:
    """The daemons lie in sbin, which a user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
