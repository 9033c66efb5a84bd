"""Grades in the form that a learning platform imports."""
