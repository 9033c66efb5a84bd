"""Batch grading: who submitted what, the ledger, scheduling, the gradebook."""
