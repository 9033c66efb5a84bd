"""One submission, graded: the checks in order, on the CPU and beside it on a GPU."""
