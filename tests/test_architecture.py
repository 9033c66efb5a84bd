"""The directions in which the parts may depend on each other (ARCHITECTURE.md), and no cycles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BESIDE = ("reports", "reference_kernels")  # of `grader` in a checkout; installed, they lie in it

# From the top: a part of `grader` imports only from its own layer and those below.
LAYERS = (
    {"__main__", "ci", "cli", "pytest_plugin", "pytest_support", "templates", "watch"},
    {"authoring", "batch", "remote"},
    {"grading", "reports"},
    {"checks", "executors", "timing", "machine", "progress"},
    {"diagnosis", "launching"},
    {"baselines", "compile", "exercise", "sandbox"},
    {"ptx", "errors", "files", "seeds"},
    {"model", "reference_kernels"},
)
DEPTH = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}

# They know nothing of each other.
CHECKS = {file.stem for file in (ROOT / "grader" / "checks").glob("*.py")} - {"__init__"}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] in BESIDE:
        parts = ("grader", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for folder in ("grader", *BESIDE) for file in sorted((ROOT / folder).rglob("*.py"))}
FILES = {name: file for name, file in FILES.items() if "_exercises" not in name}


def imports(file: Path) -> Iterator[str]:
    """Our own modules that a file imports, inside functions and for type checking too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            candidates = [m if m in FILES else node.module for m in inner]
        else:
            continue
        yield from (c for c in dict.fromkeys(candidates) if c.split(".")[0] in ("grader", *BESIDE))


@cache
def edges() -> list[tuple[str, str]]:
    return [(name, target) for name, file in FILES.items() for target in imports(file) if target != name]


def part(module: str) -> str:
    """ "checks" of "grader.checks.memory"; the package itself is at no depth."""
    return module.split(".")[1] if "." in module else ""


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_every_part_of_grader_has_a_layer() -> None:
    unplaced = {part(name) for name in FILES if within(name, "grader")} - set(DEPTH) - {""}
    assert not unplaced, "give each a layer, here and in ARCHITECTURE.md"


def test_nothing_is_imported_by_a_name_that_only_a_checkout_has() -> None:
    assert [f"{name} imports {target}" for name, target in edges() if not within(target, "grader")] == []


def test_parts_depend_only_downwards() -> None:
    upwards = [
        f"{name} imports {target}"
        for name, target in edges()
        if part(target) and part(name) and DEPTH.get(part(name), 0) > DEPTH.get(part(target), 0)
    ]
    assert upwards == []


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("grader.model", ("grader.model",)),
        ("grader.ptx", ("grader.ptx",)),
        ("grader.reports", ("grader.reports", "grader.model")),
        ("grader.reference_kernels", ("grader.reference_kernels",)),
    ],
)
def test_these_stand_on_little(package: str, allowed: tuple[str, ...]) -> None:
    others = [
        f"{name} imports {target}"
        for name, target in edges()
        if within(name, package) and not any(within(target, a) for a in allowed)
    ]
    assert others == []


def test_the_search_for_a_mistake_knows_no_mistake() -> None:
    """What is shared lies in reference_kernels/mistakes itself; each folder there holds one subject's mistakes."""
    house = "grader.reference_kernels.mistakes"
    shared = {name for name in FILES if within(name, house) and FILES[name].parent.name == "mistakes"}
    assert f"{house}.search" in shared
    known = [(name, target) for name, target in edges() if name in shared and within(target, house)]
    assert [(name, target) for name, target in known if target not in shared] == []


def test_reports_are_rendered_by_the_faces_alone() -> None:
    users = {part(name) for name, target in edges() if within(target, "grader.reports")}
    assert users <= {"ci", "cli", "batch", "remote", "reports"}


def test_checks_never_import_each_other() -> None:
    checks = {f"grader.checks.{check}" for check in CHECKS}
    assert [(a, b) for a, b in edges() if a in checks and b in checks] == []


def test_torch_is_for_its_layers_alone() -> None:
    """Grading needs none of it."""
    layers, torch = "grader.reference_kernels.torch_layers", re.compile(r"^\s*(?:import|from) torch\b", re.MULTILINE)
    users = {name for name, file in FILES.items() if torch.search(file.read_text())}
    assert f"{layers}.ops" in users
    assert [name for name in sorted(users) if not within(name, layers)] == []
    assert [name for name, target in edges() if within(target, layers) and not within(name, layers)] == []


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for name, target in edges():
        graph[name].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_parts_of_grader_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for name, target in edges():
        if part(name) and part(target) != part(name):
            graph.setdefault(part(name), set()).add(part(target))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_exercises_stand_on_the_model_and_the_mathematics() -> None:
    """oracle.py is loaded by path; it may import no more than exercises/README.md says."""
    others = [
        f"{file} imports {target}"
        for file in (ROOT / "exercises").glob("*/oracle.py")
        for target in imports(file)
        if not within(target, "grader.model") and not within(target, "grader.reference_kernels")
    ]
    assert others == []
