"""Whose turn it is, when several blocks are in flight but only one runs at a time.

The turn passes to another block when this one has executed an atomic operation whose result it uses, and then reached
a barrier or a collective. A block that waits in vain lets others run that have begun, but starts none:
no block may wait for one that a GPU need not have started. The next one is drawn from the launch's seed, so that the
same seed gives the same order on every machine.
"""

from __future__ import annotations

from grader.ptx.ir import Fn, Value
from grader.ptx.machine import BUSY, DONE, IDLE, LAUNCH, SEMAPHORE_AT, TURN, TURN_BYTES, WORKER
from grader.ptx.runtime.faults import leave
from grader.ptx.runtime.threads import NOINLINE, launch_of

FACTOR, STEP = 6364136223846793005, 1442695040888963407  # Knuth's generator modulo 2**64
NOBODY = -1
SELDOM = 4  # of so many turns that may go on, one does: to hand it over takes longer than to draw


def functions() -> list[Fn]:
    return [await_turn(), hand_turn(), pick(), pass_turn(), end_turns()]


def turn_at(f: Fn, number: Value) -> Value:
    return LAUNCH.get(launch_of(f), "turn").at((number * TURN_BYTES).zext("i64"))


def set_state(f: Fn, state: int) -> None:
    TURN.set(turn_at(f, WORKER.get(f["w"], "number")), "state", f.const("i32", state))


def takes_turns(f: Fn) -> Value:
    return LAUNCH.get(launch_of(f), "crew").ugt(1)


def await_turn() -> Fn:
    f = Fn("await_turn", "void", {"w": "ptr"}, NOINLINE)
    semaphore = turn_at(f, WORKER.get(f["w"], "number")).at(SEMAPHORE_AT)
    with f.loop() as mine:  # a signal may come between
        f.stop_when(mine, f.call("i32", "sem_wait", semaphore).eq(0))
    f.ret()
    return f


def hand_turn() -> Fn:
    f = Fn("hand_turn", "void", {"w": "ptr", "to": "i32"}, NOINLINE)
    f.call("i32", "sem_post", turn_at(f, f["to"]).at(SEMAPHORE_AT))
    f.ret()
    return f


def pick() -> Fn:
    """The number of another worker that can go on, by chance; NOBODY: there is none, or (`stays`) this one goes on.

    `begins`: one that would begin a block, too.
    """
    f = Fn("pick", "i32", {"w": "ptr", "begins": "i32", "stays": "i32"}, NOINLINE)
    launch = launch_of(f)
    nobody = f.const("i32", NOBODY)
    more = LAUNCH.get(launch, "next_block").ult(LAUNCH.get(launch, "blocks")) & f["begins"].ne(0)
    seen, left, chosen, idle = (f.alloca("i32") for _ in range(4))

    def scan() -> None:
        """Of those that are idle the first one stands for all."""
        seen.store(f.const("i32", 0))
        idle.store(f.const("i32", 0))
        with f.count(LAUNCH.get(launch, "crew")) as other:
            state = TURN.get(turn_at(f, other), "state")
            starts = state.eq(IDLE) & more & idle.load("i32").eq(0)
            with f.when((state.eq(BUSY) | starts) & other.ne(WORKER.get(f["w"], "number"))):
                with f.when(seen.load("i32").eq(left.load("i32"))):
                    chosen.store(other)
                seen.store(seen.load("i32") + 1)
                idle.store(idle.load("i32") | starts.zext("i32"))

    chance = LAUNCH.get(launch, "chance") * FACTOR + STEP
    LAUNCH.set(launch, "chance", chance)
    luck = (chance >> 33).trunc("i32")
    with f.when(f["stays"].ne(0) & luck.urem(SELDOM).ne(0)):
        leave(f, nobody)
    left.store(nobody)
    scan()
    total = seen.load("i32")
    with f.when(total.eq(0)):
        leave(f, nobody)
    left.store((luck >> 4).urem(total))
    chosen.store(nobody)
    scan()
    f.ret(chosen.load("i32"))
    return f


def pass_turn() -> Fn:
    """Another may run now; returns when it is this one's turn again."""
    f = Fn("pass_turn", "void", {"w": "ptr", "begins": "i32", "stays": "i32"}, NOINLINE)
    WORKER.set(f["w"], "draws", f.const("i32", 0))
    with f.when(takes_turns(f)):
        other = f.call("i32", "pick", f["w"], f["begins"], f["stays"])
        with f.when(other.ne(NOBODY)):
            f.call("void", "hand_turn", f["w"], other)
            f.call("void", "await_turn", f["w"])
    f.ret()
    return f


def end_turns() -> Fn:
    """This worker has no block left: the next one that has one goes on, or one that is still to see it has none."""
    f = Fn("end_turns", "void", {"w": "ptr"}, NOINLINE)
    set_state(f, DONE)
    for state in (BUSY, IDLE):
        crew = LAUNCH.get(launch_of(f), "crew")
        with f.count(crew) as other, f.when(TURN.get(turn_at(f, other), "state").eq(state)):
            f.call("void", "hand_turn", f["w"], other)
            f.ret()
            f.label(f.fresh("dead"))
    f.ret()
    return f
