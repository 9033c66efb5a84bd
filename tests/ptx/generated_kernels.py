"""Small kernels from a seed, for comparing two ways of running one: some right, some with races or other mistakes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from grader import ptx

CELLS = 256  # of the shared array and of each global one, four bytes each
BLOCKS = ((16, 16, 1), (32, 4, 1), (64, 1, 1), (48, 1, 1), (20, 3, 1), (7, 1, 1), (8, 8, 1), (4, 4, 4), (16, 5, 1))
HEAD = """.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 given, .param .u64 more, .param .u64 out, .param .u32 n)
{
    .reg .pred %p<200>; .reg .b16 %h<200>; .reg .b32 %r<900>; .reg .f32 %f<900>; .reg .b64 %rd<900>; .reg .f64 %d<9>;
    .shared .align 16 .b8 s[1024]; .shared .align 16 .b8 small[256];
    ld.param.u64 %rd1, [given]; ld.param.u64 %rd2, [more]; ld.param.u64 %rd3, [out]; ld.param.u32 %r1, [n];
    cvta.to.global.u64 %rd1, %rd1; cvta.to.global.u64 %rd2, %rd2; cvta.to.global.u64 %rd3, %rd3;
    mov.u32 %r2, %tid.x; mov.u32 %r3, %tid.y; mov.u32 %r4, %tid.z; mov.u32 %r5, %ntid.x; mov.u32 %r6, %ntid.y;
    mov.u32 %r7, %ctaid.x; mov.u32 %r8, %laneid; mov.u64 %rd4, s; mov.u64 %rd5, small;
    mad.lo.s32 %r9, %r4, %r6, %r3; mad.lo.s32 %r9, %r9, %r5, %r2;
    mov.f32 %f1, 0f3F800000; cvt.rn.f32.s32 %f2, %r9; mov.f32 %f3, 0f40490FDB;
"""


@dataclass
class Generated:
    """`text`: the PTX. `block`, `grid`: how it is launched. `sloppy`: it may have mistakes."""

    text: str
    block: tuple[int, int, int]
    grid: tuple[int, int, int]
    sloppy: bool

    def arguments(self) -> list[ptx.Buffer | int]:
        values = np.random.default_rng(1).uniform(-2, 2, (3, CELLS)).astype(np.float32)
        return [
            ptx.Buffer("given", values[0]),
            ptx.Buffer("more", values[1]),
            ptx.Buffer("out", np.full(CELLS * 4, 7, np.float32), writable=True, initialised=False),
            13,
        ]


@dataclass
class _Writer:
    random: random.Random
    sloppy: bool
    lines: list[str] = field(default_factory=list)
    numbers: int = 20
    floats: list[str] = field(default_factory=lambda: ["%f1", "%f2", "%f3"])
    integers: list[str] = field(default_factory=lambda: ["%r2", "%r3", "%r8", "%r9"])
    addresses: list[str] = field(default_factory=list)  # in shared memory, that all threads have
    owned: list[str] = field(default_factory=list)  # those that each has for itself
    has_bytes: bool = False
    has_collectives: bool = False
    depth: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def line(self, text: str) -> None:
        self.lines.append(f"    .loc 1 {len(self.lines) + 1} 1\n    {text}")

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    # Values -----------------------------------------------------------------------------------------------------

    def index(self) -> str:
        """An integer register from 0 to CELLS - 1: rows, broadcasts, strides and disorder."""
        pick, r = self.random, f"%r{self.number()}"
        base = pick.choice(["%r2", "%r3", "%r9", "%r9", "%r8", "%r7", self.random.choice(self.integers)])
        step = pick.choice([1, 1, 1, 0, 2, 4, 16, 17, 3])
        self.line(f"mad.lo.s32 {r}, {base}, {step}, {pick.choice([0, 0, 0, 1, 5, 16, 64, 255])};")
        if pick.randrange(3) == 0:
            self.line(f"mad.lo.s32 {r}, {pick.choice(['%r2', '%r3', '%r5'])}, {pick.choice([1, 16, 32])}, {r};")
        if pick.randrange(3) == 0:
            self.line(f"{pick.choice(['shr.u32', 'and.b32'])} {r}, {r}, {pick.choice([1, 2, 3, 4, 7, 12])};")
        if pick.randrange(6) == 0:
            self.line(f"xor.b32 {r}, {r}, {pick.choice([1, 5, 31])};")
        self.line(f"and.b32 {r}, {r}, {CELLS - 1 if not self.sloppy or not self.chance(25) else 511};")
        return r

    def own(self) -> str:
        """An index that no other thread of the block has."""
        if self.sloppy and self.chance(6):
            return self.index()
        how = self.random.randrange(4)
        if how == 0:
            return "%r9"
        r = f"%r{self.number()}"
        text = {1: f"xor.b32 {r}, %r9, {self.random.choice([1, 7, 16, 255])};", 2: f"sub.s32 {r}, 255, %r9;"}
        self.line(text.get(how, f"add.s32 {r}, %r9, 0;"))
        return r

    def address(self, index: str, array: str, scale: int = 4) -> str:
        r = f"%rd{self.number()}"
        self.line(f"mul.wide.u32 {r}, {index}, {scale};")
        self.line(f"add.s64 {r}, {r}, {array};")
        return r

    def operation(self) -> None:
        pick, f = self.random, f"%f{self.number()}"
        a, b, c = (pick.choice(self.floats) for _ in range(3))
        text = pick.choice(
            [
                f"fma.rn.f32 {f}, {a}, {b}, {c};", f"add.f32 {f}, {a}, {b};", f"mul.f32 {f}, {a}, {b};",
                f"max.f32 {f}, {a}, {b};", f"sub.f32 {f}, {a}, {b};", f"neg.f32 {f}, {a};",
                f"selp.f32 {f}, {a}, {b}, {self.condition()};",
            ]
        )  # fmt: skip
        self.line(text)
        self.floats.append(f)
        if pick.randrange(3) == 0:
            r, x, y = f"%r{self.number()}", pick.choice(self.integers), pick.choice(self.integers)
            op = pick.choice("add.s32 sub.s32 mul.lo.s32 and.b32 xor.b32 max.s32 shr.u32 div.s32 rem.u32".split())
            self.line(f"{op} {r}, {x}, {y};")
            self.integers.append(r)

    def condition(self) -> str:
        p, pick = f"%p{self.number() % 190}", self.random
        if pick.randrange(4) == 0:
            self.line(f"setp.gt.f32 {p}, {pick.choice(self.floats)}, 0f3F000000;")
        else:
            value = pick.choice(["%r2", "%r3", "%r8", "%r9", "%r1", "%r7"])
            self.line(
                f"setp.{pick.choice(['lt', 'ge', 'eq', 'ne'])}.s32 {p}, {value}, {pick.choice([0, 1, 5, 13, 16])};"
            )
        return p

    # Memory -----------------------------------------------------------------------------------------------------

    def load(self, array: str, space: str) -> None:
        pick = self.random
        guard = f"@{'!' * pick.randrange(2)}{self.condition()} " if self.chance(6) else ""
        width = pick.choice([1, 1, 1, 2, 4]) if not guard else 1
        index = self.index()
        if width > 1:
            self.line(f"and.b32 {index}, {index}, {CELLS - width};")
        base = self.address(index, array)
        if space == "shared":
            if self.addresses and width == 1 and self.chance(2):
                base = pick.choice(self.addresses)
            elif self.depth == 0 and width == 1:
                self.addresses.append(base)
        for _ in range(pick.choice([1, 1, 2, 3])):
            names = [f"%f{self.number()}" for _ in range(width)]
            if guard:
                self.line(f"mov.f32 {names[0]}, 0f3F800000;")
            target = names[0] if width == 1 else "{" + ", ".join(names) + "}"
            offset = pick.choice([0, 0, 16, 64]) if self.sloppy and self.chance(8) else 0
            self.line(f"{guard}ld.{space}{'' if width == 1 else f'.v{width}'}.f32 {target}, [{base}+{offset}];")
            self.floats += names

    def store_shared(self, index: str) -> None:
        address = self.address(index, "%rd4")
        if self.owned and self.chance(2):
            address = self.random.choice(self.owned)
        elif self.depth == 0:
            self.owned.append(address)
        self.line(f"st.shared.f32 [{address}], {self.random.choice(self.floats[-4:])};")

    def collective(self) -> None:
        pick, r, s, f = self.random, f"%r{self.number()}", f"%r{self.number()}", f"%f{self.number()}"
        self.line(f"mov.b32 {r}, {pick.choice(self.floats)};")
        mode, by = pick.choice([("bfly", 16), ("bfly", 1), ("down", 8), ("up", 2), ("idx", 0), ("idx", "%r3")])
        clamp = {"up": pick.choice([0, 0x1800])}.get(mode, pick.choice([31, 0x181F]))
        self.line(
            pick.choice(
                [
                    f"shfl.sync.{mode}.b32 {s}, {r}, {by}, {clamp}, -1;",
                    f"shfl.sync.{mode}.b32 {s}, {r}, {by}, {clamp}, -1;",
                    f"vote.sync.ballot.b32 {s}, {self.condition()}, -1;",
                    f"redux.sync.{pick.choice(['add', 'max', 'min'])}.s32 {s}, %r9, -1;",
                ]
            )
        )
        self.line(f"cvt.rn.f32.s32 {f}, {s};")
        self.floats.append(f)

    def byte(self) -> None:
        """A byte of an index is stored, and read by somebody else."""
        value, read, f = f"%h{self.number() % 190}", f"%h{self.number() % 190}", f"%f{self.number()}"
        own, other = self.address(self.own(), "%rd5", 1), self.address(self.index(), "%rd5", 1)
        self.line(f"cvt.u16.u32 {value}, {self.random.choice(self.integers[:4])};")
        self.line(f"st.shared.u8 [{own}], {value};")
        self.barrier()
        self.line(f"ld.shared.u8 {read}, [{other}];")
        self.line(f"cvt.rn.f32.u16 {f}, {read};")
        self.floats.append(f)
        self.barrier()

    def barrier(self) -> None:
        if not (self.sloppy and self.chance(5)):
            self.line("bar.sync 0;")

    # Statements -------------------------------------------------------------------------------------------------

    def divergent(self) -> None:
        """An if, with or without an else."""
        condition, number = self.condition(), self.number()
        known = len(self.floats), len(self.integers)
        result = f"%f{self.number()}"
        self.line(f"mov.f32 {result}, {self.random.choice(self.floats)};")
        self.line(f"@{condition} bra other{number};")
        self.inside(result, known)
        if self.random.randrange(2):
            self.line(f"bra end{number};")
            self.lines.append(f"other{number}:")
            self.inside(result, known)
            self.lines.append(f"end{number}:")
        else:
            self.lines.append(f"other{number}:")
        self.floats.append(result)

    def loop(self) -> None:
        """Of as many rounds for all threads, or not."""
        number, counter, p = self.number(), f"%r{self.number()}", f"%p{self.number() % 190}"
        end = self.random.choice(["3", "%r1", "%r8", "%r2"])
        known = len(self.floats), len(self.integers)
        result = f"%f{self.number()}"
        self.line(f"mov.f32 {result}, {self.random.choice(self.floats)};")
        self.line(f"mov.u32 {counter}, 0;")
        self.lines.append(f"again{number}:")
        self.inside(result, known)
        self.line(f"add.s32 {counter}, {counter}, 1;")
        self.line(f"setp.lt.s32 {p}, {counter}, {end};")
        self.line(f"@{p} bra again{number};")
        self.floats.append(result)

    def inside(self, result: str, known: tuple[int, int]) -> None:
        self.depth += 1
        for _ in range(self.random.choice([1, 2])):
            self.statement()
        self.line(f"add.f32 {result}, {result}, {self.random.choice(self.floats)};")
        del self.floats[known[0] :], self.integers[known[1] :]
        self.depth -= 1

    def statement(self) -> None:
        pick = self.random.randrange(10)
        if pick < 4:
            self.operation()
        elif pick < 6:
            self.load("%rd4", "shared")
        elif pick < 7:
            self.load(self.random.choice(["%rd1", "%rd2"]), "global")
        elif self.depth < 2 and pick < 8:
            self.divergent()
        elif self.depth < 2 and pick < 9:
            self.loop()
        elif self.sloppy and self.chance(3):
            self.store_shared(self.own())
        elif self.sloppy and self.has_collectives and self.chance(4):
            self.collective()
        else:
            self.operation()

    def phase(self) -> None:
        """Each thread writes; then all may read."""
        if self.has_bytes and self.chance(2):
            self.byte()
        if self.has_collectives:
            self.collective()
        index = self.own()
        if self.sloppy and self.chance(10):
            number = self.number()
            self.line(f"@{self.condition()} bra skip{number};")
            self.store_shared(index)
            self.lines.append(f"skip{number}:")
        else:
            self.store_shared(index)
        self.barrier()
        for _ in range(self.random.choice([1, 2, 3, 4])):
            self.statement()
        self.barrier()


def generated(seed: int) -> Generated:
    pick = random.Random(seed)
    sloppy = pick.randrange(3) > 0
    writer = _Writer(pick, sloppy, has_bytes=pick.randrange(4) == 0, has_collectives=pick.randrange(4) == 0)
    block = pick.choice(BLOCKS)
    threads = block[0] * block[1] * block[2]
    writer.load("%rd1", "global")
    # All cells are written at first, unless it is sloppy.
    for start in range(0, CELLS, threads):
        r, p = f"%r{writer.number()}", f"%p{writer.number() % 190}"
        writer.line(f"add.s32 {r}, %r9, {start};")
        writer.line(f"setp.lt.s32 {p}, {r}, {CELLS};")
        if writer.has_bytes:
            writer.line(f"@{p} st.shared.u8 [{writer.address(r, '%rd5', 1)}], 0;")
        if not (sloppy and writer.chance(8)):
            writer.line(f"@{p} st.shared.f32 [{writer.address(r, '%rd4')}], %f2;")
    writer.line("bar.sync 0;")
    for _ in range(pick.choice([1, 2, 3])):
        writer.phase()
    if writer.chance(3):
        writer.line("setp.ge.s32 %p199, %r9, 41;")
        writer.line("@%p199 bra done;" if writer.chance(2) else "@%p199 exit;")
    r = f"%r{writer.number()}"
    writer.line(f"mad.lo.s32 {r}, %r7, {CELLS if not sloppy or not writer.chance(6) else 0}, {writer.own()};")
    total = writer.floats[0]
    for other in writer.floats[1:][-8:]:
        f = f"%f{writer.number()}"
        writer.line(f"add.f32 {f}, {total}, {other};")
        total = f
    writer.line(f"st.global.f32 [{writer.address(r, '%rd3')}], {total};")
    text = HEAD + "\n".join(writer.lines) + '\ndone:\n    ret;\n}\n.file 1 "a.cu"\n'
    return Generated(text, block, (pick.choice([1, 2, 3]), 1, 1), sloppy)
