"""FP8 layers for torch: `FP8Linear` and `MoELayer`, for inference. Needs the extra `torch`.

On a GPU they run fp8_layers.cu, or DeepGEMM; on a CPU the NumPy definitions.
"""

try:
    import torch as _  # noqa: F401
except ImportError:
    raise ImportError(
        "the FP8 layers need torch; install it with: python -m pip install 'cuda-kernel-grader[torch]'"
    ) from None

from grader.reference_kernels.torch_layers.linear import FP8Linear
from grader.reference_kernels.torch_layers.moe import FloatMoE, MoELayer

__all__ = ["FP8Linear", "FloatMoE", "MoELayer"]
