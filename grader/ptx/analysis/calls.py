"""Inlines every call, so that a thread's whole state lies in one frame, even across barriers.

A recursive function is copied once, after the kernel's own code. A caller pushes the registers that it needs after
the call, and the number of its return address, onto a stack in the thread's frame and jumps; after the return it pops
them.
"""

from __future__ import annotations

from dataclasses import replace

from grader.ptx.analysis.flow import blocks_of
from grader.ptx.analysis.registers import defs_and_uses
from grader.ptx.opcodes.rows import POP, PUSH, STACK
from grader.ptx.opcodes.traits import Flow
from grader.ptx.syntax import (
    Address,
    Function,
    Immediate,
    Instruction,
    Label,
    Location,
    Module,
    Operand,
    Pair,
    Param,
    Register,
    Symbol,
    Variable,
    Vector,
)
from grader.ptx.unsupported import Unsupported

BUILT_IN_CALLS = {"vprintf", "__assertfail", "malloc", "free"}
MAX_INSTRUCTIONS = 200_000


def expand_calls(module: Module, function: Function) -> Function:
    """The function without calls, but for those of built-in functions. Raises Unsupported."""
    expanded = replace(function, body=[], registers=dict(function.registers), variables=dict(function.variables))
    _Expander(module, expanded).expand(function)
    return expanded


class _Expander:
    def __init__(self, module: Module, into: Function) -> None:
        self.module, self.into, self.calls = module, into, 0
        self.recursive: set[str] = set()
        self.returns: dict[str, list[str]] = {}  # of each recursive function: its return addresses
        self.live: dict[int, frozenset[str]] = {}  # registers that are live after a call, by its `id`

    def expand(self, function: Function) -> None:
        self.recursive = _recursive(self.module, function)
        self.copy(function, {}, None)
        if not self.returns:
            return
        self.into.body.insert(0, Instruction(STACK, ()))
        placed: set[str] = set()
        while waiting := [name for name in self.returns if name not in placed]:
            self._place(self.module.functions[waiting[0]])
            placed.add(waiting[0])
        for name, labels in self.returns.items():
            self.into.tables[f"returns@{name}"] = tuple(labels)

    def copy(self, source: Function, rename: dict[str, str], leave: str | None) -> None:
        """Append a function's body; its `ret` becomes a jump to the label `leave`."""
        for item in source.body:
            if isinstance(item, Label):
                self.into.body.append(Label(rename.get(item.name, item.name)))
                continue
            if item.traits.flow is Flow.CALL:
                self._call(item, rename)
                continue
            opcode = item.opcode
            operands = tuple(_renamed(o, rename) for o in item.operands) if rename else item.operands
            if leave and item.traits.flow is Flow.RETURN:
                opcode, operands = "bra", (Symbol(leave),)
            guard = rename.get(item.guard, item.guard) if item.guard else None
            self.into.body.append(Instruction(opcode, operands, guard, item.guard_negated, item.location))
            if len(self.into.body) > MAX_INSTRUCTIONS:
                raise Unsupported("the kernel has too many instructions once its calls are expanded", item.location)
        for name, targets in source.tables.items():
            self.into.tables[rename.get(name, name)] = tuple(rename.get(t, t) for t in targets)

    def _call(self, call: Instruction, rename: dict[str, str]) -> None:
        results, target, arguments = _parts(call)
        if isinstance(target, Symbol) and target.name in BUILT_IN_CALLS:
            self._keep(call, rename)
            return
        if isinstance(target, Register):
            self._through_pointer(call, rename)
            return
        callee = self.module.functions.get(target.name) if isinstance(target, Symbol) else None
        if callee is None or len(results) + len(arguments) != len(callee.results) + len(callee.parameters):
            self._keep(call, rename)  # nothing that is known: a thread that gets there ends the launch
            return
        self._to(callee, call, rename)

    def _through_pointer(self, call: Instruction, rename: dict[str, str]) -> None:
        """Compares the pointer with the address of each function that it may hold, and calls that one."""
        results, target, arguments = _parts(call)
        pointer, guard = _renamed(target, rename), rename.get(call.guard, call.guard) if call.guard else None
        self.calls += 1
        done = f"done@call{self.calls}"
        if guard:
            self._add(call.location, "bra", Symbol(done), guard=guard, negated=not call.guard_negated)
        for callee in _candidates(self.module, len(results), len(arguments)):
            self.calls += 1
            found, other = Register(f"%is@call{self.calls}"), f"other@call{self.calls}"
            self.into.registers[found.name] = "pred"
            self._add(call.location, "setp.eq.u64", found, pointer, Symbol(callee.name))
            self._add(call.location, "bra", Symbol(other), guard=found.name, negated=True)
            self._to(callee, replace(call, guard=None), rename)
            self._add(call.location, "bra", Symbol(done))
            self.into.body.append(Label(other))
        self._add(call.location, "trap")
        self.into.body.append(Label(done))

    def _to(self, callee: Function, call: Instruction, rename: dict[str, str]) -> None:
        results, _, arguments = _parts(call)
        self.calls += 1
        actual = [_name(_renamed(o, rename)) for o in (*results, *arguments)]
        skip = f"skip@call{self.calls}"
        if call.guard:
            guard = rename.get(call.guard, call.guard)
            self._add(call.location, "bra", Symbol(skip), guard=guard, negated=not call.guard_negated)
        if callee.name in self.recursive:
            live = sorted(rename.get(r, r) for r in self.live.get(id(call), ()))
            self._jump_into(callee, actual, live, call.location)
        else:
            self._inline(callee, actual)
        if call.guard:
            self.into.body.append(Label(skip))

    def _keep(self, call: Instruction, rename: dict[str, str]) -> None:
        renamed = tuple(_renamed(o, rename) for o in call.operands)
        guard = rename.get(call.guard, call.guard) if call.guard else None
        self.into.body.append(replace(call, operands=renamed, guard=guard))

    def _add(
        self, location: Location, opcode: str, *operands: Operand, guard: str | None = None, negated: bool = False
    ) -> None:
        self.into.body.append(Instruction(opcode, operands, guard, negated, location))

    def _inline(self, callee: Function, actual: list[str]) -> None:
        suffix = f"@call{self.calls}"
        inner = self._own_names(callee, suffix)
        inner |= {p.name: name for p, name in zip((*callee.results, *callee.parameters), actual, strict=True)}
        after = f"after{suffix}"
        self.copy(callee, inner, after)
        self.into.body.append(Label(after))

    def _own_names(self, callee: Function, suffix: str) -> dict[str, str]:
        """Fresh names for the labels, registers and variables of a copy; declares the latter two."""
        inner = {r: r + suffix for r in callee.registers}
        inner |= {item.name: item.name + suffix for item in callee.body if isinstance(item, Label)}
        inner |= {name: name + suffix for name in callee.tables}
        for name, variable in callee.variables.items():
            if variable.space != "shared":
                inner[name] = name + suffix
                self.into.variables[name + suffix] = replace(variable, name=name + suffix)
            else:
                self.into.variables[name] = variable
        for register, kind in callee.registers.items():
            self.into.registers[register + suffix] = kind
        return inner

    # Recursion ------------------------------------------------------------------------------------------------

    def _place(self, callee: Function) -> None:
        """Append the one copy of a recursive function."""
        location = next(item.location for item in callee.body if isinstance(item, Instruction))
        if any(variable.space == "local" for variable in callee.variables.values()):
            raise Unsupported(f"recursion with a local array ({callee.name}) cannot be run on the CPU", location)
        suffix = f"@{callee.name}"
        inner = self._own_names(callee, suffix)
        for param in (*callee.results, *callee.parameters):
            inner[param.name] = param.name + suffix
            self.into.variables[param.name + suffix] = Variable(param.name + suffix, "param", param.bytes, 16)
        self.live |= _live_after_calls(callee)
        place = Register(f"%return{suffix}")
        self.into.registers[place.name] = "b64"
        self.into.body.append(Label(f"enter{suffix}"))
        self.copy(callee, inner, f"leave{suffix}")
        self.into.body.append(Label(f"leave{suffix}"))
        self._add(location, POP, Vector((place,)))
        self._add(location, "brx.idx", place, Symbol(f"returns{suffix}"))

    def _jump_into(self, callee: Function, actual: list[str], live: list[str], location: Location) -> None:
        suffix, after = f"@{callee.name}", f"after@call{self.calls}"
        returns = self.returns.setdefault(callee.name, [])
        returns.append(after)
        count = len(callee.results)
        for param, name in zip(callee.parameters, actual[count:], strict=True):
            self._move(param, name, param.name + suffix, location)
        kept = tuple(map(Register, live))
        self._add(location, PUSH, Vector((*kept, Immediate(len(returns) - 1))))
        self._add(location, "bra", Symbol(f"enter{suffix}"))
        self.into.body.append(Label(after))
        if kept:
            self._add(location, POP, Vector(kept))
        for param, name in zip(callee.results, actual[:count], strict=True):
            self._move(param, param.name + suffix, name, location)

    def _move(self, param: Param, source: str, target: str, location: Location) -> None:
        """Copy an argument or a result from one .param variable to another."""
        at = 0
        while at < param.bytes:
            size = next(s for s in (8, 4, 2, 1) if s <= param.bytes - at)
            register = Register(f"%move{size}@call")
            self.into.registers[register.name] = f"b{max(8 * size, 16)}"
            self._add(location, f"ld.param.b{8 * size}", register, Address(Symbol(source), at))
            self._add(location, f"st.param.b{8 * size}", Address(Symbol(target), at), register)
            at += size


def _candidates(module: Module, results: int, arguments: int) -> list[Function]:
    """The functions that a pointer may hold: those whose address is taken, with so many results and parameters."""
    taken = {symbol for variable in module.variables.values() for _, symbol, _ in variable.relocations}
    for function in module.functions.values():
        for item in function.body:
            if isinstance(item, Instruction) and item.traits.flow is None:
                taken |= {operand.name for operand in item.operands if isinstance(operand, Symbol)}
    return [
        function
        for name, function in module.functions.items()
        if name in taken
        and not function.is_entry
        and (len(function.results), len(function.parameters)) == (results, arguments)
    ]


def _parts(call: Instruction) -> tuple[tuple[Operand, ...], Operand, tuple[Operand, ...]]:
    """Results, target and arguments."""
    operands = list(call.operands)
    results = operands.pop(0) if isinstance(operands[0], Vector) else Vector(())
    target = operands.pop(0)
    arguments = operands.pop(0) if operands and isinstance(operands[0], Vector) else Vector(())
    assert isinstance(results, Vector) and isinstance(arguments, Vector)
    return results.items, target, arguments.items


def _name(operand: Operand) -> str:
    assert isinstance(operand, Symbol)
    return operand.name


def _recursive(module: Module, function: Function) -> set[str]:
    """Those of the functions that `function` calls, directly or not, which can call themselves."""
    calls: dict[str, set[str]] = {}
    waiting = [function]
    while waiting:
        caller = waiting.pop()
        if caller.name not in calls:
            calls[caller.name] = _called(module, caller)
            waiting += [module.functions[name] for name in calls[caller.name]]

    def reached(name: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(calls[name])
        while waiting:
            callee = waiting.pop()
            if callee not in seen:
                seen.add(callee)
                waiting += calls[callee]
        return seen

    return {name for name in calls if name in reached(name)}


def _called(module: Module, function: Function) -> set[str]:
    found: set[str] = set()
    for item in function.body:
        if isinstance(item, Instruction) and item.traits.flow is Flow.CALL:
            results, target, arguments = _parts(item)
            if isinstance(target, Symbol) and target.name in module.functions:
                found.add(target.name)
            elif isinstance(target, Register):
                found |= {callee.name for callee in _candidates(module, len(results), len(arguments))}
    return found


def _live_after_calls(function: Function) -> dict[int, frozenset[str]]:
    """For each call, by its `id`: the registers that are live after it."""
    found: dict[int, frozenset[str]] = {}
    blocks = blocks_of(function)
    for block in blocks:
        live = {name for s in block.successors for name in blocks[s].live_in}
        for item in reversed(block.instructions):
            if item.traits.flow is Flow.CALL:
                found[id(item)] = frozenset(live)
            written, read = defs_and_uses(item)
            live = (live - set(written)) | set(read)
    return found


def _renamed(operand: Operand, rename: dict[str, str]) -> Operand:
    if isinstance(operand, Register):
        negated = "!" if operand.name.startswith("!") else ""
        name = operand.name.lstrip("!")
        return Register(negated + rename.get(name, name), operand.is_special)
    if isinstance(operand, Symbol):
        return Symbol(rename.get(operand.name, operand.name))
    if isinstance(operand, Address):
        base = _renamed(operand.base, rename)
        assert isinstance(base, Register | Symbol | Immediate)
        return Address(base, operand.offset)
    if isinstance(operand, Vector):
        return Vector(tuple(_renamed(o, rename) for o in operand.items))
    if isinstance(operand, Pair):
        first, second = _renamed(operand.first, rename), _renamed(operand.second, rename)
        assert isinstance(first, Register) and isinstance(second, Register)
        return Pair(first, second)
    return operand
