"""Renders a Result as one self-contained HTML file. Reads grader.model only."""

from reports.render import render

__all__ = ["render"]
