"""The state of one interpreted thread, and what its operands and addresses mean."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

from grader.ptx.definition.computation import number, wrap
from grader.ptx.definition.spaces import Dim3, GridState, InterpreterError, inside
from grader.ptx.opcodes.opcode import Opcode
from grader.ptx.syntax import Address, Function, Immediate, Operand, Register, Symbol
from grader.ptx.types import BITS

# Generic addresses of the two windows; every other allocation has an address range of its own below them.
SHARED_WINDOW = 1 << 60
LOCAL_WINDOW = 1 << 61


SHARED_STRETCH = 1 << 24  # between the shared memories of the blocks of a cluster


class State:
    """One thread's registers, carry flag, local memory and asynchronous copies."""

    def __init__(
        self, launch: GridState, cluster: Sequence[memoryview], block: Dim3, place: Dim3, index: int
    ) -> None:
        """`cluster`: the shared memory of each of its blocks. `index`: of the thread in its block."""
        self.launch, self.cluster, self.lane = launch, cluster, index % 32
        self.rank = rank_of(block, launch.cluster)
        self.arrived = 0  # how often at the barrier of the cluster
        self.special = _special_registers(launch, block, place, index)
        self.local = bytearray()
        self.carry = 0
        self.function: Function
        self.registers: dict[str, int] = {}
        self.parameters: dict[str, bytearray] = {}
        self.locals: dict[str, int] = {}
        self.copies: list[tuple[memoryview, bytes]] = []  # of cp.async, in the open group
        self.groups: list[list[tuple[memoryview, bytes]]] = []

    def read(self, operand: Operand, type_: str) -> int:
        """An operand's bit pattern, in the width of the instruction's type."""
        if isinstance(operand, Register):
            negated = operand.name.startswith("!")
            name = operand.name.removeprefix("!")
            if operand.is_special and name not in self.special:
                raise InterpreterError(f"the register {name} is not known")
            value = self.special[name] if operand.is_special else self.registers.get(name, 0)
            return 1 - value if negated else wrap(type_, value)
        if isinstance(operand, Immediate):
            return wrap(type_, _literal(operand, type_))
        if isinstance(operand, Symbol):
            return self.address_of(operand.name)
        if isinstance(operand, Address):
            return self.read(operand.base, "u64") + operand.offset
        raise InterpreterError(f"operand not known: {operand}")

    def address_of(self, name: str) -> int:
        """A variable's address in its own state space."""
        if name in self.launch.shared and name not in self.locals:
            return self.rank * SHARED_STRETCH + self.launch.shared[name]
        for table in (self.locals, self.launch.symbols):
            if name in table:
                return table[name]
        raise InterpreterError(f"{name} has no address")

    def write(self, operand: Operand, type_: str, value: int) -> None:
        """Write to a register that may be wider: signed types are sign-extended, others zero-extended."""
        assert isinstance(operand, Register)
        if operand.name != "_":
            self.registers[operand.name] = wrap(self.function.registers[operand.name], number(type_, value))

    def cells(self, op: Opcode, operand: Operand) -> list[memoryview]:
        """The memory of each element that a load, store or atomic touches."""
        data = self.memory(op.space, operand, op.bytes)
        return [data[i : i + op.element_bytes] for i in range(0, op.bytes, op.element_bytes)]

    def memory(self, space: str, operand: Operand, size: int) -> memoryview:
        assert isinstance(operand, Address)
        if isinstance(operand.base, Symbol) and operand.base.name in self.parameters:
            return inside(memoryview(self.parameters[operand.base.name]), operand.offset, size)
        return self.at(space, self.read(operand, "u64"), size)

    def at(self, space: str, address: int, size: int) -> memoryview:
        address = wrap("b64", address)
        if space == "generic" and SHARED_WINDOW <= address < LOCAL_WINDOW:
            space, address = "shared", address - SHARED_WINDOW
        elif space == "generic" and address >= LOCAL_WINDOW:
            space, address = "local", address - LOCAL_WINDOW
        if space == "shared":
            rank, offset = divmod(address, SHARED_STRETCH)
            if rank >= len(self.cluster):
                raise InterpreterError(f"no shared memory at {address:#x}")
            return inside(self.cluster[rank], offset, size)
        if space == "local":
            return inside(memoryview(self.local), address, size)
        return self.launch.memory.at(address, size)


def _literal(immediate: Immediate, type_: str) -> int:
    """The bits of a literal in the type of the instruction; a float literal of the other width is converted."""
    width = BITS[type_]
    if immediate.float_width in (0, width):
        return immediate.bits
    source, target = ("<d", "<f") if width == 32 else ("<f", "<d")
    value = struct.unpack(source, immediate.bits.to_bytes(immediate.float_width // 8, "little"))[0]
    return int.from_bytes(struct.pack(target, value), "little")


def rank_of(block: Dim3, cluster: Dim3) -> int:
    """Which block of its cluster it is."""
    x, y, z = (b % c for b, c in zip(block, cluster, strict=True))
    return (z * cluster[1] + y) * cluster[0] + x


def _special_registers(launch: GridState, block: Dim3, place: Dim3, index: int) -> dict[str, int]:
    cluster = launch.cluster
    in_cluster = tuple(b % c for b, c in zip(block, cluster, strict=True))
    vectors = {
        "%tid": place,
        "%ntid": launch.block,
        "%ctaid": block,
        "%nctaid": launch.grid,
        "%clusterid": tuple(b // c for b, c in zip(block, cluster, strict=True)),
        "%nclusterid": tuple(g // c for g, c in zip(launch.grid, cluster, strict=True)),
        "%cluster_ctaid": in_cluster,
        "%cluster_nctaid": cluster,
    }
    registers = {
        f"{name}.{axis}": v for name, vector in vectors.items() for axis, v in zip("xyzw", (*vector, 0), strict=True)
    }
    registers |= {
        "%cluster_ctarank": rank_of(block, cluster),
        "%cluster_nctarank": prod(cluster),
        "%is_explicit_cluster": int(cluster != (1, 1, 1)),
    }
    registers |= {f"%envreg{i}": 0 for i in range(1, 32) if i not in (6, 10)}
    lane = index % 32
    registers |= {"%laneid": lane, "%lanemask_eq": 1 << lane, "%lanemask_lt": (1 << lane) - 1}
    registers |= {"%lanemask_le": (2 << lane) - 1, "%lanemask_gt": wrap("b32", ~((2 << lane) - 1))}
    registers |= {"%warpid": index // 32, "%nwarpid": -(-launch.block[0] * launch.block[1] * launch.block[2] // 32)}
    registers |= {
        "%lanemask_ge": wrap("b32", ~((1 << lane) - 1)),
        "%dynamic_smem_size": launch.shared_bytes,
    }
    return registers
