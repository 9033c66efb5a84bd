"""PTX kernels that apply single instructions: one sample per thread, operands in, results out.

A kernel holds many instructions, for compiling a kernel costs more than compiling an instruction. Those with
the same operand types are a group and share its loads. Every operand of every group, and every result of
every instruction, takes a slot of 8 bytes: thread i reads slots `i * kernel.inputs …` of `in`, writes `i *
kernel.outputs …` of `out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from grader.ptx.definition import semantics
from grader.ptx.types import BITS

HEADER = ".version 9.0\n.target sm_90a\n.address_size 64\n"
CARRY_READERS = ("addc", "subc", "madc")
LOP3_TABLES = (0x96, 0xE8, 0xCA, 0x01)  # a ^ b ^ c, majority, select, nor

Rows = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """An instruction; `immediate` is the fourth operand where that must be a literal (lop3's table)."""

    opcode: str
    immediate: int | None = None

    @property
    def operands(self) -> tuple[str, ...]:
        """Types of the operands that arrive in registers."""
        types = semantics.signature(self.opcode).operands
        return tuple(t for t in types if t != "u8") if self.immediate is not None else types

    @property
    def results(self) -> tuple[str, ...]:
        return semantics.signature(self.opcode).results

    def arguments(self, operands: Sequence[int]) -> list[int]:
        """Register operands of one sample → all operands, as the definition takes them."""
        if self.immediate is None:
            return list(operands)
        return [*operands[:3], self.immediate, *operands[3:]]

    def __str__(self) -> str:
        return self.opcode if self.immediate is None else f"{self.opcode} {self.immediate:#x}"


def cases(opcodes: Iterable[str]) -> list[Case]:
    """Without those of 16 bytes, which no slot holds."""
    opcodes = [opcode for opcode in opcodes if not opcode.endswith(".b128")]
    return [Case(o, table) for o in opcodes for table in (LOP3_TABLES if o.startswith("lop3") else (None,))]


def is_one_of_many_alike(opcode: str) -> bool:
    """Spellings that differ in a type or a modifier which others cover: each costs time to compile."""
    name, *parts = opcode.split(".")
    if name in ("set", "setp") and {"and", "or", "xor"} & set(parts):
        return parts[0] not in ("lt", "eq") or parts[-1] not in ("s32", "b64", "f32", "f16x2")
    if name == "set":
        return parts[-2] == "s32" or parts[-1] not in ("u16", "b32", "s64", "f32", "f64", "f16x2")
    if name == "slct":
        return parts[-2] not in ("b16", "s32", "f64")
    return name == "cvt" and parts[0].endswith("i") and "sat" in parts and parts[-2][0] in "us"


def disagreement(case: Case, row: tuple[int, ...], got: tuple[int, ...]) -> str | None:
    """None where a result is right, else the operands, the result and the definition's."""
    operands = case.arguments(row)
    if semantics.agrees(case.opcode, operands, got if len(got) > 1 else got[0]):
        return None
    expected = semantics.evaluate(case.opcode, operands)
    return f"{case} {_hex(operands)}: got {_hex(got)}, expected {_hex(expected)}"


def _hex(values: int | Sequence[int]) -> str:
    return " ".join(f"{value:#x}" for value in ([values] if isinstance(values, int) else values))


@dataclass(frozen=True)
class Group:
    """Cases with the same operand types."""

    operands: tuple[str, ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Kernel:
    name: str
    groups: tuple[Group, ...]

    @property
    def cases(self) -> list[Case]:
        return [case for group in self.groups for case in group.cases]

    def group(self, case: Case) -> Group:
        return next(group for group in self.groups if case in group.cases)

    def results(self, case: Case, outputs: np.ndarray) -> list[tuple[int, ...]]:
        """What one case wrote, of the (samples, outputs) slots: per sample, a bit pattern per result."""
        before = self.cases[: self.cases.index(case)]
        start = sum(len(other.results) for other in before)
        masks = [(1 << BITS[type_]) - 1 for type_ in case.results]
        slots = outputs[:, start : start + len(masks)].tolist()
        return [tuple(slot & mask for slot, mask in zip(row, masks, strict=True)) for row in slots]

    def slots(self, samples: Mapping[Group, Rows], count: int) -> np.ndarray:
        """The (count, inputs) slots for `count` samples of each group; of groups not given, zeros."""
        columns = [samples.get(group, [(0,) * len(group.operands)] * count) for group in self.groups]
        return np.concatenate([np.array(column, dtype=np.uint64) for column in columns], axis=1)

    @property
    def inputs(self) -> int:
        return sum(len(group.operands) for group in self.groups)

    @property
    def outputs(self) -> int:
        return sum(len(case.results) for case in self.cases)


def kernels(all_cases: Iterable[Case], most: int) -> list[Kernel]:
    """Cases packed into kernels of at most `most`."""
    by_operands: dict[tuple[str, ...], list[Case]] = {}
    for case in all_cases:
        by_operands.setdefault(case.operands, []).append(case)
    ordered = [case for group in by_operands.values() for case in group]
    chunks = [ordered[i : i + most] for i in range(0, len(ordered), most)]
    return [Kernel(f"instructions_{i}", _groups(chunk)) for i, chunk in enumerate(chunks)]


def _groups(chunk: list[Case]) -> tuple[Group, ...]:
    return tuple(Group(operands, tuple(cases)) for operands, cases in groupby(chunk, lambda case: case.operands))


def module(all_kernels: Iterable[Kernel]) -> str:
    return HEADER + "".join(map(_kernel, all_kernels))


def _kernel(kernel: Kernel) -> str:
    registers: list[str] = []
    body: list[str] = []
    input_slot = output_slot = number = 0
    for name, group in enumerate(kernel.groups):
        registers.append(_declare(group.operands, f"a{name}_"))
        for i, type_ in enumerate(group.operands):
            body += _load(f"a{name}_{i}", type_, input_slot)
            input_slot += 1
        sources = [f"%{_letter(t)}a{name}_{i}" for i, t in enumerate(group.operands)]
        for case in group.cases:
            registers.append(_declare(case.results, f"r{number}_"))
            targets = [f"%{_letter(t)}r{number}_{i}" for i, t in enumerate(case.results)]
            body += _apply(case, sources, targets)
            for register, type_ in zip(targets, case.results, strict=True):
                body += _store(register, type_, output_slot)
                output_slot += 1
            number += 1
    return f"""
.visible .entry {kernel.name}(.param .u64 input, .param .u64 output)
{{
    .reg .b32 %index, %size, %word, %zero;
    .reg .b64 %in, %out, %offset;
    {" ".join(registers)}
    ld.param.u64 %in, [input];
    ld.param.u64 %out, [output];
    mov.u32 %index, %ctaid.x;
    mov.u32 %size, %ntid.x;
    mov.u32 %word, %tid.x;
    mad.lo.s32 %index, %index, %size, %word;
    mul.wide.u32 %offset, %index, {8 * kernel.inputs};
    add.s64 %in, %in, %offset;
    mul.wide.u32 %offset, %index, {8 * kernel.outputs};
    add.s64 %out, %out, %offset;
    mov.u32 %zero, 0;
    {chr(10).join("    " + line for line in body).strip()}
    ret;
}}
"""


def _letter(type_: str) -> str:
    return "p" if type_ == "pred" else "v"


def _register_type(type_: str) -> str:
    return "pred" if type_ == "pred" else f"b{max(BITS[type_], 16)}"  # 8-bit values live in 16-bit registers


def _declare(types: Sequence[str], stem: str) -> str:
    return " ".join(f".reg .{_register_type(t)} %{_letter(t)}{stem}{i};" for i, t in enumerate(types))


def _memory_type(type_: str) -> str:
    return "u32" if type_ == "pred" else f"u{BITS[type_]}"


def _load(stem: str, type_: str, slot: int) -> list[str]:
    if type_ == "pred":
        return [f"ld.global.u32 %word, [%in+{8 * slot}];", f"setp.ne.u32 %p{stem}, %word, 0;"]
    return [f"ld.global.{_memory_type(type_)} %v{stem}, [%in+{8 * slot}];"]


def _store(register: str, type_: str, slot: int) -> list[str]:
    if type_ == "pred":
        return [f"selp.u32 %word, 1, 0, {register};", f"st.global.u32 [%out+{8 * slot}], %word;"]
    return [f"st.global.{_memory_type(type_)} [%out+{8 * slot}], {register};"]


def _apply(case: Case, sources: list[str], targets: list[str]) -> list[str]:
    base = case.opcode.split(".")[0]
    if ".cc." in case.opcode or base in CARRY_READERS:
        return _with_carry(case.opcode, base, sources, targets)
    if base == "mov" and ".pack" in case.opcode:
        return [f"mov.{case.results[0]} {targets[0]}, {{{', '.join(sources)}}};"]
    if base == "mov" and ".unpack" in case.opcode:
        return [f"mov.{case.operands[0]} {{{', '.join(targets)}}}, {sources[0]};"]
    if case.immediate is not None:
        sources = [*sources[:3], f"{case.immediate:#x}", *sources[3:]]
    return [f"{case.opcode} {'|'.join(targets)}, {', '.join(sources)};"]


def _with_carry(opcode: str, base: str, sources: list[str], targets: list[str]) -> list[str]:
    """Sets the condition code from a predicate before, and reads it into one after."""
    borrows = base.startswith("sub")
    lines = []
    if base in CARRY_READERS:
        *sources, carry = sources
        lines.append(f"selp.u32 %word, 1, 0, {carry};")
        lines.append("sub.cc.u32 %word, %zero, %word;" if borrows else "add.cc.u32 %word, %word, 0xffffffff;")
    lines.append(f"{opcode} {targets[0]}, {', '.join(sources)};")
    if ".cc." in opcode:
        lines.append(f"{'subc' if borrows else 'addc'}.u32 %word, %zero, %zero;")
        lines.append(f"setp.ne.u32 {targets[1]}, %word, 0;")
    return lines
