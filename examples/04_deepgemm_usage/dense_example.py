"""A linear layer in FP8, step by step: quantize, multiply, compare; then the same as a module.

    python examples/04_deepgemm_usage/dense_example.py

Runs on a CPU, and on an NVIDIA GPU if there is one. With DeepGEMM installed, the GPU multiplies with it, too.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import torch
except ImportError:
    sys.exit("This example needs torch. Install it with: python -m pip install -e '.[torch]'")

from grader.reference_kernels.torch_layers import FP8Linear, deepgemm, ops

TOKENS, K, N = 256, 1024, 512


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    x = torch.randn(TOKENS, K, dtype=torch.bfloat16, device=device)
    linear = torch.nn.Linear(K, N, bias=False, dtype=torch.bfloat16, device=device).requires_grad_(False)
    exact = x.float() @ linear.weight.float().T
    print(f"x ({TOKENS}, {K}) @ W ({N}, {K})^T on {device}\n")

    # 1. Quantize. Each 1x128 block of x and each 128x128 block of W has a scale, which maps its largest value to 448.
    x_codes, x_scales = ops.quantize_rows(x)
    w_codes, w_scales = ops.quantize_blocks(linear.weight.float()[None])  # (groups, N, K), here one group
    print(f"x: codes {tuple(x_codes.shape)} {x_codes.dtype}, scales {tuple(x_scales.shape)}")
    print(f"W: codes {tuple(w_codes.shape[1:])} {w_codes.dtype}, scales {tuple(w_scales.shape[1:])}\n")

    # 2. Multiply. The sum of each block of 128 along K is multiplied by both scales and added up in FP32.
    sizes = torch.tensor([TOKENS], dtype=torch.int32, device=device)  # the rows of each group
    y = ops.grouped_product(x_codes, x_scales, w_codes, w_scales, sizes, None, ops.KERNELS)
    print(f"FP8 product:  relative error {relative_error(y, exact):.4f}")
    print(f"BF16 product: relative error {relative_error(linear(x), exact):.4f}")

    # 3. The same product through DeepGEMM's own API, which takes pairs of codes and scales, and writes to `out`.
    if device == "cuda" and deepgemm.installed():
        import deep_gemm

        out = torch.empty(TOKENS, N, dtype=torch.bfloat16, device=device)
        deep_gemm.fp8_gemm_nt((x_codes, x_scales), (w_codes[0], w_scales[0]), out)
        print(f"DeepGEMM:     relative error {relative_error(out, exact):.4f}")
    else:
        print("DeepGEMM:     not run: it needs an NVIDIA Hopper GPU and `deep_gemm` installed")

    # 4. The module does all of this. It takes the place of torch.nn.Linear, for inference.
    layer = FP8Linear.from_linear(linear)
    assert torch.equal(layer(x), y)
    plain, fp8 = (sum(t.nbytes for t in module.state_dict().values()) for module in (linear, layer))
    print(f"\n{layer}\nweights: {plain / 1e6:.2f} MB in BF16, {fp8 / 1e6:.2f} MB in FP8 with scales")


def relative_error(y: torch.Tensor, exact: torch.Tensor) -> float:
    return float((y.float() - exact).norm() / exact.norm())


if __name__ == "__main__":
    main()
