"""Grades CUDA kernel exercises on FP8 quantization and grouped GEMM, with or without a GPU."""

__version__ = "0.1.0"
