"""FP8 against BF16: throughput, the overhead of quantization, and what it costs in accuracy.

    python benchmarks/bench_fp8.py --sizes 1024,2048,4096,8192 --output results.csv

Products of square matrices, N x N times N x N, normally distributed. Accuracy is measured on any machine, times only
on an NVIDIA GPU with torch. Each result that is timed is compared with the BF16 product first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import accuracy, measured, on_gpu  # noqa: E402
from benchmarks.measured import Row  # noqa: E402
from grader.reference_kernels.fp8_grouped_gemm import from_bf16, to_bf16  # noqa: E402
from grader.reference_kernels.quantization import BLOCK_WISE, FINE_GRAINED, dequantize, quantize  # noqa: E402

BLOCK = 128
SAMPLE_ROWS, SAMPLE_COLS = 64, 128  # of a product, to measure its accuracy on a CPU
MAE_ROWS = 256
LARGEST_ERROR = 0.06  # relative, of an FP8 product with block scales: it is 0.037; with a mistake it is above 0.2

THROUGHPUT, SPEEDUP = "throughput", "speed, as a multiple of BF16's"
OVERHEAD, MAE = "time of quantizing the activations, in percent of the FP8 product's", "mean absolute error (MAE)"
PRODUCT_ERROR = "relative error of the product"

CHAPTER_MAE = "{:.3f}"
CHAPTER_TFLOPS = {"BF16": "400 (peak 500)", "FP8": "800 (peak 1000)"}
CHAPTER_SPEEDUP = "2.0"

WORDS = {
    MAE: "The chapter names no distribution. E4M3 keeps four significant bits, so uniform values err by about 0.011 "
    "whatever shares a scale; finer scales help where there are outliers, and cannot reach 0.003 or 0.001 here.",
    THROUGHPUT: "The chapter's figures are expectations for an H100, without a size.",
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--sizes", type=measured.numbers, default=(1024, 2048, 4096, 8192), help="N, multiples of 128: 1024,2048"
    )
    parser.add_argument("--seed", type=int, default=0)
    measured.output(parser)
    options = parser.parse_args(arguments)
    if odd := [size for size in options.sizes if size % BLOCK]:
        parser.error(f"--sizes: {odd[0]} is not a multiple of {BLOCK}, the length of a block of scales")
    measured.check_output(parser, options.output)

    rows = [row for size in measured.progress(options.sizes, "accuracy") for row in accuracy_of(size, options.seed)]
    missing = on_gpu.missing()
    rows += list(unmeasured(options.sizes, missing)) if missing else timed(options.sizes, options.seed)
    about = {"command": f"bench_fp8.py --sizes {','.join(map(str, options.sizes))} --seed {options.seed}"}
    measured.finish(rows, options.output, about | ({"gpu": None} if missing else on_gpu.describe()), WORDS)
    return int(any(row.note.startswith(WRONG) for row in rows))


# ---- accuracy, on any machine


def accuracy_of(size: int, seed: int) -> Iterator[Row]:
    for row in accuracy.measure(MAE_ROWS, size, seed):
        expected = row.method.chapter
        chapter = "" if expected is None else CHAPTER_MAE.format(expected)
        for name in ("uniform", "outliers"):
            method = f"{row.method.name}, {name}"
            yield Row(MAE, str(size), method, getattr(row, name), "", chapter=chapter)
    yield from product_errors(size, seed)


def product_errors(size: int, seed: int) -> Iterator[Row]:
    """Of a part of the product, against FP64: all of K, some rows and columns."""
    rng = np.random.default_rng([seed, size])
    x = rng.standard_normal((SAMPLE_ROWS, size)).astype(np.float32)
    w = rng.standard_normal((SAMPLE_COLS, size)).astype(np.float32)
    exact = x.astype(np.float64) @ w.T
    fine = dequantize(*quantize(x, FINE_GRAINED), FINE_GRAINED)
    blocks = dequantize(*quantize(w[None], BLOCK_WISE), BLOCK_WISE)[0]
    for method, left, right in (
        ("BF16", from_bf16(to_bf16(x)), from_bf16(to_bf16(w))),
        ("FP8, 1x128 and 128x128", fine, blocks),
    ):
        product = from_bf16(to_bf16(left.astype(np.float64) @ right.T))
        error = float(np.linalg.norm(product - exact) / np.linalg.norm(exact))
        yield Row(PRODUCT_ERROR, str(size), method, error, "")


# ---- times, on a GPU

BASELINE = "BF16, cuBLAS"
OURS = "FP8 block scales, our kernel"
LAYER = "FP8 block scales, our kernels, quantizing included (FP8Linear)"
WRONG = "not measured: wrong result"


@dataclass(frozen=True)
class Set:
    """One set of inputs, all on the GPU."""

    x: Any  # (N, N) BF16
    w: Any
    x_fp8: tuple[Any, Any]  # 1x128
    x_columns: Any  # the same scales, column by column, as cuBLASLt wants them
    w_fp8: tuple[Any, Any]  # 128x128, of one group
    x_plain: tuple[Any, Any]  # one scale
    w_plain: tuple[Any, Any]
    sizes: Any  # (1,): the number of rows


def inputs(size: int, seed: int, device: str = "cuda") -> Set:
    import torch

    from grader.reference_kernels.torch_layers import ops

    generator = torch.Generator(device).manual_seed(seed)
    x, w = (
        torch.randn(size, size, generator=generator, device=device, dtype=torch.float32).to(torch.bfloat16)
        for _ in range(2)
    )
    x_fp8 = ops.quantize_rows(x)
    return Set(
        x,
        w,
        x_fp8,
        x_fp8[1].T.contiguous().T,
        ops.quantize_blocks(w.float()[None]),
        per_tensor(x),
        per_tensor(w),
        torch.tensor([size], dtype=torch.int32, device=device),
    )


def per_tensor(x: Any) -> tuple[Any, Any]:
    import torch

    scale = x.float().abs().max().clamp(min=1e-6) / 448
    return (x.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn), scale


def bf16(s: Set) -> Any:
    return s.x @ s.w.T


def cublas_per_tensor(s: Set) -> Any:
    import torch

    (x, x_scale), (w, w_scale) = s.x_plain, s.w_plain
    return torch._scaled_mm(x, w.T, scale_a=x_scale, scale_b=w_scale, out_dtype=torch.bfloat16)


def cublas_blocks(s: Set) -> Any:
    import torch

    (x, _), (w, w_scales) = s.x_fp8, s.w_fp8
    return torch._scaled_mm(x, w[0].T, scale_a=s.x_columns, scale_b=w_scales[0].T, out_dtype=torch.bfloat16)


def product(backend: str, s: Set) -> Any:
    from grader.reference_kernels.torch_layers import ops

    return ops.grouped_product(*s.x_fp8, *s.w_fp8, s.sizes, None, backend)


def layer(s: Set) -> Any:
    """What FP8Linear does at every call."""
    from grader.reference_kernels.torch_layers import ops

    return ops.grouped_product(*ops.quantize_rows(s.x), *s.w_fp8, s.sizes, None, ops.KERNELS)


def quantize_x(s: Set) -> Any:
    from grader.reference_kernels.torch_layers import ops

    return ops.quantize_rows(s.x)


def contenders() -> dict[str, Callable[[Set], Any]]:
    """By name; each gives the product in BF16."""
    from grader.reference_kernels.torch_layers import deepgemm, ops

    found: dict[str, Callable[[Set], Any]] = {
        BASELINE: bf16,
        "FP8 one scale, cuBLASLt": cublas_per_tensor,
        "FP8 block scales, cuBLASLt": cublas_blocks,
        OURS: partial(product, ops.KERNELS),
        LAYER: layer,
    }
    if deepgemm.installed():
        found["FP8 block scales, DeepGEMM"] = partial(product, ops.DEEPGEMM)
    return found


METHODS = (BASELINE, "FP8 one scale, cuBLASLt", "FP8 block scales, cuBLASLt", OURS, LAYER)


def unmeasured(sizes: Sequence[int], missing: str) -> Iterator[Row]:
    for size in sizes:
        for method in METHODS:
            yield throughput(size, method, None, note=f"not measured: {missing}")
        for method in METHODS[1:]:
            yield Row(SPEEDUP, str(size), method, None, "", chapter=CHAPTER_SPEEDUP, note=f"not measured: {missing}")
        yield Row(OVERHEAD, str(size), OURS, None, "", note=f"not measured: {missing}")


def throughput(size: int, method: str, us: on_gpu.Microseconds | None, note: str = "") -> Row:
    chapter = CHAPTER_TFLOPS[method.partition(" ")[0].rstrip(",")]
    if us is None:
        return Row(THROUGHPUT, str(size), method, None, "", chapter=chapter, note=note)
    tflops = [2 * size**3 / time / 1e6 for time in (us.median, us.high, us.low)]
    return Row(
        THROUGHPUT, str(size), method, tflops[0], "TFLOPS", *tflops[1:], chapter=chapter, note=WORDS[THROUGHPUT]
    )


def timed(sizes: Sequence[int], seed: int) -> list[Row]:
    return [row for size in measured.progress(sizes, "times") for row in timed_size(size, seed)]


def timed_size(size: int, seed: int) -> Iterator[Row]:
    sets = [inputs(size, seed + i) for i in range(on_gpu.sets(2 * size**2))]
    times: dict[str, on_gpu.Microseconds] = {}
    for method, run in contenders().items():
        try:
            if trouble := disagreement(run, sets[0]):
                yield throughput(size, method, None, note=f"{WRONG}: {trouble}")
                continue
            times[method] = on_gpu.microseconds(run, sets)
            yield throughput(size, method, times[method])
        except (RuntimeError, ValueError) as error:  # this library refuses it
            yield throughput(size, method, None, note=f"not measured: {str(error).splitlines()[0]}")
    base, ours = times.get(BASELINE), times.get(OURS)
    for method, us in times.items():
        if base and method != BASELINE:
            yield Row(SPEEDUP, str(size), method, base.median / us.median, "x", chapter=CHAPTER_SPEEDUP)
    if ours:
        quantizing = on_gpu.microseconds(quantize_x, sets)
        yield Row(OVERHEAD, str(size), OURS, 100 * quantizing.median / ours.median, "%")


def disagreement(run: Callable[[Set], Any], s: Set) -> str:
    """What is wrong with a result, by the BF16 product; "" if nothing is."""
    expected = bf16(s).float()
    error = float((run(s).float() - expected).norm() / expected.norm())
    return "" if error < LARGEST_ERROR else f"it differs from BF16's by {error:.3g} of its size"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
