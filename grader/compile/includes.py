"""Which include of a submission leads to a header. NVRTC does not report it, so the includes are followed here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from grader.compile import recipe, toolkit
from grader.compile.directives import Include

MAX_FILES = 4000  # libcu++ and CUB together have fewer

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">\n]+)[">]', re.MULTILINE)


def line_leading_to(header: str, includes: Iterable[Include]) -> int:
    """The line of the first include that leads to `header` (a display name); 0 if none does."""
    for include in includes:
        if _reaches(include.target, header):
            return include.line
    return 0


def _reaches(start: str, header: str) -> bool:
    seen, queue = {start}, deque([start])
    while queue and len(seen) < MAX_FILES:
        name = queue.popleft()
        if name == header:
            return True
        for target in _INCLUDE.findall(_content(name)):
            for candidate in (target, str(Path(name).parent / target)):
                if candidate not in seen and _exists(candidate):
                    seen.add(candidate)
                    queue.append(candidate)
                    break
    return False


def _exists(name: str) -> bool:
    return name in recipe.headers() or _path(name) is not None


def _path(name: str) -> Path | None:
    return next((f / name for f in toolkit.include_folders() if (f / name).is_file()), None)


def _content(name: str) -> str:
    if name in recipe.headers():
        return recipe.headers()[name]
    path = _path(name)
    return path.read_text(encoding="utf-8", errors="replace") if path else ""
