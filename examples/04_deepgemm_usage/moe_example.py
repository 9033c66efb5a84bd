"""A Mixture-of-Experts layer in FP8: route tokens, multiply group by group, compare with BF16 and FP32.

    python examples/04_deepgemm_usage/moe_example.py [--compile] [--backend deepgemm]

Runs on a CPU, and on an NVIDIA GPU if there is one. --compile also runs it through torch.compile.
"""

import argparse
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import torch
except ImportError:
    sys.exit("This example needs torch. Install it with: python -m pip install -e '.[torch]'")

from grader.reference_kernels.torch_layers import FloatMoE, MoELayer, ops

TOKENS, HIDDEN, INTERMEDIATE, EXPERTS, TOP_K = 200, 512, 768, 8, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--compile", action="store_true", help="also run the layer through torch.compile")
    parser.add_argument("--backend", choices=[ops.KERNELS, ops.DEEPGEMM], default=ops.KERNELS)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16, device=device)
    plain = FloatMoE(HIDDEN, INTERMEDIATE, EXPERTS, TOP_K, device=device)

    # 1. Routing. A token goes to the experts with the largest logits; the softmax says how much each counts.
    logits = x.float() @ plain.router.float().T
    experts, _ = ops.route(logits, TOP_K, False)
    rows, tokens_of, sizes = ops.permute(experts, EXPERTS)
    print(f"{TOKENS} tokens, {TOP_K} experts each, on {device}; rows of each expert: {sizes.tolist()}")
    longest = int(sizes.max())
    print(f"padded to the longest, {1 - len(tokens_of) / (EXPERTS * longest):.0%} of the work would be wasted")

    # 2. Permutation. Rows are sorted by expert, so that each expert's rows are one matrix. Row `rows[t, s]` belongs
    #    to token t and its s-th expert; `tokens_of` says the same the other way round.
    assert torch.equal(tokens_of[rows[3].long()], torch.full((TOP_K,), 3, dtype=torch.int32, device=device))

    # 3. The layer: quantize, grouped product with the gates' and ups' weights, SwiGLU, quantize, grouped product with
    #    the downs' weights, weighted sum.
    try:
        layer = MoELayer.from_float(plain, backend=options.backend)
    except RuntimeError as error:  # DeepGEMM is not installed
        sys.exit(str(error))
    exact = copy.deepcopy(plain).float()(x.float())
    y = layer(x)
    print(f"\n{layer}")
    print(f"FP8:  relative error {relative_error(y, exact):.4f}")
    print(f"BF16: relative error {relative_error(plain(x), exact):.4f}")

    # 4. torch.compile sees each step as one operator, so the whole layer is one graph, with the same result.
    if options.compile:
        compiled = torch.compile(layer, fullgraph=True)
        print(f"compiled: {'the same bits' if torch.equal(compiled(x), y) else 'ANOTHER RESULT'}")


def relative_error(y: torch.Tensor, exact: torch.Tensor) -> float:
    return float((y.float() - exact).norm() / exact.norm())


if __name__ == "__main__":
    main()
