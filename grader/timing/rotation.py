"""The number of input sets in a measurement, such that no launch finds its inputs in the cache."""

from __future__ import annotations

L2_MULTIPLE = 2.05  # together more than twice the L2 cache: nothing of a set is left when its turn comes again
MIN_SETS = 4  # a submission must not profit from remembering the last one
MAX_SETS = 256  # for tiny problems: limits the launches per round, and the size of the graph


def sets(input_bytes: int, l2_bytes: int) -> int:
    wanted = -(-int(L2_MULTIPLE * l2_bytes) // max(1, input_bytes))
    return min(MAX_SETS, max(MIN_SETS, wanted))
