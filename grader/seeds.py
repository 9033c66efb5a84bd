"""Seeds: all inputs of a grading come from one number, short enough to be typed again."""

SEEDS = 2**32  # how many there are, counted from 0
