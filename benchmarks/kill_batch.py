"""A batch that is killed (-9) with its whole process group at random moments, and resumed each time.

python benchmarks/kill_batch.py 60 --kills 20

Compared with an uninterrupted run of the same seed: lost (said to be graded, and not in the ledger), graded twice,
changed (another verdict, other points, another gradebook).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from bench_batch import command, environment, make_class, processes_below

LINE = re.compile(r"^ *\d+/\d+  \w")


def alive(pid: int) -> bool:
    """And not just waiting for somebody to notice its death."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Batch:
    """Starts and kills; keeps every line that said a submission was graded."""

    def __init__(self, submissions: Path, out: Path, seed: int, more: list[str]) -> None:
        self.out = out
        self._command = command(submissions, out, seed, *more)
        self._environment = environment(out.with_name(f"{out.name}-cache"))
        self.said: list[str] = []
        self.orphans = 0

    def run(self, seconds: float | None = None) -> bool:
        """To its end, or killed after so many seconds. Whether it came to its end."""
        lines = self.out.with_name("lines")
        with lines.open("w") as stream:
            process = subprocess.Popen(
                self._command, env=self._environment, stderr=stream, stdout=stream, start_new_session=True
            )
            ended = True
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                ended = False
                below = processes_below(process.pid)[1:]
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                time.sleep(0.5)
                self.orphans += sum(map(alive, below))
        self.said += [line.split("  ")[-1] for line in lines.read_text().splitlines() if LINE.match(line)]
        return ended

    def rows(self) -> dict[str, str]:
        """Finished gradings by student, with when each finished."""
        with sqlite3.connect(self.out / "ledger.sqlite") as database:
            query = (
                "SELECT student, result FROM student JOIN grading ON grading.key = student.key WHERE grading.settled"
            )
            return dict(database.execute(query).fetchall())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments, more = parser.parse_known_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        submissions = Path(folder) / "submissions"
        make_class(submissions, arguments.count)
        whole = Batch(submissions, Path(folder) / "whole", arguments.seed, more)
        began = time.monotonic()
        whole.run()
        seconds = time.monotonic() - began
        print(f"uninterrupted: {seconds:.0f} s", flush=True)

        killed = Batch(submissions, Path(folder) / "killed", arguments.seed, more)
        lost = rewritten = kills = 0
        for _ in range(arguments.kills):
            before = killed.rows() if (killed.out / "ledger.sqlite").exists() else {}
            # Somewhere between the start of Python and two shares of the work.
            if killed.run(moments.uniform(0.3, 3.0 + 2 * seconds / arguments.kills)):
                break
            kills += 1
            try:
                after = killed.rows()
            except sqlite3.OperationalError:  # killed before there were tables
                after = {}
            lost += sum(student not in after for student in [*before, *killed.said])
            rewritten += sum(after.get(student) != row for student, row in before.items())
        killed.run()
        twice = len(killed.said) - len(set(killed.said))
        books = [batch.out / "gradebook.csv" for batch in (whole, killed)]
        pairs = zip(*(book.read_text().splitlines() for book in books), strict=True)
        changed = sum(one != other for one, other in pairs)
        print(f"killed {kills} times, {killed.orphans} processes left behind")
        print(f"lost {lost}, graded twice {twice}, rewritten {rewritten}, changed in the gradebook {changed}")
        same = books[0].read_bytes() == books[1].read_bytes()
        print(f"gradebook identical: {'yes' if same else 'no'}")
        raise SystemExit(1 if lost or twice or rewritten or changed or not same else 0)


if __name__ == "__main__":
    main()
