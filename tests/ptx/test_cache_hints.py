"""A cache policy is accepted everywhere and changes no result."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ptx.test_findings import run

POLICY = """
    unsigned long long policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
"""
USES = {
    "a load": """
        int v;
        asm volatile("ld.global.L2::cache_hint.s32 %0, [%1], %2;" : "=r"(v) : "l"(in + t), "l"(policy));
        out[t] = v;""",
    "a store": 'asm volatile("st.global.L2::cache_hint.s32 [%0], %1, %2;" ::"l"(out + t), "r"(in[t]), "l"(policy));',
    "an atomic": """
        asm volatile("red.global.add.L2::cache_hint.s32 [%0], %1, %2;" ::"l"(state + t), "r"(in[t]), "l"(policy));
        out[t] = state[t];""",
    "an asynchronous copy": """
        __shared__ int s[64];
        asm volatile("cp.async.ca.shared.global.L2::cache_hint [%0], [%1], 4, %2;"
                     ::"r"((unsigned)__cvta_generic_to_shared(s + t)), "l"(in + t), "l"(policy) : "memory");
        asm volatile("cp.async.wait_all;" ::: "memory");
        out[t] = s[t];""",
}


@pytest.mark.parametrize("use", USES)
def test_a_cache_hint_changes_nothing(use: str) -> None:
    ran = run(POLICY + USES[use])
    assert ran.findings == ()
    assert (ran.out == np.arange(64)).all()


@pytest.mark.parametrize("filled", [4, 2, 0])
def test_copies_that_bring_what_is_there_are_no_race(filled: int) -> None:
    body = f"""
        __shared__ int s[32];
        unsigned target = (unsigned)__cvta_generic_to_shared(s + t % 32);
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(target), "l"(in + t % 32), "r"({filled}));
        asm volatile("cp.async.wait_all;" ::: "memory");
        __syncthreads();
        out[t] = s[31 - t % 32];
    """
    assert run(body).findings == ()


def test_copies_that_bring_different_bytes_are_a_race() -> None:
    body = """
        __shared__ int s[32];
        unsigned target = (unsigned)__cvta_generic_to_shared(s + t % 32);
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(target), "l"(in + t) : "memory");
        asm volatile("cp.async.wait_all;" ::: "memory");
        __syncthreads();
        out[t] = s[31 - t % 32];
    """
    assert {report.kind for report in run(body).findings} == {"race"}
