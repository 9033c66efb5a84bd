"""Seeds: all inputs of a grading come from one number, short enough to type."""

SEEDS = 2**32  # seeds are 0 to SEEDS - 1
