"""Copies by tensor map: loads, stores and reductions against NumPy and the interpreter; what is wrong is found.

Kernels get `x` (read-only) and `y` (zeroed), arrays of 24 by 40 floats unless a test says otherwise, and a tensor map
of each. The guilty line of a wrong one ends in `// <-- here`.
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

ROWS, COLUMNS = 24, 40
HEAD = r"""
#include "grader.cuh"
#define AT(p) ((unsigned)__cvta_generic_to_shared(p))
#define ASM(...) asm volatile(__VA_ARGS__ : "memory")
#define INIT(bar, n) ASM("mbarrier.init.shared.b64 [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define EXPECT(bar, n) ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(AT(bar)), "r"(n))
#define WAIT(bar, parity) \
    for (unsigned p = 0; !p;) \
    asm volatile("{ .reg .pred q; mbarrier.try_wait.parity.shared::cta.b64 q, [%1], %2; selp.u32 %0, 1, 0, q; }" \
                 : "=r"(p) : "r"(AT(bar)), "r"((unsigned)(parity)) : "memory")
#define LOAD2(to, map, c0, c1, bar) \
    ASM("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes" \
        " [%0], [%1, {%2, %3}], [%4];" :: "r"(AT(to)), "l"(map), "r"(c0), "r"(c1), "r"(AT(bar)))
#define LOAD1(to, map, c0, bar) \
    ASM("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2}], [%3];" \
        :: "r"(AT(to)), "l"(map), "r"(c0), "r"(AT(bar)))
#define LOAD3(to, map, c0, c1, c2, bar) \
    ASM("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes" \
        " [%0], [%1, {%2, %3, %4}], [%5];" :: "r"(AT(to)), "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(AT(bar)))
#define LOAD5(to, map, c0, c1, c2, c3, c4, bar) \
    ASM("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes" \
        " [%0], [%1, {%2, %3, %4, %5, %6}], [%7];" \
        :: "r"(AT(to)), "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "r"(AT(bar)))
#define MULTICAST2(to, map, c0, c1, bar, mask) \
    ASM("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster" \
        " [%0], [%1, {%2, %3}], [%4], %5;" \
        :: "r"(AT(to)), "l"(map), "r"(c0), "r"(c1), "r"(AT(bar)), "h"((unsigned short)(mask)))
#define STORE2(map, c0, c1, from) \
    ASM("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" \
        :: "l"(map), "r"(c0), "r"(c1), "r"(AT(from)))
#define REDUCE2(how, map, c0, c1, from) \
    ASM("cp.reduce.async.bulk.tensor.2d.global.shared::cta." how ".tile.bulk_group [%0, {%1, %2}], [%3];" \
        :: "l"(map), "r"(c0), "r"(c1), "r"(AT(from)))
#define COMMIT() asm volatile("cp.async.bulk.commit_group;" ::: "memory")
#define BULK_WAIT() asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory")
#define PROXY_FENCE() asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
using u64 = unsigned long long;
"""
KERNEL = """
extern "C" __global__ void k{number}(
    const float* x, float* y, int c0, int c1,
    const __grid_constant__ CUtensorMap from, const __grid_constant__ CUtensorMap to) {
  const int t = threadIdx.x; __shared__ u64 bar; alignas(1024) __shared__ float s[1024];
  if (t == 0) { INIT(&bar, 1); asm volatile("fence.proxy.async;" ::: "memory"); } __syncthreads();
"""
# A tile through shared memory: 8 rows of 16 floats, at column c0 and row c1.
THROUGH = """
    if (t == 0) { EXPECT(&bar, 512); LOAD2(s, &from, c0, c1, &bar); }
    WAIT(&bar, 0);
    if (t == 0) { STORE2(&to, c0, c1, s); COMMIT(); BULK_WAIT(); }"""
RIGHT = {
    "through": THROUGH,
    "out": """
        if (t == 0) { EXPECT(&bar, 512); LOAD2(s, &from, c0, c1, &bar); }
        WAIT(&bar, 0); for (int i = t; i < 128; i += 32) y[i] = s[i];""",
    **{
        f"out{rank}": f"""
        if (t == 0) {{ EXPECT(&bar, 512); LOAD{rank}(s, &from, {at}, &bar); }}
        WAIT(&bar, 0); for (int i = t; i < 128; i += 32) y[i] = s[i];"""
        for rank, at in ((1, "c0"), (3, "c0, c1, 3"), (5, "0, c0, -1, c1, 1"))
    },
    "added": """
        for (int i = t; i < 128; i += 32) s[i] = i; PROXY_FENCE(); __syncthreads();
        if (t == 0) { REDUCE2("add", &to, c0, c1, s); COMMIT(); BULK_WAIT(); }""",
    "hints": """
        asm volatile("prefetch.tensormap [%0];" :: "l"(&from) : "memory");
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        ASM("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" :: "l"(&from), "r"(c0), "r"(c1));
        unsigned elected;
        asm volatile("{ .reg .pred p; elect.sync _|p, -1; selp.u32 %0, 1, 0, p; }" : "=r"(elected));
        if (elected) { EXPECT(&bar, 512); LOAD2(s, &from, c0, c1, &bar); }
        WAIT(&bar, 0);
        if (elected) { STORE2(&to, c0, c1, s); COMMIT(); BULK_WAIT(); }""",
    "in both blocks": """
        unsigned r; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("barrier.cluster.arrive; barrier.cluster.wait;" ::: "memory");
        if (t == 0) { EXPECT(&bar, 1024); MULTICAST2(s + 128 * r, &from, c0, c1 + 8 * r, &bar, 3); }
        WAIT(&bar, 0); __syncthreads();
        if (t == 0) { STORE2(&to, c0, c1 + 8 * r, s + 128 * r); COMMIT(); BULK_WAIT(); }
        asm volatile("barrier.cluster.arrive; barrier.cluster.wait;" ::: "memory");""",
}
WRONG = {
    "no wait": (
        "race",
        """
        if (t == 0) { EXPECT(&bar, 512); LOAD2(s, &from, c0, c1, &bar); }
        y[t] = s[t];  // <-- here
        WAIT(&bar, 0);""",
    ),
    "too many bytes expected": (
        "barrier-divergence",
        """
        if (t == 0) { EXPECT(&bar, 1024); LOAD2(s, &from, c0, c1, &bar); }
        WAIT(&bar, 0);  // <-- here
        y[t] = s[t];""",
    ),
    "an unaligned tile": (
        "misaligned-access",
        """
        if (t == 0) {
            EXPECT(&bar, 512);
            LOAD2(s + 4, &from, c0, c1, &bar);  // <-- here
        }
        WAIT(&bar, 0); y[t] = s[t + 4];""",
    ),
    "past the end of the shared array": (
        "out-of-bounds",
        """
        if (t == 0) {
            EXPECT(&bar, 512);
            LOAD2(s + 992, &from, c0, c1, &bar);  // <-- here
        }
        WAIT(&bar, 0); y[t] = s[992 + t];""",
    ),
    "overwritten while it is read": (
        "race",
        """
        __shared__ u64 again; if (t == 0) INIT(&again, 1); __syncthreads();
        if (t == 0) { EXPECT(&bar, 512); LOAD2(s, &from, c0, c1, &bar); }
        WAIT(&bar, 0); y[t] = s[t];
        if (t == 0) {
            EXPECT(&again, 512);
            LOAD2(s, &from, c0, c1 + 8, &again);  // <-- here
        }
        WAIT(&again, 0); y[t] += s[t];""",
    ),
    "no proxy fence": (
        "race",
        """
        for (int i = t; i < 128; i += 32) s[i] = i;
        __syncthreads();
        if (t == 0) {
            STORE2(&to, c0, c1, s);  // <-- here
            COMMIT(); BULK_WAIT();
        }""",
    ),
    "written again before it was read": (
        "race",
        """
        for (int i = t; i < 128; i += 32) s[i] = i;
        PROXY_FENCE(); __syncthreads();
        if (t == 0) { STORE2(&to, c0, c1, s); COMMIT(); }
        s[t] = 0;  // <-- here
        __syncthreads(); y[t] = s[31 - t];
        if (t == 0) BULK_WAIT();""",
    ),
    "never waited for": (
        "race",
        """
        for (int i = t; i < 128; i += 32) s[i] = i;
        PROXY_FENCE(); __syncthreads();
        if (t == 0) {
            STORE2(&to, c0, c1, s);  // <-- here
            COMMIT();
        }""",
    ),
    "a store to an input": (
        "read-only-write",
        """
        for (int i = t; i < 128; i += 32) s[i] = i;
        PROXY_FENCE(); __syncthreads();
        if (t == 0) {
            STORE2(&from, c0, c1, s);  // <-- here
            COMMIT(); BULK_WAIT();
        }""",
    ),
    "a map in local memory": (
        "uninitialised-read",
        """
        CUtensorMap own = from; own.opaque[1] += t * 0;
        if (t == 0) {
            EXPECT(&bar, 512);
            LOAD2(s, &own, c0, c1, &bar);  // <-- here
        }
        y[t] = 0;""",
    ),
    "no map": (
        "uninitialised-read",
        """
        if (t == 0) {
            EXPECT(&bar, 512);
            LOAD2(s, x, c0, c1, &bar);  // <-- here
        }
        y[t] = 0;""",
    ),
    "a map of another rank": (
        "uninitialised-read",
        """
        if (t == 0) {
            EXPECT(&bar, 512);
            LOAD1(s, &from, c0, &bar);  // <-- here
        }
        y[t] = 0;""",
    ),
    "too many registers": (
        "trap",
        """
        asm volatile("{ .reg .u32 n; mov.u32 n, 260; setmaxnreg.inc.sync.aligned.u32 n; }");  // <-- here
        y[t] = 0;""",
    ),
}
OF_TWO_WARPS = {"overwritten while it is read"}
BODIES = RIGHT | {name: body for name, (_, body) in WRONG.items()}
NUMBERS = {name: number for number, name in enumerate(BODIES)}


@cache
def program() -> tuple[list[str], ptx.Program]:
    """The lines of one source with all kernels, and what NVRTC makes of it."""
    kernels = (KERNEL.replace("{number}", str(n)) + textwrap.dedent(b) for n, b in enumerate(BODIES.values()))
    source = HEAD + "\n}\n".join(kernels) + "\n}\n"
    built = compile_text(source, PTX_ARCH)
    assert built.compilation.ok, built.compilation.log
    return source.splitlines(), ptx.Program(ptx.parse(built.ptx))


def tiles(array: int, swizzle: int = 0, **changes: object) -> ptx.TensorMap:
    """Tiles of 8 rows and 16 columns of a float array."""
    given = {
        "array": array, "type": 7, "offset": 0, "dim": (COLUMNS, ROWS), "stride": (4 * COLUMNS,), "box": (16, 8),
        "step": (1, 1), "swizzle": swizzle,
    }  # fmt: skip
    return ptx.TensorMap(**given | changes)  # type: ignore[arg-type]


def numbers(dtype: str = "f4") -> np.ndarray:
    return np.arange(1, ROWS * COLUMNS + 1).reshape(ROWS, COLUMNS).astype(dtype)


def run(
    name: str,
    c0: int = 16,
    c1: int = 8,
    from_: ptx.TensorMap | None = None,
    to: ptx.TensorMap | None = None,
    *,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    blocks: int = 1,
    threads: int = 32,
) -> tuple[tuple[ptx.Report, ...], np.ndarray]:
    """The findings and `y`, which is compared with the interpreter's if there are none."""
    x = numbers() if x is None else x
    y = np.zeros((ROWS, COLUMNS), np.float32) if y is None else y
    maps, kernel, expected = [from_ or tiles(0), to or tiles(1)], f"k{NUMBERS[name]}", y.copy()
    given = [ptx.Buffer("x", x), ptx.Buffer("y", y, writable=True), c0, c1, *maps]
    how = {"grid": (blocks, 1, 1), "block": (threads, 1, 1), "cluster": (blocks, 1, 1)}
    execution = program()[1].run(kernel, **how, arguments=given)  # type: ignore[arg-type]
    if not execution.findings:
        interpreter.run(program()[1].module, kernel, *list(how.values())[:2], [x, expected, c0, c1, *maps],
                        cluster=how["cluster"])  # fmt: skip
        assert y.tobytes() == expected.tobytes()
    return execution.findings, y


@pytest.mark.parametrize(("c0", "c1"), [(0, 0), (16, 8), (32, 16), (3, 5), (-5, -2), (33, 20), (40, 0), (0, 24)])
def test_a_tile_arrives_where_it_was_and_is_clipped(c0: int, c1: int) -> None:
    findings, y = run("through", c0, c1)
    expected = np.zeros_like(y)
    rows, columns = slice(max(c1, 0), max(c1 + 8, 0)), slice(max(c0, 0), max(c0 + 16, 0))
    expected[rows, columns] = numbers()[rows, columns]
    assert findings == ()
    assert (y == expected).all()


@pytest.mark.parametrize(("fill", "bits"), [(0, 0), (1, 0x7FFFFFFF)])
def test_what_lies_outside_is_filled(fill: int, bits: int) -> None:
    findings, y = run("out", 32, 20, tiles(0, fill=fill))
    tile = y.reshape(-1)[:128].reshape(8, 16)
    assert findings == ()
    assert (tile[:4, :8] == numbers()[20:, 32:]).all()
    assert (tile[4:].view(np.uint32) == bits).all()
    assert (tile[:, 8:].view(np.uint32) == bits).all()


@pytest.mark.parametrize(("swizzle", "columns"), [(1, 8), (2, 16), (3, 32)])
def test_rows_of_a_swizzled_tile_have_their_pieces_changed(swizzle: int, columns: int) -> None:
    """Piece p of row r is where piece p ^ (r * row bytes / 128) would be."""
    how = {"box": (columns, 128 // columns), "swizzle": swizzle}
    findings, y = run("out", 8, 0, tiles(0, **how))
    rows = 128 // columns
    tile = y.reshape(-1)[:128].reshape(rows, columns // 4, 4)
    expected = np.zeros_like(tile)
    for row in range(rows):
        for piece in range(columns // 4):
            at = 8 + 4 * piece
            place = piece ^ (row * columns * 4 // 128 % (columns // 4))
            expected[row, place] = numbers()[row, at : at + 4] if at < COLUMNS else 0
    assert findings == ()
    assert (tile == expected).all()
    assert run("through", 8, 0, tiles(0, **how), tiles(1, **how))[0] == ()


@pytest.mark.parametrize("dtype", ["u1", "f2", "f8"])
def test_elements_of_other_sizes(dtype: str) -> None:
    type_, size = {"u1": 0, "f2": 6, "f8": 8}[dtype], int(dtype[1])
    how = {"type": type_, "box": (64 // size, 8), "stride": (COLUMNS * size,)}
    x = np.zeros((ROWS, COLUMNS), dtype)
    x[...] = numbers()
    y = np.zeros_like(x)
    findings, y = run("through", 8, 3, tiles(0, **how), tiles(1, **how), x=x, y=y)
    expected = np.zeros_like(x)
    expected[3:11, 8 : 8 + 64 // size] = x[3:11, 8 : 8 + 64 // size]
    assert findings == ()
    assert (y == expected).all()


OF_RANK = {
    1: ((960,), (128,), (900, 0)),
    3: ((40, 6, 4), (16, 4, 2), (30, 4)),
    5: ((8, 5, 4, 3, 2), (8, 2, 2, 2, 2), (4, 2)),
}


@pytest.mark.parametrize("rank", OF_RANK)
def test_tiles_of_other_ranks(rank: int) -> None:
    """What lies outside of the tensor, on any side, is zero."""
    dim, box, (c0, c1) = OF_RANK[rank]
    stride = tuple(4 * int(np.prod(dim[:i])) for i in range(1, rank))
    findings, y = run(f"out{rank}", c0, c1, tiles(0, dim=dim, stride=stride, box=box, step=(1,) * rank))
    start = {1: (c0,), 3: (c0, c1, 3), 5: (0, c0, -1, c1, 1)}[rank]
    margin = 128 if rank == 1 else 8
    around = np.pad(numbers().reshape(dim[::-1]), margin)
    places = zip(start[::-1], box[::-1], strict=True)
    tile = around[tuple(slice(margin + at, margin + at + size) for at, size in places)]
    assert findings == ()
    assert (y.reshape(-1)[:128] == tile.reshape(-1)).all()


def test_steps_leave_elements_out() -> None:
    """Every third row: a load brings them next to each other."""
    findings, y = run("out", 0, 1, tiles(0, box=(16, 24), step=(1, 3)))
    expected = np.zeros((8, 16), np.float32)
    expected[:, :] = numbers()[1::3, :16]
    assert findings == ()
    assert (y.reshape(-1)[:128].reshape(8, 16) == expected).all()


@pytest.mark.parametrize(("type_", "dtype"), [(7, "f4"), (2, "u4"), (3, "i4")])
def test_a_reduction_adds_to_what_is_there(type_: int, dtype: str) -> None:
    y = numbers(dtype)
    before = y.copy()
    findings, y = run("added", 32, 20, to=tiles(1, type=type_), y=y)
    tile = np.arange(128, dtype=np.float32).view(dtype).reshape(8, 16)
    before[20:, 32:] += tile[:4, :8]
    assert findings == ()
    assert (y == before).all()


def test_a_reduction_of_bfloat16_rounds_to_nearest() -> None:
    """One bf16 in each half of a float; 1 + 2^-8 rounds to even."""
    y = np.full((ROWS, 2 * COLUMNS), 0x3F80, np.uint16)
    to = tiles(1, type=9, dim=(2 * COLUMNS, ROWS), box=(32, 8))
    findings, y = run("added", 0, 0, to=to, y=y)
    halves = np.arange(128, dtype=np.float32).view(np.uint16).reshape(8, 32)
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    assert findings == ()
    assert (y[8:] == 0x3F80).all()
    sums = (1 + values.astype(np.float64)).astype(np.float32)
    got = (y[:8, :32].astype(np.uint32) << 16).view(np.float32)
    assert (np.abs(got - sums) <= np.abs(sums) * 2.0**-8).all()


def test_hints_and_elected_threads_change_nothing() -> None:
    findings, y = run("hints")
    assert findings == ()
    assert (y[8:16, 16:32] == numbers()[8:16, 16:32]).all()


def test_a_load_for_both_blocks_of_a_cluster() -> None:
    findings, y = run("in both blocks", 16, 0, blocks=2)
    assert findings == ()
    assert (y[:16, 16:32] == numbers()[:16, 16:32]).all()


def test_what_the_array_does_not_have_is_out_of_bounds() -> None:
    """The map says 32 rows; the array has 24."""
    findings, _ = run("through", 0, 24, tiles(0, dim=(COLUMNS, 32)))
    assert [(f.kind, f.array) for f in findings] == [("out-of-bounds", "x")]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_kernels_are_found_at_their_line(name: str) -> None:
    findings, _ = run(name, threads=64 if name in OF_TWO_WARPS else 32)
    lines = program()[0]
    start = next(n for n, line in enumerate(lines) if f"k{NUMBERS[name]}(" in line)
    end = next((n for n in range(start + 1, len(lines)) if "__global__" in lines[n]), len(lines))
    guilty = {n + 1 for n in range(start, end) if lines[n].endswith("// <-- here")}
    assert findings, "nothing was found"
    first = findings[0]
    found = {first.line, *(one.line for one in first.related if one.role in ("other-access", "copy"))}
    assert first.kind == WRONG[name][0], [(f.kind, f.line, f.message) for f in findings]
    assert guilty
    assert guilty <= found, [(f.kind, f.line, f.message) for f in findings]


def test_bytes_that_do_not_fit_are_counted_and_the_copy_is_named() -> None:
    (finding,) = run("too many bytes expected")[0]
    assert "512 bytes are missing at bar[0]; it expects 1024 and got 512, the last from the copy" in finding.message
    assert [one.role for one in finding.related] == ["copy"]


@pytest.mark.parametrize("changes", [{"interleave": 1}, {"swizzle": 3}])
def test_what_is_not_known_of_a_map_is_not_judged(changes: dict[str, int]) -> None:
    """Interleaved tiles, and rows that are shorter than what is swizzled."""
    with pytest.raises(ptx.Unsupported, match="tensor map"):
        run("through", 0, 0, tiles(0, **changes))
