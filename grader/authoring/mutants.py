"""Introduces hundreds of small mistakes into correct kernels: does the grader find each of them?

A mutant is the source with one place changed. It is *caught* if a check fails, *equivalent* if no check
fails and every output of every case is identical to the original's, bit for bit, and *missed* otherwise.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from grader.checks import compile as compile_check
from grader.checks import launch, memory
from grader.exercise.oracle import Oracle
from grader.grading.judging import Judging
from grader.grading.runs import Runs
from grader.model.execution import Executor
from grader.model.exercise import Case, Exercise
from grader.model.families import MEMORY
from grader.model.result import Check, Finding, Status
from grader.sandbox import ChildDied, ChildMemory, ChildTimeout
from grader.sandbox.runner import OpenExecutor

# Long enough for the largest case on one busy core with every access checked; a mutant that takes longer hangs.
SECONDS = 60.0

CAUGHT, EQUIVALENT, MISSED, NO_MUTANT = "caught", "equivalent", "missed", "does not compile"


class Rule(msgspec.Struct, frozen=True):
    """A kind of mistake: each match of `pattern` may be replaced by each of `replacements` (re.sub's syntax)."""

    name: str
    pattern: str
    replacements: tuple[str, ...]


RULES = (
    Rule("drop a barrier", r"__syncthreads\(\);", (";",)),
    Rule("drop a warp barrier", r"__syncwarp\([^()]*\);", (";",)),
    Rule("wait too little", r"__pipeline_wait_prior\((\d)\)", (r"__pipeline_wait_prior(\1 + 1)",)),
    Rule("drop a wait", r"__pipeline_(?:wait_prior\(\d\)|commit\(\));", (";",)),
    Rule("shift a bound", r" < ", (" <= ",)),
    Rule("shift a bound", r" >= ", (" > ",)),
    Rule("shift a bound", r" > ", (" >= ",)),
    Rule("off by one", r"(?<=\bint )(\w+) = (?:0|lane)(?=[;,])", (r"\1 = 1",)),
    Rule("off by one", r"(?<=[\w\])]) - 1\b", ("", " - 2")),
    Rule("off by one", r"(?<=[\[(])(?!size_t|sizeof)([a-z]\w*)(?=[\])])", (r"\1 + 1",)),
    Rule("off by one", r"\b(?:M|N|K)(?= ?[;)&?]| &&)", (r"\g<0> - 1", r"\g<0> + 1")),
    Rule("swap an index", r"\b(threadIdx|blockIdx|blockDim)\.x", (r"\1.y",)),
    Rule("swap an index", r"\b(threadIdx|blockIdx|blockDim)\.y", (r"\1.x",)),
    Rule("swap an index", r"\[([^][]+)\]\[([^][]+)\](?! *[,;{]| =)", (r"[\2][\1]",)),
    Rule("swap an index", r"\btx\b(?! =)", ("ty",)),
    Rule("swap an index", r"\bty\b(?! =)", ("tx",)),
    Rule("swap an index", r"\brow\b(?! =)", ("col",)),
    Rule("swap an index", r"\bcol\b(?! =)", ("row",)),
    Rule("swap a size", r"(?<=\* )K\b", ("N",)),
    Rule("swap a size", r"(?<=\* )N\b", ("K",)),
    Rule("swap a size", r"(?<=< )K\b", ("N",)),
    Rule("narrow a type", r"\(size_t\)", ("(unsigned char)",)),
    Rule("narrow a type", r"\bconst int(?= \w+ =)", ("const unsigned char", "const short")),
    Rule("narrow a type", r"\bfloat(?= sum)", ("int",)),
    Rule("narrow a type", r"\bdouble\b", ("float",)),
    Rule("narrow a type", r"(?<= = )(\w+_tile(?:\[[^][]*\])+|a\[\w+\])", (r"(int)\1",)),
    Rule("half precision", r"(sum(?:\[\w+\])*) \+= ([^;,]+)(?=;)",
         (r"\1 = __half2float(__float2half(\1 + \2))",)),
    Rule("half precision", r"= (row < M \? A\[[^;]*|B\[[^;]*)(?=;)", (r"= __half2float(__float2half(\1))",)),
    Rule("drop the zero-fill", r"= ([^?;=]+) \? ([^:;]+) : [^;]+;", (r"= \2;",)),
    Rule("no zero in its place", r"(\S+) = ([^?;=]+) \? ([^:;]+) : [^;]+;", (r"if (\2) \1 = \3;",)),
    Rule("drop a guard", r"\bif \([^;{]*?\)(?= [\w*{])", ("if (true)",)),
    Rule("drop half a guard", r"(?<=\()([^()&]+) && ([^()&]+)(?=\))", (r"\1", r"\2")),
    Rule("wrong logic", r"&&", ("||",)),
    Rule("wrong logic", r"\|\|", ("&&",)),
    Rule("wrong step", r"\+= (TILE\w*|STEP)\b", (r"+= 2 * \1", r"+= \1 / 2")),
    Rule("wrong tile offset", r"(blockIdx\.\w|row_tile|first_\w+) \* (\w+)", (r"\1 * (\2 - 1)", r"\1 * \2 / 2")),
    Rule("wrong tile offset", r"\bk0(?= [+)])", ("0",)),
    Rule("wrong buffer", r"\[(?:now \^ 1|1 - buffer)\]", ("[0]", "[1]")),
    Rule("wrong buffer", r"\[(now|buffer)\]", ("[0]", r"[\1 ^ 1]")),
    Rule("= for +=", r" \+= (?=[\w(])(?!TILE|STEP)", (" = ", " -= ")),
    Rule("drop the start", r"(?<=float sum) = 0(?=;)", ("",)),
    Rule("drop an atomic", r"atomicAdd\(&?([^,]+), ([^)]+)\)", (r"(\1 += \2)",)),
    Rule("wrong mask", r"0xffffffffu?", ("0x7fffffff", "0xffff", "1")),
    Rule("wrong distance", r"(?<=distance = )16", ("8", "32")),
    Rule("wrong distance", r"distance /= 2", ("distance -= 2",)),
    Rule("wrong operator", r" \* (?=\w)", (" + ",)),
    Rule("wrong operator", r"(?<=[\w)]) \+ (?=\w)", (" - ",)),
    Rule("wrong operator", r" % ", (" / ",)),
    Rule("wrong operator", r" / ", (" % ",)),
    Rule("wrong group", r"\[group\]", ("[0]", "[group + 1]")),
    Rule("wrong group", r"\)group \*", (") 0 *",)),
    Rule("wrong size", r"\[(TILE\w*|STEP|ROWS|COLS)\]", (r"[\1 - 1]",)),
    Rule("wrong size", r"(?<=, )16(?=\))", ("8", "4")),
    Rule("drop a statement", r"(?m)^ +(?!const |float|int |for |return|launch|__s|static)[^\n;{}]*;$", (" ;",)),
    Rule("drop a launch member", r"launch->block = dim3\([^;]*;", ("launch->block = dim3(64);",)),
    Rule("round down", r"\((\w+) \+ (\w+) - 1\) / \2", (r"\1 / \2",)),
)  # fmt: skip


class Mutant(msgspec.Struct, frozen=True):
    """`line` is where `source` differs from the original."""

    origin: str
    rule: str
    line: int
    source: str
    diff: str


class MutantVerdict(msgspec.Struct, frozen=True):
    """The outcome of a mutant; if it was caught, `check`, `kind` and `at` are those of the first finding."""

    origin: str
    rule: str
    line: int
    outcome: str
    check: str
    kind: str
    at: int
    message: str
    diff: str


def mutants(origin: str, text: str, count: int, seed: int) -> list[Mutant]:
    """Up to `count` different mutants, taking the rules in turn; the same for the same seed."""
    rng = random.Random(f"{seed} {origin}")  # noqa: S311 - a sample, no secret
    by_rule: dict[str, list[Mutant]] = {}
    seen = {_normal(text)}
    for rule in RULES:
        for mutant in _of_rule(origin, text, rule):
            if (normal := _normal(mutant.source)) not in seen:
                seen.add(normal)
                by_rule.setdefault(rule.name, []).append(mutant)
    for found in by_rule.values():
        rng.shuffle(found)
    chosen: list[Mutant] = []
    while by_rule and len(chosen) < count:
        for name in list(by_rule):
            chosen.append(by_rule[name].pop())
            if not by_rule[name]:
                del by_rule[name]
    return chosen[:count]


def _of_rule(origin: str, text: str, rule: Rule) -> Iterator[Mutant]:
    code = _without_comments(text)
    start = code.find("__global__")
    for match in re.finditer(rule.pattern, code):
        if match.start() < start and "__device__" not in code[: match.start()]:
            continue
        for replacement in rule.replacements:
            changed = code[: match.start()] + match.expand(replacement) + code[match.end() :]
            if "__half" in match.expand(replacement):
                changed = "#include <cuda_fp16.h>\n" + changed
            line = code.count("\n", 0, match.start()) + 1 + changed.startswith("#include <cuda_fp16")
            yield Mutant(origin, rule.name, line, changed, _diff(code, changed))


def _without_comments(text: str) -> str:
    """The same lines without comments, so that nothing is changed in a comment."""
    return re.sub(r"//[^\n]*", "", text)


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", _without_comments(text)).strip()


def _diff(before: str, after: str) -> str:
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in changes if line[:1] in "+-" and line[:3] not in ("+++", "---"))


class MutantBench:
    """The exercise's cases, cheapest first, with their expected outputs."""

    def __init__(self, exercise: Exercise, seed: int, open_executor: OpenExecutor) -> None:
        oracle = Oracle(exercise)
        self.exercise = exercise
        self.open_executor = open_executor
        cases = sorted(oracle.cases(seed), key=_size)
        self.cases = [(case, oracle.expected(case)) for case in cases]
        self.judging = Judging(exercise, "mutant.cu", lambda: oracle, explain=False)

    def outputs(self, origin: str, text: str) -> list[bytes]:
        """The original's outputs, case by case. Raises ValueError if the original is not correct."""
        outputs: list[bytes] = []
        with _Lane(self) as lane:
            failed = lane.judge(origin, text, outputs.append)
        if failed is not None:
            raise ValueError(f"{origin} is not a correct kernel: {failed.id}: {failed.message}")
        return outputs

    def judge_all(
        self,
        chosen: Sequence[Mutant],
        originals: dict[str, list[bytes]],
        jobs: int,
        on_done: Callable[[MutantVerdict], None] = lambda _: None,
    ) -> list[MutantVerdict]:
        """Runs every check on each mutant, in the order given; one child process per worker."""
        lanes = [_Lane(self) for _ in range(jobs)]
        free = list(lanes)

        def one(mutant: Mutant) -> MutantVerdict:
            lane = free.pop()
            try:
                return lane.verdict(mutant, originals[mutant.origin])
            finally:
                free.append(lane)

        try:
            with ThreadPoolExecutor(jobs) as pool:
                verdicts = []
                for verdict in pool.map(one, chosen):
                    on_done(verdict)
                    verdicts.append(verdict)
                return verdicts
        finally:
            for lane in lanes:
                lane.close()


class _Lane:
    """One child process at a time; it runs one source after another until one of them kills it."""

    def __init__(self, bench: MutantBench) -> None:
        self._bench = bench
        self._executor: Executor | None = None

    def __enter__(self) -> _Lane:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()

    def verdict(self, mutant: Mutant, original: list[bytes]) -> MutantVerdict:
        outputs: list[bytes] = []
        failed = self.judge(mutant.origin, mutant.source, outputs.append)
        check, finding = "", Finding("", "", 0, "")
        if failed is not None:
            outcome, check = CAUGHT, failed.id
            finding = failed.findings[0] if failed.findings else Finding("", "", 0, failed.reason or "")
            if finding.kind == "compile-error":
                outcome = NO_MUTANT
            elif failed.status is not Status.FAILED:
                outcome = MISSED
        else:
            outcome = EQUIVALENT if outputs == original else MISSED
        return MutantVerdict(
            mutant.origin, mutant.rule, mutant.line, outcome, check, finding.kind, finding.line, finding.message,
            mutant.diff,
        )  # fmt: skip

    def judge(self, name: str, text: str, on_output: Callable[[bytes], None]) -> Check | None:
        """The first check that does not pass; None if all pass."""
        try:
            return next(self._failures(name, text, on_output), None)
        except (ChildTimeout, ChildMemory, ChildDied) as error:
            self.close()
            finding = Finding("did-not-finish", name, 0, str(error))
            return Check(MEMORY.id("?"), Status.FAILED, str(error), findings=(finding,))

    def _failures(self, name: str, text: str, on_output: Callable[[bytes], None]) -> Iterator[Check]:
        if self._executor is None:
            self._executor = self._bench.open_executor()
        executor, exercise = self._executor, self._bench.exercise
        compilation = executor.compile(text.encode(), name)
        yield from _unless_passed(compile_check.judge(exercise, name, compilation))
        runs = Runs(exercise, text, name, compilation, partial(executor.run, deadline=SECONDS))
        cases = [case for case, _ in self._bench.cases]
        plans = {case.name: runs.plans(case) for case in cases}
        yield from _unless_passed(launch.judge([(case, p) for case in cases for p in plans[case.name]], compilation))
        for case, expected in self._bench.cases:
            own = plans[case.name]
            outcome = runs.outcome(case, own)
            yield from _unless_passed(memory.judge(case, outcome))
            yield from _unless_passed(self._bench.judging.correct(case, own, outcome.outputs, expected))
            on_output(b"".join(np.ascontiguousarray(outcome.outputs[key]).tobytes() for key in sorted(expected)))


def _unless_passed(check: Check) -> Iterator[Check]:
    if check.status is not Status.PASSED:
        yield check


def _size(case: Case) -> int:
    return sum(value.data.nbytes for value in case.arguments.values() if not isinstance(value, int))


def counts(verdicts: Iterable[MutantVerdict]) -> dict[str, int]:
    """The number of each outcome; what does not compile does not count as a mutant."""
    numbers = dict.fromkeys((CAUGHT, EQUIVALENT, MISSED, NO_MUTANT), 0)
    for verdict in verdicts:
        numbers[verdict.outcome] += 1
    return numbers


def read(files: Iterable[Path]) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in files}
