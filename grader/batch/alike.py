"""Submissions that look like copies of each other: a hint for the instructor, who compares them.

Comments, whitespace, names and numbers do not count. What is left is compared by fingerprints: of each run of
`WINDOW` hashes of `LENGTH` tokens the smallest, so that a passage of WINDOW + LENGTH - 1 tokens in common is always
noticed. (Schleimer, Wilkerson, Aiken: Winnowing. SIGMOD 2003. https://doi.org/10.1145/872757.872770)
Passages from the exercise's starter do not count, nor does what many students share.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from grader.reports.classroom import AlikeGroup

LENGTH, WINDOW = 12, 6

# The share of the shorter one's fingerprints from which two are shown. Of the 46 kernels in tests/kernels/correct,
# all by the same hand, no two reach it.
ALIKE = 0.7
# With fewer fingerprints, two short kernels are alike by chance.
FEWEST = 8

# Characters; even a large kernel has a fifth of it.
LONGEST = 250_000

# A passage in more than a third of the submissions is how it is done, not a sign of copying; but of a small class it
# takes more than 4, and of a large one 30 are enough.
FEW, MANY = 4, 30

IDENTICAL = "identical files"
RENAMED = "identical except for names, numbers, comments and whitespace"

# A text that never ends is a token too, or a line of quotes would be read again from each of them.
_TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*|/\*.*?(?:\*/|\Z)|(?P<text>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.'])*)|(?P<sign>[^\s\w])""",
    re.DOTALL,
)
# Names that are not the student's to choose.
_KEPT = re.compile(
    r"__\w+|threadIdx|blockIdx|blockDim|gridDim|atomic\w+|[xyz]|for|while|do|if|else|return|break|continue|switch|case"
    r"|const|constexpr|static|struct|template|typename|void|int|float|double|half|unsigned|char|short|long|bool|size_t"
    r"|extern|global|shared|asm|volatile|sizeof|u?int\d+_t|float[234]|int[234]|dim3"
)


def groups(sources: Mapping[str, str], starter: str, solution: str = "") -> tuple[AlikeGroup, ...]:
    """Of the sources by student: the most alike first, then those that are alike to the exercise's own solution.

    Whoever left the starter as it was is not compared.
    """
    by_text: dict[str, list[str]] = defaultdict(list)
    by_tokens: dict[tuple[str, ...], list[str]] = defaultdict(list)
    given = tokens(starter)
    for student, text in sources.items():
        read = tokens(text[:LONGEST])
        if read and read != given:
            by_text[text].append(student)
            by_tokens[read].append(student)
    found = [AlikeGroup(tuple(same), 1.0, IDENTICAL) for same in by_text.values() if len(same) > 1]
    identical = {group.students for group in found}
    for alike in by_tokens.values():
        if len(alike) > 1 and tuple(alike) not in identical:
            found.append(AlikeGroup(tuple(alike), 1.0, RENAMED))
    return (*found, *_pairs(by_tokens, _fingerprints(given)), *_like_solution(by_tokens, given, tokens(solution)))


def tokens(text: str) -> tuple[str, ...]:
    """The source without what is easily changed: every name of the student's is "v", every number "0"."""
    return tuple(_plain(match) for match in _TOKEN.finditer(text) if match.lastgroup)


def _plain(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "name":
        return match[0] if _KEPT.fullmatch(match[0]) else "v"
    return {"number": "0", "text": '""'}.get(kind or "", match[0])


def _pairs(by_tokens: Mapping[tuple[str, ...], Sequence[str]], given: frozenset[int]) -> Iterable[AlikeGroup]:
    """Each pair of different sources of which one's fingerprints are largely the other's."""
    own = {students[0]: _fingerprints(read) - given for read, students in by_tokens.items()}
    holders: dict[int, list[str]] = defaultdict(list)
    for student, prints in own.items():
        for one in prints:
            holders[one].append(student)
    common = {one for one, students in holders.items() if len(students) > min(max(FEW, len(own) / 3), MANY)}
    left = {student: prints - common for student, prints in own.items()}
    shared = Counter(
        pair for one, students in holders.items() if one not in common for pair in combinations(sorted(students), 2)
    )
    found = []
    for pair, count in shared.items():
        shorter = min(len(left[student]) for student in pair)
        if shorter >= FEWEST and count / shorter >= ALIKE:
            share = count / shorter
            found.append(AlikeGroup(pair, share, f"{share:.0%} of the shorter one's own code"))
    return sorted(found, key=lambda group: (-group.share, group.students))


def _like_solution(
    by_tokens: Mapping[tuple[str, ...], Sequence[str]], given: Sequence[str], solution: Sequence[str]
) -> Iterator[AlikeGroup]:
    theirs = _fingerprints(solution) - _fingerprints(given)
    for read, students in by_tokens.items():
        own = _fingerprints(read) - _fingerprints(given)
        shorter = min(len(own), len(theirs))
        share = len(own & theirs) / shorter if shorter >= FEWEST else 0.0
        if share >= ALIKE:
            yield AlikeGroup(tuple(students), share, f"{share:.0%} of the exercise's own solution")


def _fingerprints(read: Sequence[str]) -> frozenset[int]:
    hashes = [zlib.crc32("\0".join(read[at : at + LENGTH]).encode()) for at in range(len(read) - LENGTH + 1)]
    windows = range(max(1, len(hashes) - WINDOW + 1)) if hashes else ()
    return frozenset(min(hashes[at : at + WINDOW]) for at in windows)
