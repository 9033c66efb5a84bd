"""Batch grading: finding submissions, the ledger, scheduling, the gradebook."""
