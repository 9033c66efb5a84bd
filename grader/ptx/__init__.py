"""Runs PTX on a CPU and checks every access. Imports nothing of the rest of grader."""

from grader.ptx.analysis.flow import OutOfTime, Unsupported
from grader.ptx.engine import Execution, GridTooLarge, Program, prepare
from grader.ptx.facts import Related, Report
from grader.ptx.launch import Buffer, Limits
from grader.ptx.parser import Function, Module, Param, PtxError, parse

__all__ = [
    "Buffer",
    "Execution",
    "Function",
    "GridTooLarge",
    "Limits",
    "Module",
    "OutOfTime",
    "Param",
    "Program",
    "PtxError",
    "Related",
    "Report",
    "Unsupported",
    "parse",
    "prepare",
]
