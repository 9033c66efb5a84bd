"""Results made by hand, one for each situation that a report must explain."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from grader.diagnosis import picture
from grader.diagnosis.mismatch import Region
from grader.model import codec
from grader.model.details import Detail, Role
from grader.model.exercise import Exercise, QualityRule
from grader.model.measurements import Measurements, read
from grader.model.result import (
    SCHEMA_VERSION,
    Check,
    Finding,
    Points,
    Related,
    Result,
    Status,
    Submission,
    Verdict,
)

ROOT = Path(__file__).parents[2]

CASES = ("uniform", "variable", "imbalanced", "small")
EXTRA = ("empty-groups", "one-row", "prime-rows")

EXERCISE = Exercise(
    name="01_simple_grouped_gemm",
    title="Simple grouped GEMM",
    folder=ROOT / "exercises" / "01_simple_grouped_gemm",
    kernels=(),
    points={"correctness": 40, "performance": 40, "quality": 20},
    cases=CASES,
    quality=(QualityRule("no-warnings", 12),),
)

# A student's kernel; line 29 returns before a barrier, line 38 lacks one.
SOURCE = """\
#include "grader.cuh"

#define TILE 16

// Each block computes one TILE x TILE tile of one group's C.
extern "C" __global__ void grouped_gemm_kernel(
    const float* A_concat, const float* B_concat, float* C_concat,
    const int* group_offsets, const int* M_sizes, int K, int N, int num_groups)
{
    __shared__ float As[TILE][TILE];
    __shared__ float Bs[TILE][TILE];

    int tile = blockIdx.y;
    int group = 0;
    while (group < num_groups) {
        int tiles = (M_sizes[group] + TILE - 1) / TILE;
        if (tile < tiles) break;
        tile -= tiles;
        ++group;
    }
    if (group == num_groups) return;

    int row = tile * TILE + threadIdx.y;
    int col = blockIdx.x * TILE + threadIdx.x;
    const float* A = A_concat + (size_t)group_offsets[group] * K;
    const float* B = B_concat + (size_t)group * K * N;
    float* C = C_concat + (size_t)group_offsets[group] * N;

    if (row >= M_sizes[group]) return;

    float sum = 0.0f;
    for (int k = 0; k < K; k += TILE) {
        As[threadIdx.y][threadIdx.x] = A[row * K + k + threadIdx.x];
        Bs[threadIdx.y][threadIdx.x] = B[(k + threadIdx.y) * N + col];
        __syncthreads();
        for (int i = 0; i < TILE; ++i)
            sum += As[threadIdx.y][i] * Bs[i][threadIdx.x];
        // the next turn overwrites As and Bs while slower threads still read them
    }
    printf("done %d\\n", row);
    C[row * N + col] = sum;
}

extern "C" __global__ void launch_grouped_gemm(
    const int* M_sizes, int K, int N, int num_groups, Launch* launch)
{
    int tiles = 0;
    for (int g = 0; g < num_groups; ++g) tiles += (M_sizes[g] + TILE - 1) / TILE;
    launch->grid = dim3((N + TILE - 1) / TILE, tiles, 1);
    launch->block = dim3(TILE, TILE, 1);
}
"""

COMPILED = Check(
    "compile",
    Status.PASSED,
    "compiled grouped_gemm_kernel, launch_grouped_gemm",
    measurements=read(
        {
            "seconds": 0.21,
            "cached": False,
            "kernels": {
                "grouped_gemm_kernel": {"registers": 40, "shared_bytes": 2048, "spill_bytes": 0},
                "launch_grouped_gemm": {"registers": 16, "shared_bytes": 0, "spill_bytes": 0},
            },
        }
    ),
)
LAUNCH = Check("launch", Status.PASSED, "grid and block are set on every case")

BARRIER = Finding(
    "barrier-divergence",
    "starter.cu",
    35,
    "192 of 256 threads wait here; threads (0,4,0) to (15,15,0) of block (0,24,0) have left at line 29",
    count=1216,
    hint="barrier-in-divergent-code",
)
RACE = Finding(
    "race",
    "starter.cu",
    33,
    "thread (3,0,0) of block (0,0,0) writes As[3], which line 37 also reads, with no barrier in between",
    count=64512,
    notes=("thread (9,0,0) of block (0,0,0) read it on line 37",),
    hint="missing-synchronization",
    array="As",
    space="shared",
    access="write",
    related=(Related(Role.OTHER_ACCESS, 37, access="read"),),
)


def result(verdict: Verdict, points: Points, *checks: Check, path: str = "starter.cu") -> Result:
    return Result(
        schema=SCHEMA_VERSION,
        exercise=EXERCISE.name,
        submission=Submission(path, "9f2c" * 16),
        verdict=verdict,
        points=points,
        seed=1234567,
        machine={
            "grader": "0.1.0",
            "system": "Linux 6.1 x86_64",
            "cpu": "AMD EPYC 9654",
            "cores": 2,
            "gpu": None,
            "versions": {"python": "3.11.7", "cupy": "14.2.0", "nvrtc": "13.0.88", "llvmlite": "0.50.0"},
        },
        checks=checks,
    )


def memory(case: str, *findings: Finding) -> Check:
    status = Status.FAILED if findings else Status.PASSED
    message = findings[0].message if findings else "no access outside an array, no race"
    return Check(f"memory[{case}]", status, message, case=case, device="cpu", findings=findings)


def correct(case: str, error: object = 3.1e-5, mismatches: int = 0, *findings: Finding) -> Check:
    return Check(
        f"correct[{case}]",
        Status.FAILED if findings else Status.PASSED,
        case=case,
        device="cpu",
        findings=findings,
        measurements=read(
            {
                "max_abs_error": error,
                "tolerance": 1e-3,
                "mismatches": mismatches,
                "elements": 131072,
                "summary": "M 128 128 128 128, K 256, N 256",
            }
        ),
    )


def speed(case: str) -> Check:
    return Check(f"speed[{case}]", Status.NOT_JUDGED, case=case, reason="no NVIDIA GPU")


def skipped(check: str, case: str | None = None, parent: str = "compile") -> Check:
    name = f"{check}[{case}]" if case else check
    return Check(name, Status.SKIPPED, case=case, reason=f"{parent} failed")


def right() -> Result:
    """Everything right, no GPU to time it."""
    return result(
        Verdict.INCOMPLETE,
        Points(40.0, None, 12.0, None, 52.0, 100.0),
        COMPILED,
        LAUNCH,
        *(check for case in (*CASES, *EXTRA) for check in (memory(case), correct(case))),
        *(speed(case) for case in CASES),
        *(memory("secret-1"), correct("secret-1")),
        Check("quality", Status.PASSED, "12 of 20 points are the machine's to give", required=False),
        path="exercises/01_simple_grouped_gemm/solution.cu",
    )


def wrong() -> Result:
    """Wrong numbers in the last partial tile, memory clean."""

    def values(case: str, group: int, of: int) -> Finding:
        message = (
            f"group {group}, row 96, column 0: got 0, expected 4.7121; {of:,} of 131,072 elements are wrong: "
            f"the last partial tile of group {group}"
        )
        return Finding("wrong-values", "starter.cu", 0, message, hint="elements-never-written")

    checks = []
    for case in CASES:
        bad = (values(case, 3, 1536),) if case in ("variable", "imbalanced") else ()
        checks += [memory(case), correct(case, "NaN" if case == "imbalanced" else 4.7121, 1536, *bad)]
        checks[-1] = with_picture(checks[-1], case) if bad else correct(case)
    warning = Finding("compile-warning", "starter.cu", 14, 'variable "group" was declared but never used')
    compiled = Check("compile", Status.PASSED, COMPILED.message, findings=(warning,))
    unclean = Finding("no-warnings", "starter.cu", 14, f"the compiler warns: {warning.message}")
    indented = Finding("formatted", "starter.cu", 31, "a tab; indent with spaces", count=9)
    return result(
        Verdict.FAILED,
        Points(0.0, None, 4.0, None, 4.0, 100.0),
        compiled,
        LAUNCH,
        *checks,
        *(speed(case) for case in CASES),
        Check("quality", Status.FAILED, required=False, findings=(unclean, indented)),
    )


SIZES = {"variable": (64, 128, 32, 256, 16, 192, 96, 48), "imbalanced": (1, 10, 100, 1000)}


def with_picture(check: Check, case: str) -> Check:
    """As if group 3's last rows were never written, some of group 1 far off, and a NaN in group 0."""
    ends = np.cumsum(SIZES[case]).tolist()
    regions = [
        Region(f"group {g}", end - size, end) for g, (size, end) in enumerate(zip(SIZES[case], ends, strict=True))
    ]
    right = np.random.default_rng(1).normal(size=(ends[-1], 512)) * 9
    actual = right.astype(np.float32)
    actual[regions[3].stop - 24 : regions[3].stop].view(np.uint32)[:] = 0xFFFFFFFF
    band = actual[regions[1].start : regions[1].stop, 64:256]
    band += np.geomspace(0.002, 20, band.shape[1], dtype=np.float32)
    actual[regions[0].start, 500] = np.nan
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(actual - right) < 1e-3)
    return check.measured(picture=picture.of("C_concat", actual, right, wrong, regions, tolerance=1e-3))


def fp8() -> Result:
    """A byte rounded away from even."""
    finding = Finding(
        "wrong-values",
        "starter.cu",
        6,
        "ties round away from even. First wrong element: x[17] = 1.0625 (0x3f880000): expected 0x38 (1), got 0x39 "
        "(1.125); 2048 of 131072 elements are wrong",
        count=2048,
        hint="reduced-precision",
        detail=Detail.CONVERSION,
        output="y",
        mistake="ties-away",
        cause="ties round away from even",
    )
    example = {"format": "E4M3", "input": 1.0625, "input_bits": 0x3F880000, "expected": 0x38, "got": 0x39}
    wrong_byte = correct("uniform", 0.0625, 2048, finding)
    measured = {"example": example, "mismatches": 2048, "elements": 131072}
    return result(
        Verdict.FAILED,
        Points(0.0, None, 4.0, None, 4.0, 100.0),
        COMPILED,
        LAUNCH,
        memory("uniform"),
        msgspec.structs.replace(wrong_byte, measurements=read(measured)),
        skipped("speed", "uniform", "correct[uniform]"),
    )


def hang() -> Result:
    """A loop without end, in the first two cases; the others were not run any more."""
    endless = Finding(
        "did-not-finish",
        "starter.cu",
        15,
        "thread (0,0,0) of block (0,0,0) is still in this loop, which does not seem to end",
        hint="endless-loop",
    )
    return result(
        Verdict.FAILED,
        Points(0.0, None, 0.0, None, 0.0, 100.0),
        COMPILED,
        LAUNCH,
        *(memory(case, endless) for case in CASES[:2]),
        *(
            Check(f"memory[{case}]", Status.SKIPPED, case=case, reason="memory[uniform] did not finish")
            for case in CASES[2:]
        ),
        *(skipped("correct", case, f"memory[{case}]") for case in CASES),
        *(skipped("speed", case, f"correct[{case}]") for case in CASES),
    )


@cache
def on_h200(name: str) -> Result:
    """A grading on a real H200 (benchmarks/results)."""
    return codec.decode((ROOT / "benchmarks" / "results" / f"01_{name}.json").read_bytes())


def faulty() -> Result:
    """A barrier that not every thread reaches, and a race, in several cases."""
    findings = {"variable": (RACE,), "imbalanced": (BARRIER, RACE), "small": (BARRIER,), "uniform": (RACE,)}
    printing = Check(
        "memory[one-row]", Status.PASSED, case="one-row", measurements=Measurements(printed="done 0\ndone 1\n")
    )
    return result(
        Verdict.FAILED,
        Points(0.0, None, None, None, None, 100.0),
        COMPILED,
        LAUNCH,
        *(memory(case, *findings[case]) for case in CASES),
        *(skipped("correct", case, f"memory[{case}]") for case in CASES),
        printing,
        *(skipped("speed", case, f"correct[{case}]") for case in CASES),
    )


def compile_error() -> Result:
    error = Finding("compile-error", "starter.cu", 25, 'expected a ";"', column=66)
    header = Finding("compile-error", "grader.cuh", 12, 'name followed by "::" must be a class or namespace name')
    return result(
        Verdict.FAILED,
        Points(0.0, 0.0, 0.0, None, 0.0, 100.0),
        Check("compile", Status.FAILED, error.message, findings=(error, header)),
        skipped("launch"),
        *(skipped(check, case, "launch") for case in CASES for check in ("memory", "correct", "speed")),
    )


def grader_error() -> Result:
    return result(
        Verdict.ERROR,
        Points(None, None, None, None, None, 100.0),
        COMPILED,
        LAUNCH,
        Check("memory[uniform]", Status.ERROR, "the child process ended with signal 9", case="uniform"),
        skipped("correct", "uniform", "memory[uniform]"),
    )


def borderline() -> Result:
    """As too slow, decided by the median, its interval across the line; and one case for information only."""
    result = on_h200("tile16")

    def changed(check: Check) -> Check:
        if check.id == "speed[variable]":
            return check.measured(borderline=True, ratio=0.6, ratio_low=0.58, ratio_high=0.62)
        return msgspec.structs.replace(check, required=False) if check.id == "speed[small]" else check

    return msgspec.structs.replace(result, checks=tuple(map(changed, result.checks)))


SITUATIONS = {
    "passed": on_h200("solution"),
    "too-slow": on_h200("tile16"),
    "wrong-tile": wrong(),
    "race": faulty(),
    "compile-error": compile_error(),
    "hang": hang(),
    "fp8-byte": fp8(),
    "no-gpu": right(),
    # Beside the eight that students meet:
    "grader-error": grader_error(),
    "borderline": borderline(),
}
