from __future__ import annotations

import numpy as np
import pytest

from grader.reference_kernels.grouped_gemm import group_offsets, grouped_gemm


def by_definition(a: np.ndarray, b: np.ndarray, m_sizes: list[int]) -> np.ndarray:
    """Element by element, in Python's own exact-enough arithmetic."""
    c = np.zeros((a.shape[0], b.shape[2]))
    row = 0
    for group, m in enumerate(m_sizes):
        for _ in range(m):
            for n in range(b.shape[2]):
                c[row, n] = sum(float(a[row, k]) * float(b[group, k, n]) for k in range(a.shape[1]))
            row += 1
    return c


@pytest.mark.parametrize(
    "m_sizes",
    [[3], [0, 2, 0, 1], [1, 1, 1], [5, 0, 0], [0, 0, 4]],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_every_group_is_multiplied_with_its_own_matrix(m_sizes: list[int]) -> None:
    rng = np.random.default_rng(5)
    a = rng.uniform(-1, 1, (sum(m_sizes), 6)).astype(np.float32)
    b = rng.uniform(-1, 1, (len(m_sizes), 6, 4)).astype(np.float32)
    c = grouped_gemm(a, b, m_sizes)
    assert c.dtype == np.float64
    np.testing.assert_allclose(c, by_definition(a, b, m_sizes), rtol=0, atol=1e-15)


def test_fp32_inputs_are_multiplied_in_fp64() -> None:
    small = np.float32(2**-20)
    a = np.array([[1, small]], np.float32)
    b = np.array([[[1], [small]]], np.float32)
    assert grouped_gemm(a, b, [1])[0, 0] == 1 + 2**-40  # FP32 would give 1


def test_offsets_name_each_first_row_and_the_end() -> None:
    offsets = group_offsets([2, 0, 3])
    assert offsets.tolist() == [0, 2, 2, 5]
    assert offsets.dtype == np.int32


@pytest.mark.parametrize("m_sizes", [[1, -1], [[1, 2]], [2**31]])
def test_impossible_row_counts_are_refused(m_sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="M_sizes"):
        group_offsets(m_sizes)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ((4, 8), (2, 8, 3), r"\(5, K\)"),
        ((5, 8), (3, 8, 3), r"\(2, 8, N\)"),
        ((5, 8), (2, 9, 3), r"\(2, 8, N\)"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(a: tuple[int, ...], b: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        grouped_gemm(np.zeros(a), np.zeros(b), [2, 3])
