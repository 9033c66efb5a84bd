"""Every route of cuBLAS against FP64, also captured into a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from grader.reference_kernels.cublas import SINGLE_MATRIX, GroupedSizes, Operands, Routes
from grader.reference_kernels.grouped_gemm import grouped_gemm

pytestmark = pytest.mark.gpu

SETS = 3


@pytest.mark.parametrize(
    ("sizes", "strided"),
    [((32, 32, 32), True), ((0, 17, 1, 0, 40), False), ((1,), True), (tuple(range(1, 13)), False)],
)
def test_every_route_computes_the_same(sizes: tuple[int, ...], strided: bool) -> None:
    import cupy

    problem = GroupedSizes(sizes, 48, 80)
    rng = np.random.default_rng(3)
    a = [rng.uniform(-1, 1, (sum(sizes), 48)).astype(np.float32) for _ in range(SETS)]
    b = [rng.uniform(-1, 1, (len(sizes), 48, 80)).astype(np.float32) for _ in range(SETS)]
    on_device = [
        (cupy.asarray(a[i]), cupy.asarray(b[i]), cupy.empty((sum(sizes), 80), cupy.float32)) for i in range(SETS)
    ]
    routes = Routes(problem, [Operands(*(int(m.data.ptr) for m in members)) for members in on_device])
    assert set(routes.enqueue) == {"grouped", "sequential", "streams", SINGLE_MATRIX} | (
        {"strided"} if strided else set()
    )
    stream = cupy.cuda.Stream(non_blocking=True)
    for name, enqueue in routes.enqueue.items():
        if name == SINGLE_MATRIX:
            continue
        for captured in (False, True):
            for members in on_device:
                members[2].fill(cupy.nan)
            cupy.cuda.get_current_stream().synchronize()
            if captured:
                stream.begin_capture()
            for index in range(SETS):
                enqueue(stream, index)
            if captured:
                stream.end_capture().launch(stream)
            stream.synchronize()
            check([cupy.asnumpy(members[2]) for members in on_device], a, b, sizes, name)
    routes.close()


def check(
    found: Sequence[np.ndarray], a: Sequence[np.ndarray], b: Sequence[np.ndarray], sizes: tuple[int, ...], name: str
) -> None:
    for index in range(SETS):
        np.testing.assert_allclose(found[index], grouped_gemm(a[index], b[index], sizes), atol=1e-4, err_msg=name)
