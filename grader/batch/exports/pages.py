"""The class pages, generated again: class.html for the instructor, leaderboard.html for the class."""

from __future__ import annotations

from collections.abc import Sequence

from grader.batch import classroom
from grader.batch.entry import Entry
from grader.batch.exports.format import Exported, Order
from grader.model.exercise import Exercise


class Pages:
    about = f"{classroom.PAGE} for you, {classroom.LEADERBOARD} for the class"
    place = ""
    per_student = False
    takes_template = False

    def export(self, entries: Sequence[Entry], exercise: Exercise, order: Order) -> Exported:
        return Exported(classroom.pages(entries, exercise, order.place, real_names=order.real_names), self.about)
