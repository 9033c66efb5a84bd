"""Functions that call themselves: generated code against the interpreter, and what ends them."""

from __future__ import annotations

import numpy as np
import pytest

from grader import ptx
from grader.compile import nvrtc, recipe
from grader.ptx.definition import interpreter

THREADS = 64

# Functions, and a body of `k(int* x)`: thread t reads and writes x[t].
SOURCES = {
    "a function of itself": (
        "__device__ __noinline__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }",
        "x[t] = fib(x[t] % 11) + fib(3);",
    ),
    "two functions of each other": (
        """__device__ int odd(int n);
        __device__ __noinline__ int even(int n) { return n == 0 ? 1 : odd(n - 1) + n; }
        __device__ __noinline__ int odd(int n) { return n == 0 ? 0 : even(n - 1) * 2; }""",
        "x[t] = even(x[t] & 15) + 1000 * odd(x[t] & 7);",
    ),
    "structs there and back, on one side of a branch": (
        """struct Pair { double sum; int count; };
        __device__ __noinline__ Pair add(Pair p, int n) {
            if (n == 0) return p;
            Pair q = add(p, n - 1);
            q.sum += 0.5 * n * p.sum;
            q.count += n;
            return q;
        }""",
        "if (t % 3) { Pair p = add(Pair{1.5, t}, x[t] & 7); x[t] = (int)(p.sum * 8) + p.count; }",
    ),
    "sorting an array of the caller": (
        """__device__ __noinline__ void sort(int* v, int n) {
            if (n < 2) return;
            const int pivot = v[0];
            int i = 0;
            for (int j = 1; j < n; ++j)
                if (v[j] < pivot) { const int s = v[++i]; v[i] = v[j]; v[j] = s; }
            v[0] = v[i];
            v[i] = pivot;
            sort(v, i);
            sort(v + i + 1, n - i - 1);
        }""",
        """int v[9];
        for (int j = 0; j < 9; ++j) v[j] = (x[t] * (j + 3)) % 101;
        sort(v, 9);
        x[t] = v[0] + 100 * v[4] + 10000 * v[8];""",
    ),
    "shuffles and barriers at every depth": (
        """__device__ __noinline__ int tree(int v, int width) {
            if (width == 0) return v;
            __syncthreads();
            return tree(v + __shfl_xor_sync(~0u, v, width), width / 2) + width;
        }""",
        "x[t] = tree(x[t], 16);",
    ),
    "an inlined function in between": (
        """__device__ __noinline__ int half(int n) { return n / 2 + 1; }
        __device__ __noinline__ int steps(int n) {
            return n < 3 ? half(n) : steps(half(n)) + half(n) * steps(n - 3);
        }""",
        "x[t] = steps(x[t] % 13);",
    ),
}


def compiled(functions: str, body: str) -> ptx.Module:
    source = f'{functions}\nextern "C" __global__ void k(int* x) {{ const int t = threadIdx.x; {body} }}'
    built = nvrtc.build(source, recipe.PTX_ARCH)
    assert built.ok, built.log
    return ptx.parse(built.ptx)


def run(module: ptx.Module, x: np.ndarray) -> tuple[ptx.Report, ...]:
    arguments = [ptx.Buffer("x", x, writable=True)]
    return ptx.Program(module).run("k", grid=(1, 1, 1), block=(THREADS, 1, 1), arguments=arguments).findings


@pytest.mark.parametrize(("functions", "body"), SOURCES.values(), ids=list(SOURCES))
def test_generated_code_gives_the_same_as_the_interpreter(functions: str, body: str) -> None:
    module = compiled(functions, body)
    assert any(name != "k" for name in module.functions)
    x = np.random.default_rng(5).integers(0, 1000, THREADS).astype(np.int32)
    expected = x.copy()
    interpreter.run(module, "k", (1, 1, 1), (THREADS, 1, 1), [expected])
    assert run(module, x) == ()
    assert x.tolist() == expected.tolist()


def test_fibonacci() -> None:
    functions, body = SOURCES["a function of itself"]
    x = np.arange(THREADS, dtype=np.int32)
    run(compiled(functions, body), x)
    assert x[:11].tolist() == [n + 2 for n in (0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55)]


def test_recursion_without_an_end_is_found() -> None:
    functions = "__device__ __noinline__ int down(int n) { return n == -1 ? 0 : (down(n + 1) ^ n) * 3; }"
    (finding,) = run(compiled(functions, "x[t] = down(x[t]);"), np.zeros(THREADS, np.int32))
    assert finding.kind == "did-not-finish"
    assert "the recursion does not seem to end" in finding.message
    assert finding.line == 1


def test_a_local_array_in_a_recursive_function_is_refused_by_name() -> None:
    functions = """__device__ __noinline__ int pick(int n) {
        int v[8];
        for (int j = 0; j < 8; ++j) v[j] = n * j;
        return n < 1 ? 1 : v[pick(n - 1) & 7];
    }"""
    with pytest.raises(ptx.Unsupported, match="recursion with a local array"):
        run(compiled(functions, "x[t] = pick(x[t]);"), np.zeros(THREADS, np.int32))
