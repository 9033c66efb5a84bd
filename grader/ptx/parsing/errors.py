"""What the parser raises."""

from __future__ import annotations


class PtxError(Exception):
    """PTX that cannot be read, as inline PTX may be. It never costs a student points.

    `file` and `line` are the submission's, where they are known.
    """

    file = ""
    line = 0
