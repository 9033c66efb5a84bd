"""Which includes are let through to the compiler."""

from __future__ import annotations

import time

import pytest

from grader.compile.directives import Include, scan

ALLOWED = [
    '#include "grader.cuh"',
    "#include <cuda_fp8.h> // FP8",
    "  #  include <cuda/std/limits>",
    "#include <cub/block/block_reduce.cuh>",
    "#ifdef __has_include\n#if __has_include(<cuda_fp8.h>)\n#endif\n#endif",
    "#if defined(__has_include) && __has_include(<mma.h>)\n#endif",
    "// see the #include guard of /etc/passwd",
    "int line; // #line 5",
    "#pragma unroll\n#define X 3\n#if X\n#endif",
    '#define LINE __LINE__\n# define TEXT "../x"',
    "/*\n * # 1. Load the tile\n */",
    "/*\n# 1 Load the tile\n# 2. Multiply\n*/",
    "#define PASTE(a, b) a##b\n#include <mma.h>\nint PASTE(include, d);",
]

REFUSED = {
    '#include "/etc/passwd"': 1,
    "#include </etc/passwd>": 1,
    '\n#include "../secret.cu"': 2,
    "#include <cuda/../../x>": 1,
    '#include "a\\b.h"': 1,
    '%: include "/etc/passwd"': 1,
    '#inc\\\nlude "/etc/\\\npasswd"': 1,
    'int a; /* \n */ #include "/etc/passwd"': 2,
    '/* a */ /* b */ # /* c */ include /* d */ "/etc/passwd"': 1,
    '# /* \n */ include "/etc/passwd"': 1,
    'const char* a = "/*";\n#include "/etc/passwd"\nconst char* b = "*/";': 2,
    'const char* a = R"(\n)";\n#include "/etc/passwd"\n': 3,
    "int a = 1'0;\n#include \"/etc/passwd\" // '": 2,
    '#define FILE "/etc/passwd"\n#include FILE': 2,
    "#include_next <stdint.h>": 1,
    '#import "/etc/passwd"': 1,
    "#embed <x>": 1,
    '#line 7 "/etc/passwd"': 1,
    '# 7 "/etc/passwd"': 1,
    '# 700 /**/ "/etc/shadow"': 1,
    "int a;\n# 7": 2,
    "# 7 // seven": 1,
    "# 7 /*\n*/": 1,
    '# 7 u8"a"': 1,
    '# 7 R"(a)"': 1,
    '#\v7\f"a"': 1,
    '%:7"a"': 1,
    '# 7 \\\n"a"': 1,
    "/* */ # /* */ 7 /* */": 1,
    "#define P(a, b) a##b\n#if P(__has_, include)(<x>)\n#endif": 2,
    "#define P(a, b) a%:%:b\n#if P(__ha, s_embed)(<x>)\n#endif": 2,
    '#if __has_include("/etc/passwd")\n#endif': 1,
    "#define PROBE __has_include": 1,
    '#if __has_embed("x" limit(1))\n#endif': 1,
}


@pytest.mark.parametrize("text", ALLOWED)
def test_what_students_write_is_let_through(text: str) -> None:
    assert scan(text).refusals == ()


@pytest.mark.parametrize(("text", "line"), REFUSED.items())
def test_what_could_reach_other_files_is_refused_at_its_line(text: str, line: int) -> None:
    assert [refusal.line for refusal in scan(text).refusals] == [line]


def test_includes_are_known_with_their_lines() -> None:
    text = '#include "grader.cuh"\nint a = 1 + \\\n  2;\n#include <cuda_fp8.h>\n'
    assert scan(text).includes == (Include(1, "grader.cuh"), Include(4, "cuda_fp8.h"))


@pytest.mark.parametrize("piece", ["/* a\n", "/**/", "\n#/*", "*/#/**/", "__has_include/**/ ", "\\\n", "#include <"])
def test_the_scan_takes_linear_time(piece: str) -> None:
    start = time.perf_counter()
    scan(piece * (300_000 // len(piece)))
    assert time.perf_counter() - start < 5  # quadratic would be minutes
