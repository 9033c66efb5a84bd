"""Compiles a submission to PTX and a cubin, and turns diagnostics into findings. Needs no GPU and no driver."""
