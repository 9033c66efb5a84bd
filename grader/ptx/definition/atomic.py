"""What an atomic operation writes to memory. PTX ISA, "Parallel Synchronization and Communication: atom"."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.definition import semantics


def _combine(name: str) -> Callable[..., int]:
    def apply(type_: str, in_shared: bool, old: int, value: int) -> int:
        opcode = f"{name}.{type_}"
        if name == "add" and type_ == "f32":  # global atomics flush subnormals, shared ones do not
            opcode = "add.rn.f32" if in_shared else "add.rn.ftz.f32"
        result = semantics.evaluate(opcode, [old, value])
        assert isinstance(result, int)
        return result

    return apply


# (type, whether in shared memory, old value, operands) -> new value
ATOMICS: dict[str, Callable[..., int]] = {
    **{name: _combine(name) for name in ("add", "min", "max", "and", "or", "xor")},
    "exch": lambda _type, _shared, _old, value: value,
    "cas": lambda _type, _shared, old, expected, value: value if old == expected else old,
    "inc": lambda _type, _shared, old, bound: 0 if old >= bound else old + 1,
    "dec": lambda _type, _shared, old, bound: bound if old == 0 or old > bound else old - 1,
}
