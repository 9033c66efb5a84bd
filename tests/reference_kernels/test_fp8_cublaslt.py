"""Every route of cuBLASLt against FP64, also captured into a graph. Needs Hopper."""

from __future__ import annotations

import numpy as np
import pytest

from grader.reference_kernels.cublas import SINGLE_MATRIX, GroupedSizes
from grader.reference_kernels.fp8_cublaslt import Arrays, Routes
from grader.reference_kernels.fp8_grouped_gemm import fp8_grouped_gemm, quantized
from grader.reference_kernels.fp8_grouped_gemm_error import right_elements

pytestmark = pytest.mark.gpu

SETS = 2


@pytest.mark.parametrize(
    ("sizes", "K", "N"), [((32, 32, 32), 256, 128), ((0, 17, 1, 0, 40), 384, 272), ((1,), 128, 128)]
)
def test_every_route_computes_the_same(sizes: tuple[int, ...], K: int, N: int) -> None:  # noqa: N803
    import cupy

    rng = np.random.default_rng(3)
    operands = [
        quantized(
            rng.uniform(-1, 1, (sum(sizes), K)).astype(np.float32),
            rng.uniform(-1, 1, (len(sizes), N, K)).astype(np.float32),
            sizes,
        )
        for _ in range(SETS)
    ]
    on_device = [
        [cupy.asarray(a) for a in (o.A, o.A_scales, o.B, o.B_scales, np.zeros((sum(sizes), N), np.uint16))]
        for o in operands
    ]
    cupy.cuda.get_current_stream().synchronize()
    routes = Routes(GroupedSizes(sizes, K, N), [Arrays(*(int(a.data.ptr) for a in arrays)) for arrays in on_device])
    assert set(routes.enqueue) == {"sequence", "streams", SINGLE_MATRIX}
    stream = cupy.cuda.Stream(non_blocking=True)
    for name in ("sequence", "streams"):
        for captured in (False, True):
            routes.poison(stream)
            if captured:
                stream.begin_capture()
            for index in range(SETS):
                routes.enqueue[name](stream, index)
            if captured:
                stream.end_capture().launch(stream)
            routes.unpad(stream)
            stream.synchronize()
            for arrays, o in zip(on_device, operands, strict=True):
                assert right_elements(cupy.asnumpy(arrays[-1]), fp8_grouped_gemm(o), o).all(), name
    routes.close()
