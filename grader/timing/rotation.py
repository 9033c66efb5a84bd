"""How many sets of inputs a measurement goes through, so that no launch finds its inputs in the cache."""

from __future__ import annotations

L2_MULTIPLE = 2.05  # together larger than twice the L2: when a set's turn comes again, nothing of it is left there
MIN_SETS = 4  # a submission must not get far by remembering the last one
MAX_SETS = 256  # tiny problems: the launches of a round, and the graph that holds them, stay within reason


def sets(input_bytes: int, l2_bytes: int) -> int:
    wanted = -(-int(L2_MULTIPLE * l2_bytes) // max(1, input_bytes))
    return min(MAX_SETS, max(MIN_SETS, wanted))
