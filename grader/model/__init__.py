"""The values that the grader's parts hand to each other. Frozen; imports nothing of the rest."""
