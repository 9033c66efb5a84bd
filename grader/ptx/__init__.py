"""Runs PTX on a CPU and checks every access. Imports nothing of the rest of grader."""

from grader.ptx.engine import Execution, GridTooLarge, Program, Warps, keep, prepare
from grader.ptx.facts import Related, Report
from grader.ptx.launch import Argument, Buffer, Limits
from grader.ptx.parsing.errors import PtxError
from grader.ptx.parsing.module import parse
from grader.ptx.syntax import Function, Module, Param
from grader.ptx.tensor_maps import TensorMap
from grader.ptx.unsupported import OutOfTime, Unsupported

__all__ = [
    "Argument",
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
    "TensorMap",
    "Unsupported",
    "Warps",
    "keep",
    "parse",
    "prepare",
]
