"""Pull requests through the action's own scripts, graded for real: compiler, engine and git, no network."""

from __future__ import annotations

import html
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests import junit
from tests.ci import action
from tests.ci.action import Ran, run
from tests.ci.course import GIT, ORACLE, STARTER, Course
from tests.fakes import TOML
from tests.test_end_to_end import KERNELS
from tests.test_end_to_end import ORACLE as RIGHT_ORACLE
from tests.test_end_to_end import SOURCE as RIGHT

ROOT = action.ROOT
WORKFLOWS = [*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "grader" / "templates" / "ci").glob("*.yml")]

PULL_REQUEST = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_BASE_REF": "main"}

OUTSIDE = RIGHT.replace("if (i < n) ", "")
THRICE = RIGHT.replace("2 * x", "3 * x")


@pytest.fixture
def origin(tmp_path: Path) -> Course:
    toml = TOML[: TOML.index("[[kernels]]")] + KERNELS
    return Course.with_exercise(tmp_path / "origin", toml=toml, oracle=RIGHT_ORACLE, starter=RIGHT.encode())


def opened(origin: Course, tmp_path: Path, *clone: str, **given: str) -> Ran:
    """What the pull request `work` gets: its merge into main, checked out."""
    origin.git("switch", "--quiet", "--detach", "main")
    origin.git("merge", "--quiet", "--no-ff", "--message", "Merge", "work")
    origin.git("branch", "merged")
    origin.git("switch", "--quiet", "main")
    checkout = origin.clone(tmp_path / "workspace", "--branch=merged", *clone)
    return run(checkout, tmp_path / "runner", environment=PULL_REQUEST, device="cpu", **given)


def test_a_right_kernel(origin: Course, tmp_path: Path) -> None:
    origin.branch("work", {STARTER: RIGHT.replace("One thread", "A thread")})
    ran = opened(origin, tmp_path)
    assert ran.status == 0, ran.log
    assert ran.commands("error") == ran.commands("warning") == []
    assert any("title=Not judged%3A speed::" in line for line in ran.commands("notice"))
    assert "| 🟡 |" in ran.summary
    assert ran.out
    root = junit.validated((ran.out / "junit.xml").read_bytes())
    assert set(junit.counts(root)) == {"passed", "skipped"}


def test_a_kernel_that_reads_too_far_and_is_told_on_its_line(origin: Course, tmp_path: Path) -> None:
    origin.branch("work", {STARTER: OUTSIDE})
    ran = opened(origin, tmp_path)
    assert ran.status == 1
    line = 1 + OUTSIDE.splitlines().index("    y[i] = 2 * x[i];")
    assert ran.commands("error")[0].startswith(f"::error file={STARTER},line={line},title=Out of bounds::")
    assert "| ❌ |" in ran.summary
    assert f"line {line}: Out of bounds" in html.unescape(ran.summary)


def test_an_oracle_that_lets_its_own_kernel_pass(origin: Course, tmp_path: Path) -> None:
    oracle = RIGHT_ORACLE.replace("2.0 *", "3.0 *")
    origin.branch("work", {STARTER: THRICE, ORACLE: oracle})
    ran = opened(origin, tmp_path)
    assert ran.status == 1
    assert any(line.startswith(f"::error file={STARTER},") for line in ran.commands("error"))
    assert any(line.startswith(f"::warning file={ORACLE},") for line in ran.commands("warning"))
    given = {"environment": PULL_REQUEST, "device": "cpu", "all": "true"}
    everything = run(Course(tmp_path / "workspace"), tmp_path / "again", **given)
    assert everything.status == 1
    own = run(Course(tmp_path / "workspace"), tmp_path / "own", base="HEAD", **given)
    assert own.status == 0, "with its own oracle it would have passed"


def test_two_exercises_one_of_them_binary(origin: Course, tmp_path: Path) -> None:
    second = "exercises/02_double/starter.cu"
    origin.change(
        {
            second.replace("starter.cu", name): origin.text(STARTER.replace("starter.cu", name))
            for name in ("exercise.toml", "oracle.py", "starter.cu")
        }
    )
    origin.branch("work", {STARTER: RIGHT + "// mine\n", second: b"\x7fELF\0"})
    ran = opened(origin, tmp_path)
    assert ran.status == 1
    (error,) = ran.commands("error")
    assert error.startswith(f"::error file={second},title=Does not compile::starter.cu is binary")
    assert ran.out
    assert len(list(ran.out.glob("*.html"))) == 2


def test_a_submission_that_is_moved_away(origin: Course, tmp_path: Path) -> None:
    origin.git("switch", "--quiet", "--create", "work")
    origin.git("mv", STARTER, "exercises/01_double/mine.cu")
    origin.commit()
    ran = opened(origin, tmp_path)
    assert ran.status == 0
    assert any("Not graded::The change deletes it" in line for line in ran.commands("warning"))
    strict = run(Course(tmp_path / "workspace"), tmp_path / "again", environment=PULL_REQUEST, strict="true")
    assert strict.status == 3


def test_a_change_that_touches_no_submission(origin: Course, tmp_path: Path) -> None:
    origin.branch("work", {"README.md": "Hello\n"})
    ran = opened(origin, tmp_path)
    assert ran.status == 0
    assert "No submission was touched" in ran.log
    assert "No submission was touched" in ran.summary


def test_a_shallow_checkout_says_what_to_change(origin: Course, tmp_path: Path) -> None:
    origin.branch("work", {STARTER: RIGHT + "// mine\n"})
    ran = opened(origin, tmp_path, "--depth=1", "--single-branch")
    assert ran.status == 2
    assert "fetch-depth: 0" in ran.log


def test_no_module_of_the_pull_request_is_imported(origin: Course, tmp_path: Path) -> None:
    mark = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__)\n"
    names = ("venv", "pip", "numpy", "click", "sitecustomize", "grader/__init__", "reference_kernels/__init__")
    origin.branch("work", {STARTER: RIGHT + "// mine\n", **{f"{name}.py": mark for name in names}})
    assert opened(origin, tmp_path).status == 0
    assert not (tmp_path / "imported").exists()
    scripts = "".join(step.script for step in action.steps())
    assert re.findall(r"(\S+) -m (\w+)", scripts) == [("-I", "pip"), ("-I", "venv"), ("-I", "pip")]


def test_a_tag_that_is_named_like_the_base_changes_nothing(origin: Course, tmp_path: Path) -> None:
    """Whoever may push may push one, and a checkout of the whole history fetches it."""
    origin.branch("work", {ORACLE: RIGHT_ORACLE.replace("2.0 *", "3.0 *")})
    for name in ("origin/main", "main"):
        origin.git("tag", name, "HEAD")
    origin.change({STARTER: THRICE})
    ran = opened(origin, tmp_path)
    assert ran.status == 1, ran.log


def test_names_of_files_are_no_commands(origin: Course, tmp_path: Path) -> None:
    names = ("a\n::stop-commands::x\nb/oracle.py", "##[error]a/oracle.py", "c\n::error::d/starter.cu", "e/starter.cu")
    origin.branch("work", {f"exercises/{name}": "x" for name in names})
    ran = opened(origin, tmp_path)
    assert ran.status == 0
    assert len(ran.commands("warning")) == 4
    ours = re.compile(r"::(group|endgroup|warning|notice)\b|(?!::)(?!.*##\[)")
    assert not [line for line in ran.obeyed() if not ours.match(line)]


def test_links_of_the_pull_request_are_neither_written_through_nor_kept(origin: Course, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    origin.git("switch", "--quiet", "--create", "work")
    (origin.folder / "grade-out").symlink_to(tmp_path / "elsewhere")
    origin.change({STARTER: RIGHT + "// mine\n"})
    ran = opened(origin, tmp_path)
    assert ran.status == 0
    assert ran.out
    assert ran.out.is_relative_to(tmp_path / "runner")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_inputs_reach_grade_ci_and_no_shell(origin: Course, tmp_path: Path) -> None:
    origin.branch("work", {"students/ada/1.cu": b""})
    pattern = 'students/$(touch "pwned")*/{exercise}.cu'
    ran = opened(origin, tmp_path, submissions=pattern, exercises="./exercises/$(touch pwned)/..")
    assert ran.status == 0
    assert "No submission was touched" in ran.log
    assert not list(tmp_path.rglob("pwned"))
    again = run(
        Course(tmp_path / "workspace"),
        tmp_path / "again",
        environment={},
        submissions="students/*/{exercise}.cu",
        base="origin/main",
        head="origin/work",
        exercises="exercises",
    )
    assert again.status == 1, again.log


def test_every_input_is_used_and_documented() -> None:
    used = {
        name
        for step in action.steps()
        for value in step.environment.values()
        for name in re.findall(r"inputs\.(\w+)", value)
    }
    assert used == set(action.inputs())
    page = (ROOT / "docs" / "ci.md").read_text()
    assert [name for name in action.inputs() if f"`{name}`" not in page] == []


@pytest.mark.parametrize("file", [action.ACTION, *WORKFLOWS], ids=lambda file: file.name)
def test_no_expression_is_pasted_into_a_script(file: Path) -> None:
    scripts = re.findall(r"^( +)(?:- )?run: (?:\|\n((?:\1 .*\n|\n)+)|(.*))", file.read_text(), re.MULTILINE)
    assert "run:" not in file.read_text() or scripts
    assert not [script for script in scripts if "${{" in "".join(script[1:])]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_may_only_read_and_name_inputs_that_there_are(file: Path) -> None:
    text = file.read_text()
    assert "\npermissions:\n  contents: read\n" in text
    assert "secrets." not in text
    assert re.findall(r"uses: (?!\./|\S+@(?:[0-9a-f]{40} # v[\d.]+|GRADER_COMMIT)\b)(.*)", text) == []
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    for block in re.findall(r"actions/grade(?:@GRADER_COMMIT)?(?: #.*)?\n        with:\n((?:          .*\n)+)", text):
        assert set(re.findall(r"^ {10}(\w+):", block, re.MULTILINE)) <= set(action.inputs())


def test_a_fork_is_fetched_as_data_and_graded_beside_the_base(origin: Course, tmp_path: Path) -> None:
    """The steps of grade-gpu.yml, on a CPU: the base stays checked out."""
    fork = origin.branch("work", {STARTER: OUTSIDE, "numpy.py": "raise SystemExit('imported')\n"})
    origin.git("update-ref", "refs/pull/7/head", fork)
    origin.git("switch", "--quiet", "main")
    origin.git("branch", "--quiet", "-D", "work")
    base = origin.clone(tmp_path / "workspace")
    workflow = (ROOT / "grader" / "templates" / "ci" / "grade-gpu.yml").read_text()
    (script,) = re.findall(r"        run: \|\n((?: {10}.*\n)+)", workflow)
    variables = GIT | {"REPOSITORY": origin.folder.as_uri(), "NUMBER": "7", "TOKEN": "t"}
    subprocess.run([*action.BASH, textwrap.dedent(script)], cwd=base.folder, env=variables, check=True)
    event = {"GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_BASE_REF": "main"}
    ran = run(base, tmp_path / "runner", environment=event, device="cpu", head=fork)
    assert ran.status == 1
    assert "title=Out of bounds" in ran.commands("error")[0]
    assert not (base.folder / "numpy.py").exists()


def test_the_gpu_is_for_those_that_somebody_looked_at() -> None:
    """What keeps a fork from the course's own machine; the page of the workflow explains each line."""
    text = (ROOT / "grader" / "templates" / "ci" / "grade-gpu.yml").read_text()
    triggers = text.partition("\non:\n")[2].partition("\npermissions:")[0]
    assert re.findall(r"^  (\w+):", triggers, re.MULTILINE) == [
        "pull_request_target",
        "schedule",
        "workflow_dispatch",
    ]
    assert "\n    branches: [main]\n" in triggers  # whose exercises grade: no branch that a student could make
    condition = " ".join(text.partition("    if: >-\n")[2].partition("    runs-on:")[0].split())
    assert condition == (
        "vars.GRADE_ON_GPU == 'yes' && ( github.event_name != 'pull_request_target' || "
        "(github.event.pull_request.head.repo.full_name == github.repository && github.event.action != 'labeled') || "
        "(github.event.action == 'labeled' && github.event.label.name == 'gpu') )"
    )
    assert "ref:" not in text  # the base is checked out, never the pull request
    assert "head: ${{ github.event.pull_request.head.sha }}" in text
