"""The pages do what they say: every command in them is run, in order, as a reader would.

A page is one session in a copy of the project: its ```sh blocks follow each other in one shell. What stands above a
block decides about it, as a comment that a reader does not see:

    <!-- needs: gpu -->     not run here, but listed as skipped; or: cluster, network, platform, terminal, time,
                            torch
    <!-- exits: 1 -->       its last command ends so
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from grader import machine
from grader.cli import exits
from grader.cli.command import VERBS
from grader.compile import cache
from tests.ci.course import GIT

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
GUIDES = sorted(
    file for folder in ("benchmarks", "examples", "exercises") for file in (ROOT / folder).rglob("README.md")
)

FENCE = re.compile(r"((?:^<!-- [^\n]* -->\n)*)^(```+)(\w*)\n(.*?)^\2$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (needs|exits): (\w+) -->")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)?(#[^)\s]*)?\)")

NEEDS = ("cluster", "gpu", "network", "platform", "terminal", "time", "torch")

# What a reader starts with: the project as it is cloned, but for what no page uses.
COPIED = ("exercises", "docs", "benchmarks", "examples", "grader", "README.md", "pyproject.toml", "Makefile")

PAGE_SECONDS = 100


class Block(NamedTuple):
    page: Path
    script: str
    needs: str
    status: int

    @property
    def commands(self) -> list[str]:
        """One a line, continued lines joined."""
        return [line for line in re.sub(r"\\\n\s*", "", self.script).splitlines() if line and line[0] != "#"]


def blocks(page: Path) -> Iterator[Block]:
    for marks, _, language, script in FENCE.findall(page.read_text()):
        if language == "sh":
            said = dict(MARK.findall(marks))
            yield Block(page, script, said.get("needs", ""), int(said.get("exits", 0)))


BLOCKS = [block for page in PAGES for block in blocks(page)]


def is_run(block: Block) -> bool:
    has = {"gpu": machine.gpus() > 0, "torch": importlib.util.find_spec("torch") is not None}
    return not block.needs or has.get(block.needs, False)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    copy.mkdir()
    for name in COPIED:
        source, unwanted = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=unwanted)
        else:
            shutil.copyfile(source, copy / name)
    return copy


def environment(tmp_path: Path) -> dict[str, str]:
    """A reader's shell with the grader's .venv on its path, in a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return GIT | {
        "PATH": path,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GRADER_CACHE_DIR": str(cache.default_folder() or ""),
    }


def session(todo: list[Block]) -> str:
    """One script. A block that ends as it should not, ends it: with the number of the block."""
    lines = ["status() { [ $? = $1 ] || exit $((100 + $2)); }"]
    for number, block in enumerate(todo):
        *before, last = block.commands
        checked = [f"{command}\nstatus 0 {number}" for command in before]
        lines += [f"echo '=== {number}'", *checked, f"{last}\nstatus {block.status} {number}"]
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_of_a_page_work_in_their_order(page: Path, project: Path, tmp_path: Path) -> None:
    todo = [block for block in blocks(page) if is_run(block)]
    if not todo:
        pytest.skip("no command in it that runs here")
    done = subprocess.run(
        ["bash", "-c", session(todo)],
        cwd=project,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PAGE_SECONDS,
    )
    if done.returncode:
        guilty = todo[min(max(0, done.returncode - 100), len(todo) - 1)]
        pytest.fail(f"exit status {done.returncode}, in\n\n{guilty.script}\n{done.stdout}", pytrace=False)


@pytest.mark.parametrize(
    ("scripts", "status"),
    [
        ((("true\n", 0), ("cd /\nfalse\n", 1)), 0),
        ((("true\n", 0), ("true\n", 1)), 101),
        ((("false\ntrue\n", 0), ("true\n", 0)), 100),
        ((("cd /nowhere\n", 0),), 100),
    ],
)
def test_a_block_that_ends_otherwise_ends_the_session(scripts: tuple[tuple[str, int], ...], status: int) -> None:
    todo = [Block(PAGES[0], script, "", expected) for script, expected in scripts]
    assert subprocess.run(["bash", "-c", session(todo)], capture_output=True, check=False).returncode == status


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=f"{named(b.page)}: {b.commands[0]}") for b in BLOCKS if not is_run(b)]
)
def test_commands_that_need_more_than_is_here(block: Block) -> None:
    assert block.needs in NEEDS
    pytest.skip(f"{named(block.page)} needs {block.needs}: {'; '.join(block.commands)}")


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_no_command_hides_in_another_kind_of_block(page: Path) -> None:
    """What is shown with a prompt is a transcript; what is typed stands in a sh block, and is run."""
    others = [text for _, _, language, text in FENCE.findall(page.read_text()) if language not in ("sh", "yaml")]
    typed = [line for text in others for line in text.splitlines() if re.match(r"(grade|make|pytest|pip|git) ", line)]
    assert typed == []


@pytest.mark.parametrize("page", [*PAGES, *GUIDES], ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(page.read_text()):
        target = page.parent / file if file else page
        assert target.exists(), f"{named(page)} links to {file}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{named(page)} links to {file}{anchor}"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_a_page_for_users_starts_with_a_command_and_is_in_the_index(page: Path) -> None:
    index = ROOT / "docs" / "README.md"
    if page == index:
        return
    assert re.match(r"# .+\n\n(<!-- .* -->\n)*```sh\n", page.read_text())
    assert f"({page.name})" in index.read_text()


def test_every_verb_is_on_a_page() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert [verb for verb in VERBS if not re.search(rf"\bgrade {verb}\b", text)] == []


def test_every_exit_status_is_explained() -> None:
    table = (ROOT / "docs" / "ci.md").read_text().partition("## Exit status")[2]
    known = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert known == {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
