"""What the hardware would count of a kernel: a run of some of its blocks in which every access leaves a record."""

from grader.ptx.counting.count import Count, Counted, Counter

__all__ = ["Count", "Counted", "Counter"]
