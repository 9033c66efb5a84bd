"""Who decides which exercises grade: the base branch, whatever else is pushed. Real repositories, a fake child.

Each tries to have its own oracle judge a kernel that triples where doubling is asked for, and to have it run in here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grader.model.execution import Outcome
from tests.ci.course import ORACLE, STARTER, Course
from tests.cli.conftest import Grade
from tests.fakes import SOURCE, Arrays, FakeExecutor

Use = Callable[[FakeExecutor], FakeExecutor]

GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_BASE_REF": "main"}
GITLAB = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}


def thrice(arrays: Arrays) -> Outcome:
    return Outcome(outputs={"y": np.float32(3) * arrays["x"]})


class Attack:
    """A course, a student who pushed the branch `work`, and a build server's checkout of it."""

    def __init__(self, folder: Path, grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
        self.grade, self._monkeypatch = grade, monkeypatch
        self.course = Course.with_exercise(folder / "course")
        self.base = self.course.git("rev-parse", "HEAD")
        self.ran = folder / "ran"
        self.checkout = self.course

    def pushed(self) -> str:
        """Its own oracle, in a commit of its own; then the kernel that it lets pass, with the right one back."""
        right = self.course.text(ORACLE)
        self.cheat = self.course.branch("work", {ORACLE: self.oracle()})
        self.head = self.course.change({ORACLE: right, STARTER: SOURCE + b"// mine\n"})
        self.course.git("switch", "--quiet", "main")
        return self.cheat

    def oracle(self) -> str:
        """Runs in here, if it is loaded at all."""
        right = (self.course.folder / ORACLE).read_text()
        return right.replace("2.0 *", "3.0 *") + f"\nopen({str(self.ran)!r}, 'w').close()\n"

    def fetched(self, folder: Path, head: str = "origin/work") -> Course:
        self.checkout = self.course.fetched(folder, f"refs/remotes/{head}")
        return self.checkout

    def graded(self, *arguments: str, environment: dict[str, str] | None = None) -> int:
        self._monkeypatch.chdir(self.checkout.folder)
        for name, value in (environment or {}).items():
            self._monkeypatch.setenv(name, value)
        status = self.grade("ci", "--device", "cpu", *arguments)
        assert not self.ran.exists(), "the branch's oracle has run in the parent"
        return status


@pytest.fixture
def attack(
    tmp_path: Path,
    grade: Grade,
    use: Use,
    monkeypatch: pytest.MonkeyPatch,
) -> Attack:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI", "GITHUB_BASE_REF"):
        monkeypatch.delenv(name, raising=False)
    use(FakeExecutor(compute=thrice))
    return Attack(tmp_path / "attack", grade, monkeypatch)


def test_with_its_own_oracle_it_would_pass(attack: Attack) -> None:
    attack.course.git("checkout", "--quiet", attack.pushed())
    attack._monkeypatch.chdir(attack.course.folder)
    assert attack.grade("run", "1", "--device", "cpu") == 0
    assert attack.ran.exists()


@pytest.mark.parametrize("environment", [{}, GITHUB, GITLAB], ids=["shell", "github", "gitlab"])
@pytest.mark.parametrize(
    "tag", ["origin/HEAD", "origin/main", "main", "HEAD", "refs/remotes/origin/main", "refs/heads/main", "heads/main"]
)
def test_a_tag_decides_nothing(attack: Attack, tmp_path: Path, tag: str, environment: dict[str, str]) -> None:
    attack.course.git("update-ref", f"refs/tags/{tag}", attack.pushed())
    attack.fetched(tmp_path / "checkout")
    assert attack.graded(environment=environment) == 1, attack.grade.err
    assert "1 submission" in attack.grade.out


@pytest.mark.parametrize("given", ["main", "origin/main", "refs/remotes/origin/main"])
@pytest.mark.parametrize("tag", ["main", "origin/main", "refs/remotes/origin/main", "remotes/origin/main"])
def test_nor_where_the_base_is_named(attack: Attack, tmp_path: Path, given: str, tag: str) -> None:
    attack.course.git("update-ref", f"refs/tags/{tag}", attack.pushed())
    attack.fetched(tmp_path / "checkout")
    assert attack.graded("--base", given) == 1
    assert "against origin/main" in attack.grade.out


@pytest.mark.parametrize("given", ["v1", "refs/tags/v1", "tags/v1"])
def test_a_tag_that_is_named_as_the_base_is_refused_with_its_commit(
    attack: Attack, tmp_path: Path, given: str
) -> None:
    cheat = attack.pushed()
    attack.course.git("tag", "v1", cheat)
    attack.fetched(tmp_path / "checkout")
    assert attack.graded("--base", given) == 2
    assert (cheat[:10] in attack.grade.err) == (given != "tags/v1")


def test_a_branch_called_head_is_not_the_default(attack: Attack, tmp_path: Path) -> None:
    """By init and fetch it becomes refs/remotes/origin/HEAD, in the place of what says the default."""
    attack.course.git("update-ref", "refs/heads/HEAD", attack.pushed())
    attack.fetched(tmp_path / "checkout")
    assert attack.checkout.git("rev-parse", "refs/remotes/origin/HEAD") == attack.cheat
    assert attack.graded() == 1
    assert attack.graded("--base", "origin/HEAD") == 2
    assert "is a branch called HEAD" in attack.grade.err


def test_a_branch_called_main_where_the_default_has_another_name(attack: Attack, tmp_path: Path) -> None:
    cheat = attack.pushed()
    attack.course.git("branch", "--move", "main", "trunk")
    attack.course.git("branch", "main", cheat)
    attack.fetched(tmp_path / "checkout")
    assert attack.graded() == 1
    assert "against origin/trunk" in attack.grade.out


def test_where_nothing_says_the_default_no_name_is_guessed(attack: Attack, tmp_path: Path) -> None:
    attack.pushed()
    attack.fetched(tmp_path / "checkout").git("remote", "set-url", "origin", (tmp_path / "gone").as_uri())
    assert attack.graded() == 2
    assert "Name the base with --base REF" in attack.grade.err
    assert "git remote set-head origin BRANCH" in attack.grade.err
    attack.checkout.git("remote", "set-head", "origin", "main")
    assert attack.graded() == 1


def test_a_pull_request_whose_branch_is_called_main_too(attack: Attack, tmp_path: Path) -> None:
    """Checked out under its own name, as some servers do it, it is no base; not even for itself."""
    attack.pushed()
    attack.fetched(tmp_path / "checkout").git("checkout", "--quiet", "-B", "main", attack.cheat)
    attack.checkout.change({STARTER: SOURCE + b"// mine\n"})
    assert attack.graded() == 1
    assert attack.graded("--base", "main") == 2
    assert "main is two branches" in attack.grade.err
    assert attack.graded("--all") == 1
    attack.checkout.git("update-ref", "-d", "refs/remotes/origin/main")
    assert attack.graded("--base", "main") == 2
    assert "it cannot be its own base" in attack.grade.err


def test_a_branch_that_is_called_like_the_bases_hash(attack: Attack, tmp_path: Path) -> None:
    cheat = attack.pushed()
    for name in (attack.base, attack.base[:10]):
        attack.course.git("update-ref", f"refs/heads/{name}", cheat)
        attack.course.git("update-ref", f"refs/tags/{name}", cheat)
    attack.fetched(tmp_path / "checkout")
    for name in (attack.base, attack.base[:10]):
        attack.checkout.git("update-ref", f"refs/heads/{name}", cheat)
    assert attack.graded("--base", attack.base) == 1
    assert attack.graded("--base", attack.base[:10]) == 2
    assert "is a branch, and the start of another commit" in attack.grade.err


def test_everything_of_a_branch_is_graded_by_the_base_too(attack: Attack, tmp_path: Path) -> None:
    """Its own exercises grade a commit of the base branch alone."""
    attack.pushed()
    attack.course.git("switch", "--quiet", "work")
    attack.course.change({ORACLE: attack.oracle()})
    attack.course.git("switch", "--quiet", "main")
    attack.fetched(tmp_path / "checkout")
    assert attack.graded("--all") == 1
    assert "against origin/main" in attack.grade.out
    assert attack.graded("--all", environment=GITHUB) == 1


def test_replacements_and_grafts_change_no_commit(attack: Attack, tmp_path: Path) -> None:
    attack.pushed()
    checkout = attack.fetched(tmp_path / "checkout")
    for name in ("refs/remotes/origin/main", f"refs/remotes/origin/main:{ORACLE}"):
        other = name.replace("refs/remotes/origin/main", attack.cheat)
        checkout.git("replace", "--force", checkout.git("rev-parse", name), checkout.git("rev-parse", other))
    assert attack.graded() == 1
    checkout.git("replace", "--delete", *checkout.git("replace", "--list").split())
    grafts = checkout.folder / ".git" / "info" / "grafts"
    grafts.write_text(f"{checkout.git('rev-parse', 'HEAD')}\n")
    assert attack.graded() == 1


def test_the_environment_changes_no_commit(attack: Attack, tmp_path: Path) -> None:
    attack.pushed()
    checkout = attack.fetched(tmp_path / "checkout")
    checkout.git("update-ref", f"refs/other/{attack.base}", attack.cheat)
    assert attack.graded(environment={"GIT_REPLACE_REF_BASE": "refs/other/", "GIT_NAMESPACE": "other"}) == 1


def test_attributes_and_filters_change_no_exercise(attack: Attack, tmp_path: Path) -> None:
    """What git runs for its attributes is configured in the checkout, which others may have used before."""
    attack.course.change({".gitattributes": "*.py filter=cheat export-subst diff=cheat\n"})
    attack.pushed()
    checkout = attack.fetched(tmp_path / "checkout")
    ran = tmp_path / "filtered"
    cheat = f"touch {ran}; sed s/2.0/3.0/"
    for name in ("filter.cheat.smudge", "filter.cheat.clean", "filter.cheat.process", "diff.cheat.textconv"):
        checkout.git("config", name, cheat)
    checkout.git("config", "diff.external", f"touch {ran}")
    checkout.git("config", "core.fsmonitor", f"touch {ran}")
    checkout.git("config", "core.hooksPath", str(tmp_path))
    (checkout.folder / ".git" / "info" / "attributes").write_text("exercises/** export-ignore\n")
    assert attack.graded() == 1
    assert not ran.exists()


def test_a_link_of_the_base_into_what_is_checked_out(attack: Attack, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    right, cheat = attack.course.text(ORACLE), attack.oracle()
    attack.course.change({ORACLE: None, "tools/oracle.py": right})
    (attack.course.folder / ORACLE).symlink_to(checkout / "tools" / "oracle.py")
    attack.course.commit()
    attack.course.branch("work", {"tools/oracle.py": cheat, STARTER: SOURCE + b"// mine\n"})
    attack.course.git("switch", "--quiet", "main")
    attack.fetched(checkout)
    assert attack.graded() == 2
    assert "is a link to the files that are checked out" in attack.grade.err


def test_exercises_that_the_branch_makes_a_link(attack: Attack, tmp_path: Path) -> None:
    attack.pushed()
    attack.course.git("switch", "--quiet", "work")
    attack.course.git("mv", "exercises", "mine")
    (attack.course.folder / "exercises").symlink_to("mine")
    attack.course.commit()
    attack.course.change({"mine/01_double/oracle.py": attack.course.text("mine/01_double/oracle.py")})
    attack.course.git("switch", "--quiet", "main")
    attack.fetched(tmp_path / "checkout")
    assert attack.graded("--submissions", "mine/{exercise}/starter.cu") == 1


def test_a_submission_that_becomes_a_module_which_git_is_told_to_ignore(attack: Attack, tmp_path: Path) -> None:
    attack.course.git("switch", "--quiet", "--create", "work")
    module = f'[submodule "m"]\n\tpath = {STARTER}\n\turl = ./m\n\tignore = all\n'
    attack.course.change({".gitmodules": module, STARTER: None})
    attack.course.git("update-index", "--add", "--cacheinfo", f"160000,{attack.base},{STARTER}")
    attack.course.git("commit", "--quiet", "--message", "A module")
    (attack.course.folder / STARTER).mkdir()
    attack.course.git("switch", "--quiet", "--force", "main")
    checkout = attack.fetched(tmp_path / "checkout")
    checkout.git("config", "submodule.m.ignore", "all")
    assert attack.graded() == 1
    assert "starter.cu is a submodule" in attack.grade.out


def test_of_several_ancestors_none_is_chosen_by_the_branch(attack: Attack, tmp_path: Path) -> None:
    """Merged both ways, there are two best ones; the kernel is like that in one of them and unlike the other's."""
    course = attack.course
    one = course.branch("one", {STARTER: SOURCE + b"// tripled\n"})
    course.git("switch", "--quiet", "main")
    two = course.change({"notes.md": "meanwhile\n"})
    tree = course.git("rev-parse", f"{two}^{{tree}}")
    merged = course.git("commit-tree", "-p", two, "-p", one, "-m", "Taken, but for the kernel", tree)
    course.git("update-ref", "refs/heads/main", merged)
    tree = course.git("rev-parse", f"{one}^{{tree}}")
    work = course.git("commit-tree", "-p", one, "-p", two, "-m", "The other way", tree)
    course.git("update-ref", "refs/heads/work", work)
    assert len(course.git("merge-base", "--all", "main", "work").split()) == 2
    attack.fetched(tmp_path / "checkout")
    assert attack.graded() == 1
    assert "1 submission" in attack.grade.out


def test_a_folder_that_looks_like_gits_own_is_not_asked(attack: Attack, tmp_path: Path) -> None:
    """A branch may hold one, with a configuration that runs programs."""
    attack.pushed()
    folder = attack.fetched(tmp_path / "checkout").folder / "exercises"
    attack.checkout.git("clone", "--quiet", "--bare", ".", "exercises/trap")
    attack.checkout.git("-C", "exercises/trap", "config", "core.fsmonitor", f"touch {attack.ran}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "trap")
        assert attack.grade("ci") == 2
    assert "safe.bareRepository" in attack.grade.err
    assert not attack.ran.exists()


@pytest.mark.parametrize("path", ["/dev/zero", "fifo", "large"])
def test_an_event_that_is_no_file_names_no_base(attack: Attack, tmp_path: Path, path: str) -> None:
    attack.pushed()
    attack.fetched(tmp_path / "checkout")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(10 << 30)
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(tmp_path / path)}
    assert attack.graded(environment=environment) == 2
    assert "this event names no base" in attack.grade.err
