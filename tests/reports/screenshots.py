"""Screenshots of the report and of the terminal, made of real gradings.

    python -m tests.reports.screenshots docs/images       the README's
    python -m tests.reports.screenshots --all DIR         every situation, wide and narrow, light and dark

Needs Chromium on PATH, and for the README's images a minute for the gradings.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI

from grader.cli.terminal import WIDTH, print_result
from grader.exercise import catalog
from grader.model import codec
from grader.model.exercise import Exercise
from grader.model.result import Result
from grader.reports import render
from tests.reports import samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SIZES = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")
SEED = "7"

EXERCISES = samples.ROOT / "exercises"

# By image: the exercise, a wrong kernel of its, and what of the report is shown: a selector, and at most so many
# pixels of it. A README's image stays below 150 kB.
OF_WRONG_KERNELS = {
    "report-wrong-tile": ("01_simple_grouped_gemm", "rows_of_the_mean_group", "body", 1040),
    "report-race": ("01_simple_grouped_gemm", "no_barrier_before_reload", "body", 880),
    "report-fp8": ("02_fp8_conversion", "ties_away", "#problem-1", 600),
}
OF_THE_TERMINAL = ("01_simple_grouped_gemm", "no_barrier_before_reload")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every situation instead of the README's images")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("no Chromium on PATH")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as running, tempfile.TemporaryDirectory() as scratch:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        make = every_situation if arguments.all else readme
        for image in make(browser, arguments.folder, Path(scratch)):
            print(f"{image}  {image.stat().st_size // 1000} kB")  # noqa: T201 - it is a command
        browser.close()


def every_situation(browser: Any, folder: Path, scratch: Path) -> list[Path]:
    images = []
    for name, result in samples.SITUATIONS.items():
        page_file = scratch / f"{name}.html"
        since = samples.SITUATIONS["too-slow"] if name == "passed" else None
        page_file.write_text(render(result, samples.EXERCISE, samples.SOURCE, since=since), encoding="utf-8")
        for width, height in SIZES.items():
            for scheme in SCHEMES:
                image = folder / f"{name}-{width}-{scheme}.png"
                with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
                    page = context.new_page()
                    page.goto(page_file.as_uri())
                    page.screenshot(path=image, full_page=True)
                images.append(image)
    return images


def readme(browser: Any, folder: Path, scratch: Path) -> list[Path]:
    images = []
    for name, (exercise, kernel, selector, height) in OF_WRONG_KERNELS.items():
        chosen, result, source = graded(exercise, kernel, scratch)
        page = render(result, chosen, source)
        images.append(shot(browser, page, folder / f"{name}.png", selector, height))
    slow = render(samples.on_h200("tile16"), samples.EXERCISE)
    images.append(shot(browser, slow, folder / "report-speed.png", "[aria-labelledby=speed]", 980))
    images.append(shot(browser, slow, folder / "report-roofline.png", ".roofline", 600))
    images.append(shot(browser, terminal(*graded(*OF_THE_TERMINAL, scratch)), folder / "terminal.png", "pre", 800))
    return images


def graded(exercise: str, kernel: str, scratch: Path) -> tuple[Exercise, Result, str]:
    """A wrong kernel as a student would have written it: without the comments that say what is wrong."""
    folder = scratch / kernel
    folder.mkdir(exist_ok=True)
    source = (EXERCISES / exercise / "wrong" / f"{kernel}.cu").read_text()
    source = re.sub(r"\A(?:\s*//.*\n)+", "", re.sub(r"\s*// <-- here.*", "", source))
    (folder / "starter.cu").write_text(source)
    grade = ("-m", "grader", "run", exercise, "starter.cu", "--exercises", EXERCISES, "--device", "cpu")
    command = (sys.executable, *map(str, grade), "--seed", SEED, "--json", "result.json")
    environment = os.environ | {"PYTHONPATH": str(samples.ROOT), "XDG_STATE_HOME": str(scratch)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode != 1:
        sys.exit(f"{kernel} was not graded as failed:\n{done.stdout.decode()}{done.stderr.decode()}")
    result = codec.decode((folder / "result.json").read_bytes())
    return catalog.find(exercise, EXERCISES), result, source


def shot(browser: Any, html: str, image: Path, selector: str, height: int) -> Path:
    """The element, from its top on, at most so many pixels of it."""
    with browser.new_context(viewport={"width": 1000, "height": height}, color_scheme="light") as context:
        page = context.new_page()
        page.set_content(html)
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        page.screenshot(path=image, full_page=True, clip=box | {"height": min(box["height"], height)})
    return image


def terminal(exercise: Exercise, result: Result, source: str) -> str:
    """What grade run prints, with its colours, as a page."""
    out = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, highlight=False, markup=False)
    print_result(out, result, exercise, source)
    style = "background:#0c0c0c;color:#d9d9d9;font:15px/1.4 'DejaVu Sans Mono',monospace;padding:1em"
    code = f'<pre style="{style};display:inline-block">{{code}}</pre>'
    return out.export_html(theme=MONOKAI, inline_styles=True, code_format=code)


if __name__ == "__main__":
    main()
