"""The process of its own in which a submission is compiled and run, its limits, and the channel to it."""

from grader.sandbox.errors import ChildDied, ChildFailed, ChildFaulted, ChildMemory, ChildTimeout

__all__ = ["ChildDied", "ChildFailed", "ChildFaulted", "ChildMemory", "ChildTimeout"]
