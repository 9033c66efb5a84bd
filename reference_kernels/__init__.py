"""The mathematics that the exercises are judged by. NumPy only; nothing here knows the grader."""
