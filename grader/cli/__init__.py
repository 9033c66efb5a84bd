"""The command line: one file per verb."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from grader.cli.exits import INTERRUPTED, TERMINATED


def main() -> NoReturn:
    """The console script. It imports inside, so that Ctrl-C shows no traceback even while it loads."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        from grader.cli.command import invoke
        from grader.cli.streams import open_closed, replace_unknown

        open_closed()
        replace_unknown()
        status = invoke(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def _terminate(*_: object) -> NoReturn:
    """As an exception, so that the child is closed on the way out."""
    sys.exit(TERMINATED)
