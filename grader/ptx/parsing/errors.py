"""PTX that makes no sense."""

from __future__ import annotations


class PtxError(Exception):
    """PTX that cannot be read. The grader's fault or inline PTX gone wrong; never a student's loss."""
