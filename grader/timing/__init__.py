"""Paired measurement against a baseline, and what may be concluded from it. One concept a file."""
