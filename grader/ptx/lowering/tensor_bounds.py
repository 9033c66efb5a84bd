"""fma.oob: a NaN that stands for what lies outside of a tensor counts as zero.

PTX ISA, "Half Precision Floating Point Instructions: fma". The ISA does not say which NaN that is, so a thread that
multiplies any NaN ends the launch; nothing is judged then.
"""

from __future__ import annotations

from grader.ptx.ir import Value
from grader.ptx.lowering.arithmetic import ARITHMETIC
from grader.ptx.lowering.arithmetic.unit import PAIRS, halves_of
from grader.ptx.lowering.kernel import KernelBuilder
from grader.ptx.syntax import Instruction

INFINITY = {"f16": 0x7C00, "bf16": 0x7F80}


def fuse(u: KernelBuilder, ins: Instruction) -> None:
    type_, sources = ins.op.type, list(ins.operands[1:])
    infinity = INFINITY.get(type_.removesuffix("x2"))
    if infinity is None:
        raise u.unsupported()
    nan = u.f.const("i1", 0)
    for factor in (u.value(source, type_) for source in sources[:2]):
        for half in halves_of(factor) if type_ in PAIRS else [factor]:
            nan = nan | (half & 0x7FFF).ugt(infinity)
    with u.f.when(nan, likely=False):
        u.give_up(u.unsupported(f"{ins.opcode} of NaN"))
        u.f.line("unreachable")
        u.f.label(u.f.fresh("dead"))
    mods = [m for m in ins.modifiers if m != "oob"]
    result = ARITHMETIC["fma"](u, mods, sources)
    assert isinstance(result, Value)
    u.assign(ins.operands[0], result)


HANDLERS = {"fma.rn.oob": fuse}
