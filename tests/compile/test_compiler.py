"""What the compiler says, as a student gets to read it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader.compile import brackets, recipe
from grader.compile.compiler import compile_text
from grader.model.execution import Compilation
from grader.model.result import Finding

KERNEL = 'extern "C" __global__ void kernel(float* x) { x[0] = 1.0f; }\n'


def errors(text: str) -> list[Finding]:
    compilation = compile_text(text).compilation
    assert not compilation.ok
    assert all(f.file == recipe.SOURCE_NAME for f in compilation.findings)
    return [f for f in compilation.findings if f.kind == "compile-error"]


def only_error(text: str) -> Finding:
    (error,) = errors(text)
    return error


def compiled(text: str) -> Compilation:
    compilation = compile_text(text).compilation
    assert compilation.ok, compilation.log
    return compilation


def test_a_kernel_compiles_to_ptx_and_cubin() -> None:
    result = compile_text('#include "grader.cuh"\n' + KERNEL)
    assert result.compilation.ok
    assert result.compilation.findings == ()
    assert ".target sm_90a" in result.ptx
    assert f'.file\t1 "{recipe.SOURCE_NAME}"' in result.ptx
    assert result.cubin.startswith(b"\x7fELF")
    assert result.compilation.seconds > 0


def test_the_architecture_can_be_chosen() -> None:
    result = compile_text(KERNEL, "compute_80")
    assert ".target sm_80" in result.ptx
    assert result.cubin == b""


def test_kernels_are_listed_with_lines_parameters_and_bounds() -> None:
    text = (
        '#include "grader.cuh"\n'
        "struct Pair { double a; char b; };\n"
        'extern "C" __global__ void __launch_bounds__(8 * 16)\n'
        "second(const float* x, int n, long long m, Pair p, unsigned char c) {}\n"
        "__device__ int helper(int n) { return n; }\n"
        'extern "C" __global__ void third() {}\n'
        "template <int N> __global__ void generic(int* x) { *x = N; }\n"
        "template __global__ void generic<3>(int*);\n"
    )
    kernels = compiled(text).kernels
    assert [(k.name, k.parameter_bytes, k.line, k.max_threads) for k in kernels[:2]] == [
        ("second", (8, 4, 8, 16, 1), 4, 128),
        ("third", (), 6, None),
    ]
    assert kernels[2].name.startswith("_Z7generic")
    assert kernels[2].line == 7


def test_the_size_of_a_cluster_is_listed() -> None:
    text = 'extern "C" __global__ void __cluster_dims__(2, 4) pairs() {}\nextern "C" __global__ void alone() {}\n'
    assert [k.cluster for k in compiled(text).kernels] == [(2, 4, 1), None]


@pytest.mark.parametrize(
    ("character", "name", "like"),
    [
        ("\u037e", "U+037E (Greek question mark)", "looks like ;"),
        ("\u00a0", "U+00A0 (No-break space)", "like a space"),
    ],
)
def test_a_character_that_only_looks_right_is_named(character: str, name: str, like: str) -> None:
    mark, space = (character, " ") if character == "\u037e" else (";", character)
    (error, *_) = errors(f"__device__ int f() {{\n    int{space}a = 1{mark}\n    return a;\n}}\n")
    assert (error.line, error.message) == (2, f"{name} is not a character of C++")
    assert any(like in note for note in error.notes)


def test_typographic_quotes_of_an_include_are_named() -> None:
    error = only_error("#include \u201cgrader.cuh\u201d\n" + KERNEL)
    assert (error.line, "typographic quotes (U+201C)" in error.message) == (1, True)


def test_dynamic_shared_memory_of_two_types_is_one_array() -> None:
    text = (
        "template <class T> __device__ T* at() {\n    extern __shared__ T memory[];\n    return memory;\n}\n"
        'extern "C" __global__ void k() { at<float>()[0] = at<int>()[0]; }\n'
    )
    error = only_error(text)
    assert (error.line, "all extern __shared__ arrays are the same memory" in error.notes[0]) == (2, True)


def test_dynamic_shared_arrays_are_listed() -> None:
    text = (
        "extern __shared__ float whole[];\n"
        'extern "C" __global__ void one(float* x) { x[0] = whole[1]; }\n'
        'extern "C" __global__ void two(float* x) {\n'
        "    extern __shared__ float a[]; extern __shared__ float b[]; x[0] = a[1] + b[2];\n}\n"
    )
    assert [k.dynamic_arrays for k in compiled(text).kernels] == [("whole",), ("a", "b")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("__device__ char big[1ull << 34];\n" + KERNEL.replace("1.0f", "big[5]"), 1, "big alone 17,179,869,184"),
        (KERNEL.replace("x[0] = 1.0f;", "volatile char a[1 << 24]; a[(int)x[1]] = 1; x[0] = a[(int)x[2]];"), 1,
         "16,777,216 bytes of local arrays for each thread"),
    ],
)  # fmt: skip
def test_arrays_that_no_launch_could_hold(text: str, line: int, words: str) -> None:
    (found,) = compile_text(text).compilation.findings
    assert (found.kind, found.line) == ("out-of-memory", line)
    assert words in found.message


def test_an_error_has_line_and_column() -> None:
    error = only_error("// ok\n/* ü */\t__device__ int f() { return y; }\n")
    assert (error.line, error.column, error.message) == (2, 37, 'identifier "y" is undefined')


def test_several_errors_are_several_findings() -> None:
    found = errors("__device__ int f() { return a; }\n__device__ int g() { return b; }\n")
    assert [(f.line, f.message) for f in found] == [
        (1, 'identifier "a" is undefined'),
        (2, 'identifier "b" is undefined'),
    ]
    assert {f.detail for f in found} == {'identifier "…" is undefined'}


BODY = """#include "grader.cuh"
#define TILE 16
extern "C" __global__ void kernel(const float* x,
                                  float* y) {
    const int i = threadIdx.x;
    for (int k = 0; k < TILE; ++k) {
        y[i] += x[k];
    }

    // not the end
    y[i] *= 2.0f;
}

extern "C" __global__ void launch_it(Launch* launch) {
    launch->grid = dim3(1);
    launch->block = dim3(TILE);
}
"""
IT_IS = "declare it const float *"


@pytest.mark.parametrize(
    ("right", "wrong", "line", "says"),
    [
        ("threadIdx.x;", "threadIdx.x", 5, 'a ";" is missing at the end of this line'),
        ("y[i] += x[k];\n    }", "y[i] += x[k];", 6, 'the "{" on this line is never closed'),
        ("*= 2.0f;\n}", "*= 2.0f;", 4, 'the "{" on this line is never closed'),
        ("    }\n\n", "    }}\n\n", 8, 'one "}" too many: it ends what begins on line 4'),
        ("TILE 16", "TILE = 16", 2, 'the "=" becomes part of TILE'),
        ("TILE 16", "TILE 16;", 2, 'the ";" becomes part of TILE'),
        ("launch->grid = dim3(1);", "kernel<<<1, TILE>>>(0, 0);", 15, "here the grader does that"),
        ("launch->grid", "launch.grid", 15, "launch is a pointer"),
        ('"grader.cuh"', '"grader.cuh', 1, 'the closing " is missing'),
    ],
)
def test_the_guilty_line_is_named_and_not_the_one_where_it_is_noticed(
    right: str, wrong: str, line: int, says: str
) -> None:
    assert right in BODY
    error = errors(BODY.replace(right, wrong))[0]
    assert (error.line, says in error.message) == (line, True), error


@pytest.mark.parametrize(
    ("right", "wrong", "note"),
    [
        ("threadIdx", "threadidx", "did you mean threadIdx?"),
        ("y[i] *= 2.0f;", "__syncthread();", "did you mean __syncthreads?"),
        ("y[i] *= 2.0f;", "syncthreads();", "did you mean __syncthreads?"),
        ("y[i] *= 2.0f;", "atomicadd(&y[i], 1.0f);", "did you mean atomicAdd?"),
        ("x[k]", "xs[k]", ""),
        ("int k = 0", "k = 0", "declare it there: int k = ..."),
        ("int k = 0; k < TILE; ++k", "int k = 0, k < TILE, ++k", "separated by semicolons"),
        ("const int i = threadIdx.x;", "float* z = x; const int i = *z;", IT_IS),
        ("const int i = threadIdx.x;", "const float z = x; const int i = z[0];", IT_IS),
        (
            "const int i = threadIdx.x;",
            "const float4* z = x; const int i = z[0].x;",
            "reinterpret_cast<const float4 *>",
        ),
        ("y[i] *= 2.0f;", "if (i = 3) y[i] = 0.0f;", "= assigns; == compares"),
        ('"grader.cuh"', '"grader.h"', 'did you mean #include "grader.cuh"?'),
    ],
)
def test_what_was_probably_meant_is_said(right: str, wrong: str, note: str) -> None:
    assert right in BODY
    notes = errors(BODY.replace(right, wrong))[0].notes
    assert any(note in one for one in notes) if note else notes == ()


def test_a_template_that_is_not_closed_and_a_type_s_member() -> None:
    before, after = BODY.split("#define", 1)
    before += "struct Tile { static const int rows = 16; };\n"
    line = before.count("\n") + 1
    template = "template <class T>\n__device__ int rows(T) {\n    return T::rows;\n\n"
    unclosed = errors(f"{before}{template}#define{after}")[0]
    assert (unclosed.line, "is never closed" in unclosed.message) == (line + 1, True)
    dotted = errors(f"{before}__device__ int rows() {{ return Tile.rows; }}\n#define{after}")[0]
    assert (dotted.line, dotted.message) == (line, "Tile is a type")
    assert dotted.notes[0] == "write Tile::rows instead of Tile.rows"


def test_braces_are_matched_in_time() -> None:
    assert brackets.guilty("int f() " + "{" * 20_000) is not None
    assert brackets.guilty("(" * 20_000 + ")" * 20_000 + " {}" * 20_000) is None
    assert brackets.guilty("int f() {}\n}\n") == (2, 'this "}" closes nothing: there is one "}" too many')


def test_warnings_do_not_fail() -> None:
    (warning,) = compiled('extern "C" __global__ void k() {\n  int unused;\n}\n').findings
    assert (warning.kind, warning.line) == ("compile-warning", 2)
    assert warning.message == 'variable "unused" was declared but never referenced'


def test_a_template_is_blamed_where_it_fails_and_shows_who_asked() -> None:
    error = only_error(
        "template <class T> __device__ int f(T a) {\n  return a.size;\n}\n"
        "__device__ int g(int a) {\n  return f(a);\n}\n"
    )
    assert error.line == 2
    assert "instantiated from line 5" in error.notes
    assert [(one.role, one.line) for one in error.related] == [("instantiation", 5)]


def test_an_error_within_a_header_is_found_where_the_student_called_it() -> None:
    error = only_error(
        "#include <algorithm>\nstruct S {};\n__device__ S f(S a, S b) {\n  return std::max(a, b);\n}\n"
    )
    assert error.line == 4
    assert error.notes[0].startswith("in algorithm:")


def test_an_error_within_a_header_is_found_at_its_include_where_nothing_was_called() -> None:
    found = errors('#define grid 5 5\nstruct A {};\n\n#include "grader.cuh"\n' + KERNEL)
    assert {f.line for f in found} == {4}
    assert found[0].notes[0].startswith("in grader.cuh:")


def test_the_include_is_found_through_other_headers() -> None:
    found = errors("#include <stdint.h>\n#define constexpr oops\n#include <algorithm>\n")
    assert {f.line for f in found} == {3}
    assert any(f.notes[0].startswith("in utility:") for f in found)


def test_one_wrong_header_is_few_findings() -> None:
    found = errors("#define __half oops oops\n#include <cuda_fp16.h>\n" + KERNEL)
    assert len(found) < 5
    assert found[0].line == 2
    assert found[0].count > 10


@pytest.mark.parametrize(
    ("text", "message", "note"),
    [
        ("int main() { return 0; }", "main is host code", "the grader allocates"),
        ("float half_of(float x) { return x / 2; }", "half_of is a host function", "write __device__"),
        ("int a(int x) { return [&](auto i) { return x + i; }(1); }", "a is a host function", "write __device__"),
        ("int n; __device__ int f() { return [](auto i) { return i; }(1); }", "n is a host variable", "__constant__"),
        ("constexpr int twice(int x) { return 2 * x; }", "twice is a host function", "write __device__"),
        ("int table[3];", "table is a host variable", "__constant__"),
        ("#include <vector>", 'no header "vector" for device code', "only device code"),
        ("#include <array>", "no header <array> for device code", "<cuda/std/array>"),
        ('#include "mine.h"', 'no header "mine.h" for device code', "grader.cuh"),
        ("__global__ void k() { std::vector<int> v; }", "std::vector is not available", "only device code"),
        ("#include <iostream>\n__global__ void k() { std::cout << 1; }", "cout", "use printf"),
        ("__global__ void k(int a) { a = std::min(a, 1); }", "min", "add #include <algorithm>"),
        ("__global__ void k(void** p) { cudaMallocAsync(p, 4, 0); }", "cudaMallocAsync", "grader allocates"),
        ("__global__ void k(Launch* launch) {}", "Launch", 'add #include "grader.cuh"'),
        ("__global__ void k(float* x) { *x = FLT_MAX; }", "FLT_MAX", "add #include <float.h>"),
        ("__global__ void k(uint8_t* x) {}", "uint8_t", "add #include <stdint.h>"),
        ('extern "C" __global__ void k(int* p) { __shared__ int a[99999]; a[*p] = 1; *p = a[p[1]]; }',
         "k declares 399996 bytes of __shared__ memory; a block can have 232448", "tile"),
    ],
)  # fmt: skip
def test_common_mistakes_come_with_a_remedy(text: str, message: str, note: str) -> None:
    found = errors(text)[0]
    assert found.line == text.count("\n") + 1
    assert message in found.message
    assert any(note in n for n in found.notes)


def test_wrong_inline_assembly_is_found_at_its_line() -> None:
    error = errors('extern "C" __global__ void k(int* p) {\n  *p = 1;\n  asm volatile("frobnicate;");\n}\n')[0]
    assert error.line == 3
    assert "frobnicate" in error.message


def test_assert_is_on() -> None:
    assert "__assertfail" in compile_text('extern "C" __global__ void k(int n) { assert(n > 0); }').ptx


def test_what_is_said_about_a_hostile_source_is_bounded() -> None:
    lines = "\n".join(f"__device__ int f{i}() {{ return {'x' * 2000}{i}; }}" for i in range(300))
    compilation = compile_text(lines).compilation
    assert 10 < len(compilation.findings) <= 50
    assert max(len(f.message) for f in compilation.findings) <= 400
    assert len(compilation.log) <= 200_000


SECRET = "correct-horse-battery-staple"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text(f"{SECRET} 1 2 3\n")
    return file


@pytest.mark.parametrize(
    "text",
    [
        '#include "FILE"\n',
        "#include <FILE>\n",
        '#include "RELATIVE"\n',
        '#define A "FILE"\n#include A\n',
        '%:include "FILE"\n',
        '#inc\\\nlude "FILE"\n',
        '#include "grader.cuh"\nint a = /*\n*/ 3;\n# /**/ include "FILE"\n',
        '__device__ const char x[] = R"(\n#include "FILE"\n)";',
        '#if __has_include("FILE")\n#error the file is there\n#endif\n',
    ],
)
def test_other_files_are_not_read(text: str, secret_file: Path) -> None:
    from_root = str(secret_file.relative_to("/"))
    text = text.replace("FILE", str(secret_file)).replace("RELATIVE", from_root)
    compilation = compile_text(text + KERNEL).compilation
    assert not compilation.ok
    assert SECRET not in repr(compilation)
    assert "the file is there" not in compilation.findings[0].message


def test_what_the_compiler_quotes_of_other_files_is_not_shown(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line of defence: a log that quotes such a file all the same."""
    monkeypatch.setattr("grader.compile.directives._problem", lambda name, target: "")
    compilation = compile_text(f'#include "{secret_file}"\n' + KERNEL).compilation
    assert not compilation.ok
    assert SECRET not in repr(compilation)
    assert "horse" not in repr(compilation)
    assert compilation.findings[0].message == "this includes a file from outside the include folders"


def test_a_device_has_integers_of_128_bits() -> None:
    text = 'extern "C" __global__ void k(unsigned long long* p) { p[0] = (unsigned __int128)p[1] * p[2] >> 64; }\n'
    assert compile_text(text).compilation.findings == ()


@pytest.mark.parametrize(
    "how", ["__DATE__ __TIME__", "P(__DA, TE__) P(__TI, ME__)", "R(P, __DA, TE__) R(P, __TI, ME__)"]
)
def test_the_compilers_clock_stands_still(how: str) -> None:
    """However the names are put together: a kernel could tell runs and executors apart by them."""
    text = (
        "#define P(a, b) a##b\n#define R(m, a, b) m(a, b)\n"
        f"__constant__ char when[] = {how};\n"
        'extern "C" __global__ void k(char* out) { out[0] = when[out[1]]; }\n'
    )
    compiled = compile_text(text)
    assert compiled.compilation.ok
    listed = re.search(r"when\[\d+\] = \{([\d, ]*)\}", compiled.ptx)
    assert listed
    assert bytes(map(int, listed[1].split(","))).rstrip(b"\0") == b"Jan  1 197000:00:00"


@pytest.mark.parametrize(
    "text",
    [
        "__device__ int f(int x) { return [&](auto i) { return x + i; }(1); }",
        "struct Table { int v[4]; constexpr Table() : v() { for (int i = 0; i < 4; ++i) v[i] = i; } };\n"
        "__constant__ Table table;\n__device__ int f(int x) { return table.v[x]; }",
    ],
)
def test_what_nvcc_takes_for_device_code_compiles(text: str) -> None:
    source = text + '\nextern "C" __global__ void k(int* y) { *y = f(*y & 3); }'
    compilation = compile_text(source, recipe.PTX_ARCH).compilation
    assert compilation.ok, compilation.log
    assert [kernel.name for kernel in compilation.kernels] == ["k"]
