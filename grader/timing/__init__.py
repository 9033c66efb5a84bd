"""Paired measurement against a baseline, and the conclusions drawn from it. One concept per file."""
