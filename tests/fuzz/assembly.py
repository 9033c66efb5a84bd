"""Inline assembly to put into kernels: most of it compiles, and much of it is wrong there."""

from __future__ import annotations

_BARE = """
bar.sync 0;
bar.sync 1, 64;
bar.sync 15;
bar.arrive 1, 64;
barrier.sync.aligned 2, 32;
bar.warp.sync 0xffffffff;
bar.warp.sync 1;
membar.gl;
membar.cta;
fence.acq_rel.gpu;
fence.sc.cta;
fence.proxy.async;
exit;
ret;
trap;
brkpt;
nanosleep.u32 100;
pmevent 1;
griddepcontrol.wait;
griddepcontrol.launch_dependents;
cp.async.commit_group;
cp.async.wait_all;
cp.async.wait_group 0;
cp.async.bulk.commit_group;
cp.async.bulk.wait_group 0;
wgmma.fence.sync.aligned;
wgmma.commit_group.sync.aligned;
setmaxnreg.dec.sync.aligned.u32 24;
barrier.cluster.arrive.aligned;
barrier.cluster.wait.aligned;
fence.mbarrier_init.release.cluster;
{ .reg .b32 t; mov.b32 t, 5; }
{ .reg .b32 t<4>; mov.b32 t0, t3; }
{ .reg .pred p; setp.eq.u32 p, 1, 2; @p trap; }
{ L: bra.uni L; }
{ bra.uni L; L: }
{ .reg .pred p; setp.ne.u32 p, 1, 1; L: @p bra L; }
{ .reg .pred p; elect.sync _|p, 0xffffffff; }
{ .reg .b32 t; .reg .pred p; elect.sync t|p, 0xffffffff; }
{ .shared .align 8 .b64 bar; mbarrier.init.shared.b64 [bar], 32; }
{ .shared .align 4 .b8 s[64]; st.shared.u32 [s+4], 1; }
{ .reg .b32 p; mov.b32 p, 8; .shared .b8 s[p]; st.shared.u32 [s+1], 1; }
{ .local .align 4 .b8 s[8]; st.local.u32 [s+8], 1; }
{ .reg .b64 a; .shared .b64 bar; mbarrier.arrive.shared.b64 a, [bar]; }
{ .reg .b64 p; mov.b64 p, 0; .reg .u32 a<4>; ld.global.v4.u32 {a0,a1,a2,a3}, [p]; }
{ .reg .b64 p; mov.b64 p, 0x10; .reg .u32 a; ld.u32 a, [p]; }
{ .reg .b64 p; cvta.shared.u64 p, 0; st.u8 [p], 1; }
{ .reg .f32 f; mov.f32 f, 0f7fc00000; add.rn.ftz.f32 f, f, 1.0; }
{ .reg .f64 f; mov.f64 f, 0d7ff0000000000000; fma.rn.f64 f, f, f, f; }
{ .reg .u32 r; mov.u32 r, 0b1011; add.u32 r, r, 017; }
{ .reg .u32 r; mov.u32 r, 0xFFFFFFFFU; shl.b32 r, r, 33; }
{ .reg .s64 r; mov.s64 r, -0x7fffffffffffffff; abs.s64 r, r; }
{ .reg .s32 r; div.s32 r, 1, 0; rem.s32 r, 5, 0; }
{ .reg .b32 r; prmt.b32 r, 1, 2, 0x9999; }
{ .reg .b32 r; lop3.b32 r, 1, 2, 3, 0x96; }
{ .reg .b32 r; bfi.b32 r, 1, 2, 40, 40; }
{ .reg .b32 r; shf.l.clamp.b32 r, 1, 2, 99; }
{ .reg .u32 r; vadd.u32.u32.u32.sat r, 1, 2; }
{ .reg .u32 r; vabsdiff4.u32.u32.u32.add r, 1, 2, 3; }
{ .reg .s32 r; dp4a.s32.s32 r, 1, 2, 3; }
{ .reg .u32 r; dp2a.lo.u32.u32 r, 1, 2, 3; }
{ .reg .u32 r; activemask.b32 r; }
{ .reg .b32 r; redux.sync.add.s32 r, 1, 0xffffffff; }
{ .reg .b32 r; redux.sync.min.u32 r, 1, 3; }
{ .reg .b32 r; match.any.sync.b32 r, 1, 0xffffffff; }
{ .reg .pred p; vote.sync.any.pred p, 1, 0xffffffff; }
{ .reg .b32 r; vote.sync.ballot.b32 r, 1, 0xffff; }
{ .reg .b32 r; shfl.sync.idx.b32 r, 1, 40, 31, 0xffffffff; }
{ .reg .b32 r; .reg .pred p; shfl.sync.up.b32 r|p, 1, 1, 0, 0xffffffff; }
{ .reg .b16 h; cvt.rn.satfinite.e4m3x2.f32 h, 1.0, 2.0; }
{ .reg .b32 r; .reg .b16 h; mov.b16 h, 7; cvt.rn.f16x2.e5m2x2 r, h; }
{ .reg .b32 r; cvt.pack.sat.s8.s32.b32 r, 300, -300, 0; }
{ .reg .b32 r; .reg .f32 f; mov.f32 f, 1.5; cvt.rna.tf32.f32 r, f; }
{ .reg .f32 f; ex2.approx.f32 f, 500.0; lg2.approx.f32 f, f; sin.approx.f32 f, f; }
{ .reg .b64 r; mov.b64 r, %clock64; }
{ .reg .u32 r; mov.u32 r, %laneid; mov.u32 r, %smid; mov.u32 r, %nsmid; }
{ .reg .u32 r; mov.u32 r, %envreg3; }
{ .reg .u32 r; mov.u32 r, %dynamic_smem_size; mov.u32 r, %total_smem_size; }
{ .reg .u32 r; mov.u32 r, %lanemask_lt; mov.u32 r, %pm0; }
{ .reg .u64 r; mov.u64 r, %globaltimer; mov.u64 r, %gridid; }
{ .reg .u32 r; mov.u32 r, %cluster_ctaid.x; mov.u32 r, %is_explicit_cluster; }
{ .reg .u32 r; mov.u32 r, %nope; }
{ .reg .pred p; isspacep.shared p, 0; }
{ .reg .b64 p; mapa.u64 p, 0, 1; }
{ .reg .u32 r; getctarank.u32 r, 0; }
{ .reg .b64 p; mov.b64 p, 0; prefetch.global.L2 [p]; }
{ .reg .b64 p; mov.b64 p, 0; discard.global.L2 [p], 128; }
{ .reg .b64 p; mov.b64 p, 0; applypriority.global.L2::evict_normal [p], 128; }
{ .reg .b64 p; mov.b64 p, 0; red.global.add.u32 [p], 1; }
{ .reg .b32 p; mov.b32 p, 0; red.shared.add.u32 [p], 1; }
{ .reg .b64 p; mov.b64 p, 0; .reg .u32 r; atom.global.cas.b32 r, [p], 1, 2; }
{ .reg .b32 p; mov.b32 p, 8; .reg .u64 r; atom.shared.add.u64 r, [p], 1; }
{ .reg .b64 p; mov.b64 p, 16; .reg .f32 f; atom.global.add.f32 f, [p], 1.0; }
{ .reg .b64 p; mov.b64 p, 0; st.volatile.global.u32 [p], 1; }
{ .reg .b64 p; mov.b64 p, 0; st.release.gpu.global.u32 [p], 1; }
{ .reg .b64 p; mov.b64 p, 0; .reg .u32 r; ld.acquire.sys.global.u32 r, [p]; }
{ .reg .b64 p; mov.b64 p, 0; .reg .u32 r; ld.global.nc.L1::no_allocate.u32 r, [p]; }
{ .reg .b32 p; mov.b32 p, 0; .reg .b32 r; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {r}, [p]; }
{ .reg .b32 r; mov.b32 r, 1; movmatrix.sync.aligned.m8n8.trans.b16 r, r; }
{ .reg .b32 p; mov.b32 p, 0; .reg .b32 r; mov.b32 r, 1; stmatrix.sync.aligned.m8n8.x1.shared.b16 [p], {r}; }
{ .reg .b32 d<4>; mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {d0,d1}, {d2}, {d3}, {d0,d1}; }
{ .reg .f64 d<4>; mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {d0,d1}, {d2}, {d3}, {d0,d1}; }
{ .reg .b64 r; createpolicy.fractional.L2::evict_last.b64 r, 1.0; }
{ .reg .u32 r; mad.lo.cc.u32 r, 1, 2, 3; madc.hi.u32 r, 1, 2, r; }
{ .reg .u32 r; add.cc.u32 r, 0xffffffff, 1; addc.u32 r, 0, 0; }
{ .reg .u32 r; szext.wrap.s32 r, 5, 3; bmsk.clamp.b32 r, 4, 9; }
{ .reg .b64 s; stacksave.u64 s; alloca.u64 s, 64; stackrestore.u64 s; }
{ .reg .pred r; testp.nan.f32 r, 0f3f800000; }
.loc 1 1 1
.loc 99 5 5
.loc 1 0 0
.pragma "nounroll";
.reg .b32 fuzz;
// words
/* words */
.file 7 "other.cu"
{ .reg .u32 r; mov.u32 r, 1; ts: .branchtargets a, b; brx.idx r, ts; a: b: }
{ .reg .b128 q; mov.b128 q, {1, 2}; }
{ .reg .f16x2 h; add.f16x2 h, h, h; }
{ .reg .b32 r; mov.b32 r, 1; tanh.approx.f16x2 r, r; }
{ .reg .b32 h; fma.rn.relu.bf16x2 h, h, h, h; }
{ .reg .b64 p; mov.b64 p, 0; multimem.red.global.add.f32 [p], 1.0; }
{ .reg .u32 r; not.b32 r, r; bra $fuzz; $fuzz: }
"""


def _statement(text: str) -> str:
    quoted = text.replace('"', '\\"')
    return f'asm volatile("{quoted}");'


SNIPPETS = (
    *map(_statement, _BARE.strip().splitlines()),
    'asm volatile("{ .reg .pred p; setp.gt.u32 p, %0, 5; @p exit; }" :: "r"(threadIdx.x));',
    'asm volatile("{ .reg .pred p; setp.gt.u32 p, %0, 5; @!p bar.sync 0; }" :: "r"(threadIdx.x));',
    'asm volatile("st.shared.u32 [%0], %0;" :: "r"(threadIdx.x * 4));',
    'asm volatile("st.global.f32 [%0], 0f3f800000;" :: "l"((size_t)threadIdx.x << 34));',
    'asm volatile("add.u32 %0, %0, 1;" : "+r"(*(unsigned*)0));',
    'asm("nonsense.u32 %0;" :: "r"(1));',
    'asm volatile("{ .reg .u32 r; mov.u32 r, %%tid.w; st.shared.u32 [r], %0; }" :: "n"(5));',
    'asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" :: "r"(threadIdx.x), "l"((size_t)threadIdx.x));',
    'asm volatile("}");',
    'asm volatile("{");',
    'asm volatile("ret; }\\n.visible .entry fuzz() {");',
)
