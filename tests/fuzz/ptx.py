"""PTX: what every kernel compiles to, with tokens changed that no compiler would put there."""

from __future__ import annotations

import re
from random import Random

from grader.ptx.opcodes.rows import ROWS
from tests.fuzz import tokens

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|\s+|"(?:\\.|[^"\\\n])*"|0[fFdD][0-9a-fA-F]+|\d[\w.]*|[%$\w@](?:::|[\w.$%])*|\.[a-z]\w*|.',
    re.S,
)
OPCODE = re.compile(r"[a-z]\w*(?:(?:\.|::)\w+)+|ret|exit|trap")
REGISTER = re.compile(r"%\w[\w.]*")
LABEL = re.compile(r"\$\w+")
LITERAL = re.compile(r"\d.*")
DIRECTIVE = re.compile(r"\.[a-z]\w*")
PUNCTUATION = re.compile(r"[][{}()<>;:,+|!=@-]")
SEMICOLON = re.compile(r";")
WORD = re.compile(r"[%$\w.]+")

LITERALS = """
    0 1 -1 2 7 31 32 33 63 64 255 256 65535 65536 2147483647 2147483648 4294967295 4294967296 9223372036854775807
    9223372036854775808 18446744073709551615 18446744073709551616 99999999999999999999999999 0x0 0xF 0xffffffff
    0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF 0x 0xg 0b0 0b101 0b 0b2 017 0777 08 0777777777777777777777777 1U 0x7fU 017U
    0b1U 1u 1L 1.0 0.5 1e30 1.5e-400 1e400 .5 5. 1.2.3 1e 1e+ 0f3f800000 0F7FC00000 0f 0f1 0f123456789 0fgggggggg
    0d3ff0000000000000 0D7FF8000000000000 0d 0d1 0dzz -0x1 -017 -0b1 - -- +1 1+1 (1) !1 ~1 nan inf WARP_SZ _
""".split()
REGISTERS = """
    %tid %tid.x %tid.y %tid.z %tid.w %ntid.x %ntid.w %ctaid.x %ctaid %nctaid.z %laneid %warpid %nwarpid %smid %nsmid
    %gridid %lanemask_eq %lanemask_lt %lanemask_ge %clock %clock_hi %clock64 %pm0 %pm7 %pm0_64 %envreg0 %envreg31
    %envreg32 %globaltimer %globaltimer_lo %globaltimer_hi %reserved_smem_offset_begin %reserved_smem_offset_1
    %total_smem_size %dynamic_smem_size %aggr_smem_size %current_graph_exec %clusterid.x %nclusterid.y
    %cluster_ctaid.x %cluster_nctaid.z %cluster_ctarank %cluster_nctarank %is_explicit_cluster %SP %SPL %nope %r %
    %r99999 %rd99999 %f0 %p0 _ WARP_SZ
""".split()
DIRECTIVES = """
    .reg .shared .local .global .const .param .entry .func .visible .extern .weak .common .align .loc .file .section
    .pragma .maxntid .reqntid .minnctapersm .maxnreg .noreturn .branchtargets .calltargets .callprototype .alias
    .version .target .address_size .b8 .b16 .b32 .b64 .b128 .u8 .u16 .u32 .u64 .s8 .s16 .s32 .s64 .f16 .f16x2 .bf16
    .bf16x2 .tf32 .e4m3 .f32 .f64 .pred .v2 .v4 .v8 .ptr .attribute .managed .unified .texref .samplerref .surfref
    .nope .explicitcluster .reqnctapercluster .blocksareclusters .maxclusterrank .language .abi_preserve
""".split()
STATEMENTS = r"""
.reg .b32 %r1;
.reg .f32 %fuzz<3>;
.reg .b128 %q;
.reg .v4 .b32 %v;
.reg .nope %n;
.reg .b32 %m<0>;
.reg .b32 %m<99999999>;
.shared .align 16 .b8 fuzz[64];
.shared .b8 fuzz[];
.local .b8 deep[99999999999];
.local .align 3 .b8 odd[5];
.const .f32 c = 1.0;
.global .u32 g[3] = {1, 2, 3, 4};
.param .b64 p;
.loc 1 1 1
.loc 1 0 0
.loc 9 9 9, function_name $L__info_string0, inlined_at 1 1 1
.loc
.loc 1 x 3
.loc 1 5 5, function_name x + 0, inlined_at 1 5 5
.file 3 "x.cu"
.pragma "nounroll";
.section .debug_str { }
fuzz:
fuzz: .branchtargets fuzz;
.callprototype _ _;
fuzz: .callprototype ()_ (.param .b32 _);
bra fuzz;
bra $L__BB0_1;
@%p1 bra $L__BB0_1;
@!%p1 exit;
ret;
trap;
bar.sync 0;
bar.sync %r1;
bar.sync 0, %r1;
bar.sync 16;
bar.warp.sync %r1;
mov.u32 %r1, %envreg3;
mov.b64 %rd1, {%r1, %r2};
mov.b64 {%r1, _}, %rd1;
mov.u32 %r1, nowhere;
mov.b32 %r1, %f1;
mov.pred %p1, %r1;
mov.u64 %rd1, %r1;
add.u32 %r1, %r1;
add.u32;
add.u32 %r1, %r2, %r3, %r4;
add %r1, %r2, %r3;
add.f32 %r1, %r2, %r3;
add.nope %r1, %r1, %r1;
nope %r1;
ld.global.u32 %r1, [%rd1];
ld.global.u32 %r1, [%r1];
ld.global.u32 %r1, [%rd1+0x10];
ld.global.v4.u32 %r1, [%rd1];
ld.global.v3.u32 {%r1, %r2, %r3}, [%rd1];
ld.u32 %r1, [5];
ld.u32 %r1, %rd1;
ld.u32 [%rd1], %r1;
ld.u32 %r1, [];
st.shared.u32 [%r1], 5;
st.shared.u32 [-1], 5;
st.param.b32 [p], %r1;
ld.param.u64 %rd1, [nowhere+8];
call nowhere;
call.uni (%r1), nowhere, (%r2);
call (), nowhere, ();
call %rd1, (), fuzz;
brx.idx %r1, fuzz;
setp.lt.and.s32 %p1|%p2, %r1, %r2, !%p3;
setp.lt.s32 %r1, %r2, %r3;
selp.b32 %r1, %r2, %r3, %r4;
cvt.u32.f32 %r1, %f1;
cvt.rn.f32 %f1, %r1;
cvt.rni.s32.f32 %r1, %f1;
shfl.sync.idx.b32 %r1|%p1, %r2, %r3, %r4, %r5;
shfl.sync.idx.b32 %r1;
atom.global.add.u32 %r1, [%rd1], %r2;
atom.add.f64 %r1, [%rd1], %r2;
red.global.add.u32 [%rd1];
vote.sync.any.pred %p1, %r1;
mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1}, {%r1}, {%r2}, {%f1};
prmt.b32 %r1, %r2, %r3;
{
}
};
;
fma.rn.f32 %f1, %f1, 1.5, 0x10;
mov.f32 %f1, 5;
mov.u32 %r1, 1.5;
shl.b32 %r1, %r1, 0b101;
and.pred %p1, 1, %p2;
@%r1 add.u32 %r1, %r1, 1;
@%nope exit;
@ exit;
@!5 exit;
/* words
// words
"words";
.nope;
é
""".strip().splitlines()
MODIFIERS = """
    u8 u16 u32 u64 s8 s16 s32 s64 b8 b16 b32 b64 b128 f16 f16x2 bf16 bf16x2 tf32 f32 f64 pred e4m3x2 e5m2x2
    u16x2 v2 v4 v8 rn rz rm rp rna rni rzi rmi rpi rs ftz sat satfinite relu approx full lo hi wide cc wrap
    clamp global shared local const param sync aligned relaxed acquire release acq_rel volatile weak cta cluster
    gpu sys sc add min max inc dec cas exch and or xor lt le gt ge eq ne ltu nan num any all uni ballot idx up
    down bfly row col m8n8k4 m16n8k8 m16n8k16 x1 x2 x4 trans to noinc read shared::cta shared::cluster L2::128B
    L2::cache_hint ca cg cs lu nc async bulk tensor arrive wait commit_group wait_group expect_tx complete_tx
    nope
""".split()


def _opcode(rng: Random, opcode: str) -> str:
    """One part of an opcode left out, doubled, exchanged or put in; or all of it replaced."""
    parts = opcode.split(".")
    at = rng.randrange(len(parts))
    act = rng.randrange(6)
    if act == 0:
        return rng.choice(sorted(ROWS)) + ("." + ".".join(parts[1:]) if len(parts) > 1 else "")
    if act == 1 and len(parts) > 1:
        del parts[at]
    elif act == 2:
        parts.insert(at, parts[at])
    elif act == 3:
        parts.insert(at + 1, rng.choice(MODIFIERS))
    elif act == 4:
        rng.shuffle(parts)
    else:
        parts[at] = rng.choice(MODIFIERS) if at else rng.choice(sorted(ROWS))
    return ".".join(parts)


def change_opcode(own: tokens.Tokens, rng: Random) -> tokens.Tokens:
    places = [place for place, token in enumerate(own) if OPCODE.fullmatch(token)]
    if not places:
        return own
    at = rng.choice(places)
    return [*own[:at], _opcode(rng, own[at]), *own[at + 1 :]]


MUTATIONS: tuple[tokens.Mutation, ...] = (
    *(change_opcode,) * 5,
    *(tokens.same_kind(OPCODE), tokens.same_kind(REGISTER), tokens.one_of(REGISTER, REGISTERS)) * 2,
    *(tokens.one_of(LITERAL, LITERALS),) * 4,
    *(tokens.one_of(WORD, LITERALS), tokens.one_of(WORD, REGISTERS), tokens.same_kind(LABEL)),
    *(tokens.same_kind(DIRECTIVE), tokens.one_of(DIRECTIVE, DIRECTIVES), tokens.same_kind(PUNCTUATION)),
    *(tokens.insert(STATEMENTS),) * 5,
    *(tokens.statement(SEMICOLON),) * 3,
    *(tokens.delete, tokens.delete, tokens.duplicate, tokens.swap, tokens.replace, tokens.cut, tokens.character),
)


def mutant(text: str, rng: Random) -> str:
    return tokens.mutated(text, TOKEN, MUTATIONS, rng)
