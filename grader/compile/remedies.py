"""What a student can do about a compiler message: plainer words and the next step."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from grader.compile import guesses, lookalikes, recipe, toolkit

DEVICE_ONLY = "a submission contains only device code; the grader allocates, copies, launches and measures"

EXTERN_SHARED = re.compile(r"\bextern\b.*\b__shared__\b")
ONE_ARRAY = (
    "all extern __shared__ arrays are the same memory: declare one, extern __shared__ unsigned char memory[], and "
    "cast its address to the type that each part needs"
)

# Headers for names that a student may miss; nvcc includes some of them automatically.
HOMES = {
    "math.h": r"INFINITY|NAN|HUGE_VALF?|M_[A-Z0-9_]+",
    "stdint.h": r"u?int(?:8|16|32|64|ptr|max)_t|U?INT(?:8|16|32|64|PTR)_(?:MAX|MIN)|SIZE_MAX",
    "float.h": r"(?:FLT|DBL)_[A-Z0-9_]+",
    "limits.h": r"U?(?:CHAR|SCHAR|SHRT|INT|LONG|LLONG)_(?:MAX|MIN|BIT)",
    "cuda_fp16.h": r"half2?|__half2?|__(?:float2half|half2float)\w*",
    "cuda_bf16.h": r"(?:__)?nv_bfloat162?|__(?:float2bfloat16|bfloat162float)\w*",
    "cuda_fp8.h": r"__nv_(?:cvt_\w*fp8\w*|fp8\w+)",
    "mma.h": r"nvcuda|wmma",
    "cooperative_groups.h": r"cooperative_groups|cg",
    "grader.cuh": r"Launch",
}
STD_HOMES = {
    "algorithm": r"min|max|clamp",
    "cmath": r"abs|fabs|fmax|fmin|sqrt|exp|log|pow|fma|isnan|isinf|isfinite|floor|ceil|round",
    "cstdint": r"u?int(?:8|16|32|64)_t",
    "limits": r"numeric_limits",
    "type_traits": r"is_\w+|enable_if\w*|conditional\w*",
    "utility": r"swap|exchange",
}
HOST_NAMES = r"cu(?:da)?[A-Z]\w*|cublas\w*|CHECK_CUDA|CUDA_CHECK|checkCuda\w*|std|thrust|fprintf|stderr"


class Advice(NamedTuple):
    """A message that replaces the compiler's ("" keeps it), and a note that says what to do."""

    message: str = ""
    note: str = ""


class Place(NamedTuple):
    """Where a message points to. `name`: the identifier there, or the "(" of a lambda; `text`: the whole source."""

    name: str = ""
    line: str = ""
    text: str = ""


NOWHERE = Place()


def advise(message: str, at: Place = NOWHERE) -> Advice:
    if message.startswith("unrecognized token") and (odd := lookalikes.first(at.line)):
        return Advice(lookalikes.describe(odd), f"type it again; {lookalikes.instead(odd)}")
    for pattern, answer in _ANSWERS:
        if (match := re.search(pattern, message)) and (advice := answer(match, at)) != Advice():
            return advice
    return Advice(note=_of_line(at.line))


def _of_line(line: str) -> str:
    """What is probably wrong with a line, whatever the compiler says about it."""
    if loop := re.search(r"\bfor\s*\(([^;]*)\)", line):
        return "the three parts of a for are separated by semicolons" if "," in loop[1] else ""
    return ""


def _host_function(_: re.Match[str], at: Place) -> Advice:
    name = at.name
    if name == "main":
        return Advice("main is host code", f"remove it: {DEVICE_ONLY}")
    if name == "(":
        return Advice(
            "NVRTC does not compile a lambda with an auto parameter",
            "give the parameter a type, or use a struct with a __device__ operator()",
        )
    return Advice(
        f"{name or 'this function'} is a host function",
        f"write __device__ before it, or remove it: {DEVICE_ONLY}",
    )


def _host_variable(_: re.Match[str], at: Place) -> Advice:
    return Advice(f"{at.name or 'this'} is a host variable", "make it constexpr, __constant__ or __device__")


def _undefined(match: re.Match[str], at: Place) -> Advice:
    name = match["name"]
    for header, names in HOMES.items():
        if re.fullmatch(names, name):
            quoted = f'"{header}"' if header == "grader.cuh" else f"<{header}>"
            return Advice(note=f"add #include {quoted}")
    if re.search(rf"\bfor\s*\(\s*{re.escape(name)}\s*=", at.line):
        return Advice(note=f"declare it there: int {name} = ...")
    if re.fullmatch(HOST_NAMES, name):
        return Advice(note=DEVICE_ONLY)
    meant = guesses.meant(name, at.text)
    return Advice(note=f"did you mean {meant}?" if meant else "")


def _not_in_std(match: re.Match[str], _: Place) -> Advice:
    name = match["name"]
    for header, names in STD_HOMES.items():
        if re.fullmatch(names, name):
            return Advice(note=f"add #include <{header}>")
    if name in ("cout", "cerr", "endl"):
        return Advice(note="device code has no C++ output streams; use printf")
    return Advice(f"std::{name} is not available on a device", DEVICE_ONLY)


def _no_header(match: re.Match[str], _: Place) -> Advice:
    name = match["name"]
    if _has_device_version(name):
        return Advice(f"there is no header <{name}> for device code", f"its device version is <cuda/std/{name}>")
    if close := guesses.header(name, recipe.headers()):
        return Advice(f'there is no header "{name}"', f'did you mean #include "{close}"?')
    ours = "grader.cuh, CUDA's own headers (cuda_fp8.h, mma.h, cuda/std/...) and " + ", ".join(_c_headers())
    return Advice(f'there is no header "{name}" for device code', f"{DEVICE_ONLY}; available headers: {ours}")


def _has_device_version(name: str) -> bool:
    folders = toolkit.include_folders()
    return name.isidentifier() and any((folder / "cuda" / "std" / name).is_file() for folder in folders)


def _c_headers() -> list[str]:
    return [name for name in recipe.headers() if name.endswith(".h")]


def _host_call(match: re.Match[str], _: Place) -> Advice:
    return Advice(note=f"write __device__ before the definition of {match['name']}")


def _launch(_: re.Match[str], __: Place) -> Advice:
    return Advice(
        "<<<...>>> launches a kernel, and here the grader does that",
        "remove this line; the launch function only sets launch->grid and launch->block",
    )


def _two_types(_: re.Match[str], at: Place) -> Advice:
    return Advice(note=ONE_ARRAY) if EXTERN_SHARED.search(at.line) else Advice()


def _pointer_member(_: re.Match[str], at: Place) -> Advice:
    return Advice(f"{at.name or 'this'} is a pointer", f"write {at.name or 'it'}-> instead of {at.name or 'it'}.")


def _type_s_member(_: re.Match[str], at: Place) -> Advice:
    if used := re.search(r"\b([A-Z]\w*)\.(\w+)", at.line):
        return Advice(f"{used[1]} is a type", f"write {used[1]}::{used[2]} instead of {used[0]}")
    return Advice()


def _wrong_type(match: re.Match[str], _: Place) -> Advice:
    given, wanted = match["given"], match["wanted"]
    if given == f"const {wanted}":
        return Advice(note=f"the inputs are read-only: declare it {given}")
    if given.removesuffix("*").rstrip() == wanted:
        return Advice(note=f"a * is missing: declare it {given}")
    if given.endswith("*") and wanted.endswith("*"):
        return Advice(note=f"cast the address: reinterpret_cast<{wanted}>(...)")
    return Advice()


def _assigned(_: re.Match[str], at: Place) -> Advice:
    compared = re.search(r"\b(?:if|while)\s*\([^=]*[^=<>!]=[^=]", at.line)
    return Advice(note="= assigns; == compares" if compared else "the left side of the = is const")


def _comma_index(_: re.Match[str], at: Place) -> Advice:
    index = re.search(r"\b(\w+)\s*\[([^\[\]()]+),\s*([^\[\]()]+)\]", at.line)
    return Advice(note=f"write {index[1]}[{index[2].strip()}][{index[3].strip()}]" if index else "")


def _not_called(_: re.Match[str], __: Place) -> Advice:
    return Advice(note="is a comma or an operator missing before the parenthesis?")


def _shared(match: re.Match[str], _: Place) -> Advice:
    used, most = int(match["used"], 16), int(match["most"], 16)
    return Advice(
        f"{match['kernel']} declares {used} bytes of __shared__ memory; a block can have {most}",
        "make the tile smaller",
    )


_ANSWERS: list[tuple[str, Callable[[re.Match[str], Place], Advice]]] = [
    (r"^declaration is incompatible with previous", _two_types),
    (r"^expression must have class type but it has type \"[^\"]*\*\"", _pointer_member),
    (
        r'^a value of type "(?P<given>[^"]*)" cannot be used to initialize an entity of type "(?P<wanted>[^"]*)"',
        _wrong_type,
    ),
    (r"^type name is not allowed", _type_s_member),
    (r"^expression must be a modifiable lvalue", _assigned),
    (r"^expression must have (?:arithmetic|pointer-to-object|integral)", _comma_index),
    (r"^expression preceding parentheses of apparent call", _not_called),
    (r"required runtime APIs are not declared", _launch),
    (r"^A function without execution space annotations", _host_function),
    (r"^A namespace scope variable without memory space annotations", _host_variable),
    (r'^cannot open source file "(?P<name>[^"]+)"', _no_header),
    (r'^identifier "(?P<name>\w+)" is undefined', _undefined),
    (r'^namespace "std" has no (?:actual )?member "(?P<name>\w+)"', _not_in_std),
    (r'^calling a __host__ function\("(?P<name>\w+)', _host_call),
    (r"kernel launch from __device__ or __global__ functions", _launch),
    (r"'(?P<kernel>\w+)' uses too much shared data \((?P<used>0x\w+) bytes, (?P<most>0x\w+) max\)", _shared),
]
