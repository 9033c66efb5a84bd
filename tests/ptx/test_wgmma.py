"""wgmma: descriptors, types and groups, against NumPy and the interpreter; what is wrong is found at its line.

Each kernel runs in one block of 128 threads. `a` and `b` are copied to shared memory byte by byte, `sa` and `sb`; `d`
gets the 64 by n sums, row by row. The guilty line of a wrong one ends in `// <-- here`.
"""

from __future__ import annotations

import textwrap
from functools import cache

import numpy as np
import pytest

from grader import ptx
from grader.compile.compiler import compile_text
from grader.compile.recipe import PTX_ARCH
from grader.ptx.definition import interpreter
from grader.ptx.definition.warpgroup import described

BYTES = 8192  # of a and of b
N = 16
HEAD = r"""
#define AT(p) ((unsigned)__cvta_generic_to_shared(p))
#define FENCE() asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define COMMIT() asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WAIT(n) asm volatile("wgmma.wait_group.sync.aligned " #n ";" ::: "memory")
#define PROXY_FENCE() asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
#define D8(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define R8(d) "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
#define MMA(shape, d, da, db, p, rest) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %10, 0; wgmma.mma_async.sync.aligned." shape \
                 " {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, p" rest "; }" : D8(d) : "l"(da), "l"(db), "r"(p))
#define MMA_S32(shape, d, da, db, p) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %10, 0; wgmma.mma_async.sync.aligned." shape \
                 " {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, p; }" : R8(d) : "l"(da), "l"(db), "r"(p))
#define MMA_F16(shape, d, da, db, p, rest) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0; wgmma.mma_async.sync.aligned." shape \
                 " {%0, %1, %2, %3}, %4, %5, p" rest "; }" \
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "l"(da), "l"(db), "r"(p))
#define MMA_REGISTERS(shape, d, a, db, p, rest) \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %13, 0; wgmma.mma_async.sync.aligned." shape \
                 " {%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9, %10, %11}, %12, p" rest "; }" \
                 : D8(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(db), "r"(p))
using u64 = unsigned long long;
"""
KERNEL = """
extern "C" __global__ void k{number}(const unsigned char* a, const unsigned char* b, float* d, u64 da, u64 db) {
  const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2; (void)row; (void)column;
  alignas(1024) __shared__ unsigned char sa[8192]; alignas(1024) __shared__ unsigned char sb[8192];
  const uint4 *from_a = (const uint4*)a, *from_b = (const uint4*)b;
  for (int i = t; i < 512; i += 128) { ((uint4*)sa)[i] = from_a[i]; ((uint4*)sb)[i] = from_b[i]; }
  da += AT(sa) >> 4; db += AT(sb) >> 4;
"""
READY = "PROXY_FENCE(); __syncthreads(); float s[8]; for (int i = 0; i < 8; ++i) s[i] = 0.5f * i - 1;\n"
STORE = "for (int i = 0; i < 8; ++i) d[(row + 8 * (i / 2 % 2)) * 16 + i / 4 * 8 + column + i % 2] = s[i];\n"
# The whole shape, and what follows the predicate: two signs, and which matrices lie by columns.
FLOATS = {
    "f16": ("m64n16k16.f32.f16.f16", ", 1, 1, {0}, {1}"),
    "bf16": ("m64n16k16.f32.bf16.bf16", ", 1, 1, {0}, {1}"),
    "tf32": ("m64n16k8.f32.tf32.tf32", ", 1, 1"),
    "e4m3": ("m64n16k32.f32.e4m3.e4m3", ", 1, 1"),
    "e5m2": ("m64n16k32.f32.e5m2.e5m2", ", 1, 1"),
    "mixed": ("m64n16k32.f32.e4m3.e5m2", ", 1, 1"),
}


def floats(name: str, first: int = 0, second: int = 0) -> str:
    shape, rest = FLOATS[name]
    call = f'MMA("{shape}", s, da, db, 1, "{rest.format(first, second)}");'
    return READY + f"FENCE(); {call} COMMIT(); WAIT(0);\n" + STORE


RIGHT = {
    **{name: floats(name) for name in FLOATS},
    "columns": floats("f16", 1, 1),
    "negated": floats("f16").replace(", 1, 1, 0, 0", ", -1, 1, 0, 0"),
    "without the old sum": floats("f16").replace("db, 1,", "db, 0,"),
    "f16 sums": """
        PROXY_FENCE(); __syncthreads(); unsigned h[4] = {0x3C00B800u, 0, 0x00010400u, 0x7BFF0000u};
        FENCE(); MMA_F16("m64n16k16.f16.f16.f16", h, da, db, 1, ", 1, 1, 0, 0"); COMMIT(); WAIT(0);
        for (int i = 0; i < 4; ++i) d[t * 4 + i] = __uint_as_float(h[i]);""",
    "s8": """
        PROXY_FENCE(); __syncthreads(); int s[8]; for (int i = 0; i < 8; ++i) s[i] = 1000 * i - 9;
        FENCE(); MMA_S32("m64n16k32.s32.s8.u8", s, da, db, 1); COMMIT(); WAIT(0);
        int* d_ = (int*)d;
        for (int i = 0; i < 8; ++i) d_[(row + 8 * (i / 2 % 2)) * 16 + i / 4 * 8 + column + i % 2] = s[i];""",
    "registers": READY
    + """
        unsigned r[4];
        for (int i = 0; i < 4; ++i)
            r[i] = *(const unsigned*)(a + 32 * (row + 8 * (i % 2)) + 16 * (i / 2) + 2 * column);
        FENCE(); MMA_REGISTERS("m64n16k16.f32.f16.f16", s, r, db, 1, ", 1, 1, 0"); COMMIT(); WAIT(0);"""
    + STORE,
    "two groups in flight": READY
    + """
        float z[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        FENCE(); MMA("m64n16k16.f32.f16.f16", s, da, db, 1, ", 1, 1, 0, 0"); COMMIT();
        MMA("m64n16k16.f32.f16.f16", z, da, db, 1, ", 1, 1, 0, 0"); COMMIT();
        WAIT(1);"""
    + STORE
    + "WAIT(0); if (z[0] > 1e30f) d[0] = z[0];",
    "a chain": READY
    + """
        for (int k = 0; k < 3; ++k) {
            FENCE(); MMA("m64n16k16.f32.f16.f16", s, da, db, 1, ", 1, 1, 0, 0"); COMMIT(); WAIT(0);
        }"""
    + STORE,
    "the tile is used again": READY
    + """
        FENCE(); MMA("m64n16k16.f32.f16.f16", s, da, db, 1, ", 1, 1, 0, 0"); COMMIT(); WAIT(0); __syncthreads();
        sa[t] = 0; PROXY_FENCE(); __syncthreads();
        FENCE(); MMA("m64n16k16.f32.f16.f16", s, da, db, 0, ", 1, 1, 0, 0"); COMMIT(); WAIT(0);"""
    + STORE,
}
WIDE = 64  # columns, of which every 16th is added to the same element
HALF = WIDE // 2  # registers of D in each thread
REGISTERS, SUMS = (", ".join(text.format(i) for i in range(HALF)) for text in ("%{}", '"+f"(w[{}])'))
RIGHT["wider"] = f"""
    PROXY_FENCE(); __syncthreads(); float w[{HALF}]; for (int i = 0; i < {HALF}; ++i) w[i] = 0;
    FENCE();
    asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{HALF + 2}, 0; "
                 "wgmma.mma_async.sync.aligned.m64n{WIDE}k16.f32.f16.f16 {{{REGISTERS}}}, "
                 "%{HALF}, %{HALF + 1}, p, 1, 1, 0, 0; }}"
                 : {SUMS} : "l"(da), "l"(db), "r"(1));
    COMMIT(); WAIT(0);
    for (int i = 0; i < {HALF}; ++i) d[(row + 8 * (i / 2 % 2)) * 16 + (i / 4 * 8 + column + i % 2) % 16] += w[i];"""
ONE = 'MMA("m64n16k16.f32.f16.f16", s, da, db, 1, ", 1, 1, 0, 0");'
WRONG = {
    "no wait": READY + f"FENCE(); {ONE} COMMIT();\n" + STORE[:-1] + "  // <-- here\nWAIT(0);",
    "a wait that leaves the last group": READY
    + f"FENCE(); {ONE} COMMIT(); WAIT(1);\n"
    + STORE[:-1]
    + "  // <-- here",
    "no commit": READY + f"FENCE(); {ONE} WAIT(0);\n" + STORE[:-1] + "  // <-- here\nCOMMIT(); WAIT(0);",
    "no fence": READY + f"{ONE}  // <-- here\nCOMMIT(); WAIT(0);\n" + STORE,
    "no proxy fence": READY.replace("PROXY_FENCE(); ", "")
    + f"FENCE(); {ONE}  // <-- here\nCOMMIT(); WAIT(0);\n"
    + STORE,
    "no barrier behind the stores": READY.replace("__syncthreads(); ", "")
    + f"FENCE(); {ONE}  // <-- here\nCOMMIT(); WAIT(0);\n"
    + STORE,
    "the tile is overwritten": READY
    + f"FENCE(); {ONE} COMMIT();\nsa[t] = 0;  // <-- here\nWAIT(0); __syncthreads();\n"
    + STORE
    + "if (t == 5) d[5] = sa[7];",
}
OUTSIDE = READY + f"db += 4096; FENCE(); {ONE}  // <-- here\nCOMMIT(); WAIT(0);\n" + STORE
BODIES = RIGHT | WRONG | {"outside": OUTSIDE}
NUMBERS = {name: number for number, name in enumerate(BODIES)}


@cache
def program() -> tuple[list[str], ptx.Program]:
    kernels = (KERNEL.replace("{number}", str(n)) + textwrap.dedent(b) for n, b in enumerate(BODIES.values()))
    source = HEAD + "\n}\n".join(kernels) + "\n}\n"
    built = compile_text(source, PTX_ARCH)
    assert built.compilation.ok, built.compilation.log
    return source.splitlines(), ptx.Program(ptx.parse(built.ptx))


def descriptor(leading: int = 0, stride: int = 0, swizzle: int = 0) -> int:
    return (leading >> 4) << 16 | (stride >> 4) << 32 | swizzle << 62


def run(
    name: str, a: np.ndarray, b: np.ndarray, da: int, db: int, *, compare: bool = True
) -> tuple[tuple[ptx.Report, ...], np.ndarray]:
    d, expected, kernel = np.zeros((64, N), np.float32), np.zeros((64, N), np.float32), f"k{NUMBERS[name]}"
    given = [ptx.Buffer("a", a), ptx.Buffer("b", b), ptx.Buffer("d", d, writable=True), da, db]
    execution = program()[1].run(kernel, grid=(1, 1, 1), block=(128, 1, 1), arguments=given)
    if compare and not execution.findings:
        interpreter.run(program()[1].module, kernel, (1, 1, 1), (128, 1, 1), [a, b, expected, da, db])
        assert d.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
    return execution.findings, d


# Eight rows in 256 bytes: first their halves of 16 bytes, then the other halves.
PLAIN = descriptor(leading=128, stride=256)


def stored(values: np.ndarray, descriptor_: int, *, by_row: bool = True) -> np.ndarray:
    """The bytes of shared memory in which a descriptor finds a matrix of (rows, k)."""
    memory = np.zeros(BYTES, np.uint8)
    matrix = described(descriptor_, values.itemsize, by_row=by_row)
    for (row, k), value in np.ndenumerate(values):
        at = matrix.address(row, k)
        memory[at : at + values.itemsize] = np.array([value]).view(np.uint8)
    return memory


def small(dtype: str, rows: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 5, (rows, k)).astype(dtype)


def sums(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """With the sums that a thread starts with."""
    start = np.zeros((64, N), np.float32)
    for row in range(64):
        for column in range(N):
            i = row // 8 % 2 * 2 + column // 8 * 4 + column % 2
            start[row, column] = 0.5 * i - 1
    return start + a.astype(np.float32) @ b.astype(np.float32).T


LAYOUTS = {
    "in pieces": PLAIN,
    "swizzled by 32 bytes": descriptor(stride=256, swizzle=3),
    "swizzled by 64 bytes": descriptor(stride=512, swizzle=2),
    "swizzled by 128 bytes": descriptor(stride=1024, swizzle=1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_descriptors_by_row(layout: str) -> None:
    where = LAYOUTS[layout]
    a, b = small("f2", 64, 16, 1), small("f2", N, 16, 2)
    findings, d = run("f16", stored(a, where), stored(b, where), where, where, compare=False)
    assert findings == ()
    assert (d == sums(a, b)).all()


COLUMNS = {
    "in pieces": (descriptor(leading=1024, stride=128), descriptor(leading=256, stride=128)),
    "swizzled by 32 bytes": (descriptor(leading=256, stride=1024, swizzle=3), descriptor(stride=256, swizzle=3)),
    "swizzled by 64 bytes": (descriptor(leading=512, stride=1024, swizzle=2), None),
    "swizzled by 128 bytes": (descriptor(leading=1024, stride=1024, swizzle=1), None),
}


@pytest.mark.parametrize("layout", COLUMNS)
def test_descriptors_by_column(layout: str) -> None:
    where, small_one = COLUMNS[layout]
    there = small_one or where
    a, b = small("f2", 64, 16, 3), small("f2", N, 16, 4)
    memory = stored(a, where, by_row=False), stored(b, there, by_row=False)
    findings, d = run("columns", *memory, where, there, compare=layout == "swizzled by 128 bytes")
    assert findings == ()
    assert (d == sums(a, b)).all()


def test_signs_and_what_was_there() -> None:
    a, b = small("f2", 64, 16, 1), small("f2", N, 16, 2)
    memory = stored(a, PLAIN), stored(b, PLAIN)
    assert (run("negated", *memory, PLAIN, PLAIN, compare=False)[1] == sums(-a, b)).all()
    _, alone = run("without the old sum", *memory, PLAIN, PLAIN, compare=False)
    assert (alone == a.astype("f4") @ b.astype("f4").T).all()
    _, d = run("registers", a.view(np.uint8).reshape(-1).copy(), memory[1], 0, PLAIN)
    assert (d == sums(a, b)).all()


@pytest.mark.parametrize(("name", "seed"), [*((name, 1) for name in (*FLOATS, "f16 sums")), ("f16", 2), ("e5m2", 2)])
def test_generated_code_gives_the_bits_of_the_definition(name: str, seed: int) -> None:
    """Of any bits: in the second, subnormal numbers, infinities and NaN among them."""
    random = np.random.default_rng(seed)
    memory = [random.integers(0, 256, BYTES, dtype=np.uint8) for _ in range(2)]
    if seed == 1:  # no special numbers, and of like size
        memory = [np.where(np.arange(BYTES) % 2, m & 0xBF | 0x38, m) for m in memory]
        memory = [m.astype(np.uint8) for m in memory]
    assert run(name, *memory, PLAIN, PLAIN)[0] == ()


def test_more_columns() -> None:
    a, b = small("f2", 64, 16, 9), small("f2", WIDE, 16, 10)
    findings, d = run("wider", stored(a, PLAIN), stored(b, PLAIN), PLAIN, PLAIN)
    assert findings == ()
    assert (d == a.astype("f4") @ b.astype("f4").reshape(WIDE // N, N, 16).sum(axis=0).T).all()


def test_integers() -> None:
    a, b = small("i1", 64, 32, 5) * 31, np.abs(small("i1", N, 32, 6)).astype("u1") * 60
    findings, d = run("s8", stored(a, PLAIN), stored(b, PLAIN), PLAIN, PLAIN)
    start = (sums(np.zeros((64, 1)), np.zeros((N, 1))) + 1) * 2000 - 9
    assert findings == ()
    assert (d.view(np.int32) == start.astype(int) + a.astype(int) @ b.astype(int).T).all()


@pytest.mark.parametrize(("name", "times"), [("two groups in flight", 1), ("a chain", 3)])
def test_groups(name: str, times: int) -> None:
    a, b = small("f2", 64, 16, 7), small("f2", N, 16, 8)
    findings, d = run(name, stored(a, PLAIN), stored(b, PLAIN), PLAIN, PLAIN, compare=False)
    assert findings == ()
    assert (d == sums(a, b) + (times - 1) * (a.astype("f4") @ b.astype("f4").T)).all()


def test_a_tile_that_was_waited_for_may_be_overwritten() -> None:
    a, b = small("f2", 64, 16, 7), small("f2", N, 16, 8)
    assert run("the tile is used again", stored(a, PLAIN), stored(b, PLAIN), PLAIN, PLAIN, compare=False)[0] == ()


def found(name: str) -> tuple[ptx.Report, ...]:
    a, b = small("f2", 64, 16, 1), small("f2", N, 16, 2)
    return run(name, stored(a, PLAIN), stored(b, PLAIN), PLAIN, PLAIN)[0]


def guilty(name: str) -> set[int]:
    lines = program()[0]
    start = next(n for n, line in enumerate(lines) if f"k{NUMBERS[name]}(" in line)
    end = next((n for n in range(start + 1, len(lines)) if "__global__" in lines[n]), len(lines))
    return {n + 1 for n in range(start, end) if lines[n].endswith("// <-- here")}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_kernels_are_found_at_their_line(name: str) -> None:
    findings = found(name)
    assert findings, "nothing was found"
    first = findings[0]
    lines = {first.line, *(one.line for one in first.related if one.role == "other-access")}
    assert first.kind == "race", [(f.kind, f.line, f.message) for f in findings]
    assert guilty(name)
    assert guilty(name) <= lines, [(f.kind, f.line, f.message) for f in findings]


def test_a_descriptor_that_leads_out_of_its_array() -> None:
    finding = found("outside")[0]
    assert (finding.kind, {finding.line}) == ("out-of-bounds", guilty("outside"))
