"""The table: one row of traits for each opcode.

The key of a row is a base opcode (`ld`) or, where one base covers several operations, a longer prefix that tells them
apart (`wmma.store`, `mbarrier.try_wait`). The longest key that is a prefix of an opcode gives its row.

To add an instruction, add its row here, what it computes or does to definition/, and its code to lowering/.
"""

from __future__ import annotations

from grader.ptx.opcodes.traits import BarrierKind, CollectiveKind, Flow, PointerKind, Traits

ARITHMETIC = """
    abs bfe bfi bfind bmsk brev clz cnot copysign cos cvt cvt.pack div dp2a dp4a ex2 fma fns isspacep lg2 lop3 mad24
    max min mul mul24 neg not or popc prmt rcp rem rsqrt sad set setp shf shl shr sin sqrt szext tanh testp vabsdiff2
    vabsdiff4 vadd2 vadd4 vmax2 vmax4 vmin2 vmin4 vsub2 vsub4 xor
""".split()

COMPUTATION: dict[str, Traits] = {
    **dict.fromkeys(ARITHMETIC, Traits(computes=True)),
    **dict.fromkeys(("addc", "madc", "subc"), Traits(computes=True, reads_carry=True)),
    **dict.fromkeys(("add", "and", "mad", "sub"), Traits(computes=True, pointer=PointerKind.OFFSET)),
    **dict.fromkeys(("mov", "selp"), Traits(computes=True, copies=True, pointer=PointerKind.SAME)),
    "cvta": Traits(computes=True, pointer=PointerKind.SAME),
    "slct": Traits(computes=True, copies=True),
    "createpolicy": Traits(),
    "fma.rn.oob": Traits(),
    "mapa": Traits(copies=True, pointer=PointerKind.SAME),
    "getctarank": Traits(),
}

MEMORY: dict[str, Traits] = {
    **dict.fromkeys(("ld", "ldu"), Traits(reads=True, by_element=True)),
    "st": Traits(result=False, writes=True, by_element=True),
    "discard": Traits(result=False, writes=True),
    "atom": Traits(reads=True, writes=True, by_element=True, atomic=True),
    "red": Traits(result=False, reads=True, writes=True, by_element=True, atomic=True),
    "wmma.load": Traits(reads=True),
    "wmma.store": Traits(result=False, writes=True, by_element=True),
    **dict.fromkeys(
        ("fence", "fence.mbarrier_init", "fence.proxy.async", "membar"), Traits(result=False, fence=True)
    ),
    **dict.fromkeys(
        ("applypriority", "griddepcontrol", "pmevent", "prefetch", "prefetchu"),
        Traits(result=False, hint=True),
    ),
    "setmaxnreg": Traits(result=False),
}

_COPY = Traits(result=False, writes=True, asynchronous=True)
_BULK_COPY = Traits(result=False, writes=True, asynchronous=True, arrives_later=True)
_MBARRIER = Traits(writes=True, on_mbarrier=True)
_PHASE_WAIT = Traits(reads=True, on_mbarrier=True, barrier=BarrierKind.PHASE)

ASYNCHRONOUS: dict[str, Traits] = {
    **{f"cp.async.{name}": _COPY for name in ("ca", "cg", "commit_group", "wait_group", "wait_all")},
    **{f"cp.async.{name}": _BULK_COPY for name in
       ("mbarrier.arrive", "bulk", "bulk.commit_group", "bulk.wait_group")},
    "st.async": _BULK_COPY,
    "cp.reduce.async.bulk": Traits(
        result=False, reads=True, writes=True, atomic=True, asynchronous=True, arrives_later=True, by_element=True
    ),
    "cp.async.bulk.tensor": _BULK_COPY,
    "cp.reduce.async.bulk.tensor": Traits(
        result=False, reads=True, writes=True, atomic=True, asynchronous=True, arrives_later=True
    ),
    "wgmma.fence": Traits(result=False, hint=True),
    "wgmma.commit_group": Traits(result=False, arrives_later=True),
    "cp.async.bulk.prefetch.tensor": Traits(result=False, hint=True),
    "cp.async.bulk.prefetch.L2": Traits(result=False, hint=True),
    **{f"mbarrier.{name}": _MBARRIER for name in
       ("init", "inval", "arrive", "arrive_drop", "expect_tx", "complete_tx")},
    "mbarrier.pending_count": Traits(on_mbarrier=True),
    "mbarrier.test_wait": _PHASE_WAIT,
    "mbarrier.try_wait": _PHASE_WAIT,
}  # fmt: skip

CONTROL: dict[str, Traits] = {
    "bra": Traits(result=False, flow=Flow.BRANCH),
    "brx": Traits(result=False, flow=Flow.SWITCH),
    "call": Traits(result=False, flow=Flow.CALL),
    "ret": Traits(result=False, flow=Flow.RETURN),
    "exit": Traits(result=False, flow=Flow.EXIT),
    "trap": Traits(result=False, flow=Flow.TRAP),
    "nanosleep": Traits(result=False, hint=True, pauses=True),
}


def _barriers(base: str, *, aligned: bool) -> dict[str, Traits]:
    """Barriers of the block, in every spelling. `bar` means `barrier.aligned`."""
    rows = {}
    for name in (base, f"{base}.cta"):
        rows[name] = Traits(result=False, barrier=BarrierKind.BLOCK, aligned=aligned)
        rows[f"{name}.red"] = Traits(barrier=BarrierKind.BLOCK, aligned=aligned)
        rows[f"{name}.arrive"] = Traits(result=False, barrier=BarrierKind.BLOCK, aligned=aligned, arrives=True)
    return rows


def _masked(kind: CollectiveKind) -> Traits:
    return Traits(collective=kind, masked=True)


def _matrices(kind: CollectiveKind, *, reads: bool = False, writes: bool = False) -> Traits:
    return Traits(collective=kind, result=not writes, reads=reads, writes=writes)


COLLECTIVES: dict[str, Traits] = {
    **_barriers("bar", aligned=True),
    **_barriers("barrier", aligned=False),
    "barrier.cluster.arrive": Traits(result=False, barrier=BarrierKind.CLUSTER, arrives=True),
    "barrier.cluster.wait": Traits(result=False, barrier=BarrierKind.CLUSTER),
    "bar.warp": Traits(result=False, barrier=BarrierKind.WARP, collective=CollectiveKind.SYNC, masked=True),
    "shfl": _masked(CollectiveKind.SHUFFLE),
    "vote": _masked(CollectiveKind.VOTE),
    "match": _masked(CollectiveKind.MATCH),
    "redux": _masked(CollectiveKind.REDUCE),
    "elect": _masked(CollectiveKind.ELECT),
    "activemask": Traits(collective=CollectiveKind.ACTIVE_MASK, aligned=True),
    "mma": _matrices(CollectiveKind.PRODUCT),
    "wmma.mma": _matrices(CollectiveKind.PRODUCT),
    "wgmma.mma_async": Traits(
        collective=CollectiveKind.GROUP_PRODUCT, reads=True, arrives_later=True, updates=True, aligned=True
    ),
    "wgmma.wait_group": Traits(
        result=False, collective=CollectiveKind.SYNC, writes=True, arrives_later=True, aligned=True
    ),
    "ldmatrix": _matrices(CollectiveKind.LOAD_MATRICES, reads=True),
    "stmatrix": _matrices(CollectiveKind.STORE_MATRICES, writes=True),
    "movmatrix": _matrices(CollectiveKind.TRANSPOSE),
}

# Pseudo-instructions, which analysis/ inserts. No PTX text contains them.
DEPOSIT = "deposit"  # before a collective: the lane leaves its words and waits
POLL = "poll"  # before a wait for an mbarrier: the thread lets others run if the phase is not complete
PUSH, POP, STACK = "push", "pop", "stack"  # the stack for recursion; STACK empties it
ALIGNED = "aligned"  # the alignment check of a vector load of which only some elements are loaded
UNWRITTEN = "unwritten"  # behind a load: has nothing written what it gave?
MATTERS = "matters"  # before an instruction to which a value matters that nothing may have written
UNWRITE = "unwrite"  # behind a store of such a value

INSERTED: dict[str, Traits] = {
    DEPOSIT: Traits(result=False, suspends=True),
    POLL: Traits(result=False, suspends=True),
    PUSH: Traits(result=False),
    POP: Traits(),
    STACK: Traits(result=False),
    ALIGNED: Traits(result=False),
    UNWRITTEN: Traits(),
    MATTERS: Traits(result=False),
    UNWRITE: Traits(result=False),
}

ROWS: dict[str, Traits] = {**COMPUTATION, **MEMORY, **ASYNCHRONOUS, **CONTROL, **COLLECTIVES, **INSERTED}
