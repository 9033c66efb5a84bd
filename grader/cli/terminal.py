"""A Result on a terminal: verdict, cases, what is wrong, what to do, points, how to repeat it.

The words are those of the HTML report. Without `verbose` it fits on a screen: what has no room is shortened, the
least useful first.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import asdict
from rich.console import Console
from rich.text import Text

from grader.cli import case_table, excerpt
from grader.cli.case_table import INDENT
from grader.model.execution import UNCOALESCED
from grader.model.exercise import Exercise
from grader.model.families import LAUNCH
from grader.model.result import Check, Result, Verdict
from grader.reports import cases, history, kernels, savings, speed
from grader.reports.points import Part, account
from grader.reports.problems import COMPILE_ERROR, Occurrence, Problem, advice, grader_errors, not_judged, problems
from grader.reports.text import inert, plural, readable
from grader.reports.verdict import words

WIDTH = 80  # where no terminal says how wide it is
PROSE = 100  # longer lines are hard to read; code and tables have the whole width

SCREEN = 23  # lines, where no terminal says that it has more: 24, less one

STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.INCOMPLETE: "bold yellow",
    Verdict.FAILED: "bold red",
    Verdict.ERROR: "bold magenta",
}
CAUSE = 2  # lines at least for which mistake it is: the rest of the message only shows it
MANY_LINES = 1000  # with more, printf decides how long a kernel takes
LAST = "the last attempt"


class Verbosity(NamedTuple):
    """How much is shown. Lines of a message and of what is left open; 0 cuts nothing.

    Which number was expected and what came instead is never cut, nor is the next step.
    """

    notes: int
    context: int  # lines of code before and after those that matter
    further: int  # problems beside the first, a line each
    message: int = 0
    left_open: int = 0
    reasons: int = 2  # that are shown, of the grader's errors and of what was not judged
    merged: bool = False  # cases with the same outcome are one row
    brief: bool = False  # points without their parts, and no command to repeat it if that takes a line of its own
    blanks: bool = True  # an empty line between the parts


EVERYTHING = Verbosity(notes=99, context=excerpt.CONTEXT_VERBOSE, further=99)

# From the most that a screen may have room for to the least that says anything.
SHORTER = (
    Verbosity(notes=2, context=excerpt.CONTEXT, further=3),
    Verbosity(notes=1, context=excerpt.CONTEXT, further=1, message=3),
    Verbosity(notes=1, context=excerpt.CONTEXT, further=1, message=3, merged=True),
    Verbosity(notes=1, context=0, further=0, message=3, left_open=2, merged=True),
    Verbosity(notes=0, context=0, further=0, message=2, left_open=1, merged=True),
    Verbosity(notes=0, context=0, further=0, message=1, left_open=1, merged=True),
    Verbosity(notes=0, context=0, further=0, message=1, left_open=1, reasons=1, merged=True),
    Verbosity(notes=0, context=0, further=0, message=1, left_open=1, reasons=1, merged=True, brief=True),
    Verbosity(
        notes=0, context=0, further=0, message=1, left_open=1, reasons=1, merged=True, brief=True, blanks=False
    ),
)

Lines = list[Text]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process here, with status 1 whatever the verdict."""
        raise BrokenPipeError


def console(*, to_stderr: bool = False) -> Console:
    """Plain where piped or where NO_COLOR is set; 80 columns where it is no terminal."""
    made = _Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)
    made.width = made.width if made.is_terminal else WIDTH
    return made


def print_result(
    out: Console,
    result: Result,
    exercise: Exercise | None,
    source: str | None,
    *,
    verbose: bool = False,
    since: Result | None = None,
    since_name: str = "",
    most: int | None = None,
) -> None:
    """In `most` lines, if not `verbose`; by default in the lines of the terminal, less one for the next prompt.

    With `since`, an earlier Result of the exercise, which is called `since_name`: what changed.
    """
    if most is None:
        most = max(out.height - 1, SCREEN) if out.is_terminal else SCREEN
    page = _Page(result, exercise, source, out.width, since, since_name or LAST)
    lines = page.lines(EVERYTHING) + page.details() if verbose else page.within(most)
    for line in lines:
        # A command to be copied is never broken, nor cut.
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


class _Page:
    """The lines of one Result, in as much detail as asked for."""

    def __init__(
        self,
        result: Result,
        exercise: Exercise | None,
        source: str | None,
        width: int,
        since: Result | None,
        since_name: str,
    ) -> None:
        self._result, self._exercise, self._source, self._width = result, exercise, source, width
        self._prose = min(width, PROSE)
        self._since, self._since_name = since, since_name
        self._problems = problems(result)
        self._savings = savings.said(result)

    def lines(self, detail: Verbosity) -> Lines:
        parts = (
            self._verdict(),
            self._cases(detail),
            *self._all_problems(self._problems, detail),
            *self._open_ends(detail),
            self._further(),
            self._quality() if detail is not EVERYTHING else [],
            *(self._all_problems(advice(self._result), detail) if detail is EVERYTHING else ()),
            self._footer(detail),
        )
        filled = [part for part in parts if part]
        return [line for at, part in enumerate(filled) for line in ([Text("")] * (at > 0 and detail.blanks) + part)]

    def within(self, most: int) -> Lines:
        lines = self.lines(SHORTER[0])
        for detail in SHORTER[1:]:
            if len(lines) <= most:
                break
            lines = self.lines(detail)
        return lines

    def details(self) -> Lines:
        """Everything else that was measured: times, registers, what the kernels printed."""
        lines = [Text(""), *self._counted()]
        for check in self._result.checks:
            seconds = check.measurements.seconds
            took = f"  {seconds:.2f} s" if seconds is not None else ""
            said = check.message or check.reason or ""
            lines.append(self._cut(f"{check.id}: {check.status}{took}  {said}"))
            for name, taken in (check.measurements.kernels or {}).items():
                listed = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in asdict(taken).items())
                lines.append(self._cut(f"  {name}: {listed}", "dim"))
            if printed := _printed(check):
                who = "launch function" if check.family == LAUNCH.name else "kernel"
                lines.append(Text(f"{INDENT}Your {who} printed:", "dim"))
                lines += self._say(printed, indent=2 * INDENT)
        return lines

    def _counted(self) -> Lines:
        """What is to be won, and what the hardware would count, line by line."""
        lines = [line for one in self._savings for line in self._say(one.sentence, indent="")]
        for table in savings.tables(self._result):
            lines.append(self._cut(f"{table.kernel}, case {table.case}{', ' * bool(table.sample)}{table.sample}:"))
            lines.append(self._cut(f"{INDENT}line  instructions  lanes  sectors           wavefronts", "dim"))
            lines += [self._cut(INDENT + _counted(row)) for row in table.rows]
        return [*lines, Text("")] if lines else []

    def _verdict(self) -> Lines:
        said = words(self._result, self._problems)
        headline = Text(f"{self._result.verdict.upper()}: {said.headline}", STYLES[self._result.verdict])
        changed = history.changes(self._result, self._since).sentence if self._since else ""
        since = self._say(f"Since {self._since_name}: {changed}.", indent="", style="cyan", most=2) if changed else []
        return [headline, *self._say(said.sentence, indent=""), *since]

    def _cases(self, detail: Verbosity) -> Lines:
        table = case_table.lines(
            self._result, self._exercise, self._width, every_row=detail is EVERYTHING, merged=detail.merged
        )
        return table + self._right_kernels() if table else []

    def _right_kernels(self) -> Lines:
        """What is done already, where an exercise has several kernels."""
        names = kernels.right(self._result, self._exercise) if self._exercise else ()
        return self._say(f"right in every case: {', '.join(names)}", style="green", most=2) if names else []

    def _further(self) -> Lines:
        """What to do where nothing is wrong."""
        right = self._result.verdict in (Verdict.PASSED, Verdict.INCOMPLETE) and not self._problems
        if not right or self._exercise is None:
            return []
        if self._result.verdict is Verdict.PASSED:
            return self._say("Next: this exercise is done; grade list shows which are left.", indent="")
        # Swapped indices have other costs, too: bank conflicts, for example.
        slow = next((one for one in advice(self._result) if one.kind == UNCOALESCED), None)
        if slow is not None:
            told = f"Next: make it fast. Line {slow.line}: {slow.first.message}. {slow.next_step}"
            return self._say(told, indent="", most=6)
        if self._savings:
            return self._say(f"Next: make it fast. {self._savings[0].sentence}", indent="", most=3)
        number = self._exercise.number.lstrip("0")
        return self._say(f"Next: make it fast; grade hint {number} shows the hints about speed.", indent="")

    def _quality(self) -> Lines:
        """What cost points where nothing else is wrong; only -v has room for all of it."""
        check = next((check for check in self._result.checks if check.rubric == "quality"), None)
        if self._problems or grader_errors(self._result) or check is None or not check.findings:
            return []
        first, *others = check.findings
        place = f"line {first.line}: " if first.line else ""
        lines = self._say(f"Quality: {place}{first.message}", indent="", style="yellow", most=2)
        return lines + ([Text(f"and {len(others)} more; -v shows all", "dim")] if others else [])

    def _all_problems(self, found: Sequence[Problem], detail: Verbosity) -> Iterator[Lines]:
        """The first in full; without -v of the others no more than where they are."""
        left = [problem for problem in found[1:] if problem.unwritten]
        written = [problem for problem in found if problem not in left]
        shown, rest = (written, []) if detail is EVERYTHING else (written[:1], written[1:])
        for problem in shown[:-1]:
            yield self._problem(problem, detail)
        for problem in shown[-1:]:
            also = [self._cut(f"also: {_in_brief(other, self._exercise)}") for other in rest[: detail.further]]
            more = len(rest) - len(also)
            tail = [Text(f"and {more} more; -v shows all", "dim")] if more and not detail.brief else []
            todo = [line for one in left for line in self._say(one.left, indent="", style="dim", most=2)]
            yield self._problem(problem, detail) + also + tail + todo

    def _problem(self, problem: Problem, detail: Verbosity) -> Lines:
        lines = [self._cut(_heading(problem, self._exercise), "bold yellow" if problem.mild else "bold red")]
        for text, most in self._messages(problem, detail):
            lines += self._say(text, most=most)
        if self._source is not None:
            width = self._width - len(INDENT)
            code = excerpt.lines(
                self._source, problem.lines, width, calls=problem.first.calls, context=detail.context
            )
            lines += [Text(INDENT) + line for line in code]
        if step := self._next_step(problem):
            lines += self._say(f"Next: {step}")
        if problem.hint:
            lines.append(Text(f"{INDENT}Hint: {_hint(problem.hint, self._exercise)}", "cyan"))
        return lines

    def _messages(self, problem: Problem, detail: Verbosity) -> list[tuple[str, int]]:
        """What the first case shows, and with -v every case; all of it where there are no cases. Each with the
        lines that it may have."""
        if problem.kind == "speed" and (slow := [speed.slow(o.case, o.measured) for o in problem.occurrences]):
            said = list(filter(None, slow)) or [o.finding.message for o in problem.occurrences]
            return [(text, detail.message) for text in said]
        if problem.unwritten:
            return [(problem.left, 0)]
        everything = detail is EVERYTHING
        shown = problem.occurrences if everything or not problem.cases else problem.occurrences[:1]
        notes = [note for o in shown for note in o.finding.notes]
        messages = list(_by_message(shown)) if everything else [text for o in shown for text in _parts(o, detail)]
        return list(dict.fromkeys(messages + [(note, detail.message) for note in notes[: detail.notes]]))

    def _next_step(self, problem: Problem) -> str:
        if problem.kind == "speed" and self._savings:
            return self._savings[0].sentence
        said = (speed.advice(o.measured, self._result.machine) for o in speed.slowest_first(problem))
        return next(filter(None, said), "") or problem.next_step

    def _open_ends(self, detail: Verbosity) -> Iterator[Lines]:
        """What was not judged, and where the grader failed; a paragraph for each reason."""
        errors = [(f"{check.id}: {check.message}", "magenta") for check in grader_errors(self._result)]
        unjudged = []
        for judged, why, checks in not_judged(self._result):
            name = checks[0].id if len(checks) == 1 else f"{judged} ({plural(len(checks), 'case')})"
            unjudged.append((f"Not judged: {name}: {why}", "yellow"))
        for found in (errors, unjudged):
            shown = found if detail is EVERYTHING else found[: detail.reasons]
            lines = [
                line
                for text, style in shown
                for line in self._say(text, indent="", style=style, most=detail.left_open)
            ]
            more = len(found) - len(shown)
            yield lines + ([Text(f"and {more} more; -v shows all", "dim")] if more else [])

    def _footer(self, detail: Verbosity) -> Lines:
        result = self._result
        number = self._exercise.number.lstrip("0") if self._exercise else result.exercise
        again = Text(inert(shlex.join(cases.repeated(result, number))))
        seed = Text(f"Seed {result.seed}; to repeat: ")
        repeat = [seed + again] if len(seed) + len(again) <= self._width else [seed, Text(INDENT) + again]
        if detail.brief and len(repeat) > 1:
            repeat = [Text(f"Seed {result.seed}")]
        for line in repeat:
            line.rstrip()
        printed = [] if detail is EVERYTHING else self._how_much_was_printed()
        there = self._say(f"Graded on {cases.host(result)}.", indent="") if cases.host(result) else []
        return printed + there + self._say(_points(result, self._exercise, brief=detail.brief), indent="") + repeat

    def _how_much_was_printed(self) -> Lines:
        count = sum(len(_printed(check).splitlines()) for check in self._result.checks)
        if not count:
            return []
        it = "it" if count == 1 else "them"
        slow = ", and printing makes it slow" if count > MANY_LINES else ""
        return self._say(f"Your kernel printed {plural(count, 'line')}{slow}; -v shows {it}.", indent="", style="dim")

    def _say(self, text: str, *, indent: str = INDENT, style: str = "", most: int = 0) -> Lines:
        """A paragraph, of `most` lines. Wrapped here: rich would fill every line up with blanks."""
        parts = [
            part
            for line in inert(text).splitlines()
            for part in textwrap.wrap(line, self._prose - len(indent), break_on_hyphens=False) or [""]
        ]
        if most and len(parts) > most:
            parts = [*parts[: most - 1], textwrap.shorten(" ".join(parts[most - 1 :]), self._prose - len(indent))]
            parts[-1] = parts[-1].replace("[...]", "...")
        return [Text(indent + part, style) for part in parts]

    def _cut(self, text: str, style: str = "") -> Text:
        line = Text(inert(text).replace("\n", " "), style)
        line.truncate(self._width, overflow="ellipsis")
        return line


def _counted(row: savings.Row) -> str:
    """Shares of all lines; of an access, how many, and in parentheses how few would do."""
    parts = (
        "-" if share is None else f"{100 * share:3.0f}%  {each}"
        for share, each in ((row.sectors, row.sectors_each), (row.wavefronts, row.wavefronts_each))
    )
    sectors, wavefronts = parts
    return f"{row.line:4}  {100 * row.instructions:11.0f}%  {row.lanes:5.0f}  {sectors:16}  {wavefronts}".rstrip()


def _printed(check: Check) -> str:
    return check.measurements.printed or ""


def _by_message(occurrences: Sequence[Occurrence]) -> Iterator[tuple[str, int]]:
    """Each sentence once, with the cases that say it; the mistake that explains all of them before them."""
    causes = {occurrence.finding.cause for occurrence in occurrences}
    shared = causes.pop() if len(occurrences) > 1 and len(causes) == 1 else ""
    if shared:
        yield f"{shared}.", 0
    cases: dict[str, list[str]] = {}
    for occurrence in occurrences:
        message = occurrence.finding.message.removeprefix(f"{shared}. ") if shared else occurrence.finding.message
        cases.setdefault(message, []).append(occurrence.case)
    for message, named in cases.items():
        yield (f"{', '.join(named)}: {message}" if len(occurrences) > 1 and all(named) else message), 0


def _parts(occurrence: Occurrence, detail: Verbosity) -> Iterator[tuple[str, int]]:
    """A message in parts, where it may have only so many lines."""
    finding = occurrence.finding
    if not (detail.message and finding.first and finding.expected):
        yield finding.message, detail.message
        return
    if finding.cause:
        yield f"{finding.cause}.", max(detail.message, CAUSE)
    got = f"got {finding.got}" if finding.got else "nothing was written"
    yield f"{finding.first}: expected {finding.expected}, {got}", 0
    if finding.extent and detail.message > 1:
        yield finding.extent, 1


def _heading(problem: Problem, exercise: Exercise | None, what: str = "") -> str:
    """ "starter.cu:31: race (uniform and 3 more)", "starter.cu, decode_kernel: wrong-values (uniform)"."""
    if problem.unwritten:
        return f"{inert(problem.file)}:{problem.line}: not written yet"
    place = inert(problem.file) + (f":{problem.line}" if problem.at_fault else _kernel(problem, exercise))
    more = f" and {len(problem.cases) - 1} more" if len(problem.cases) > 1 else ""
    where = f" ({inert(problem.cases[0])}{more})" if problem.cases else ""
    return f"{place + ': ' if place else ''}{problem.kind}{what}{where}"


def _in_brief(problem: Problem, exercise: Exercise | None) -> str:
    """Its heading, with what the compiler says, or which array is raced for: two may be at one line."""
    said = f": {problem.first.message}" if problem.kind == COMPILE_ERROR else ""
    array = problem.first.array if problem.kind == "race" else ""
    return _heading(problem, exercise, f" on {inert(array)}" if array else "") + said


def _kernel(problem: Problem, exercise: Exercise | None) -> str:
    """Which kernel wrong values come from, where there are several."""
    if problem.kind != "wrong-values":
        return ""
    if exercise is None or len(exercise.kernels) < 2:
        return ""
    if names := kernels.named(o.finding for o in problem.occurrences):
        return f", {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    return f", kernel on line {problem.line}" if problem.line else ""


def _hint(anchor: str, exercise: Exercise | None) -> str:
    folder = f"{exercise.name}/" if exercise else ""
    return f"{folder}problem.md#{inert(anchor)}"


def _points(result: Result, exercise: Exercise | None, *, brief: bool = False) -> str:
    """ "Points: 52 of the 52 that can be given here (correctness 40/40, quality 12/12); 48 open: ..."."""
    found = account(result, exercise)
    given = [part for part in found.parts if part.given is not None]
    listed = ", ".join(" ".join(filter(None, (f"{one.name} {_of(one)}", one.why))) for one in given)
    open_ = f"; {found.said_open}" if found.said_open else ""
    if found.total is None:
        return f"Points: none yet{open_}"
    return f"Points: {found.said}{open_}" if brief else f"Points: {found.said} ({listed}){open_}"


def _of(part: Part) -> str:
    return readable(part.given) + (f"/{readable(part.of)}" if part.of is not None else "")
