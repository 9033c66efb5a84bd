"""Builds a wheel of this grader, from a checkout or an installed copy, without a build tool.

The format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grader
from grader import __version__, reference_kernels, reports

DISTRIBUTION = "cuda-kernel-grader"
NAME = f"{DISTRIBUTION.replace('-', '_')}-{__version__}-py3-none-any.whl"

_ROOT = Path(__file__).parents[3]
# What the wheel holds, by its place there; a checkout has the latter two beside the first.
_FOLDERS = {
    module.__name__.replace(".", "/"): Path(module.__path__[0]) for module in (grader, reference_kernels, reports)
}
_INFO = f"{DISTRIBUTION.replace('-', '_')}-{__version__}.dist-info"
_LEFT_OUT = frozenset({"__pycache__", "_exercises"})
_WHEEL = "Wheel-Version: 1.0\nGenerator: cuda-kernel-grader\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SCRIPTS = "[console_scripts]\ngrade = grader.cli:main\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """The same files give the same bytes. Exercises are not included."""
    files = dict(sorted(_files()))
    files[f"{_INFO}/METADATA"] = _metadata().encode()
    files[f"{_INFO}/WHEEL"] = _WHEEL.encode()
    files[f"{_INFO}/entry_points.txt"] = _SCRIPTS.encode()
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{_INFO}/RECORD"] = f"{record}{_INFO}/RECORD,,\n".encode()
    return zipped(files)


def zipped(files: dict[str, bytes], executable: frozenset[str] = frozenset()) -> bytes:
    """A zip without timestamps, so that the same files give the same zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (0o100755 if name in executable else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return content.getvalue()


def requirements() -> list[str]:
    """The requirements for running; a checkout's pyproject.toml is newer than the metadata once installed from it."""
    project = _ROOT / "pyproject.toml"
    if project.is_file():
        return list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
    installed = importlib.metadata.requires(DISTRIBUTION) or []
    return [requirement for requirement in installed if "extra ==" not in requirement]


def constraints() -> str:
    """The versions this grader was tested with, or runs with here, so that all grades come from the same versions."""
    tested = _ROOT / "constraints.txt"
    if tested.is_file():
        return tested.read_text(encoding="utf-8")
    names = [match[0] for requirement in requirements() if (match := re.match(r"[\w.-]+", requirement))]
    return "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in names)


def _files() -> Iterator[tuple[str, bytes]]:
    for name, folder in _FOLDERS.items():
        for file in folder.rglob("*"):
            place = Path(name, file.relative_to(folder))
            hidden = any(part.startswith(".") for part in place.parts)
            if file.is_file() and not hidden and _LEFT_OUT.isdisjoint(place.parts):
                yield place.as_posix(), file.read_bytes()


def _metadata() -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {DISTRIBUTION}", f"Version: {__version__}", "Requires-Python: >=3.11"]
    return "\n".join([*lines, *(f"Requires-Dist: {requirement}" for requirement in requirements())]) + "\n"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
