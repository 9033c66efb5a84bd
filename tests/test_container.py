"""The container file: what it copies is enough to install, and where a builder is at hand, the image grades."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD_SECONDS = 900  # the base image and the grader's wheels come over the network


def context(to: Path) -> Path:
    """What .dockerignore leaves of the project."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source, unwanted = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=unwanted)
        else:
            shutil.copyfile(source, to / name)
    return to


def builder() -> str:
    """docker or podman, if one can build here."""
    for name in ("docker", "podman"):
        if shutil.which(name) and not subprocess.run([name, "info"], capture_output=True, timeout=60).returncode:
            return name
    return ""


def test_what_is_copied_is_enough_to_install(tmp_path: Path) -> None:
    (tmp_path / "grader").mkdir()
    there = context(tmp_path / "grader")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(there)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    assert {"grader/cli/batch.py", "grader/_exercises/01_simple_grouped_gemm/oracle.py"} <= names
    assert {name.split("/")[0].rpartition(".")[2] for name in names} == {"grader", "dist-info"}
    assert (there / "constraints.txt").is_file()


@pytest.mark.timeout(BUILD_SECONDS + 120)
def test_the_image_grades(tmp_path: Path) -> None:
    name = builder()
    if not name:
        pytest.skip("neither docker nor podman can build here")
    base = next(line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM"))
    if subprocess.run([name, "pull", base], capture_output=True, timeout=BUILD_SECONDS).returncode:
        pytest.skip(f"{base} cannot be had here")
    image = f"grader-test-{os.getpid()}"
    subprocess.run([name, "build", "-t", image, str(ROOT)], check=True, capture_output=True, timeout=BUILD_SECONDS)
    try:
        (tmp_path / "ada.cu").write_bytes(
            (ROOT / "exercises/01_simple_grouped_gemm/wrong/syntax_error.cu").read_bytes()
        )
        run = [name, "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"]
        run += ["-v", f"{tmp_path}:/work", image, "run", "1", "ada.cu"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Does not compile" in done.stdout
    finally:
        subprocess.run([name, "rmi", "--force", image], capture_output=True, timeout=120)
