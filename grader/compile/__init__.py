"""A submission's source into PTX and cubin, its diagnostics into findings. No GPU and no driver needed."""
