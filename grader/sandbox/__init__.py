"""The child process in which a submission is compiled and run, its limits, and the channel to it."""

from grader.sandbox.errors import ChildCrashed, ChildDied, ChildFailed, ChildFaulted, ChildMemory, ChildTimeout

__all__ = ["ChildCrashed", "ChildDied", "ChildFailed", "ChildFaulted", "ChildMemory", "ChildTimeout"]
