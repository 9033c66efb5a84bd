from __future__ import annotations

from grader.executors import profiler

OUTPUT = """==PROF== Connected to process 955 (/usr/bin/python3.12)
"ID","Kernel Name","dram__throughput.avg.pct_of_peak_sustained_elapsed","gpu__time_duration.sum"
"","","%","ns"
"0","grouped_gemm_kernel","0.61","4,928"
"1","grouped_gemm_kernel_1","12.5","93,000"
"""


def test_a_row_for_each_launch_without_the_units() -> None:
    assert profiler.parse(OUTPUT) == [
        {"dram_throughput": 0.61, "nanoseconds": 4928.0},
        {"dram_throughput": 12.5, "nanoseconds": 93000.0},
    ]


def test_what_may_not_count_gives_nothing() -> None:
    assert profiler.parse("==ERROR== ERR_NVGPUCTRPERM\n") == []


def test_what_the_kernel_prints_is_no_counter() -> None:
    printed = '"2","grouped_gemm_kernel","fast","very"\n'
    assert profiler.parse(OUTPUT + printed) == []
    assert profiler.parse(printed + OUTPUT) == []
