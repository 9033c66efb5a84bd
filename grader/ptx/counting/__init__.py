"""What the hardware would count of a kernel: a run of some of its blocks in which every access leaves a record."""

from grader.ptx.counting.count import EVERYTHING, SAMPLE, Count, Counted, Counter, Sample

__all__ = ["EVERYTHING", "SAMPLE", "Count", "Counted", "Counter", "Sample"]
