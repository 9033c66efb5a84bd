"""Feedback for the students, as one zip that goes back the way the submissions came.

Moodle  Assignment > Submissions > Upload multiple feedback files in a zip. The importer takes any file below the
        folders of "Download all submissions", NAME_ID_assignsubmission_file (since 4.1; before, with another
        underscore at the end). Each student gets the report's page. A group's folder has the group's number, which
        Moodle would take for a participant's.
        https://github.com/moodle/moodle/blob/MOODLE_405_STABLE/mod/assign/feedback/file/importziplib.php
Canvas  Assignment > Re-Upload Submissions. A file is attached to a comment for the student and upload that its name
        from "Download Submissions" gives, NAME_[LATE_]USERID_FILEID_FILE, and is shown as FILE, whatever it holds.
        So each student gets their own source back, with comments; one who submitted a zip, a zip of that and the
        report's page. (infer_comment_context_from_filename in
        https://github.com/instructure/canvas-lms/blob/master/app/models/abstract_assignment.rb)
Others  A folder per student with the report's page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from grader import files
from grader.batch import annotated, filenames, platforms, worker
from grader.batch.choice import some
from grader.batch.entry import Entry
from grader.batch.exports.format import Exported, Order
from grader.batch.exports.wheel import zipped
from grader.errors import GraderError, UsageError
from grader.model.exercise import Exercise

PAGE = "feedback.html"
MAX_PAGE = 64 << 20

# Where the zip is uploaded.
UPLOAD = {
    "canvas": "in Canvas: the assignment, Re-Upload Submissions",
    "moodle": "in Moodle: the assignment, Submissions, Upload multiple feedback files in a zip",
}


class Feedback:
    about = "a zip of feedback files: Moodle and Canvas take it back"
    place = "feedback.zip"
    per_student = False
    takes_template = False

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order, /) -> Exported:
        packed: dict[str, bytes] = {}
        without = []
        for entry in entries:
            made = _of(entry, exercise, order.folder)
            packed |= made
            without += [] if made else [entry.submitted.student]
        if not packed:
            raise UsageError("no submission has feedback yet; nothing was written")
        where = sorted({UPLOAD[one.submitted.platform] for one in entries if one.submitted.platform in UPLOAD})
        said = f"feedback for {len(entries) - len(without)} of {len(entries)} students"
        notes = (f"without feedback in it: {some(without)}",) if without else ()
        return Exported({"": zipped(packed)}, "; ".join([said, *(f"upload it {place}" for place in where)]), notes)


def _of(entry: Entry, exercise: Exercise, folder: Path) -> dict[str, bytes]:
    """Files by name in the zip; none if nothing was graded, or the platform takes nothing back."""
    place = PurePosixPath(entry.submitted.place)
    if entry.result is None:
        return {}
    if entry.submitted.platform == "canvas":
        return _canvas(entry, exercise, folder, place)
    page = _page(entry, folder)
    if page is None:
        return {}
    if entry.submitted.platform == "moodle":
        return {_moodle(place): page}
    return {f"{filenames.stem(entry.submitted.student)}/{PAGE}": page}


def _canvas(entry: Entry, exercise: Exercise, folder: Path, place: PurePosixPath) -> dict[str, bytes]:
    """Nothing for pasted text, which is no upload, nor for a source that is no longer what was graded."""
    named = platforms.canvas(place.name)
    text = worker.graded_text(entry.submitted.path, entry.result) if entry.result else None
    if named is None or not named.file or text is None or entry.result is None:
        return {}
    source = annotated.source(entry, entry.result, exercise, text).encode(errors="replace")
    if place.suffix.lower() != ".zip":
        return {place.name: source}
    page = _page(entry, folder)
    return {place.name: zipped({"starter.cu": source} | ({PAGE: page} if page else {}))}


def _moodle(place: PurePosixPath) -> str:
    """Under the folder of the download, or with its prefix where the download had no folders."""
    top = place.parts[0]
    if len(place.parts) > 1:
        return f"{top}/{PAGE}"
    named = platforms.moodle(top)
    return f"{top.removesuffix(named.file)}{PAGE}" if named and named.file else f"{top}/{PAGE}"


def _page(entry: Entry, folder: Path) -> bytes | None:
    file = folder / entry.report
    try:
        return files.read(file, MAX_PAGE) if entry.report and file.is_file() else None
    except OSError as error:
        raise GraderError(f"{file}: {error.strerror}") from None
