"""The command line: one file per verb."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as a shell says it


def main() -> NoReturn:
    """The console script. It imports inside, so that Ctrl-C shows no traceback even while it loads."""
    try:
        from grader.cli.command import invoke

        status = invoke(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
