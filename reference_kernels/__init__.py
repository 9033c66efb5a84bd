"""The mathematics used to judge the exercises. NumPy only; independent of the grader."""
