"""Which kernels are still as the starter has them, and which have changed since the last run.

Nothing that is not written yet is judged as a mistake: a wrong result of it says only what is left to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

import msgspec

from grader.exercise.definitions import Definition, Definitions, same
from grader.model.details import Detail, Role
from grader.model.exercise import Exercise
from grader.model.result import Check, Finding, Related

ALL_ZERO, WHOLE = "zero", "sum-in-an-int"  # names of mistakes
UNFINISHED = re.compile(r"zero|one-product-of-\d+")  # mistakes that code gives where a step of it is left
INT_SUM = re.compile(r"\bint\s+(?P<name>[A-Za-z_]\w*)\s*=\s*0\s*;")

FIRST, LATER, LAST = range(3)  # kernels that changed; those that did not; those that are not written


class Step(msgspec.Struct, frozen=True):
    """What is left to do: "TODO 2", in `definition`."""

    name: str
    line: int
    definition: str
    code: bool = True  # whether the starter has code there, to be replaced


class Written:
    """`original`: the starter as it came; `before`: the file of the last run. None if there is none."""

    def __init__(
        self,
        exercise: Exercise,
        text: str,
        original: Callable[[], str | None] = lambda: None,
        before: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._exercise, self._text = exercise, text
        self._original_text, self._before_text = original, before

    @cached_property
    def _mine(self) -> Definitions:
        return Definitions(self._text)

    @cached_property
    def _original(self) -> Definitions | None:
        text = self._original_text()
        return None if text is None else Definitions(text)

    @cached_property
    def untouched(self) -> bool:
        return self._original is not None and _code(self._mine) == _code(self._original)

    @cached_property
    def changed(self) -> frozenset[str]:
        """Kernels that differ from those of the last run, if some do not: else none is worth a word."""
        text = self._before_text()
        if text is None:
            return frozenset()
        before = Definitions(text)
        names = [kernel.name for kernel in self._exercise.kernels]
        found = frozenset(name for name in names if not same(self._mine, before, name))
        return found if len(found) < len(names) else frozenset()

    def steps_of(self, output: str) -> tuple[Step, ...]:
        """What the kernels of this output need and is still as it came: none of it has been written."""
        reach = frozenset[str]().union(*(self._mine.reach(name) for name in self._writers(output)))
        found = [step for one in self._as_they_came if one.name in reach for step in self._steps(one)]
        helpers = [step for one in self._helpers for step in self._steps(one)]
        before = [step for step in helpers if found and step.line < max(one.line for one in found)]
        return tuple(sorted(found + before, key=lambda step: step.line))

    def steps_left(self, output: str) -> tuple[Step, ...]:
        """Steps of kernels that have been begun, whose lines are still as they came."""
        if self._original is None:
            return ()
        reach = frozenset[str]().union(*(self._mine.reach(name) for name in self._writers(output)))
        came = {
            (one.name, todo.number): todo.after for one in self._original.all for todo in one.todos if todo.inside
        }
        return tuple(
            Step(todo.name, todo.line, one.name, bool(todo.after))
            for one in self._mine.all
            for todo in one.todos
            if one.name in reach and todo.inside and came.get((one.name, todo.number)) == todo.after
        )

    def order(self, output: str) -> int:
        if self.steps_of(output):
            return LAST
        return FIRST if self.changed & set(self._writers(output)) else LATER

    def told(self, check: Check) -> Check:
        """The check, each wrong value of a kernel that is not written as what is left to do."""
        if not check.findings:
            return check
        findings = tuple(self._told(finding) for finding in check.findings)
        message = findings[0].message if findings and check.message == check.findings[0].message else check.message
        return msgspec.structs.replace(check, findings=findings, message=message)

    def placed(self, check: Check) -> Check:
        """The check, each fault with the kernel of several that it is in, if it is in one alone."""
        names = [kernel.name for kernel in self._exercise.kernels]
        if not check.findings or len(names) < 2:
            return check
        found = []
        for finding in check.findings:
            within = [finding.kernel] if finding.kernel else sorted(self._mine.reaches(names, finding.line))
            kernel = within[0] if len(within) == 1 else ""
            found.append(msgspec.structs.replace(finding, kernel=kernel, changed=bool(self.changed & set(within))))
        return msgspec.structs.replace(check, findings=tuple(found))

    def marked(self, check: Check) -> Check:
        """The same check, of a grading that knew of no last run, with what has changed since."""
        if not self.changed or not check.findings:
            return check
        found = (
            msgspec.structs.replace(
                finding, changed=bool(self.changed & {finding.kernel, *self._writers(finding.output)})
            )
            for finding in check.findings
        )
        return msgspec.structs.replace(check, findings=tuple(found))

    def _told(self, finding: Finding) -> Finding:
        if finding.kind != "wrong-values" or not finding.output:
            return finding
        if steps := self.steps_of(finding.output):
            return _not_written(finding, steps, untouched=self.untouched)
        changed = bool(self.changed & set(self._writers(finding.output)))
        finding = msgspec.structs.replace(finding, changed=changed)
        if self._exercise.tolerance > 0:  # the outputs are no whole numbers
            finding = _of_whole_numbers(finding, self._text)
        left = self.steps_left(finding.output)
        if UNFINISHED.fullmatch(finding.mistake) and any(step.code for step in left):
            finding = _without_its_mistake(finding)
        if finding.cause and left:
            note = f"{left[-1].name} on line {left[-1].line} is still as in the starter"
            return msgspec.structs.replace(finding, notes=(*finding.notes, note))
        if not left:
            return finding
        return msgspec.structs.replace(finding, detail=Detail.STEP_LEFT, related=(*finding.related, *_related(left)))

    def _writers(self, output: str) -> list[str]:
        """The kernels that take this output, in their order."""
        return [
            kernel.name
            for kernel in self._exercise.kernels
            if any(parameter.key == output and parameter.is_output for parameter in kernel.parameters)
        ]

    @cached_property
    def _as_they_came(self) -> tuple[Definition, ...]:
        """The starter's definitions that hold a step, and are the same here."""
        original = self._original
        if original is None:
            return ()
        return tuple(
            one for one in original.all if one.todos and self._mine.tokens(one.name) == original.tokens(one.name)
        )

    @cached_property
    def _helpers(self) -> list[Definition]:
        """Those of them that nothing in the starter uses yet: what is written later may."""
        kernels = self._exercise.kernels
        names = [name for kernel in kernels for name in (kernel.name, kernel.launch_name)]
        used = frozenset[str]().union(*(self._original.reach(name) for name in names)) if self._original else ()
        return [one for one in self._as_they_came if one.name not in used]

    def _steps(self, one: Definition) -> list[Step]:
        """Where they are in this file: at the comment, if it is still there."""
        mine = self._mine.by_name[one.name][0]
        lines = {todo.number: todo.line for todo in mine.todos}
        return [Step(todo.name, lines.get(todo.number, mine.line), one.name) for todo in one.todos]


def _of_whole_numbers(finding: Finding, text: str) -> Finding:
    """The finding; where products of elements are added up in an int, that is why."""
    if finding.mistake not in ("", ALL_ZERO) or not (declared := INT_SUM.search(text)):
        return finding
    name = declared["name"]
    if not re.search(rf"\b{name}\s*\+=[^;]*\]\s*\*\s*\w+\s*\[", text[declared.end() :]):
        return finding
    line = text.count("\n", 0, declared.start()) + 1
    cause = f"{name} on line {line} is an int: each product loses its fraction when it is added"
    message = f"{cause}. First wrong element: {_without_its_mistake(finding).message}"
    return msgspec.structs.replace(finding, cause=cause, mistake=WHOLE, message=message)


def _without_its_mistake(finding: Finding) -> Finding:
    first = f"{finding.first}: expected {finding.expected}, got {finding.got}; {finding.extent}"
    return msgspec.structs.replace(finding, cause="", mistake="", hint="", message=first)


def _code(definitions: Definitions) -> list[tuple[str, ...]]:
    return [one.tokens for one in definitions.all]


def _not_written(finding: Finding, steps: tuple[Step, ...], *, untouched: bool) -> Finding:
    said = ", ".join(f"{step.name} on line {step.line}" for step in steps)
    first = steps[0]
    return Finding(
        finding.kind,
        finding.file,
        first.line,
        f"{finding.kernel or first.definition} is not written yet: {said}",
        count=finding.count,
        detail=Detail.UNTOUCHED if untouched else Detail.NOT_WRITTEN,
        related=_related(steps),
        kernel=finding.kernel,
        output=finding.output,
    )


def _related(steps: tuple[Step, ...]) -> tuple[Related, ...]:
    return tuple(Related(Role.TODO, step.line, name=step.name) for step in steps)
