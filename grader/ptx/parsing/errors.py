"""What the parser raises."""

from __future__ import annotations


class PtxError(Exception):
    """PTX that cannot be parsed. Either the grader or inline PTX is wrong; it never costs a student points."""
