"""How Canvas, Moodle and Gradescope name exported files, according to their own sources and documentation:

Canvas      lib/content_zipper.rb: NAME_[LATE_]USERID_FILEID_FILE, NAME the sortable name in lower case, letters
            and digits only ("doejane"); anonymous: [LATE_]anon_ANONID_FILEID_FILE. Text and links are
            NAME_[LATE_]USERID_text.html and _link.html. A file submitted again under the same name becomes FILE-1,
            FILE-2.
Moodle      mod/assign/classes/downloader.php: NAME_ID_assignsubmission_PLUGIN/FILE in folders, or with another
            underscore instead of the slash; older versions end the folder with an underscore. NAME contains no
            underscore; ID is the number of "Participant ID" in the grading worksheet. A team's name is used instead
            of a person's; the default team has no ID.
Gradescope  assignment_N_export/submission_N/FILE next to submission_metadata.yml, written by Ruby: per submission a
            list `:submitters:` of `:name:`, `:sid:`, `:email:`. A group has several.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

GRADESCOPE_EXPORT = re.compile(r"assignment_\d+_export")
GRADESCOPE_METADATA = "submission_metadata.yml"

_CANVAS = re.compile(
    r"(?:(?P<name>.*?)_)??(?P<late>LATE_)?(?:anon_(?P<anonymous>[^\W_]+)|(?P<user>\d+))"
    r"_(?:(?P<file_id>\d+)_(?P<file>.+)|(?P<text>text|link)\.html)",
    re.DOTALL,
)
# A name of digits only, which looks like one of no name. Canvas always writes one but in anonymous exports.
_CANVAS_DIGITS = re.compile(r"(?P<name>\d+)_(?P<late>LATE_)?(?P<user>\d+)_(?P<file_id>\d+)_(?P<file>.+)", re.DOTALL)
_CANVAS_AGAIN = re.compile(r"(?P<stem>.+)-(?P<number>[1-9]\d{0,3})(?P<suffix>\.\w+)")
_MOODLE = re.compile(
    r"(?P<name>[^_]+)(?:_(?P<id>\d+))?_assignsubmission_(?P<plugin>[a-z]+)(?:_(?P<file>.*))?", re.DOTALL
)


# As Ruby writes a time: "utc: 2026-09-17 03:00:17.246586000 Z".
_UTC = re.compile(r"\b(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)? (?:Z|UTC|\+00:00)")


class CanvasName(NamedTuple):
    """`file` is the student's own file name; "" for a text or a link. `file_id` grows with every upload."""

    name: str
    user: str
    late: bool
    file: str
    file_id: int = 0


class MoodleName(NamedTuple):
    """`file` is "" for a folder."""

    name: str
    id: str
    file: str


class GradescopeSubmission(NamedTuple):
    submitters: tuple[Submitter, ...]
    at: datetime | None  # when it was created


class Submitter(NamedTuple):
    name: str
    sid: str
    email: str


def canvas(name: str) -> CanvasName | None:
    digits = _CANVAS_DIGITS.fullmatch(name)
    if digits is not None:
        late = digits["late"] is not None
        return CanvasName(digits["name"], digits["user"], late, digits["file"], _file_id(digits["file_id"]))
    match = _CANVAS.fullmatch(name)
    if match is None:
        return None
    user = match["user"] or f"anon_{match['anonymous']}"
    late, file_id = match["late"] is not None, _file_id(match["file_id"])
    return CanvasName(match["name"] or "", user, late, match["file"] or "", file_id)


def _file_id(digits: str | None) -> int:
    """0 for what no database would number."""
    return int(digits) if digits and len(digits) < 20 else 0


def canvas_again(name: str) -> tuple[str, int]:
    """ "starter-2.cu" is the second resubmission of "starter.cu"."""
    match = _CANVAS_AGAIN.fullmatch(name)
    return (match["stem"] + match["suffix"], int(match["number"])) if match else (name, 0)


def moodle(name: str) -> MoodleName | None:
    match = _MOODLE.fullmatch(name)
    return MoodleName(match["name"].strip(), match["id"] or "", match["file"] or "") if match else None


def gradescope(metadata: str) -> dict[str, GradescopeSubmission]:
    """Who submitted each submission and when, by its folder.

    Reads only the few relevant lines, not YAML: the rest of the file contains the output of submissions and
    values of Ruby's own types.
    """
    return {
        name: _submission(dict(_blocks(lines, indent=2))) for name, lines in _blocks(metadata.splitlines(), indent=0)
    }


def _submission(blocks: dict[str, list[str]]) -> GradescopeSubmission:
    time = next(filter(None, map(_UTC.search, blocks.get(":created_at", ()))), None)
    try:
        at = datetime.fromisoformat(f"{time[1]}T{time[2]}+00:00") if time else None
    except ValueError:
        at = None
    return GradescopeSubmission(tuple(_submitters(blocks.get(":submitters", []))), at)


def _blocks(lines: list[str], indent: int) -> Iterator[tuple[str, list[str]]]:
    """Each key at this indentation, with what follows it, then the lines below it."""
    start = re.compile(rf" {{{indent}}}(?P<key>[^\s#-][^\n]*?):(?P<value>\s.*)?")
    key: str | None = None
    below: list[str] = []
    for line in lines:
        match = start.fullmatch(line)
        if match:
            if key is not None:
                yield key, below
            key, below = _scalar(match["key"]), [match["value"] or ""]
        else:
            below.append(line)
    if key is not None:
        yield key, below


def _submitters(lines: list[str]) -> Iterator[Submitter]:
    """Ruby writes a list at the indentation of its key, or two further in: "  - :name: Jane Doe"."""
    people: list[dict[str, str]] = []
    last = ""
    for line in lines:
        item = re.fullmatch(r"\s+(?P<dash>- )?\s*:(?P<key>\w+):(?:\s+(?P<value>.*))?", line)
        if item and (item["dash"] or people):
            if item["dash"]:
                people.append({})
            last = item["key"]
            people[-1][last] = item["value"] or ""
        elif people and line.strip():
            people[-1][last] += " " + line.strip()  # a long value continues on the next line
    for person in people:
        yield Submitter(*(_scalar(person.get(key, "")) for key in Submitter._fields))


def _scalar(text: str) -> str:
    """A YAML scalar on one line: plain, 'single' or "double" quoted; null is ""."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", text)))
        except ValueError:
            return text[1:-1]
    return "" if text in ("~", "null") else text
