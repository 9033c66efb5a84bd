"""What the hardware would count of a kernel: a run of some of its blocks in which every access leaves a record."""

from grader.ptx.counting.count import EVERYTHING, Count, Counted, Counter, Sample

__all__ = ["EVERYTHING", "Count", "Counted", "Counter", "Sample"]
