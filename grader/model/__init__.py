"""The values passed between the grader's parts. Frozen; imports nothing else."""
