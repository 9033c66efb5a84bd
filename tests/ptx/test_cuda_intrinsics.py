"""What NVRTC makes of CUDA C++'s intrinsics: no instruction among it that the engine does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grader import ptx
from grader.compile import nvrtc, recipe
from grader.ptx.lowering.lower import lower

HEADERS = "#include <cuda_bf16.h>\n#include <cuda_fp16.h>\n#include <cuda_fp8.h>\n"
ROUNDINGS = ("rn", "rz", "rd", "ru")
INTEGERS = {"int": "int", "uint": "unsigned", "short": "short", "ushort": "unsigned short", "ll": "long long",
            "ull": "unsigned long long"}  # fmt: skip


def _halves() -> list[str]:
    """Statements on the halves a, b, c, the pairs a2, b2, c2 and the floats x, y; of f16, then of bf16."""
    unary = "hceil hfloor hrint htrunc hsqrt hrsqrt hrcp hexp hexp2 hexp10 hlog hlog2 hlog10 hsin hcos htanh"
    scalar = [f"c = {name}(a);" for name in (*unary.split(), "__habs", "__hneg")]
    pairs = [f"c2 = h2{name[1:]}(a2);" for name in unary.split()] + ["c2 = __habs2(a2);", "c2 = __hneg2(a2);"]
    for name in "hadd hsub hmul hadd_sat hsub_sat hmul_sat hadd_rn hmul_rn hmax hmin hmax_nan hmin_nan".split():
        scalar.append(f"c = __{name}(a, b);")
        pairs.append(f"c2 = __{name[:4]}2{name[4:]}(a2, b2);")
    for name in ("hfma", "hfma_sat", "hfma_relu"):
        scalar.append(f"c = __{name}(a, b, c);")
        pairs.append(f"c2 = __{name[:4]}2{name[4:]}(a2, b2, c2);")
    for name in "eq ne lt le gt ge equ neu ltu leu gtu geu".split():
        scalar.append(f"y = __h{name}(a, b);")
        pair = f"{name[:2]}u2" if name.endswith("u") else f"{name}2"
        pairs += [f"c2 = __h{pair}(a2, b2);", f"y = __hb{pair}(a2, b2);", f"y = __h{pair}_mask(a2, b2);"]
    shuffles = ["c = __shfl_xor_sync(~0u, a, 1);", "c2 = __shfl_down_sync(~0u, a2, 2);", "c = __hdiv(a, b);",
                "c2 = __hcmadd(a2, b2, c2);", "y = __hisnan(a) + (__hisinf(b) != 0);"]  # fmt: skip
    return [*scalar, *pairs, *shuffles]


def _half_conversions(half: str) -> list[str]:
    statements = [f"y = (float)__{half}2{name}_{r}(a);" for name in INTEGERS for r in ROUNDINGS]
    statements += [f"c = __{name}2{half}_{r}(({type_})n);" for name, type_ in INTEGERS.items() for r in ROUNDINGS]
    return statements + [f"c = __float2{half}_{r}(x);" for r in ROUNDINGS] + [f"c = __double2{half}((double)x);"]


def _floats() -> list[str]:
    unary = """sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 exp10 expm1 log log2 log10 log1p
        sqrt rsqrt cbrt rcbrt erf erfc erfinv erfcinv erfcx normcdf normcdfinv lgamma tgamma j0 j1 y0 y1 floor ceil
        trunc round rint nearbyint fabs logb sinpi cospi"""
    statements = [f"y = {name}f(x) + (float){name}((double)x);" for name in unary.split()]
    for name in "pow atan2 fmod remainder hypot copysign fmax fmin fdim nextafter".split():
        statements.append(f"y = {name}f(x, y) + (float){name}((double)x, (double)y);")
    fast = "__sinf __cosf __tanf __expf __exp10f __logf __log2f __log10f __saturatef __frsqrt_rn"
    statements += [f"y = {name}(x);" for name in fast.split()]
    for r in ROUNDINGS:
        statements += [f"y = __f{op}_{r}(x, y) + (float)__d{op}_{r}(x, y);" for op in ("add", "mul", "div")]
        statements.append(f"y = __fmaf_{r}(x, y, x) + __fsqrt_{r}(x) + __frcp_{r}(x) + (float)__drcp_{r}(x);")
        statements.append(f"y = __float2int_{r}(x) + __float2ull_{r}(x) + __double2ll_{r}(x) + __ll2float_{r}(n);")
    return [*statements, "y = __powf(x, y) + __fdividef(x, y);", "int e; y = frexpf(x, &e) + e + ldexpf(x, n & 7);"]


def _integers() -> list[str]:
    calls = """__popc(u) __clz(n) __ffs(n) __brev(u) __popcll(w) __clzll(w) __ffsll(w) __brevll(w) __mulhi(n,7)
        __umulhi(u,u) __mul64hi(n,w) __umul64hi(w,w) __mul24(n,n) __umul24(u,u) __sad(n,3,u) __usad(u,3,u)
        __hadd(n,3) __rhadd(n,3) __uhadd(u,3) __urhadd(u,3) __byte_perm(u,u,0x1234) __funnelshift_l(u,u,n)
        __funnelshift_lc(u,u,n) __funnelshift_r(u,u,n) __funnelshift_rc(u,u,n) __dp4a(n,n,3) __dp4a(u,u,3u)
        __dp2a_lo(n,n,3) __dp2a_hi(u,u,3u) __viaddmax_s32(n,3,4) __vimax3_s32(n,1,2) __vimin_s32_relu(n,3)
        __vimax3_s16x2(u,u,u) __viaddmin_u16x2(u,u,u) __fns(u,3,n)"""
    lanes = """add addss addus sub subss subus abs absdiffs absdiffu avgs avgu cmpeq cmpgts cmpgtu haddu maxs maxu
        mins minu neg negss sads sadu seteq setgts"""
    simd = [f"__v{name}{width}" for name in lanes.split() for width in (2, 4)]
    one = ("abs", "neg", "negss")
    statements = [f"y = (float){call};" for call in calls.split()]
    statements += [f"y = {name}({'u' if name[3:-1] in one else 'u, v'});" for name in simd]
    return [*statements, "y = n / (n + 1) + n % 7 + w / (n | 1) + (unsigned char)n / 3 + (short)n % 5 + w % 11;"]


def _others() -> list[str]:
    fp8 = """__nv_fp8_e4m3 p(x); __nv_fp8_e5m2 q(x); float4 f = float4(__nv_fp8x4_e4m3(make_float4(x, 1, 2, 3)));
        y = float(p) + float(q) + f.x + float(__nv_fp8_e4m3((double)x));
        y += float(__nv_fp8_e5m2(__float2bfloat16(x)));"""
    atomics = """double* d = (double*)out; int* o = (int*)out; unsigned long long* l = (unsigned long long*)out;
        atomicAdd(d, 1.0); atomicAdd(out, x); atomicMax(o, n); atomicMin((unsigned*)o, u); atomicOr(l, 3ull);
        atomicInc((unsigned*)o, 5); atomicDec((unsigned*)o, 7); atomicExch(l, 1ull); atomicCAS(l, 0ull, 1ull);
        atomicAdd_block(out, 1.f); atomicAdd_system(o, 1); atomicCAS((unsigned short*)o, 1, 2);
        atomicAdd((float2*)out, make_float2(x, y)); atomicAdd((__half2*)out, __float2half2_rn(x));"""
    return [
        fp8,
        atomics,
        "y = __nv_cvt_float2_to_fp8x2(make_float2(x, 2), __NV_NOSAT, __NV_E5M2) + (clock64() > 0) + (clock() > 0);",
        "__nanosleep(1); __threadfence(); __threadfence_block(); __threadfence_system(); if (x > 9) __trap();",
        'if (x > 9) printf("%d %f %s\\n", n, x, "a"); y = __ldg(in) + __ldcs(in) + __ldcv(in) + __ldlu(in);',
        "__stcs(out, x); __stcg(out, y); __stwt(out, x); y = __isShared(out) + __isGlobal(out);",
        'unsigned s; asm("mov.u32 %0, %%smid;" : "=r"(s)); y = s;',
        'asm volatile("prefetch.global.L2 [%0];" ::"l"(in));',
        'unsigned lo, hi; asm("add.cc.u32 %0, %2, %2; addc.u32 %1, %3, %3;" : "=r"(lo), "=r"(hi) : "r"(u), "r"(v));',
    ]


F16 = (
    "half a = __float2half(x), b = __float2half(y), c = a; half2 a2 = __half2half2(a), b2 = __half2half2(b), c2 = a2;"
)
BF16 = (
    "__nv_bfloat16 a = __float2bfloat16(x), b = __float2bfloat16(y), c = a;"
    "__nv_bfloat162 a2 = __bfloat162bfloat162(a), b2 = __bfloat162bfloat162(b), c2 = a2;"
)
SETTINGS = {
    "f16": (F16, "y += (float)c + __low2float(c2) + __high2float(c2);", [*_halves(), *_half_conversions("half")]),
    "bf16": (
        BF16,
        "y += (float)c + __low2float(c2) + __high2float(c2);",
        [*_halves(), *_half_conversions("bfloat16")],
    ),
    "floats": ("", "", _floats()),
    "integers": ("", "", _integers()),
    "others": ("", "", _others()),
}


@pytest.mark.parametrize("family", SETTINGS)
def test_every_intrinsic_is_known(family: str) -> None:
    before, after, statements = SETTINGS[family]
    kernels = (
        f'extern "C" __global__ void k{i}(const float* in, const int* m, float* out) {{ const int t = threadIdx.x;'
        "float x = in[t], y = in[t + 1]; int n = m[t];"
        "unsigned u = n * 77u, v = u ^ 3; long long w = n * 99999999999ll;"
        f"{before} {statement} {after} out[t] = y + n + u + v + w; }}\n"
        for i, statement in enumerate(statements)
    )
    built = nvrtc.build(HEADERS + "".join(kernels), recipe.PTX_ARCH)
    assert built.ok, built.log
    module = ptx.parse(built.ptx)
    unknown = []
    functions = {name: f for name, f in module.functions.items() if not f.is_entry}
    for i, statement in enumerate(statements):
        kernel = module.kernels[f"k{i}"]
        try:
            lower(replace(module, functions={**functions, kernel.name: kernel}), kernel, frozenset())
        except ptx.Unsupported as lacking:
            unknown.append(f"{statement}: {lacking.message}")
    assert unknown == []
