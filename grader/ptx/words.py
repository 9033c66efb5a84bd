"""What reports say: the one place where an explained fault becomes sentences."""

from __future__ import annotations

from collections.abc import Callable

from grader.ptx.facts import Actor, Detail, Facts, Place, Side
from grader.ptx.machine import (
    ABSENT_LANE,
    ARRIVES_AGAIN,
    BARRIER_NUMBER,
    BYTES_BITS,
    IN_LOCAL_MEMORY,
    LONG_ROWS,
    MAX_COUNT,
    NAMED_BARRIERS,
    NUMBER_MASK,
    NUMBER_SHIFTS,
    OTHER_RANK,
    OWN_LANE,
    STARTS_INSIDE,
    STRIDE_DIFFERS,
    SWIZZLE_DIFFERS,
    Kind,
    Misuse,
)

COLLECTIVES = {"shfl": "the shuffle", "vote": "the vote", "match": "the match", "redux": "the warp reduction",
               "bar": "__syncwarp", "elect": "elect", "mma": "the matrix product",
               "wmma": "the matrix product", "wgmma": "wgmma", "ldmatrix": "ldmatrix", "stmatrix": "stmatrix",
               "movmatrix": "movmatrix"}  # fmt: skip
# What is missing between the two accesses of a race.
UNORDERED = {
    Detail.NONE: ", with no barrier in between",
    Detail.WITH_COPY: ", and nothing waits for the copy in between",
    Detail.WITH_PRODUCT: "",
    Detail.OWN_BARRIERS: ", and none of the kernel's barriers orders the two accesses",
    Detail.BETWEEN_BLOCKS: ", and blocks run in any order",
    Detail.READ_BETWEEN_BLOCKS: ", and blocks run in any order",
    Detail.PLAIN_READ: ", and nothing orders a plain load with what other blocks do",
    Detail.BOTH_WRITE: ", with no barrier in between",
    Detail.UNTRIED_SWAP: ", and the value may change in between",
    Detail.UPDATE: ", and the update is not atomic",
    Detail.BLOCK_SCOPE: ", and an atomic of block scope is atomic only within its own block",
    Detail.NO_PROXY_FENCE: ", with no fence.proxy.async in between",
}
NOT_VALID = (
    "but no mbarrier.init has made it one, or mbarrier.inval has ended it",
    "but something was written over it after mbarrier.init",
)


def message(facts: Facts) -> str:
    return _SENTENCES[facts.kind](facts)


def notes(facts: Facts) -> tuple[str, ...]:
    """The other side of a race, and the calls that lead to the line."""
    found = [_other_side(facts.other)] if facts.other and facts.kind in RACES else []
    if facts.calls:
        found.append(f"called from line {', from line '.join(map(str, facts.calls))}")
    return tuple(found)


def describe(place: Place, width: int) -> str:
    """The element, and how far outside its array it lies."""
    if not place.array:
        return f"address {place.offset & (1 << 64) - 1:#x}, which lies in no array (a null or stray pointer)"
    whole = place.offset % place.item == 0
    name = f"{place.array}[{place.offset // place.item}]" if whole else f"{place.array} + {place.offset} bytes"
    name += f" (tile {place.tile}, counted from 0)" if place.tile is not None else ""
    name += f" of block {place.rank} of the cluster" if place.rank is not None else ""
    if place.offset >= 0 and place.offset + width <= place.size:
        return name
    if place.offset < 0:
        return f"{name}, {_count(-place.offset, 'byte')} before the start of the array"
    if place.is_dynamic and not place.size:
        return f"{name}, but the launch asks for no dynamic shared memory"
    has = f"(the array has {_count(place.elements, 'element')})"
    if place.offset < place.size:
        return f"{name} and runs past the end {has}"
    past = place.offset - place.size
    how_far = f"{_count(past, 'byte')} past" if past else "just past"
    return f"{name}, {how_far} the end {has}"


def who(actor: Actor) -> str:
    if actor.is_copy:
        return "the copy that starts here"
    return f"thread {_triple(actor.thread)} of block {_triple(actor.block)}"


def _triple(of: tuple[int, int, int]) -> str:
    return f"({of[0]},{of[1]},{of[2]})"


def _what(facts: Facts) -> str:
    assert facts.place is not None
    return describe(facts.place, facts.width)


def _accesses(facts: Facts) -> str:
    return f"{who(facts.actor)} {'writes' if facts.writes else 'reads'} {_what(facts)}"


def _other_side(other: Side) -> str:
    did = "wrote" if other.writes else "read"
    if other.is_product:
        return f"the wgmma on line {other.line} reads it"
    if other.actor.is_copy:
        return f"the copy that starts on line {other.line} {did} it"
    return f"{who(other.actor)} {did} it on line {other.line}"


def _uninitialised(facts: Facts) -> str:
    reads = f"{who(facts.actor)} reads {_what(facts)}"
    if facts.detail is not Detail.COPY_IN_FLIGHT:
        return f"{reads}, which nothing has written yet"
    copy = f"the copy that starts on line {facts.other.line}" if facts.other else "its asynchronous copy"
    return f"{reads}, but {copy} has not been waited for"


def _misaligned(facts: Facts) -> str:
    assert facts.place is not None
    if facts.detail is Detail.OWN_ALIGNMENT:
        return (
            f"{who(facts.actor)} {'writes' if facts.writes else 'reads'} {facts.width} bytes at {_what(facts)}: "
            f"{facts.place.array} itself may begin at an address that is not a multiple of {facts.width}"
        )
    return (
        f"{who(facts.actor)} {'writes' if facts.writes else 'reads'} {facts.width} bytes at {_what(facts)}: "
        f"byte {facts.place.offset} is not a multiple of {facts.width}"
    )


def _race(facts: Facts) -> str:
    assert facts.other is not None
    if facts.other.is_product and facts.detail is Detail.WITH_PRODUCT:
        return f"{_accesses(facts)}, which the wgmma on line {facts.other.line} may still be reading"
    copy = "the copy on " if facts.other.actor.is_copy else ""
    verb = "writes" if facts.other.writes else "reads"
    return f"{_accesses(facts)}, which {copy}line {facts.other.line} also {verb}{UNORDERED[facts.detail]}"


def _no_proxy_fence(facts: Facts) -> str:
    assert facts.other is not None
    return (
        f"{who(facts.actor)} starts a bulk copy of {_what(facts)}, which line {facts.other.line} "
        f"{'writes' if facts.other.writes else 'reads'}{UNORDERED[facts.detail]}"
    )


def _divergence(facts: Facts) -> str:
    if facts.detail is Detail.THREAD_COUNT and facts.number % 32:
        return f"this barrier is for {facts.number} threads, but whole warps arrive: use a multiple of 32"
    if facts.detail is Detail.THREAD_COUNT:
        return f"this barrier waits for {facts.number} threads, but the block has only {facts.threads}"
    if facts.detail is Detail.BARRIER_NUMBER:
        number = facts.number & (BARRIER_NUMBER - 1)
        return f"{who(facts.actor)} uses barrier {number}, but a block has only barriers 0 to {NAMED_BARRIERS - 1}"
    whole = "cluster" if facts.detail is Detail.CLUSTER_BARRIER else "block"
    are = f"{_count(facts.number, 'thread')} of the {whole}"
    if facts.other is None:
        verb = "reaches" if facts.number == 1 else "reach"
        return f"{are} never {verb} this barrier: {who(facts.actor)} has already returned"
    verb = "does" if facts.number == 1 else "do"
    return f"{are} {verb} not wait here: {who(facts.actor)} waits at the barrier on line {facts.other.line}"


def _left_block(facts: Facts) -> str:
    return (
        f"{_accesses(facts)}, but that block may have ended by then: "
        "both blocks need a cluster.sync() before it returns"
    )


def _no_tensor_map(facts: Facts) -> str:
    uses = f"{who(facts.actor)} uses {_what(facts)} as a tensor map"
    why = facts.number & 0xFF
    if why == IN_LOCAL_MEMORY:
        return f"{uses}, a copy in local memory: declare the parameter const __grid_constant__ CUtensorMap"
    if why == OTHER_RANK:
        return f"{uses}, which has rank {facts.number >> 8}: this instruction copies tiles of another rank"
    return f"{uses}, but it is none"


def _cluster_order(facts: Facts) -> str:
    if facts.number == ARRIVES_AGAIN:
        return f"{who(facts.actor)} arrives at the barrier of the cluster again without having waited at it"
    return f"{who(facts.actor)} waits at the barrier of the cluster without having arrived at it"


def _counts_differ(facts: Facts) -> str:
    there = f" on line {facts.other.line}" if facts.other and facts.other.line else " elsewhere"
    return f"this barrier is for {facts.threads} threads here, and for {facts.number}{there}"


def _mismatch(facts: Facts) -> str:
    what = COLLECTIVES.get(facts.instruction, "this warp operation")
    if facts.detail is Detail.OWN_LANE:
        lane = facts.number - OWN_LANE
        return f"{who(facts.actor)} (lane {lane}) calls {what} with a mask that leaves out its own lane"
    if facts.detail is Detail.WHOLE_WARP:
        lane = facts.number - ABSENT_LANE
        return f"{who(facts.actor)} executes {what} without lane {lane}: it needs all 32 lanes of the warp"
    if facts.detail is Detail.ABSENT_LANE:
        lane = facts.number - ABSENT_LANE
        return f"{who(facts.actor)} reads lane {lane} in {what}, but the mask leaves that lane out"
    where = f"waits on line {facts.other.line}" if facts.other else "has already returned"
    return f"{what} waits for lanes of its mask that never arrive: {who(facts.actor)} {where}"


def _not_finished(facts: Facts) -> str:
    if facts.detail is Detail.RECURSION:
        return (
            f"{who(facts.actor)} keeps calling from here until its stack is full: the recursion does not seem to end"
        )
    if facts.detail is Detail.WAITS_FOR_OTHERS:
        return f"{who(facts.actor)} is still in this loop, which reads memory that other threads may change"
    return f"{who(facts.actor)} is still in this loop, which does not seem to end"


def _trap(facts: Facts) -> str:
    if facts.detail is Detail.ASSERTION:
        return f"the assertion on this line fails in {who(facts.actor)}"
    if facts.detail is Detail.COOPERATIVE_LAUNCH:
        return f"{who(facts.actor)} stops here: grid.sync() needs a cooperative launch, and this is an ordinary one"
    if facts.detail is Detail.BRANCH_INDEX:
        return f"{who(facts.actor)} jumps with an index past the end of the list of labels (brx.idx)"
    return f"{who(facts.actor)} stops the kernel here: __trap(), or a pointer that is always null"


def _stuck(facts: Facts) -> str:
    said = f"{who(facts.actor)} waits here forever: {_missing(facts.number)} at {_what(facts)}"
    came = facts.number >> BYTES_BITS & (1 << BYTES_BITS) - 1
    if facts.other is None or not _bytes_missing(facts.number):
        return said
    expected = came + _bytes_missing(facts.number)
    return f"{said}; it expects {expected} and got {came}, the last from the copy on line {facts.other.line}"


def _bytes_missing(number: int) -> int:
    """Less than 0: more have come."""
    bytes_ = number & (1 << BYTES_BITS) - 1
    return bytes_ - (bytes_ >> BYTES_BITS - 1 << BYTES_BITS)


def _missing(number: int) -> str:
    """What a phase still waits for."""
    arrivals, bytes_ = number >> 2 * BYTES_BITS, _bytes_missing(number)
    parts = [_count(arrivals, "arrival")] if arrivals else []
    if bytes_ > 0:
        parts.append(_count(bytes_, "byte"))
    text = " and ".join(parts) + (" is missing" if arrivals + max(bytes_, 0) == 1 else " are missing")
    if bytes_ < 0:
        more = f"{_count(-bytes_, 'byte')} arrived that it does not expect"
        return f"{text}, and {more}," if arrivals else more
    return text


def _misuse(facts: Facts) -> str:
    actor, what, number = who(facts.actor), _what(facts), facts.number >> 8
    return {
        Misuse.COUNT: f"{actor} gives {what} a count of {number}; it must be from 1 to {MAX_COUNT}",
        Misuse.TOO_MANY: f"{actor} arrives at {what} more often than its phase expects ({_count(number, 'arrival')})",
        Misuse.COMPLETES: f"{actor} arrives at {what} with .noComplete, but no other arrival is missing",
        Misuse.BYTES: f"{actor} makes {what} expect more than {MAX_COUNT} bytes",
        Misuse.VALID_ALREADY: f"{actor} initialises {what}, which is an mbarrier already: run mbarrier.inval first",
        Misuse.PASSED_EARLY: f"{actor} goes on here although the phase of {what} that is under way is not "
        "complete: the parity is that of the phase before it",
    }[Misuse(facts.number & 0xFF)]


def _no_product_fence(facts: Facts) -> str:
    starts = f"{who(facts.actor)} starts a wgmma"
    if facts.other is None:
        return f"{starts} without a wgmma.fence before it: the registers may not be ready"
    return f"{starts} although line {facts.other.line} has changed its registers since the last wgmma.fence"


def _numbers(facts: Facts) -> tuple[int, int]:
    first, second = (facts.number >> shift & NUMBER_MASK for shift in NUMBER_SHIFTS)
    return first, second


def _split_warpgroup(facts: Facts) -> str:
    needs = "a wgmma needs all four warps of a warpgroup"
    most, least = _numbers(facts)
    if not most:
        return (
            f"{needs}, threads 0 to 127, 128 to 255 and so on of the block: {who(facts.actor)} runs it, and its "
            f"warpgroup is not complete in a block of {_count(facts.threads, 'thread')}"
        )
    return (
        f"{needs}: {who(facts.actor)} and its warp ran this one {_count(least, 'time')}, another warp of the same "
        f"warpgroup {_count(most, 'time')}"
    )


def _wrong_descriptor(facts: Facts) -> str:
    of_tile, own = _numbers(facts)
    reads = f"the descriptor of this wgmma, at {_what(facts)}, "
    copy = f"the copy on line {facts.other.line if facts.other else 0} "

    def swizzled(span: int) -> str:
        return f"swizzled by {span} bytes" if span else "not swizzled"

    return {
        SWIZZLE_DIFFERS: f"{reads}says that the tile is {swizzled(own)}, but {copy}brought it {swizzled(of_tile)}",
        STRIDE_DIFFERS: f"{reads}has groups of eight rows {own} bytes apart, but in the tile that {copy}brought "
        f"they are {of_tile} bytes apart",
        LONG_ROWS: f"{reads}has no swizzle, and so rows of {own} bytes, but {copy}brought rows of {of_tile} bytes",
        STARTS_INSIDE: f"{reads}starts in row {of_tile} of a group of eight: a tile that is {swizzled(own)} must "
        f"start at a multiple of {8 * own} bytes",
    }[facts.number & 0xFF]


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


RACES = (Kind.RACE, Kind.BLOCK_RACE, Kind.NO_PROXY_FENCE, Kind.EARLY_READ)
_SENTENCES: dict[Kind, Callable[[Facts], str]] = {
    Kind.OUT_OF_BOUNDS: _accesses,
    Kind.UNINITIALISED_READ: _uninitialised,
    Kind.MISALIGNED: _misaligned,
    Kind.RACE: _race,
    Kind.BLOCK_RACE: _race,
    Kind.EARLY_READ: _race,
    Kind.READ_ONLY_WRITE: lambda facts: f"{_accesses(facts)}, which is read-only",
    Kind.BARRIER_DIVERGENCE: _divergence,
    Kind.COUNTS_DIFFER: _counts_differ,
    Kind.LEFT_BLOCK: _left_block,
    Kind.EARLY_ACCUMULATOR: lambda f: (
        f"{who(f.actor)} uses an accumulator of the wgmma on line {f.other.line if f.other else 0} "
        "before wgmma.wait_group has waited for it"
    ),
    Kind.NO_PRODUCT_FENCE: _no_product_fence,
    Kind.EARLY_FACTOR: lambda f: (
        f"{who(f.actor)} changes a register of A of the wgmma on line {f.other.line if f.other else 0} "
        "before wgmma.wait_group has waited for it"
    ),
    Kind.SPLIT_WARPGROUP: _split_warpgroup,
    Kind.WRONG_DESCRIPTOR: _wrong_descriptor,
    Kind.NO_TENSOR_MAP: _no_tensor_map,
    Kind.MISALIGNED_TILE: lambda f: (
        f"{who(f.actor)} copies a tile {'to' if f.writes else 'from'} {_what(f)}: "
        "a tile of a tensor copy must start at a multiple of 128 bytes"
    ),
    Kind.REGISTER_COUNT: lambda f: (
        f"setmaxnreg asks for {f.threads} registers; it must be a multiple of 8, from 24 to 256"
    ),
    Kind.CLUSTER_ORDER: _cluster_order,
    Kind.COLLECTIVE_MISMATCH: _mismatch,
    Kind.DID_NOT_FINISH: _not_finished,
    Kind.TRAP: _trap,
    Kind.STUCK_PHASE: _stuck,
    Kind.NO_MBARRIER: lambda f: f"{who(f.actor)} uses {_what(f)} as an mbarrier, {NOT_VALID[f.number == 1]}",
    Kind.MISUSE: _misuse,
    Kind.BULK_SIZE: lambda f: (
        f"{who(f.actor)} copies {f.number} bytes to {_what(f)}; the size of a bulk copy must be a multiple of 16"
    ),
    Kind.NO_PROXY_FENCE: _no_proxy_fence,
    Kind.UNFINISHED_COPY: lambda f: (
        f"{who(f.actor)} ends while its bulk copy may still be reading {_what(f)}: "
        "commit the copy to a group and wait for the group"
    ),
}
