"""An OpenSSH server on the loopback, from Debian's openssh-server, for the length of a test.

Everything of it lies in one folder: its keys, its configuration, and a key for each student that runs one command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from getpass import getuser
from pathlib import Path

START_SECONDS = 20
PRIVILEGE_SEPARATION = Path("/run/sshd")  # built into Debian's sshd, which wants it where root starts it

SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PidFile none
StrictModes no
UsePAM no
MaxStartups 100
PermitRootLogin forced-commands-only
"""

CLIENT = """
Host {student}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key-{student}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
"""


def missing() -> str:
    """Why it cannot run here; "" where it can."""
    if shutil.which("sshd", path=_path()) is None:
        return "no sshd: apt-get install openssh-server"
    return "" if shutil.which("ssh") else "no ssh: apt-get install openssh-client"


@contextlib.contextmanager
def running(folder: Path, commands: Mapping[str, str]) -> Iterator[str]:
    """`commands`: by student, what their key runs; "": their key is refused. Yields a PATH with an ssh to which each
    student's name is a host."""
    port = _free_port()
    known = _key(folder / "host_key")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}\n")
    keys = {who: _key(folder / f"key-{who}") for who in commands}
    lines = [f'restrict,command="{command}" {keys[who]}\n' for who, command in commands.items() if command]
    (folder / "authorized_keys").write_text("".join(lines))
    (folder / "sshd_config").write_text(SERVER.format(port=port, folder=folder))
    hosts = (CLIENT.format(student=who, port=port, folder=folder, user=getuser()) for who in commands)
    (folder / "ssh_config").write_text("".join(hosts))
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    sshd = str(shutil.which("sshd", path=_path()))
    with (folder / "sshd.log").open("wb") as log:
        daemon = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        _until_it_listens(port, daemon, folder / "sshd.log")
        yield f"{_ssh(folder)}{os.pathsep}{os.environ['PATH']}"
    finally:
        daemon.terminate()
        daemon.wait()


def _ssh(folder: Path) -> Path:
    """A folder with an ssh that reads our configuration, where a user's would read ~/.ssh/config."""
    script = folder / "bin" / "ssh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    script.chmod(0o755)
    return script.parent


def _key(file: Path) -> str:
    """The public half of a new key in `file`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)], check=True)
    return file.with_name(file.name + ".pub").read_text().strip()


def _until_it_listens(port: int, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"sshd did not start: {log.read_text()}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _path() -> str:
    """sshd lies in sbin, which a user's PATH may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
