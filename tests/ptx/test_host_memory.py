"""A kernel reads no memory of the process that runs it, whatever its inline PTX asks for."""

from __future__ import annotations

import re

import pytest

from grader import ptx
from tests.ptx.test_findings import run

VPRINTF = 'extern "C" __device__ int vprintf(const char*, void*);\n'


@pytest.mark.parametrize("offset", ["+8", "+5", "+4096", "+-4"])
def test_a_load_outside_its_parameter_is_refused(offset: str) -> None:
    with pytest.raises(ptx.Unsupported, match=re.escape("ld.param.u32 outside k_param_0")):
        run(f'int v; asm volatile("ld.param.u32 %0, [k_param_0{offset}];" : "=r"(v)); out[t] = v;')


def test_a_load_of_a_part_of_its_parameter_is_none_of_these() -> None:
    run('int v; asm volatile("ld.param.u32 %0, [k_param_0+4];" : "=r"(v)); out[t] = v;')


def test_a_store_to_a_parameter_is_refused() -> None:
    with pytest.raises(ptx.Unsupported, match=re.escape("st.param.u32 outside k_param_0")):
        run('asm volatile("st.param.u32 [k_param_0], %0;" ::"r"(t)); out[t] = t;')


@pytest.mark.parametrize("pointer", ["nullptr", "out + 64", "(void*)(1ll << 41)"])
def test_printf_has_zeros_for_arguments_that_are_not_there(pointer: str) -> None:
    ran = run(f'if (t == 0) vprintf("%d %d|\\n", (void*)({pointer}));', before=VPRINTF)
    assert ran.printed == "0 0|\n"


def test_printf_stops_at_the_end_of_the_array_that_its_arguments_are_in() -> None:
    ran = run('if (t == 0) vprintf("%d %d %d %d %d|\\n", (void*)(in + 62));', before=VPRINTF)
    assert ran.printed == "62 63 0 0 0|\n"
