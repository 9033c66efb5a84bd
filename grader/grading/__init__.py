"""Grades one submission: the checks in order, on the CPU and, if there is one, on a GPU."""
