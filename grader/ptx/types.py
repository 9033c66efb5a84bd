"""The scalar and packed types of PTX, and their widths in bits."""

from __future__ import annotations

# `e4m3x2` and `e5m2x2` are two FP8 codes; `tf32` lies in a 32-bit register.
BITS = {
    "pred": 1,
    **{f"{kind}{width}": width for kind in "bus" for width in (8, 16, 32, 64)},
    "s4": 4,
    "u4": 4,
    "b1": 1,
    "b128": 128,
    "f16": 16,
    "bf16": 16,
    "tf32": 32,
    "f32": 32,
    "f64": 64,
    "f16x2": 32,
    "bf16x2": 32,
    "u16x2": 32,
    "s16x2": 32,
    "e4m3x2": 16,
    "e5m2x2": 16,
}

BYTES = {**{type_: max(width // 8, 1) for type_, width in BITS.items()}}  # of a variable


def is_signed(type_: str) -> bool:
    return type_.startswith("s")
