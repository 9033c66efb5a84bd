"""What bench_fp8.py and bench_grouped.py share: a table of measurements, its files, its plot, and a command line.

A value that was not measured is empty, and its note says why. Beside each stands what the course's chapter says:
expectations for an H100, without a size or a distribution.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]

SUFFIXES = (".csv", ".json")
PLOT_SUFFIX = ".png"
CHAPTER = "The chapter expects"
PIPED_WIDTH = 118  # columns of a table that no terminal shows

Item = TypeVar("Item")


@dataclass(frozen=True)
class Row:
    quantity: str  # "throughput"
    case: str  # "4096", "8 experts, zipf"
    method: str
    value: float | None
    unit: str
    low: float | None = None  # a tenth of the repetitions are below, a tenth above `high`
    high: float | None = None
    chapter: str = ""
    note: str = ""


# ---- the command line


def output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"write a table: {' or '.join(SUFFIXES)}")


def numbers(text: str) -> tuple[int, ...]:
    """ "1024,2048". Raises argparse's error for anything else."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers separated by commas, as 8,16,32") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: each must be at least 1")
    return found


def check_output(parser: argparse.ArgumentParser, file: Path | None) -> None:
    """Before anything is measured. Exits with 2 if the file cannot be written."""
    if file is None:
        return
    if file.suffix not in SUFFIXES:
        parser.error(f"--output {file}: the name must end in {' or '.join(SUFFIXES)}")
    try:
        existed = file.exists()
        with file.open("a", encoding="utf-8"):
            pass
        if not existed:
            file.unlink()
    except OSError as error:
        parser.error(f"--output {file}: {error.strerror}; name a file that can be written")


def progress(items: Sequence[Item], what: str) -> Iterable[Item]:
    """A bar on a terminal's standard error, which goes away at the end."""
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True) if console.is_terminal else items


# ---- the table


def show(rows: Sequence[Row], words: Mapping[str, str]) -> None:
    """One table for each quantity, and below it what there is to say about it."""
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    for quantity in dict.fromkeys(row.quantity for row in rows):
        of_quantity = [row for row in rows if row.quantity == quantity]
        if all(row.value is None for row in of_quantity):
            console.print(_unmeasured(of_quantity), "\n")
            continue
        console.print(_table(of_quantity))
        console.print(words.get(quantity, ""), "\n")


def _unmeasured(rows: Sequence[Row]) -> str:
    """In a sentence, with what the chapter expects."""
    notes = "; ".join(dict.fromkeys(row.note for row in rows))
    expected = "; ".join(dict.fromkeys(f"{row.method}: {row.chapter}" for row in rows if row.chapter))
    return f"[bold]{rows[0].quantity}[/]\n{notes}." + (f" {CHAPTER}: {expected}." if expected else "")


def _table(rows: Sequence[Row]) -> Table:
    """Without columns that would be empty."""
    cells = {
        "case": [row.case for row in rows],
        "method": [row.method for row in rows],
        "value": [_value(row) for row in rows],
        "unit": [row.unit if row.value is not None else "" for row in rows],
        CHAPTER: [row.chapter for row in rows],
    }
    shown = {name: column for name, column in cells.items() if any(column)}
    table = Table(*shown, title=rows[0].quantity, title_justify="left", title_style="bold", box=box.SIMPLE)
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def _value(row: Row) -> str:
    if row.value is None:
        return row.note
    spread = "" if row.low is None else f" ({row.low:.4g} to {row.high:.4g})"
    return f"{row.value:.4g}{spread}"


def write(rows: Sequence[Row], file: Path, about: Mapping[str, object]) -> None:
    if file.suffix == ".json":
        content = {**about, "rows": [asdict(row) for row in rows]}
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in rows)


def finish(rows: Sequence[Row], file: Path | None, about: Mapping[str, object], words: Mapping[str, str]) -> None:
    """Prints, and writes the file and its plot."""
    show(rows, words)
    if file is None:
        return
    write(rows, file, {**about, "words": words})
    print(f"Written: {', '.join([str(file), *plot(rows, file.with_suffix(PLOT_SUFFIX))])}")


def plot(rows: Sequence[Row], file: Path) -> Iterator[str]:
    """A picture for each quantity that was measured, cases side by side. Needs matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        yield "no plot: matplotlib is not installed"
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows if row.value is not None]
    quantities = list(dict.fromkeys(row.quantity for row in measured))
    figure, every = pyplot.subplots(len(quantities), squeeze=False, figsize=(11, 3.5 * len(quantities)))
    for axes, quantity in zip(every[:, 0], quantities, strict=True):
        of_quantity = [row for row in measured if row.quantity == quantity]
        cases, methods = (
            list(dict.fromkeys(getattr(row, name) for row in of_quantity)) for name in ("case", "method")
        )
        width = 0.8 / len(methods)
        for index, method in enumerate(methods):
            own = [row for row in of_quantity if row.method == method]
            places = [cases.index(row.case) + (index - (len(methods) - 1) / 2) * width for row in own]
            axes.bar(places, [row.value for row in own], width, label=method)
        axes.set_xticks(range(len(cases)), cases)
        axes.set_title(quantity)
        axes.set_ylabel(of_quantity[0].unit)
        if any(methods):
            axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.tight_layout()
    figure.savefig(file)
    yield str(file)
