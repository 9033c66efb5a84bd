"""Every format that `grade export --to` writes, by name."""

from __future__ import annotations

from grader.batch.exports.canvas import Canvas
from grader.batch.exports.feedback import Feedback
from grader.batch.exports.format import ExportFormat
from grader.batch.exports.gradescope import Gradescope
from grader.batch.exports.moodle import Moodle
from grader.batch.exports.pages import Pages

FORMATS: dict[str, ExportFormat] = {
    "canvas": Canvas(),
    "moodle": Moodle(),
    "gradescope": Gradescope(),
    "feedback": Feedback(),
    "class": Pages(),
}
