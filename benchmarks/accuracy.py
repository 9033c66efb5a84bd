"""The chapter's accuracy table: how far FP8 E4M3 takes FP32 values, scale by scale.

    python benchmarks/accuracy.py [--rows 2048] [--cols 1024] [--seed 0] [--out benchmarks/results]

Quantizes and dequantizes two matrices by each method, prints the mean absolute errors (MAE) and writes accuracy.md
and accuracy.svg. The matrices:

    outliers   standard normal; each element is an outlier with probability 1/4096: multiplied by 10^u, u uniform
               in [2, 5]. So outliers are a hundred to a hundred thousand times as large as the rest.
    uniform    uniform in [-1, 1], as the exercises' inputs: no outliers

Per channel takes amax over a column. The chapter names no distribution, so its figures are shown, not matched.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grader.reference_kernels.quantization import (  # noqa: E402
    FINE_GRAINED,
    FINE_GRAINED_64,
    PER_TENSOR,
    WHOLE,
    Granularity,
    dequantize,
    quantize,
)

COMMAND = "python benchmarks/accuracy.py"
OUTLIER_PROBABILITY = 1 / 4096
OUTLIER_DECADES = (2, 5)

PER_COLUMN = Granularity("per channel", (1, WHOLE, 1))
BLOCKS = Granularity("block-wise 128×128", (1, 128, 128))


@dataclass(frozen=True)
class Method:
    name: str
    granularity: Granularity
    power_of_two: bool = False
    chapter: float | None = None  # MAE in the chapter's table


METHODS = (
    Method("per tensor", PER_TENSOR, chapter=0.015),
    Method("block-wise 128×128", BLOCKS),
    Method("per channel", PER_COLUMN, chapter=0.008),
    Method("fine-grained 1×128, UE8M0", FINE_GRAINED, power_of_two=True),
    Method("fine-grained 1×128", FINE_GRAINED, chapter=0.003),
    Method("fine-grained 1×64", FINE_GRAINED_64, chapter=0.001),
)


@dataclass(frozen=True)
class Row:
    method: Method
    outliers: float  # MAE over all elements
    ordinary: float  # MAE over those that are no outliers
    flushed: float  # share of the ordinary elements that became 0
    uniform: float  # MAE


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--cols", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    if options.rows < 1 or options.cols < 1:
        parser.error("--rows and --cols must be at least 1")
    rows = measure(options.rows, options.cols, options.seed)
    print(markdown_table(rows))
    options.out.mkdir(parents=True, exist_ok=True)
    size = f"--rows {options.rows} --cols {options.cols} --seed {options.seed}"
    (options.out / "accuracy.md").write_text(page(rows, f"{COMMAND} {size}"), encoding="utf-8")
    (options.out / "accuracy.svg").write_text(chart(rows), encoding="utf-8")
    print(f"\nWritten: {options.out / 'accuracy.md'}, {options.out / 'accuracy.svg'}")


def measure(rows: int, cols: int, seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    x, is_outlier = with_outliers(rng, rows, cols)
    plain = rng.uniform(-1, 1, (rows, cols)).astype(np.float32)
    return [measure_one(method, x, is_outlier, plain) for method in METHODS]


def with_outliers(rng: np.random.Generator, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """(FP32 values, which are outliers), both (rows, cols)."""
    is_outlier = rng.random((rows, cols)) < OUTLIER_PROBABILITY
    factor = np.where(is_outlier, 10 ** rng.uniform(*OUTLIER_DECADES, (rows, cols)), 1)
    return (rng.standard_normal((rows, cols)) * factor).astype(np.float32), is_outlier


def measure_one(method: Method, x: np.ndarray, is_outlier: np.ndarray, plain: np.ndarray) -> Row:
    back = there_and_back(x, method)
    error, ordinary = np.abs(back.astype(np.float64) - x), ~is_outlier
    return Row(
        method,
        outliers=float(error.mean()),
        ordinary=float(error[ordinary].mean()),
        flushed=float((back[ordinary] == 0).mean()),
        uniform=float(np.abs(there_and_back(plain, method).astype(np.float64) - plain).mean()),
    )


def there_and_back(x: np.ndarray, method: Method) -> np.ndarray:
    view = x if len(method.granularity.block) == 2 else x[None]  # weights' methods take (groups, K, N)
    codes, scales = quantize(view, method.granularity, power_of_two=method.power_of_two)
    back: np.ndarray = dequantize(codes, scales, method.granularity)
    return back.reshape(x.shape)


def markdown_table(rows: list[Row]) -> str:
    lines = [
        f"| {'method':26} | outliers: MAE | of the ordinary | flushed to 0 | uniform: MAE | chapter's MAE |",
        "|" + "-" * 28 + "|--------------:|----------------:|-------------:|-------------:|--------------:|",
    ]
    for row in rows:
        chapter = "–" if row.method.chapter is None else f"{row.method.chapter:.3f}"
        lines.append(
            f"| {row.method.name:26} | {row.outliers:13.4f} | {row.ordinary:15.4f} | {row.flushed:12.2%} |"
            f" {row.uniform:12.4f} | {chapter:>13} |"
        )
    return "\n".join(lines)


def page(rows: list[Row], command: str) -> str:
    return f"""# Accuracy of FP8 E4M3 against FP32

    {command}

{markdown_table(rows)}

![Mean absolute error of each method, with outliers and without](accuracy.svg)

- *outliers*: standard normal; each element is an outlier with probability 1/4096, multiplied by 10^u, u uniform in
  [2, 5]. *Of the ordinary*: the MAE over the elements that are not outliers. *Flushed to 0*: the share of these
  that became 0.
- *uniform*: uniform in [-1, 1], the exercises' inputs.
- *UE8M0*: scales rounded up to powers of two. An FP32 scale maps the amax to exactly 448, so the outlier itself is
  recovered without error. A power of two does not, and errors of up to 1/17 of the largest outliers make up most of
  that method's MAE.
- The course chapter does not name a distribution. Its figures are shown for comparison; they are not expected to
  match.

How to read it: E4M3 has its own exponent, so a normal value is off by at most 1/17 of itself, whatever the scale.
That is the floor that the finer methods reach, and that all methods reach on uniform values. The scale matters when
an outlier raises it so far that the other values fall below E4M3's smallest normal number, 28672 times smaller than
the outlier. Elements that share a scale with such an outlier are lost; the finer the blocks, the fewer there are.
"""


# The chart: a row for each method, two bars on a logarithmic axis, the chapter's figure as a diamond.

WIDTH, LEFT, RIGHT, TOP, ROW_HEIGHT, BAR = 760, 200, 70, 62, 46, 14
AXIS = (0.0005, 1.0)
TICKS = (0.001, 0.01, 0.1, 1.0)
BARS = (("outliers", "#b5542b"), ("uniform", "#3b6ea5"))
INK, FAINT = "#222222", "#cccccc"


def chart(rows: list[Row]) -> str:
    """SVG of its own, with a white ground so that it reads on dark pages too."""
    height = TOP + len(rows) * ROW_HEIGHT + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title" font-family="sans-serif" font-size="13">',
        '<title id="title">Mean absolute error of FP8 E4M3 against FP32 by method, logarithmic</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 24, "Mean absolute error of FP8 E4M3 against FP32 (logarithmic)", weight="bold"),
        *legend(),
        *grid(height - 34),
    ]
    for index, row in enumerate(rows):
        parts += bars(row, TOP + index * ROW_HEIGHT)
    return "\n".join([*parts, "</svg>\n"])


def position(value: float) -> float:
    """x of a value on the axis, kept within it."""
    low, high = np.log10(AXIS)
    share = (np.log10(min(max(value, AXIS[0]), AXIS[1])) - low) / (high - low)
    return round(float(LEFT + share * (WIDTH - LEFT - RIGHT)), 1)


def legend() -> list[str]:
    parts, x = [], LEFT
    for name, colour in BARS:
        parts += [f'<rect x="{x}" y="38" width="12" height="12" fill="{colour}"/>', text(x + 18, 49, name)]
        x += 100
    return [*parts, diamond(x + 6, 44), text(x + 18, 49, "the chapter's figure")]


def grid(bottom: int) -> list[str]:
    parts = []
    for tick in TICKS:
        x = position(tick)
        parts.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="{FAINT}"/>')
        parts.append(text(x, bottom + 18, f"{tick:g}", anchor="middle"))
    return parts


def bars(row: Row, y: int) -> list[str]:
    parts = [text(LEFT - 10, y + 26, row.method.name, anchor="end")]
    for index, (name, colour) in enumerate(BARS):
        value, top = float(getattr(row, name)), y + 7 + index * (BAR + 2)
        end = position(value)
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{BAR}" fill="{colour}"/>')
        parts.append(text(end + 6, top + 12, f"{value:.4f}"))
    if row.method.chapter is not None:
        parts.append(diamond(position(row.method.chapter), y + 7 + BAR // 2))
    return parts


def diamond(x: float, y: float) -> str:
    corners = f"{x},{y - 7} {x + 7},{y} {x},{y + 7} {x - 7},{y}"
    return f'<polygon points="{corners}" fill="#ffffff" stroke="{INK}" stroke-width="2"/>'


def text(x: float, y: float, content: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}">{content}</text>'


if __name__ == "__main__":
    main(sys.argv[1:])
