"""The syntax tree of a PTX module: functions, instructions, operands, variables."""

from __future__ import annotations

from dataclasses import dataclass, field

from grader.ptx.opcodes.opcode import Opcode, read_opcode
from grader.ptx.opcodes.traits import Traits


@dataclass(frozen=True, slots=True)
class Location:
    """A source position; in an inlined function, `inlined_at` is where it was called."""

    file: str
    line: int
    column: int
    inlined_at: Location | None = None

    def frames(self) -> list[Location]:
        """This position, then its callers, innermost first."""
        frames, at = [self], self.inlined_at
        while at is not None and len(frames) < 32:
            frames.append(at)
            at = at.inlined_at
        return frames


NOWHERE = Location("", 0, 0)


@dataclass(frozen=True, slots=True)
class Register:
    name: str  # with a leading "!" if a predicate is negated
    is_special: bool = False  # %tid.x and the like, and the sink "_"; not declared by the program


@dataclass(frozen=True, slots=True)
class Immediate:
    """`bits` as written: an integer literal (may be negative), or the bits of a 0f/0d literal."""

    bits: int
    float_width: int = 0  # 32 or 64 for 0f… and 0d… literals


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, a function or a label."""

    name: str


@dataclass(frozen=True, slots=True)
class Address:
    base: Register | Symbol | Immediate
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Vector:
    items: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two destinations of one instruction, `%p1|%p2`."""

    first: Register
    second: Register


@dataclass(frozen=True, slots=True)
class Unread:
    """An operand in a form that the engine does not know: no thread may reach its instruction."""

    text: str


Operand = Register | Immediate | Symbol | Address | Vector | Pair | Unread


def items_of(operand: Operand) -> tuple[Operand, ...]:
    """The elements of a vector; of anything else, itself."""
    return operand.items if isinstance(operand, Vector) else (operand,)


@dataclass(slots=True)
class Instruction:
    opcode: str  # all of it: "mad.lo.s32"
    operands: tuple[Operand, ...]
    guard: str | None = None  # predicate register
    guard_negated: bool = False
    location: Location = NOWHERE
    op: Opcode = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.op = read_opcode(self.opcode)

    @property
    def base(self) -> str:
        return self.op.base

    @property
    def modifiers(self) -> tuple[str, ...]:
        return self.op.modifiers

    @property
    def traits(self) -> Traits:
        return self.op.traits


@dataclass(slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    bytes: int
    align: int = 0
    is_array: bool = False  # a struct passed by value


@dataclass(frozen=True, slots=True)
class Variable:
    """A .shared, .local, .global, .const or .param variable. `size` 0: extern shared (dynamic)."""

    name: str
    space: str
    size: int
    align: int
    data: bytes | None = None  # initialiser
    relocations: tuple[tuple[int, str, int], ...] = ()  # (offset, symbol, addend): addresses in it
    element: int = 1  # bytes of one element


@dataclass(slots=True)
class Function:
    name: str
    is_entry: bool
    parameters: tuple[Param, ...]
    results: tuple[Param, ...] = ()
    registers: dict[str, str] = field(default_factory=dict)  # name -> type ("pred", "b32", "f32", …)
    variables: dict[str, Variable] = field(default_factory=dict)
    body: list[Instruction | Label] = field(default_factory=list)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)  # .branchtargets
    max_threads: int | None = None
    cluster: tuple[int, int, int] = (1, 1, 1)  # __cluster_dims__, in blocks
    line: int = 0


@dataclass(slots=True)
class Module:
    functions: dict[str, Function]
    variables: dict[str, Variable]
    files: dict[int, str]

    @property
    def kernels(self) -> dict[str, Function]:
        return {name: f for name, f in self.functions.items() if f.is_entry}
