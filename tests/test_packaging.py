"""The wheel holds everything that grading needs, and grades without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from grader.reference_kernels import former_name

ROOT = Path(__file__).parents[1]
BESIDE = ("reports", "reference_kernels", "exercises")  # of `grader` in a checkout; the wheel has them in it
EXERCISE = "01_simple_grouped_gemm"

# Runs `grade` with the arguments; then says which of our modules came from where.
GRADE = """
import sys
from grader.cli import main
try:
    main()
finally:
    ours = [getattr(m, "__file__", None) for n, m in sys.modules.items() if n.split(".")[0] == "grader"]
    sys.stderr.write("".join(f"loaded {file}\\n" for file in ours if file))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    """From the sdist, as package indexes have it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install"]
    command = [
        *pip,
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--target",
        str(folder),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


def grade(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-c", GRADE, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100)
    loaded = re.findall("^loaded (.*)$", done.stderr, re.MULTILINE)
    assert loaded, done.stderr
    assert [file for file in loaded if not Path(file).is_relative_to(installed)] == []
    return done


def data_files() -> set[str]:
    """Every file of the package and of the exercises, by the name it must have in the wheel."""
    names = set()
    for folder in ("grader", *BESIDE):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and not {"__pycache__", ".pytest_cache"} & set(file.parts):
                names.add(str(file.relative_to(ROOT)))
    names = {re.sub("^exercises/", "_exercises/", name) for name in names}
    return {name if name.startswith("grader/") else f"grader/{name}" for name in names}


def test_the_wheel_installs_one_package(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"grader"}
    assert len(top) == 2


def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == data_files()
    for needed in ("exercise.toml", "problem.md", "starter.cu", "solution.cu", "oracle.py", "test.py"):
        assert f"grader/_exercises/{EXERCISE}/{needed}" in inside
    for needed in (
        "grader/reports/templates/report.html.j2",
        "grader/reports/assets/report.css",
        "grader/model/result.schema.json",
    ):
        assert needed in inside
    assert any(name.startswith("grader/compile/include/") and name.endswith("grader.cuh") for name in inside)


def test_the_students_path_needs_no_torch(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    requirements = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
    always = {Requirement(r).name for r in requirements if "extra ==" not in r}
    assert {"cupy-cuda13x", "numpy", "jinja2", "llvmlite"} <= always
    assert not {"torch", "pytest"} & always
    assert any(Requirement(r).name == "torch" for r in requirements)


# The former name before the present one: a checkout's root is often on sys.path.
BOTH_NAMES = f"""
import {former_name.FORMER}.fp8 as fp8
from {former_name.FORMER} import mistakes
import {former_name.NAME}.fp8 as own
from {former_name.NAME}.mistakes import Mistake
assert fp8 is own and mistakes.Mistake is Mistake
"""


def test_in_a_checkout_no_module_has_two_names() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", BOTH_NAMES], env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0


def test_a_checkout_that_lost_its_links_runs(tmp_path: Path) -> None:
    """As an sdist does, or a zip that was unpacked without them."""
    without = shutil.ignore_patterns("reports", "reference_kernels", "__pycache__")
    shutil.copytree(ROOT / "grader", tmp_path / "grader", ignore=without)
    for name in BESIDE:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "grader" / "reports").write_text("../reports")  # what Git for Windows makes of a link
    show = "import grader.reports.report, grader.reference_kernels.fp8 as fp8; print(fp8.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", show],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path / "reference_kernels" / "fp8.py"), done.stderr


def test_an_installed_grader_lists_its_own_exercises(installed: Path, tmp_path: Path) -> None:
    done = grade(installed, tmp_path, "list")
    assert done.returncode == 0, done.stderr
    assert EXERCISE in done.stdout
    assert str(installed / "grader" / "_exercises") in done.stderr


def test_an_installed_grader_grades(installed: Path, tmp_path: Path) -> None:
    solution = installed / "grader" / "_exercises" / EXERCISE / "solution.cu"
    done = grade(installed, tmp_path, "run", "1", str(solution), "--device", "cpu", "--html", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<h1>Correct; speed not measured</h1>" in (tmp_path / "report.html").read_text()


def test_the_installed_command_starts(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, str(installed / "bin" / "grade"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Grade CUDA kernel exercises" in done.stdout


def test_the_constraints_pin_what_the_ranges_admit() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {pin.name.lower().replace("_", "-"): pin for pin in map(Requirement, lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in map(Requirement, wanted):
        (pin,) = pinned[requirement.name.lower().replace("_", "-")].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(Version(pin.version)), str(requirement)
